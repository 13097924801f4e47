"""Who is a member, and since when that was known."""

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from quant_assets.calendars import Cuts, calendar
from quant_assets.contract import Table
from quant_assets.market_data import universe
from quant_assets.market_data.ingest import ingest
from quant_assets.market_data.membership import Membership
from quant_assets.strategy import Eligibility, Strategy, UniverseRule
from quant_assets.tables import BARS, LISTINGS, UNIVERSE
from quant_assets.vendor_tables import INDEX_MEMBERS, SECTORS
from resources.tables.store import DeltaStore

REPOSITORY = Path(__file__).parents[2]
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
    held = {
        d: capture(
            d,
            [(s, d, c) for s in CLOSES if (c := close(s, d)) is not None],
            {s: s for s in CLOSES if close(s, d) is not None},
        )
        for d in DAYS
    }
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
    return {
        d: "".join(sorted(g["symbol"]))
        for (d,), g in frame.join(names, on="sid").sort("session").partition_by("session", as_dict=True).items()
    }  # type: ignore[misc]


def draw(store: DeltaStore, root: Path, sessions: Sequence[date]) -> Drawn:
    drawn = Drawn(store, root)
    universe.update(drawn, CUTS, RULE, sessions)  # type: ignore[arg-type]
    return drawn


def test_the_most_liquid_are_drawn_monthly(store: DeltaStore, tmp_path: Path) -> None:
    """From the session that completes the lookback, then at each month's first: by median dollar volume, above the
    price floor, listed.
    """
    drawn = draw(store, tmp_path, DAYS)
    rows = drawn.read(UNIVERSE, as_of=None)
    assert rows.select("session", "until").unique().sort("session").rows() == [
        (date(2016, 3, 31), date(2016, 4, 1)),
        (date(2016, 4, 1), date(2016, 5, 2)),
        (date(2016, 5, 2), date(2016, 6, 1)),
    ]
    by_day = symbols(drawn, Membership.from_universe(rows).at(DAYS, CUTS).rename({"who": "sid"}))
    assert [by_day.get(d) for d in (DAYS[6], DAYS[7], date(2016, 4, 1), date(2016, 4, 29), date(2016, 5, 2))] == [
        None,
        "ABE",
        "ABE",
        "ABE",
        "ABD",
    ]
    assert rows.select(
        (pl.col("known_at") == pl.col("session").map_elements(CUTS.of, return_dtype=pl.Datetime("us", "UTC"))).all()
    ).item()


def test_a_range_of_months_equals_its_days(store: DeltaStore, tmp_path: Path) -> None:
    """Drawn in one call, day by day, or twice, the intervals are the same rows."""
    at_once, daily = draw(store, tmp_path / "a", DAYS), Drawn(store, tmp_path / "b")
    for day in DAYS:
        universe.update(daily, CUTS, RULE, [day])  # type: ignore[arg-type]
    assert_frame_equal(at_once.read(UNIVERSE, as_of=None), daily.read(UNIVERSE, as_of=None), check_exact=True)
    assert universe.update(daily, CUTS, RULE, DAYS).rows == 0  # type: ignore[arg-type]


def test_later_rows_change_nothing(store: DeltaStore) -> None:
    """Membership at a month's first session reads what was known at its cut: rows that came later leave it as it
    was.
    """

    class Until(DeltaStore):
        def read(self, table: Any, *, as_of: datetime | None, **more: Any) -> pl.DataFrame:
            """Nothing known after the cut."""
            return super().read(table, as_of=min(as_of or NOW, CUTS.of(date(2016, 4, 1))), **more)

    first = date(2016, 4, 1)
    assert_frame_equal(
        universe.select(store, CUTS, RULE, first),
        universe.select(Until(store.root), CUTS, RULE, first),
        check_exact=True,
    )


def test_former_members_are_remembered_for_a_year(store: DeltaStore, tmp_path: Path) -> None:
    """E left in May: a former member from then on, for the twelve months after its interval ended; while a member it is
    not a former one.
    """
    rows = draw(store, tmp_path, DAYS).read(UNIVERSE, as_of=None)
    asked = [date(2016, 4, 29), date(2016, 5, 6), date(2017, 5, 1), date(2017, 5, 2)]
    assert symbols(store, Membership.from_universe(rows).former(asked, CUTS).rename({"who": "sid"})) == {
        date(2016, 5, 6): "E",
        date(2017, 5, 1): "ABDE",
        date(2017, 5, 2): "ABD",
    }


def test_ties_go_to_the_smaller_sid(
    store: DeltaStore, capture: Callable[..., Any], captures: Any, tmp_path: Path
) -> None:
    """Equal dollar volumes are ranked by sid."""
    days = DAYS[:8]
    held = {d: capture(d, [(s, d, 10.0) for s in "VWXYZ"]) for d in days}
    opened = DeltaStore(tmp_path)
    ingest(captures(held), opened, None, NOW, days, XNYS)
    chosen = universe.select(opened, CUTS, RULE, days[-1]).sort("rank")["sid"].to_list()
    assert chosen == sorted(opened.read(BARS, as_of=None)["sid"].unique().to_list())[:3]


def told(table: Table, *rows: dict[str, object]) -> pl.DataFrame:
    """Rows of a dataset, known at `known_at`."""
    origin = {"withdrawn": False, "source": "test", "capture": date(2016, 1, 1), "file": "f", "line": 1}
    return table.conform(
        pl.DataFrame(
            [{**dict.fromkeys(table.schema), **origin, "declared_known_at": r["known_at"], **r} for r in rows],
            schema=dict(table.schema),
        )
    )


def at(month: int, day: int, hour: int = 0) -> datetime:
    return datetime(2016, month, day, hour, tzinfo=UTC)


@pytest.fixture(scope="module")
def described(store: DeltaStore) -> DeltaStore:
    """The same weeks, with an index and sectors: some of it known only after the cut of 2016-05-02, which is 2016-05-03
    13:15.
    """
    late, early, session = at(5, 3, 14), at(5, 3, 12), date(2016, 5, 2)
    members = [
        ("a", date(2016, 1, 1), True, at(1, 2)),
        ("C", date(2016, 1, 1), True, at(1, 2)),
        ("C", session, False, late),
        ("D", date(2016, 4, 1), True, at(4, 1)),
        ("D", session, False, early),
        ("B", session, True, late),
    ]
    store.append(
        INDEX_MEMBERS,
        told(
            INDEX_MEMBERS,
            *({"index": "big", "symbol": s, "session": d, "member": m, "known_at": k} for s, d, m, k in members),
        ),
    )
    store.append(
        INDEX_MEMBERS,
        told(
            INDEX_MEMBERS,
            {"index": "small", "symbol": "F", "session": session, "member": True, "known_at": early},
            {"index": "small", "symbol": "B", "session": session, "member": True, "known_at": early},
        ),
    )
    sectors = [
        ("A", date(2016, 1, 1), "Banks", at(1, 2)),
        ("B", date(2016, 1, 1), "Banks", at(1, 2)),
        ("A", session, "Steel", early),
        ("D", date(2016, 1, 1), "Steel", at(1, 2)),
        ("D", session, "Banks", late),
    ]
    store.append(
        SECTORS,
        told(
            SECTORS, *({"scheme": "s", "symbol": s, "session": d, "sector": x, "known_at": k} for s, d, x, k in sectors)
        ),
    )
    return store


@pytest.mark.parametrize(
    ("eligible", "members"),
    [
        (Eligibility(), "ABD"),
        (
            Eligibility(index=("big",)),
            "AC",
        ),  # B's entry and C's exit are not known yet, D's exit is; the vendor writes a
        (Eligibility(index=("big", "small")), "ABC"),  # one of them is enough; F stays below the price floor
        (Eligibility(index=("nobody's",)), ""),
        (Eligibility(min_dollar_volume=26_000.0), "AB"),
        (
            Eligibility(exclude_sectors=("Banks",), sector_scheme="s"),
            "AD",
        ),  # A is steel by now, D still is; of C nothing is known
        (Eligibility(exclude_sectors=("Banks",)), ""),  # the listings say nothing about sectors
        (Eligibility(index=("big",), exclude_sectors=("Steel",), sector_scheme="s"), ""),
    ],
)
def test_only_the_eligible_are_drawn(described: DeltaStore, eligible: Eligibility, members: str) -> None:
    """Index, liquidity and sector as known at the cut; what is unknown of a name keeps it out where it is asked for."""
    chosen = universe.select(described, CUTS, msgspec.structs.replace(RULE, eligible=eligible), date(2016, 5, 2))
    assert symbols(described, chosen.select("session", "sid")).get(date(2016, 5, 2), "") == members


def test_a_name_must_have_been_listed_long_enough(described: DeltaStore) -> None:
    """Of the sessions that we know of, today's counts: with as many as there were since the first listing all are
    drawn, with one more none.
    """
    first = described.read(LISTINGS, as_of=None)["session"].min()
    age = len(XNYS.between(first, date(2016, 5, 2)))  # type: ignore[arg-type]
    drawn = [
        universe.select(
            described, CUTS, msgspec.structs.replace(RULE, eligible=Eligibility(min_sessions=n)), date(2016, 5, 2)
        ).height
        for n in (age, age + 1)
    ]
    assert drawn == [3, 0]


def test_a_rule_without_conditions_is_declared_as_before() -> None:
    """Conditions that are not set are no part of what a strategy's hash covers; those that are, are, and without their
    defaults.
    """
    assert msgspec.to_builtins(UniverseRule()) == {"name": "liquid", "size": 500, "lookback": 20, "min_price": 3.0}
    indexed = UniverseRule(eligible=Eligibility(index=("sp500",)))
    assert msgspec.to_builtins(indexed)["eligible"] == {"index": ("sp500",)}
    assert msgspec.json.decode(msgspec.json.encode(indexed), type=UniverseRule) == indexed
    assert Strategy(name="s", universe=indexed).config_hash != Strategy(name="s").config_hash


def functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    """Every function and method of the platform, with the place where it stands."""
    for path in sorted(
        p for floor in ("quant_assets", "resources", "jobs") for p in (REPOSITORY / floor).rglob("*.py")
    ):
        yield from (
            (f"{path.relative_to(REPOSITORY)}:{n.lineno} {n.name}", n)
            for n in ast.walk(ast.parse(path.read_text()))
            if isinstance(n, ast.FunctionDef)
        )


def test_nobody_can_be_asked_for_members_without_a_cut() -> None:
    """A function that tells members takes a cut, or the cuts of its sessions: today's members of a past session cannot
    be asked for.
    """
    telling = re.compile(r"(^|_)(members?|constituents?)($|_)")
    of_names = [
        (where, f)
        for where, f in functions()
        if telling.search(f.name)
        and not f.name.startswith("_")
        and f.returns is not None
        and "Frame" in ast.unparse(f.returns)
    ]
    without = [
        where
        for where, f in of_names
        if not {"Cuts", "datetime"}
        & {ast.unparse(a.annotation) for a in (*f.args.args, *f.args.kwonlyargs) if a.annotation}
    ]
    assert not without, without


def test_nobody_reads_members_as_of_no_time() -> None:
    """Whoever reads a universe or an index names the cut up to which it may be known."""
    reads = [
        (where, call)
        for where, f in functions()
        for call in ast.walk(f)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr == "read"
        and call.args
    ]
    of_members = [(where, call) for where, call in reads if ast.unparse(call.args[0]) in {"UNIVERSE", "INDEX_MEMBERS"}]
    assert len(of_members) >= 5
    endless = [
        where
        for where, call in of_members
        if any(k.arg == "as_of" and ast.unparse(k.value) == "None" for k in call.keywords)
    ]
    assert not endless, endless
