"""Continuous series of futures in the tables: the bars of the contract that is held in each session under the series'
own sid, and an action of kind `roll` at each change of contract.

Nothing adjusted is stored. A roll pays what the old contract cost more than the new one, at closes known before it, so
panels, labels and charts take it into account from its session on and never before: as known at each cut, and without
a later roll.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

import polars as pl

from quant_assets.calendars import Cuts
from quant_assets.market_data.chains import LISTED, Bars, Contract, Quote, Series, gap, held_next, leaves, series_of
from quant_assets.market_data.securities import resolve
from quant_assets.ports import Store
from quant_assets.records import Frozen
from quant_assets.strategy import UniverseRule
from quant_assets.tables import ACTIONS, BARS, LISTINGS
from quant_assets.vendor_tables import INSTRUMENTS, OPEN_INTEREST

SOURCE = "chain"  # of what is derived here; of a bar, before the source of the contract's
AGAIN = timedelta(days=400)  # corrections of a contract's bars that reach further back change no series
CENTS = Decimal("0.000001")


class InForce(Frozen, frozen=True):
    """The contract in which a series is traded in a session, at its last `price`. `over`: it has to be left, and no
    other can take its place.
    """

    series: Series
    sid: int
    symbol: str
    price: Decimal
    over: bool = False


@dataclass
class _Chain:
    """What is stored of a chain: versions of its terms, sids by symbol, bars by sid, open interest by symbol; `market`:
    under which its contracts are listed.
    """

    series: Series
    terms: Sequence[tuple[date, datetime, str, date, date | None, bool]]
    sids: Mapping[str, int]
    bars: dict[int, Bars]
    interest: Mapping[tuple[str, date], Sequence[tuple[datetime, int]]]
    market: str

    def known(self, session: date, cut: datetime) -> list[Contract]:
        """The contracts as known at the cut, with the terms of the session."""
        rows: dict[str, dict[date, Contract | None]] = {}
        for begins, known_at, symbol, expiry, first_notice, withdrawn in self.terms:
            if begins <= session and known_at <= cut and symbol in self.sids:
                one = None if withdrawn else Contract(self.sids[symbol], symbol, expiry, first_notice)
                rows.setdefault(symbol, {})[begins] = one
        latest = (next((c for _, c in sorted(by.items(), reverse=True) if c), None) for by in rows.values())
        return [c for c in latest if c]

    def quotes(self, session: date, cut: datetime, among: Iterable[Contract]) -> dict[int, Quote]:
        """Those of the contracts that traded in the session, as known at the cut."""
        found: dict[int, Quote] = {}
        for contract in among:
            if contract.sid in self.bars and (bar := self.bars[contract.sid].at(session, cut)):
                versions = [n for at, n in self.interest.get((contract.symbol, session), ()) if at <= cut]
                found[contract.sid] = Quote(*bar, versions[-1] if versions else None)
        return found


def extend(store: Store, cuts: Cuts, series: Series, until: date) -> int:
    """Bring the stored rows of a series to `until` and return how many were added; from its beginning where it has
    none. Each row is known when its contents were; the same sessions again add nothing.
    """
    rolls = [roll for roll in _rolls(store, series) if roll[0] <= until]
    seen = store.read(BARS, as_of=None, last=until, where={"sid": series.sid}, columns=())["session"].max()
    done = max([seen if isinstance(seen, date) else date.min, *(session for session, _ in rolls)])
    chain = _read(store, series, cuts.of(until), done, until)
    begins = min((bars.sessions[0] for bars in chain.bars.values() if bars.sessions), default=None)
    if begins is None:
        return 0
    first = cuts.calendar.after(done) if done > date.min else begins
    made: list[tuple[date, datetime, str, float]] = []
    for session in cuts.calendar.between(first, until) if first <= until else []:
        start = not rolls and not made
        before = session if start else cuts.decided_before(session)
        held = made[-1][2] if made else rolls[-1][1] if rolls else ""
        found = _held(chain, cuts, before, session, held)
        if found and found[0].symbol != held:
            made.append((session, cuts.of(before), found[0].symbol, found[1]))
    added = 0
    if made and not rolls:  # first, for a market sees the rows of what is listed in it
        added += store.append(LISTINGS, _listing(chain, made[0][0], made[0][1]))
    added += store.append(ACTIONS, _roll_rows(series, made))
    periods = [*rolls, *((session, symbol) for session, _, symbol, _ in made)]
    return added + _copy(store, cuts, chain, periods, until)


def in_force(store: Store, cuts: Cuts, universe: UniverseRule, session: date) -> Mapping[int, InForce]:
    """By the sid of each series of a universe the contract in which it is traded in the session after `session`, as
    known at the cut of `session`. A series without a contract is left out.
    """
    found: dict[int, InForce] = {}
    following, cut = cuts.calendar.after(session), cuts.of(session)
    for series in series_of(cuts.calendar.code, universe):
        chain = _read(store, series, cut, session, session)
        rolls = [roll for roll in _rolls(store, series) if roll[0] <= session]
        held = _held(chain, cuts, session, following, rolls[-1][1] if rolls else "")
        price = chain.bars[held[0].sid].last(session, cut) if held and held[0].sid in chain.bars else None
        if held and price is not None:
            over = leaves(held[0], series.roll, cuts.calendar, following)
            found[series.sid] = InForce(series, held[0].sid, held[0].symbol, _exact(price), over)
    return found


def _held(chain: _Chain, cuts: Cuts, before: date, session: date, held: str) -> tuple[Contract, float] | None:
    """The contract of `session` as known at the cut of the session `before`, and the gap where it is another one than
    `held`.
    """
    cut = cuts.of(before)
    contracts = chain.known(before, cut)
    mine = next((c for c in contracts if c.symbol == held), None)
    chosen = held_next(chain.series.roll, cuts.calendar, contracts, mine, session, chain.quotes(before, cut, contracts))
    if chosen is None or chosen is mine:
        return None if chosen is None else (chosen, 0.0)
    none = Bars(())
    old = chain.bars.get(mine.sid, none) if mine else none
    return chosen, gap(old, chain.bars[chosen.sid], before, cut)


def _rolls(store: Store, series: Series) -> list[tuple[date, str]]:
    """The stored rolls of a series: from which session on it is which contract."""
    rows = store.read(ACTIONS, as_of=None, where={"sid": series.sid, "kind": "roll"}, columns=("counterpart",))
    return rows.sort("session").select("session", "counterpart").rows()


def _read(store: Store, series: Series, cut: datetime, seen: date, until: date) -> _Chain:
    """What a cut knows of a chain; bars since a month before `seen`, of contracts that had not expired by then."""
    since = seen - timedelta(days=30) if seen > date.min else seen
    where = {"calendar": series.calendar, "underlying": series.root, "kind": "future"}
    terms = store.read(INSTRUMENTS, as_of=cut, where=where).sort("session", "known_at")
    listings = store.read(LISTINGS, as_of=cut)
    asked = terms.group_by("symbol").agg(pl.col("session").min()).sort("symbol")
    begun = listings.filter("listed").group_by("symbol").agg(begins=pl.col("session").min())
    placed = asked.join(begun, on="symbol").select("symbol", session=pl.max_horizontal("session", "begins"))
    sids = dict(resolve(placed, listings, cut).drop_nulls("sid").select("symbol", "sid").iter_rows())
    columns = ("session", "known_at", "symbol", "expiry", "first_notice", "withdrawn")
    alive = set(terms.filter(pl.col("expiry") >= since)["symbol"])
    bars: dict[int, Bars] = {}
    for symbol in sorted(alive & set(sids)):
        rows = store.read(
            BARS,
            as_of=cut,
            first=since if since > date.min else None,
            last=until,
            where={"sid": sids[symbol]},
            columns=("close", "volume", "withdrawn"),
        )
        bars[sids[symbol]] = Bars(rows.select("session", "known_at", "close", "volume", "withdrawn").rows())
    markets = listings.filter(pl.col("sid").is_in(list(sids.values())))["calendar"].drop_nulls().unique().sort()
    interest = _interest(store, series, cut, since, until)
    return _Chain(series, terms.select(columns).rows(), sids, bars, interest, next(iter(markets), ""))


def _interest(
    store: Store, series: Series, cut: datetime, since: date, until: date
) -> Mapping[tuple[str, date], Sequence[tuple[datetime, int]]]:
    if series.roll.when != "open_interest":
        return {}
    first = since if since > date.min else None
    rows = store.read(OPEN_INTEREST, as_of=cut, first=first, last=until, where={"calendar": series.calendar})
    found: dict[tuple[str, date], list[tuple[datetime, int]]] = {}
    stored = rows.filter(~pl.col("withdrawn")).sort("known_at")
    for symbol, session, at, n in stored.select("symbol", "session", "known_at", "open_interest").iter_rows():
        found.setdefault((symbol, session), []).append((at, n))
    return found


def _copy(store: Store, cuts: Cuts, chain: _Chain, periods: Sequence[tuple[date, str]], until: date) -> int:
    """Append the bars of each contract in its sessions, under the series' own name."""
    added = 0
    for n, (start, symbol) in enumerate(periods):
        end = periods[n + 1][0] - timedelta(days=1) if n + 1 < len(periods) else until
        if end < until - AGAIN or symbol not in chain.sids or start > until:
            continue
        rows = store.read(BARS, as_of=cuts.of(until), first=start, last=end, where={"sid": chain.sids[symbol]})
        added += store.append(
            BARS,
            rows.with_columns(
                sid=pl.lit(chain.series.sid),
                symbol=pl.lit(chain.series.symbol),
                adj_close=pl.lit(None, pl.Float64),
                source=pl.concat_str(pl.lit(f"{SOURCE} "), "source"),
            ),
        )
    return added


def _roll_rows(series: Series, made: Sequence[tuple[date, datetime, str, float]]) -> pl.DataFrame:
    rows = [
        {
            "session": session,
            "sid": series.sid,
            "kind": "roll",
            "cash": _exact(cost),
            "counterpart": symbol,
            "origin": "derived",
            "confidence": 1.0,
            "withdrawn": False,
            "source": SOURCE,
            "capture": session,
            "file": series.symbol,
            "line": 0,
            "known_at": known_at,
            "declared_known_at": known_at,
        }
        for session, known_at, symbol, cost in made
    ]
    return pl.DataFrame(rows, schema=dict(ACTIONS.schema))


def _listing(chain: _Chain, session: date, known_at: datetime) -> pl.DataFrame:
    series = chain.series
    row = {
        "session": session,
        "sid": series.sid,
        "symbol": series.symbol,
        "name": f"{series.root} futures, rolled by {series.roll.name}",
        "sector": "Futures",
        "listed": True,
        "capture": LISTED,
        "calendar": chain.market,
        "known_at": known_at,
    }
    return pl.DataFrame([row], schema=dict(LISTINGS.schema))


def _exact(price: float) -> Decimal:
    return Decimal(str(price)).quantize(CENTS)
