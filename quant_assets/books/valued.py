"""The terms by which a book is valued, read as known at a cut."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal

import polars as pl

from quant_assets.books.accruals import Borrow, Funding, Valuation, shorts
from quant_assets.books.fx import fx_rates
from quant_assets.books.holdings import Holdings, exact
from quant_assets.books.terms import Terms
from quant_assets.calendars import Cuts
from quant_assets.contract import in_force
from quant_assets.instruments import plain
from quant_assets.market_data.master import instruments
from quant_assets.market_data.securities import resolve
from quant_assets.ports import Store
from quant_assets.records import Book
from quant_assets.tables import LISTINGS
from quant_assets.vendor_tables import BORROW_RATES, FUNDING_RATES

RECENT = timedelta(days=30)  # a rate of borrowing that is older is looked for in the whole table


def terms_of(store: Store, book: Book, sids: Collection[int], cut: datetime, currencies: Iterable[str] = ()) -> Terms:
    """The terms of these names at `cut` for a book, with the rates of their currencies and of `currencies`.

    Raises RateUnknown where one has none.
    """
    base, known = book.currency, instruments(store, sids, cut, book.priced_in, elsewhere=book.elsewhere) if sids else {}
    found = {sid: one for sid, one in known.items() if one != plain(sid, base)}
    asked = {*currencies, *(i.currency for i in found.values())} - {"", base}
    rates = {c: rate for c, rate in fx_rates(store, asked, base, cut).items() if c != base} if asked else {}
    return Terms(base=base, instruments=found, rates=rates)


def valuation(
    store: Store,
    book: Book,
    cuts: Cuts,
    session: date,
    held: Holdings,
    sids: Collection[int],
    currencies: Iterable[str] = (),
    account: Mapping[str, Mapping[int, int]] | None = None,
) -> Valuation:
    """By what a book that holds `held` since the session booked before is valued and charged in `session`, as
    known at its cut; `sids`: the names held and traded; `currencies`: those in which cash comes in besides;
    `account`: what each book of its account held then, by name, where several trade it.
    """
    cut = cuts.of(session)
    terms = terms_of(store, book, sids, cut, [*held.others, *currencies])
    perpetual = [sid for sid, one in terms.instruments.items() if one.kind == "perpetual"]
    return Valuation(
        terms=terms,
        lent=lending(store, {*shorts(held, terms), *_short(account or {}, held)}, cut, session),
        funding=_funding(store, perpetual, cuts, session, held.session) if perpetual else (),
        book=book.name,
        account=account or {},
    )


def _short(account: Mapping[str, Mapping[int, int]], held: Holdings) -> set[int]:
    """The names held that another book of the account is short of."""
    return {sid for one in account.values() for sid, q in one.items() if q < 0 and sid in held.quantities}


def lending(store: Store, sids: Collection[int], cut: datetime, session: date) -> Mapping[int, Borrow] | None:
    """What borrowing each of these names costs, by its last known rate; None where no feed ever brought one."""
    if store.version(BORROW_RATES) < 0:
        return None
    found = _lent(store, sids, cut, session - RECENT, session) if sids else {}
    missing = {*sids} - {*found}
    return found | (_lent(store, missing, cut, None, session) if missing else {})


def _lent(store: Store, sids: Collection[int], cut: datetime, first: date | None, last: date) -> dict[int, Borrow]:
    rows = in_force(store.read(BORROW_RATES, as_of=cut, first=first, last=last), BORROW_RATES)
    known = resolve(rows, store.read(LISTINGS, as_of=cut), cut).filter(pl.col("sid").is_in(list(sids)))
    latest = known.sort("session", "sid", "symbol").unique("sid", keep="last", maintain_order=True)
    return {
        sid: Borrow(exact(rate), since, available)
        for sid, since, rate, available in latest.select("sid", "session", "rate", "available").iter_rows()
    }


def _funding(store: Store, sids: Sequence[int], cuts: Cuts, session: date, since: date) -> list[Funding]:
    """The payments up to the close of `session` that its cut knows and that of the session booked last did not."""
    cut, end = cuts.of(session), cuts.calendar.close(session)
    begin = since if since > date.min else cuts.booked_before(session)
    before, then = cuts.of(begin), cuts.calendar.last_hours(begin).close
    rows = store.read(FUNDING_RATES, as_of=cut, last=end.date()).filter(pl.col("ts") <= end)
    was = in_force(rows.filter(pl.col("known_at") <= before, pl.col("ts") <= then), FUNDING_RATES)
    new = in_force(rows, FUNDING_RATES).join(was, on=FUNDING_RATES.subject, how="anti")
    known = resolve(new.with_columns(session=pl.col("ts").dt.date()), store.read(LISTINGS, as_of=cut), cut)
    return [
        Funding(sid, ts, Decimal(str(rate)), None if price is None else exact(price))
        for sid, ts, rate, price in known.filter(pl.col("sid").is_in(sids))
        .sort("sid", "ts", "venue")
        .select("sid", "ts", "rate", "price")
        .iter_rows()
    ]


def handed_out(actions: pl.DataFrame, bars: pl.DataFrame) -> set[int]:
    """The names whose shares an action may hand out, of those with a bar."""
    given = actions["counterpart"].drop_nulls().unique()
    return set(bars.filter(pl.col("symbol").is_in(given.implode()))["sid"]) if given.len() else set()
