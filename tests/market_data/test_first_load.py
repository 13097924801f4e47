"""Captures judged together leave the rows of captures judged one by one, whatever happens in them."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from quant_assets.calendars import calendar
from quant_assets.contract import Table
from quant_assets.market_data.evidence import Evidence
from quant_assets.market_data.ingest import ingest
from quant_assets.records import Capture
from quant_assets.tables import (
    ACTIONS,
    BARS,
    CAPTURES,
    DATA_FINDINGS,
    LISTINGS,
    PROPOSED_ACTIONS,
    QUARANTINE,
)
from tests.market_data.conftest import PRICES, Captures, build

XNYS = calendar("XNYS")
NOW = datetime(2026, 1, 2, tzinfo=UTC)
TABLES = (CAPTURES, BARS, ACTIONS, PROPOSED_ACTIONS, LISTINGS, QUARANTINE, DATA_FINDINGS)
DAYS = XNYS.between(date(2016, 1, 4), date(2016, 3, 31))[:34]
SYMBOLS = ("AA", "BB", "CC", "DD", "EE")
SOON = Evidence(delisted_after=3)
QUIRKS = (
    "halted",
    "ended",
    "renamed",
    "moved",
    "reused",
    "repeated",
    "contradicted",
    "restated",
    "late",
    "split",
    "dividend",
    "readjusted",
    "bad",
    "thin",
    "missing",
    "weekend",
    "sector",
    "two names",
    "delisted",
    "taken back",
    "odd factor",
)


class Quirk(NamedTuple):
    """What happens to the name at a position, from a session on, for so long."""

    what: str
    who: int
    when: int
    long: int


class Market(NamedTuple):
    """`lists`: whether the vendor lists names, `declares`: actions."""

    sessions: int
    lists: bool
    declares: bool
    quirks: tuple[Quirk, ...]


markets = st.builds(
    Market,
    sessions=st.integers(3, len(DAYS)),
    lists=st.booleans(),
    declares=st.booleans(),
    quirks=st.lists(
        st.builds(
            Quirk,
            what=st.sampled_from(QUIRKS),
            who=st.integers(0, len(SYMBOLS) - 1),
            when=st.integers(1, len(DAYS) - 1),
            long=st.integers(1, 26),
        ),
        max_size=9,
    ).map(tuple),
)


class Memory:
    """A Store that holds frames; it dies before its append number `after`."""

    def __init__(self, after: int = -1) -> None:
        self.frames: dict[str, pl.DataFrame] = {}
        self.left = after

    def append(self, table: Table, frame: pl.DataFrame) -> int:
        """See the port."""
        if self.left == 0:
            raise InterruptedError
        self.left -= 1
        held = self.frames.get(table.name, table.empty())
        new = table.conform(frame).join(held, on=list(table.content), how="anti", nulls_equal=True)
        assert new.join(held, on=table.key, how="semi").is_empty()
        self.frames[table.name] = pl.concat([held, new]).sort(table.key)
        return new.height

    def version(self, table: Table) -> int:
        """See the port."""
        return len(self.frames.get(table.name, ()))

    def read(
        self,
        table: Table,
        *,
        as_of: datetime | None,
        first: date | None = None,
        last: date | None = None,
        where: Any = None,
        columns: Sequence[str] | None = None,
    ) -> pl.DataFrame:
        """See the port."""
        assert as_of is None
        assert columns is None
        rows = self.frames.get(table.name, table.empty())
        span = pl.col(table.event).cast(pl.Date).is_between(first or date.min, last or date.max)
        return rows.filter(span, *(pl.col(c) == v for c, v in (where or {}).items()))


def captures(market: Market) -> Captures:
    """A capture a session with the rows of the session and of the one before, and what the quirks make of them."""
    made: dict[date, Capture] = {}
    for t in range(market.sessions):
        happening = {q.what for q in market.quirks if q.when == t}
        rows = [_row(market, i, t, s) for s in (t - 1, t) if s >= 0 for i in range(len(SYMBOLS))]
        kept = [row for row in rows if row is not None]
        for quirk in market.quirks:
            kept = _disturbed(quirk, t, kept)
        if "missing" in happening:
            continue
        names = [n for i in range(len(SYMBOLS)) for n in _names(market, i, t)]
        listings = pl.DataFrame(names, schema=LISTED, orient="row") if market.lists else None
        told = pl.DataFrame([a for q in market.quirks for a in _told(q, t)], schema=ACTED) if market.declares else None
        saturday = "weekend" in happening and DAYS[t].weekday() == 4
        label = DAYS[t] + timedelta(days=1) if saturday else DAYS[t]
        made[label] = build(label, pl.DataFrame(kept, schema=PRICES, orient="row"), listings, told)
    return Captures(made)


LISTED = {"symbol": pl.String, "name": pl.String, "sector": pl.String}
ACTED = {
    "symbol": pl.String,
    "session": pl.Date,
    "kind": pl.String,
    "numerator": pl.Int64,
    "denominator": pl.Int64,
    "cash": pl.Decimal(38, 6),
    "value": pl.Float64,
    "counterpart": pl.String,
    "file": pl.String,
    "line": pl.Int64,
    "withdrawn": pl.Boolean,
}
Row = tuple[Any, ...]


def _on(market: Market, who: int, t: int, *what: str) -> list[Quirk]:
    return [q for q in market.quirks if q.who == who and q.what in what and q.when <= t]


def _symbol(market: Market, who: int, t: int) -> str:
    return f"{SYMBOLS[who]}X" if _on(market, who, t, "moved") else SYMBOLS[who]


def _row(market: Market, who: int, t: int, s: int) -> Row | None:
    """What the capture of `t` says of a name in session `s`; None where it does not trade."""
    if any(
        q.when <= s < q.when + (q.long if q.what in {"halted", "reused"} else 99)
        for q in _on(market, who, s, "halted", "ended", "reused")
    ):
        return None
    close = round((10 + 7 * who) * (1 + 0.01 * ((3 * who + 5 * s) % 7)), 2)
    close = round(close * (3 if any(q.when + q.long <= s for q in _on(market, who, s, "reused")) else 1), 2)
    close = round(close / 2 ** len(_on(market, who, s, "split")), 4)
    adjusted = close
    for q in market.quirks:
        if q.who == who and s < q.when <= t:
            adjusted *= {"split": 0.5, "dividend": 0.97, "odd factor": 1.137}.get(q.what, 1.0)
        if q.who == who and q.what == "readjusted" and q.when == t and s < t:
            adjusted *= 0.95
    return (_symbol(market, who, t), DAYS[s], close, close, close, close, 1000 + s, round(adjusted, 6))


def _names(market: Market, who: int, t: int) -> list[tuple[str, str, str | None]]:
    """What the vendor lists of a name in the capture of `t`."""
    if _row(market, who, t, t) is None and not any(q.when <= t < q.when + 2 for q in _on(market, who, t, "halted")):
        return []
    again = sorted({q.what for q in _on(market, who, t, "renamed", "reused")})
    name = f"Company {who}{''.join(again)}"
    sector = "Energy" if _on(market, who, t, "sector") else None
    both = [(_symbol(market, who, t), f"Another {who}", sector)] if _on(market, who, t, "two names") else []
    return [(_symbol(market, who, t), name, sector), *both]


def _disturbed(quirk: Quirk, t: int, rows: list[Row]) -> list[Row]:
    """The rows of the capture of `t`, with what the quirk does to them."""
    mine = [r for r in rows if r[0].startswith(SYMBOLS[quirk.who])]
    if quirk.when != t or not mine:
        return rows
    symbol, session, *prices, volume, adjusted = mine[-1]
    late = (symbol, DAYS[max(0, t - quirk.long)], *[1.5] * 4, 9, 1.5)
    made: dict[str, list[Row]] = {
        "repeated": [*rows, mine[-1]],
        "contradicted": [*rows, (symbol, session, *prices, volume + 1, adjusted)],
        "restated": [(*r[:6], r[6] + 7, r[7]) if r is mine[0] else r for r in rows],
        "late": [*rows, late],
        "bad": [(*r[:5], -1.0, *r[6:]) if r is mine[-1] else r for r in rows],
        "thin": rows[-1:],
    }
    return made.get(quirk.what, rows)


def _told(quirk: Quirk, t: int) -> list[dict[str, Any]]:
    """The actions that the vendor declares in the capture of `t`, the session before it happens and on the day."""
    blank = dict.fromkeys(ACTED) | {"symbol": SYMBOLS[quirk.who], "file": "actions.csv", "line": quirk.when}
    terms = {
        "split": {"kind": "split", "numerator": 2, "denominator": 1},
        "dividend": {"kind": "dividend", "cash": 0.25},
        "delisted": {"kind": "delisting", "value": -0.5},
        "ended": {"kind": "merger", "cash": 12},
        "taken back": {"kind": "delisting", "value": -0.5},
    }.get(quirk.what)
    if terms is None or not quirk.when - 1 <= t <= quirk.when + (2 if quirk.what == "taken back" else 0):
        return []
    withdrawn = quirk.what == "taken back" and t > quirk.when
    return [blank | terms | {"session": DAYS[quirk.when], "withdrawn": withdrawn}]


def left(store: Memory) -> dict[str, pl.DataFrame]:
    return {t.name: store.read(t, as_of=None) for t in TABLES}


def assert_same(these: dict[str, pl.DataFrame], those: dict[str, pl.DataFrame]) -> None:
    for name, frame in these.items():
        assert_frame_equal(frame, those[name], check_exact=True)


def one_by_one(source: Captures) -> dict[str, pl.DataFrame]:
    """What a call for each capture leaves."""
    store = Memory()
    for label in source.labels():
        ingest(source, store, None, NOW, [label], XNYS, evidence=SOON)
    return left(store)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(markets, st.integers(1, 40))
def test_captures_together_are_captures_one_by_one(market: Market, chunk: int) -> None:
    """In one call, and in commits of any length, captures leave the rows that a call for each leaves."""
    source = captures(market)
    alone = one_by_one(source)
    together = Memory()
    ingest(source, together, None, NOW, source.labels(), XNYS, evidence=SOON)
    assert_same(left(together), alone)
