"""The security master: what terms and identifiers an instrument has on a day, as known at a cut.

Vendors give both under their own symbols; the sid is looked up when they are read (`securities.resolve`), so that a
listing that is corrected later corrects them as well.
"""

from collections.abc import Collection, Mapping
from datetime import date, datetime
from decimal import Decimal
from difflib import get_close_matches
from typing import Any

import polars as pl
from msgspec.structs import replace

from quant_assets.contract import Table, in_force, known_by
from quant_assets.currencies import paid_in
from quant_assets.errors import InstrumentUnknown
from quant_assets.identifiers import CHECKED, is_valid
from quant_assets.instruments import NONE, ONE, Instrument, plain
from quant_assets.market_data.securities import canonical, resolve, symbols
from quant_assets.ports import Store
from quant_assets.tables import LISTINGS
from quant_assets.vendor_tables import IDENTIFIERS, INSTRUMENTS, SECURITIES

SYMBOL = "symbol"  # the scheme of our own symbols: those that bars come under
NOWHERE: Mapping[str, str] = {}
_AMOUNTS: Mapping[str, Decimal] = {"tick": NONE, "step": ONE, "multiplier": ONE, "min_notional": NONE}


def instruments(
    store: Store,
    sids: Collection[int],
    cut: datetime,
    currency: str,
    day: date | None = None,
    elsewhere: Mapping[str, str] = NOWHERE,
) -> Mapping[int, Instrument]:
    """The terms of each sid in force on `day` (the day of the cut in UTC), as known at `cut`; `plain` in `currency` for
    one of which the master has nothing, or, by the calendar of its market, in that of `elsewhere`.
    """
    asked, when = set(sids), day or cut.date()
    found = {one.sid: one for one in listed(store, cut, when) if one.sid in asked}
    named = {sid: ids for sid, ids in _identifiers(store, cut, when).items() if sid in asked - set(found)}
    of = _calendars(store, cut, asked - set(found), elsewhere) if elsewhere else {}
    return {
        sid: found.get(sid) or _named(_plain(sid, currency, of.get(sid), elsewhere), named.get(sid)) for sid in sids
    }


def _plain(sid: int, currency: str, code: str | None, elsewhere: Mapping[str, str]) -> Instrument:
    return plain(sid, currency) if code is None else replace(plain(sid, elsewhere[code]), calendar=code)


def _calendars(store: Store, cut: datetime, sids: Collection[int], codes: Collection[str]) -> dict[int, str]:
    """Of the names that are listed in a market of one of these calendars, by sid, which it is."""
    rows = store.read(LISTINGS, as_of=cut, columns=("calendar",))
    there = rows.filter(pl.col("sid").is_in(list(sids)), pl.col("calendar").is_in(list(codes)))
    return dict(there.select("sid", "calendar").iter_rows())


def listed(store: Store, cut: datetime, day: date | None = None) -> list[Instrument]:
    """Every instrument that the master has and that is or was listed, by symbol, with the terms and identifiers in
    force on `day` as known at `cut`.
    """
    when = day or cut.date()
    terms = _resolved(store, _latest(store, INSTRUMENTS, cut, when, "symbol"), cut)
    if terms.is_empty():
        return []
    names = _identifiers(store, cut, when)
    return [_instrument(row, names.get(row["sid"], {})) for row in terms.sort("symbol").iter_rows(named=True)]


def _identifiers(store: Store, cut: datetime, when: date) -> dict[int, dict[str, str]]:
    """By sid the identifiers in force on a day, by scheme."""
    rows = _resolved(store, _latest(store, IDENTIFIERS, cut, when, "scheme", "symbol"), cut, "scheme")
    names: dict[int, dict[str, str]] = {}
    given = rows.filter(pl.col("identifier").fill_null("") != "") if rows.height else rows
    for sid, scheme, identifier in given.select("sid", "scheme", "identifier").iter_rows():
        names.setdefault(sid, {})[scheme] = identifier
    return names


def _named(one: Instrument, ids: dict[str, str] | None) -> Instrument:
    return replace(one, ids=ids) if ids else one


def find(store: Store, cut: datetime, scheme: str, identifier: str, currency: str) -> Instrument:
    """The instrument that `identifier` means in `scheme` (symbol, figi, isin, conid, exchange, or a vendor or broker
    whose tickers are known), as known at `cut`. Tickers are compared as they are written, then in their canonical form.

    Raises InstrumentUnknown for one that means none, or several; the message has those that may be meant.
    """
    asked = identifier.strip()
    if not is_valid(scheme, asked):
        raise InstrumentUnknown(f"{identifier!r} is no {scheme.upper()}: its form or its check digit is wrong")
    claims = _claims(store, cut).filter(scheme=scheme)
    exactly = claims.filter(pl.col("identifier") == asked)
    if exactly.is_empty() and scheme not in CHECKED:
        wanted = pl.DataFrame({"identifier": [asked]}).select(canonical("identifier")).item()
        exactly = claims.filter(canonical("identifier") == wanted)
    sids = exactly["sid"].drop_nulls().unique().sort().to_list()
    if len(sids) == 1:
        terms = instruments(store, sids, cut, currency)[sids[0]]
        return terms if terms.symbol else plain(sids[0], currency, exactly["symbol"].drop_nulls().item(0))
    raise InstrumentUnknown(_unclear(scheme, identifier, claims, exactly, sids))


def _unclear(scheme: str, identifier: str, claims: pl.DataFrame, exactly: pl.DataFrame, sids: list[int]) -> str:
    """What an identifier may mean that means no one instrument."""
    if sids:
        meant = ", ".join(
            f"{symbol} (sid {sid})" for symbol, sid in exactly.select("symbol", "sid").unique().sort("sid").iter_rows()
        )
        return f"{scheme} {identifier!r} means {len(sids)} instruments: {meant}; give one of their symbols"
    if exactly.height:
        symbol = exactly["symbol"].item(0)
        return f"{scheme} {identifier!r} is {symbol}, which is not listed here: no bar of it was ingested"
    if claims.is_empty():
        return f"nothing is known in the scheme {scheme!r}; a feed of the dataset `identifiers` brings it"
    near = get_close_matches(identifier.upper(), [i.upper() for i in claims["identifier"].unique().to_list()], 5, 0.5)
    return f"no instrument is {identifier!r} in the scheme {scheme!r}" + (f"; near are {', '.join(near)}" * bool(near))


def _claims(store: Store, cut: datetime) -> pl.DataFrame:
    """scheme, identifier, symbol, sid (null: not listed): what each identifier means on the day of the cut."""
    when = cut.date()
    known = known_by(store.read(LISTINGS, as_of=cut), cut)
    ours = symbols(known.select("sid").unique().with_columns(session=pl.lit(when)), known, cut).drop_nulls()
    own = ours.select(scheme=pl.lit(SYMBOL), identifier="symbol", symbol="symbol", sid="sid")
    given = _resolved(store, _latest(store, IDENTIFIERS, cut, when, "scheme", "symbol"), cut, "scheme", unlisted=True)
    vendors = _latest(store, SECURITIES, cut, when, "venue", "symbol")
    called = [
        vendors.select("session", "symbol", pl.lit(scheme).alias("scheme"), identifier=scheme)
        for scheme in ("isin", "figi")
    ]
    other = _resolved(store, pl.concat(called), cut, "scheme", unlisted=True)
    parts = [own, *(f.select(own.columns) for f in (given, other))]
    return pl.concat(parts).filter(pl.col("identifier").fill_null("") != "").unique(maintain_order=True)


def _latest(store: Store, table: Table, cut: datetime, when: date, *by: str) -> pl.DataFrame:
    """The rows in force at `cut` that hold on the day `when`, one of each `by` and venue."""
    rows = in_force(store.read(table, as_of=cut, last=when), table)
    entity = [*by, *(["calendar"] if "calendar" in table.schema else [])]
    return rows.sort("session").unique(entity, keep="last", maintain_order=True)


def _resolved(store: Store, rows: pl.DataFrame, cut: datetime, *by: str, unlisted: bool = False) -> pl.DataFrame:
    """`rows` (session, symbol, …) with the sid that the symbol meant, the last one of each sid and `by`.

    A symbol's terms may begin before its listing does: they are those of the instrument that was listed first.
    """
    if rows.is_empty():
        return rows.with_columns(sid=pl.lit(None, pl.Int64))
    known = known_by(store.read(LISTINGS, as_of=cut), cut)
    begun = known.filter("listed").group_by(_canonical=canonical()).agg(begins=pl.col("session").min())
    clamped = (
        rows.with_columns(_canonical=canonical(), _from="session")
        .join(begun, on="_canonical", how="left", maintain_order="left")
        .with_columns(session=pl.max_horizontal("session", "begins"))
    )
    found = resolve(clamped, known, cut).with_columns(session="_from").drop("_canonical", "_from", "begins")
    kept = found.filter(pl.col("sid").is_not_null()).sort("session").unique(["sid", *by], keep="last")
    return pl.concat([kept, found.filter(pl.col("sid").is_null())]) if unlisted else kept


def _instrument(row: Mapping[str, Any], ids: dict[str, str]) -> Instrument:
    currency, each = paid_in(row["currency"])  # of one of pence all amounts of money are
    amounts = {c: other if row[c] is None else _plainly(row[c]) for c, other in _AMOUNTS.items()}
    amounts |= {c: amounts[c] * each for c in ("multiplier", "min_notional")}
    margin, per_unit = (None if row[c] is None else _plainly(row[c]) for c in ("initial_margin", "contract_margin"))
    return Instrument(
        sid=row["sid"],
        symbol=row["symbol"],
        kind=row["kind"],
        currency=currency,
        calendar=row["calendar"],
        underlying=row["underlying"] or "",
        expiry=row["expiry"],
        first_notice=row["first_notice"],
        ids=ids,
        **amounts,
        initial_margin=margin,
        contract_margin=None if per_unit is None else per_unit * each,
    )


def _plainly(amount: Decimal) -> Decimal:
    """The amount without the zeros that its column pads it with: 100, not 1E+2."""
    return Decimal(f"{amount.normalize():f}")
