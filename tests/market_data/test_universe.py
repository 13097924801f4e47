"""Who is a member, and since when that was known."""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from quant_assets.market_data import universe
from quant_assets.market_data.calendars import Cuts, calendar
from quant_assets.market_data.ingest import ingest
from quant_assets.signals.strategy import UniverseRule
from quant_assets.tables import BARS, UNIVERSE
from resources.store import DeltaStore

XNYS = calendar("XNYS")
CUTS = Cuts(XNYS)
NOW = datetime(2026, 1, 2, tzinfo=UTC)
RULE = UniverseRule(name="top", size=3, lookback=8, min_price=3.0)
DAYS = XNYS.between(date(2016, 3, 21), date(2016, 5, 6))
# by close (volume is 1000 throughout): F is below the price floor, E stops on 2016-04-27, D overtakes C in April
CLOSES = {"A": 40.0, "B": 30.0, "C": 20.0, "D": 10.0, "E": 50.0, "F": 2.0}


def close(symbol: str, day: date) -> float | None:
    if symbol == "E" and day > date(2016, 4, 27):
        return None
    return 25.0 if symbol == "D" and day >= date(2016, 4, 4) else CLOSES[symbol]


@pytest.fixture(scope="module")
def store(capture: Callable[..., Any], captures: Any, tmp_path_factory: pytest.TempPathFactory) -> DeltaStore:
    """Seven weeks of six names."""
    held = {d: capture(d, [(s, d, c) for s in CLOSES if (c := close(s, d)) is not None], {s: s for s in CLOSES if close(s, d) is not None}) for d in DAYS}
    monday = date(2016, 4, 4)
    restated = [("C", d, 99.0) for d in XNYS.between(DAYS[3], date(2016, 4, 1))]  # known behind the cut of 2016-04-01
    held[monday] = capture(monday, restated + [(s, monday, close(s, monday)) for s in CLOSES], {s: s for s in CLOSES})
    opened = DeltaStore(tmp_path_factory.mktemp("universe"))
    ingest(captures(held), opened, None, NOW, DAYS, XNYS)
    return opened


class Drawn:
    """The store with a universe table of its own."""

    def __init__(self, store: DeltaStore, root: Path) -> None:
        self.market = store
        self.own = DeltaStore(root)

    def read(self, table: Any, **more: Any) -> pl.DataFrame:
        """The own universe, the shared market."""
        return (self.own if table is UNIVERSE else self.market).read(table, **more)

    def append(self, table: Any, frame: pl.DataFrame) -> int:
        """Into the own universe."""
        return self.own.append(table, frame)


def symbols(store: Any, frame: pl.DataFrame) -> dict[date, str]:
    names = store.read(BARS, as_of=None).select("sid", "symbol").unique()
    return {d: "".join(sorted(g["symbol"])) for (d,), g in frame.join(names, on="sid").sort("session").partition_by("session", as_dict=True).items()}  # type: ignore[misc]


def draw(store: DeltaStore, root: Path, sessions: Sequence[date]) -> Drawn:
    drawn = Drawn(store, root)
    universe.update(drawn, CUTS, RULE, sessions)  # type: ignore[arg-type]
    return drawn


def test_the_most_liquid_are_drawn_monthly(store: DeltaStore, tmp_path: Path) -> None:
    """From the session that completes the lookback, then at each month's first: by median dollar volume, above the price floor, listed."""
    drawn = draw(store, tmp_path, DAYS)
    rows = drawn.read(UNIVERSE, as_of=None)
    assert rows.select("session", "until").unique().sort("session").rows() == [(date(2016, 3, 31), date(2016, 4, 1)), (date(2016, 4, 1), date(2016, 5, 2)), (date(2016, 5, 2), date(2016, 6, 1))]
    by_day = symbols(drawn, universe.members(rows, DAYS))
    assert [by_day.get(d) for d in (DAYS[6], DAYS[7], date(2016, 4, 1), date(2016, 4, 29), date(2016, 5, 2))] == [None, "ABE", "ABE", "ABE", "ABD"]
    assert rows.select((pl.col("known_at") == pl.col("session").map_elements(CUTS.of, return_dtype=pl.Datetime("us", "UTC"))).all()).item()


def test_a_range_of_months_equals_its_days(store: DeltaStore, tmp_path: Path) -> None:
    """Drawn in one call, day by day, or twice, the intervals are the same rows."""
    at_once, daily = draw(store, tmp_path / "a", DAYS), Drawn(store, tmp_path / "b")
    for day in DAYS:
        universe.update(daily, CUTS, RULE, [day])  # type: ignore[arg-type]
    assert_frame_equal(at_once.read(UNIVERSE, as_of=None), daily.read(UNIVERSE, as_of=None), check_exact=True)
    assert universe.update(daily, CUTS, RULE, DAYS).rows == 0  # type: ignore[arg-type]


def test_later_rows_change_nothing(store: DeltaStore) -> None:
    """Membership at a month's first session reads what was known at its cut: rows that came later leave it as it was."""

    class Until(DeltaStore):
        def read(self, table: Any, *, as_of: datetime | None, **more: Any) -> pl.DataFrame:
            """Nothing known after the cut."""
            return super().read(table, as_of=min(as_of or NOW, CUTS.of(date(2016, 4, 1))), **more)

    first = date(2016, 4, 1)
    assert_frame_equal(universe.select(store, CUTS, RULE, first), universe.select(Until(store.root), CUTS, RULE, first), check_exact=True)


def test_former_members_are_remembered_for_a_year(store: DeltaStore, tmp_path: Path) -> None:
    """E left in May: a former member from then on, for the twelve months after its interval ended; while a member it is not a former one."""
    rows = draw(store, tmp_path, DAYS).read(UNIVERSE, as_of=None)
    asked = [date(2016, 4, 29), date(2016, 5, 6), date(2017, 5, 1), date(2017, 5, 2)]
    assert symbols(store, universe.former_members(rows, asked)) == {date(2016, 5, 6): "E", date(2017, 5, 1): "ABDE", date(2017, 5, 2): "ABD"}


def test_ties_go_to_the_smaller_sid(store: DeltaStore, capture: Callable[..., Any], captures: Any, tmp_path: Path) -> None:
    """Equal dollar volumes are ranked by sid."""
    days = DAYS[:8]
    held = {d: capture(d, [(s, d, 10.0) for s in "VWXYZ"]) for d in days}
    opened = DeltaStore(tmp_path)
    ingest(captures(held), opened, None, NOW, days, XNYS)
    chosen = universe.select(opened, CUTS, RULE, days[-1]).sort("rank")["sid"].to_list()
    assert chosen == sorted(opened.read(BARS, as_of=None)["sid"].unique().to_list())[:3]
