"""The look-ahead audit's own record: seeded leaks and the laws that caught them, false alarms over all sets, and what
it costs.

    python -m bench.leaks              (seconds: a small market in memory)
    python -m bench.leaks HOME         (and then every set of sessions on the market stored in HOME, as `make real-run`
    leaves it in .quant/real/daily)

Prints the tables of docs/benchmarks.md. Times are CPU: an audit runs beside other work.
"""

import sys
import time
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl

from quant_assets.calendars import Cuts, calendar
from quant_assets.features.audit.audit import audit
from quant_assets.features.audit.laws import examine
from quant_assets.features.audit.views import Remembered
from quant_assets.features.catalogue import find_sets
from quant_assets.features.sets import DAILY, FeatureSet
from quant_assets.ports import Store
from quant_assets.tables import BARS, UNIVERSE
from resources.tables.store import DeltaStore
from tests.features.audited_market import CUTS, SESSIONS, UNIVERSE_NAME, market
from tests.features.leaks import HONEST, LEAKS, caught
from tests.features.test_audit_rare import LEAKING

NOW = datetime(2026, 11, 21, tzinfo=UTC)  # when an audit is recorded; nothing is stored here


def leaks() -> None:
    """A row for each seeded leak: by which laws it was caught, on which column, and the CPU of its whole audit."""
    print("| leak | caught by | named | CPU ms |\n|---|---|---|---:|")
    missed: list[str] = []
    for leak in LEAKS:
        rows, milliseconds = caught(market(), leak, UNIVERSE_NAME, CUTS, SESSIONS, most=4)
        laws = rows["law"].to_list()
        named = rows.filter(law=leak.law).select("column", "at", "sid").rows()
        column, at, sid = named[0] if named else (None, None, None)
        missed += [] if leak.law in laws else [leak.name]
        print(
            f"| {leak.name} | {', '.join(laws) or 'NOT CAUGHT'} | "
            f"{column or 'a row'}{f', {at}' if at else ''}{f', sid {sid}' if sid is not None else ''} | "
            f"{milliseconds:,.0f} |",
            flush=True,
        )
    print(
        f"\n{len(LEAKS) - len(missed)} of {len(LEAKS)} leaks caught{', missed: ' + ', '.join(missed) if missed else ''}"
    )


def rare() -> None:
    """A row for each leak in one row of 173: whether cuts alone saw it, whether pairs did, and the CPU of both
    audits.
    """
    print(
        "\n| rare leak in | by a cut alone | by pairs | named | CPU ms, cut alone | with pairs "
        "|\n|---|---|---|---|---:|---:|"
    )
    for where, leaking in LEAKING.items():
        found: list[pl.DataFrame] = []
        spent: list[float] = []
        for pairs in (0, 100_000):
            start = time.process_time()
            rows = audit(market(), leaking, UNIVERSE_NAME, CUTS, SESSIONS, now=NOW, most=1, pairs=pairs)
            spent.append((time.process_time() - start) * 1e3)
            found.append(rows.filter(law="truncation"))
        said = ["passed" if f["passed"][0] else "caught" for f in found]
        column, at, sid = found[1].select("column", "at", "sid").row(0)
        print(
            f"| {where} | {' | '.join(said)} | {column}, {at}, sid {sid} | {spent[0]:,.0f} | {spent[1]:,.0f} |",
            flush=True,
        )


def false_alarms(
    store: Store, universe: str, cuts: Cuts, sessions: list[date], sets: list[FeatureSet], most: int
) -> None:
    """A row for each honest set: the laws that it broke (none), the cells compared, and the CPU.

    Sets of bars: their functions alone.
    """
    print("| set | features | laws broken | values compared | CPU s, cuts alone | with pairs | and the pairs |")
    print("|---|---:|---|---:|---:|---:|---|")
    began = time.process_time()
    for feature_set in sets:
        start, alone, chance = time.process_time(), 0.0, ""
        if feature_set.frequency == DAILY:
            audit(store, feature_set, universe, cuts, sessions, now=NOW, most=most, pairs=0)
            alone, start = time.process_time() - start, time.process_time()
            rows = audit(store, feature_set, universe, cuts, sessions, now=NOW, most=most)
            broken, cells = rows.filter(~pl.col("passed"))["law"].to_list(), rows["cells"].sum()
            chance = rows.filter(law="truncation")["evidence"][0].rpartition("sessions. ")[2]
        else:
            found = examine(feature_set)
            broken, cells = [f.law for f in found.findings], sum(found.cells.values())
        print(
            f"| {feature_set.name} | {len(feature_set.features)} | {', '.join(broken) or 'none'} | "
            f"{cells:,} | {alone:.1f} | {time.process_time() - start:.1f} | {chance} |",
            flush=True,
        )
    print(f"\n{len(sets)} sets in {time.process_time() - began:.0f} s of CPU")


def stored(home: Path) -> None:
    """Every set on the universe stored in `home` that has most members, over all sessions that it spans."""
    store, cuts = DeltaStore(home / "tables"), Cuts(calendar("XNYS"))
    universe = store.read(UNIVERSE, as_of=None).group_by("universe").len().sort("len", "universe")["universe"][-1]
    days = store.read(BARS, as_of=None, columns=())["session"].unique().sort()
    sessions = cuts.calendar.between(days[0], days[-1])
    print(f"\n{universe} over {len(sessions)} sessions, {sessions[0]} to {sessions[-1]}, 8 cuts")
    held = Remembered(store, cuts.calendar.shift(sessions[0], -520), sessions[-1])
    false_alarms(held, universe, cuts, sessions, list(find_sets().values()), most=8)


if __name__ == "__main__":
    leaks()
    rare()
    print()
    false_alarms(market(), UNIVERSE_NAME, CUTS, SESSIONS, [*HONEST[1:], *find_sets().values()], most=4)
    for home in sys.argv[1:]:
        stored(Path(home))
