"""Slots live equal a range wherever a session is out of the usual: a rest at noon, a half day, clocks that change, a
close that becomes known within the session, a year that ends at a venue that never closes; and with shorts and coins.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest

from desk.day import arrive, derive, ports, run_day, run_slot, slots_in
from desk.deployment import Deployment
from desk.workspace import Workspace
from quant_assets import chain
from quant_assets.calendars import calendar
from quant_assets.contract import Table
from quant_assets.features.intraday import OnBars
from quant_assets.records import Book, StageReport
from quant_assets.tables import CALENDAR_CHANGES, DECISIONS, FILLS, JOURNAL, LISTINGS, NAV, ORDERS, POSITIONS
from quant_assets.vendor_tables import BORROW_RATES, INSTRUMENTS, INTRADAY_BARS
from tests.desk.test_slots import STRATEGY, Registry
from tests.signals import hourly_market as market


class Case(NamedTuple):
    """A venue, the session after which its model is used, those that are lived, and their slots in order."""

    venue: str
    trained: date
    lived: tuple[date, ...]
    slots: tuple[tuple[str, ...], ...]
    stops: tuple[datetime, datetime] | None = None  # an early close of the first session lived, and since when known
    shorts: bool = False


HOURS = tuple(f"{n:02d}:00" for n in range(24))
TOKYO = ("10:00", "11:00", "12:30", "13:30", "14:30")
NEW_YORK = ("10:30", "11:30", "12:30", "13:30", "14:30", "15:30")
CASES = {
    "a rest at noon": Case(
        "XTKS",
        date(2026, 2, 3),
        (date(2026, 2, 4), date(2026, 2, 5)),
        (TOKYO,) * 2,
    ),
    "a half day": Case(
        "XNYS",
        date(2025, 11, 26),
        (date(2025, 11, 28), date(2025, 12, 1)),
        (("10:30", "11:30", "12:30"), NEW_YORK),
    ),
    "clocks go forward": Case("XNYS", date(2026, 3, 5), (date(2026, 3, 6), date(2026, 3, 9)), (NEW_YORK, NEW_YORK)),
    "closed at noon, known then": Case(
        "XNYS",
        date(2026, 2, 3),
        (date(2026, 2, 4), date(2026, 2, 5)),
        (NEW_YORK[:2], NEW_YORK),
        stops=(datetime(2026, 2, 4, 17, tzinfo=UTC), datetime(2026, 2, 4, 17, 5, tzinfo=UTC)),
    ),
    "shorts and coins": Case("XTKS", date(2026, 2, 3), (date(2026, 2, 4), date(2026, 2, 5)), (TOKYO,) * 2, shorts=True),
    "New Year": Case("24/7", date(2025, 12, 30), (date(2025, 12, 31), date(2026, 1, 1)), (HOURS, HOURS)),
}
BEFORE = 14  # sessions of history


def bars_at(venue: str, days: Sequence[date]) -> pl.DataFrame:
    """Hourly bars of a venue, with the names of `hourly_market`; some are missing, some are late."""
    hours, rng = calendar(venue), np.random.default_rng(5)
    starts = hours.grid(days[0], days[-1], 3600)
    moves = rng.normal(0, 0.004, (starts.height, market.NAMES))
    for n in range(1, len(moves)):
        moves[n] += 0.5 * moves[n - 1]
    closes, found = np.round(100 * np.exp(np.cumsum(moves, axis=0)), 2), []
    for n, (session, ts) in enumerate(starts.rows()):
        stops = [*(hours.pause(session) or ())[:1], hours.close(session)]
        end = min([ts + market.HOUR, *(at for at in stops if at > ts)])
        for name in range(market.NAMES):
            late = timedelta(minutes=int(rng.integers(1, 300))) if rng.random() < 0.01 else timedelta(0)
            if rng.random() > 0.01:
                opened = float(closes[max(n - 1, 0), name])
                found.append(market.bar(name, ts, opened, float(closes[n, name]), end + late))
    return market.conformed(found)


def cut_short(bars: pl.DataFrame, case: Case) -> pl.DataFrame:
    """The bars that there are where the first session lived closes early."""
    if case.stops is None:
        return bars
    closes, _ = case.stops
    inside = pl.col("ts").dt.date() == case.lived[0]
    last = pl.when(inside & (pl.col("ts") < closes) & (pl.col("known_at") > closes)).then(pl.lit(closes))
    known = last.otherwise("known_at").cast(bars.schema["known_at"])
    return bars.filter(~(inside & (pl.col("ts") >= closes))).with_columns(known_at=known)


def guarded(day: date) -> list[tuple[Table, pl.DataFrame]]:
    """N0 to N3 can be borrowed, of N3 seven; N4 trades in hundreds, and no order on N5 is worth enough."""
    at = datetime.combine(day, time(), UTC)
    known = {"session": day, "known_at": at, "declared_known_at": at}
    origin = {"withdrawn": False, "source": "hand", "capture": day, "file": "f.csv", "line": 1}
    lent = [{"symbol": f"N{n}", "rate": 0.01, "available": 7 if n == 3 else None} for n in range(4)]
    terms = [{"symbol": "N4", "step": Decimal(100)}, {"symbol": "N5", "min_notional": Decimal(1_000_000)}]
    about = {"calendar": "XTKS", "kind": "equity", "currency": "USD"}
    found = ((BORROW_RATES, lent), (INSTRUMENTS, [about | row for row in terms]))
    return [(table, filled(table, [known | origin | row for row in some])) for table, some in found]


def filled(table: Table, some: Sequence[dict[str, Any]]) -> pl.DataFrame:
    """Rows of a table, null where a column is not named."""
    full = [{c: row.get(c) for c in table.schema} for row in some]
    return table.conform(pl.DataFrame(full, schema=dict(table.schema)))


def announced(ws: Workspace, case: Case) -> None:
    """Record the early close."""
    if case.stops is not None:
        closes, known_at = case.stops
        day = case.lived[0]
        row = {"session": day, "calendar": case.venue, "trades": True, "closes": closes, "known_at": known_at}
        about = {"opens": calendar(case.venue).open(day), "by": "ops", "reason": "power"}
        ws.store.append(CALENDAR_CHANGES, filled(CALENDAR_CHANGES, [row | about]))


def home(root: Path, case: Case, *, live: bool) -> Workspace:
    """A home with a model, on the evening before the first session that is lived."""
    hours = calendar(case.venue)
    strategy = market.renamed(STRATEGY, calendar=case.venue)
    if case.shorts:
        strategy = market.renamed(strategy, construction="long_short")
    book = Book(name="hours", strategy=strategy.name, account="H1", capital=Decimal(100_000))
    venue = Book(name="hours", strategy=strategy.name, account="H1", capital=book.capital, broker="paper", armed=True)
    source: Any = {"kind": "bars_of", "venue": market.VENUE, "frequency": "1h", "delay": 20}
    declared = Deployment(
        source=source,
        strategies=(strategy,),
        books=(venue if live else book,),
        start=case.lived[0] if live else hours.shift(case.lived[-1], 20),
        clock="session",
        calendar=case.venue,
        bars=(OnBars(feature_set=market.FEATURES.name, venue=market.VENUE, calendar=case.venue, delay=20),),
    )
    ws = Workspace(root, declared, registry=Registry())
    begin = hours.shift(case.trained, -BEFORE)
    ws.store.append(INTRADAY_BARS, cut_short(bars_at(case.venue, hours.between(begin, case.lived[-1])), case))
    for table, beside in guarded(case.trained) if case.shorts else ():
        ws.store.append(table, beside)
    list(arrive(ws, case.trained))
    list(derive(ws, hours.between(begin, case.trained), train_at=[case.trained]))
    return ws


def rows(ws: Workspace, table: Any, since: date) -> pl.DataFrame:
    """What is stored of the sessions lived, without when and how it was stored."""
    found = ws.store.read(table, as_of=None).filter(pl.col("session") >= since)
    return found.select(table.content).sort(*(c for c in table.key if c in table.content))


@pytest.mark.parametrize("name", CASES)
def test_live_equals_the_range(name: str, tmp_path: Path) -> None:
    """The same decisions, orders, fills and cents, and no break."""
    case = CASES[name]
    live = home(tmp_path / "live", case, live=True)
    list(run_day(live, case.trained))
    reports = list[StageReport]()
    for session, names in zip(case.lived, case.slots, strict=True):
        for slot in slots_in(live, [session])[: len(names)]:
            reports += run_slot(live, slot)
        if session == case.lived[0] and case.stops is not None:
            announced(live, case)
            live = Workspace(live.home, live.deployment, registry=Registry())
        assert tuple(s.slot for s in slots_in(live, [session])) == names
        reports += run_day(live, session)
    assert not [r for r in reports if "failed" in r.reason]
    ranged = home(tmp_path / "range", case, live=False)
    announced(ranged, case)
    ranged = Workspace(ranged.home, ranged.deployment, registry=Registry())
    list(arrive(ranged, case.lived[-1]))
    list(derive(ranged, list(case.lived)))  # a month may end in it
    list(chain.RESEARCH.run(ports(ranged, ranged.clock) | {"sessions": [case.trained, *case.lived]}))
    assert rows(live, FILLS, case.lived[0]).height > 4
    for table in (DECISIONS, ORDERS, FILLS, JOURNAL, POSITIONS, NAV):
        one, other = rows(live, table, case.lived[0]), rows(ranged, table, case.lived[0])
        assert one.equals(other), table.name
    assert live.ledger.breaks.listed(open_only=False) == []
    if case.shorts:
        guards_held(live, case.lived[0])


def guards_held(ws: Workspace, since: date) -> None:
    """What is sold short can be borrowed, in whole steps, and nothing is ordered below what its venue takes."""
    called = {symbol.upper(): sid for sid, symbol in ws.store.read(LISTINGS, as_of=None).select("sid", "symbol").rows()}
    held = rows(ws, POSITIONS, since)
    short = held.filter(pl.col("quantity") < 0)
    assert short.height > 0
    assert set(short["sid"]) <= {called[f"N{n}"] for n in range(4)}
    traded = rows(ws, FILLS, since).filter(sid=called["N3"]).sort("ts")
    assert (traded["side"] * traded["quantity"]).cum_sum().min() == -7
    decided = rows(ws, DECISIONS, since).filter(pl.col("target_weight") != 0)
    assert called["N5"] in set(decided["sid"])
    assert called["N5"] not in set(rows(ws, ORDERS, since)["sid"])
    assert {called[f"N{n}"] for n in range(6, 9)} & set(decided.filter(pl.col("target_weight") < 0)["sid"])
