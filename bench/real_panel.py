"""The real run: a vendor's real captures, three champions, 62 sessions traded on paper, by range and day by day,
compared to the bit.

    make real-run            (or: python -m bench.real_panel HOME)

It needs the real market data (QUANT_SHARED_DATA, or ../shared/data). The universe of that panel was chosen with
hindsight: the run proves the machinery, it does not judge the strategy.
"""

import resource
import shutil
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from pathlib import Path

import polars as pl

from desk.day import arrive, derive, provenance, run_day
from desk.deployment import Deployment
from desk.workspace import Workspace
from quant_assets.backtest.loop import run
from quant_assets.contract import in_force
from quant_assets.evaluation import ic_estimate, rank_ic
from quant_assets.features.catalogue import find_set
from quant_assets.features.publish import anchors, as_versions
from quant_assets.post_trade.report import range_report
from quant_assets.records import Book, StageReport
from quant_assets.signals.replay import replay
from quant_assets.strategy import ModelRule, Strategy, UniverseRule
from quant_assets.tables import (
    ACTIONS,
    BARS,
    CAPTURES,
    COSTS,
    DECISIONS,
    FILLS,
    JOURNAL,
    LABELS,
    LISTINGS,
    MODELS,
    NAV,
    PNL,
    POSITIONS,
    PROMOTIONS,
    QUARANTINE,
    SCORES,
    UNIVERSE,
    VERDICTS,
)
from resources.sources.files import ColumnMapping, PriceFile

FIRST, LAST = date(2016, 4, 1), date(2016, 6, 29)
CUT = date(2016, 3, 31)
BEGIN = date(2015, 3, 23)
STRATEGY = Strategy(
    name="liquid_real",
    universe=UniverseRule(name="liquid_500", size=500),
    holdings=50,
    model=ModelRule(min_sessions=195, min_ic=-1.0),  # the machine is measured, not the signal: a champion is needed
)
BOOKS = (
    Book(name="research", strategy=STRATEGY.name, account="RESEARCH", capital=Decimal(10_000_000)),
    Book(
        name="paper", strategy=STRATEGY.name, account="PAPER-1", capital=Decimal(10_000_000), broker="paper", armed=True
    ),
)
SECONDS: dict[str, float] = defaultdict(float)


def workspace(home: Path, data: Path) -> Workspace:
    """A workspace on the real panel."""
    source = PriceFile(
        prices=str(data / "prices_20150323_20160630.parquet"),
        listings=str(data / "listings_to_20160630.parquet"),
        mapping=ColumnMapping(session="date", label="captured_on", adj_close="adj_close"),
        known_at="label+1d@13:00",
    )
    return Workspace(home, Deployment(source=source, strategies=(STRATEGY,), books=BOOKS, start=FIRST, clock="session"))


def timed(reports: Iterable[StageReport], prefix: str, *, quiet: bool = False) -> list[StageReport]:
    """Run the stages, adding up seconds under `prefix` and the stage's name."""
    out, start = [], time.perf_counter()
    for r in reports:
        now = time.perf_counter()
        SECONDS[f"{prefix} {r.stage}"] += now - start
        if not quiet:
            print(
                f"  {now - start:7.1f} s  {r.stage:24} {r.state:8} {r.reason[:80]} "
                f"{ {k: round(v, 4) for k, v in r.numbers.items()} }",
                flush=True,
            )
        out.append(r)
        start = time.perf_counter()
    return out


def compare(one: Workspace, other: Workspace) -> dict[str, tuple[int, int]]:
    """Rows of the traded sessions in each daily table, and how many differ in any bit of their content."""
    daily = (
        CAPTURES,
        BARS,
        ACTIONS,
        LISTINGS,
        QUARANTINE,
        VERDICTS,
        UNIVERSE,
        find_set(STRATEGY.feature_set).table,
        LABELS,
        MODELS,
        PROMOTIONS,
        SCORES,
        DECISIONS,
    )
    found = {}
    for table in daily:
        frames = [w.store.read(table, as_of=None, last=LAST).select(table.content) for w in (one, other)]
        found[table.name] = (frames[0].height, differing(frames[0], frames[1]))
    for table in (FILLS, POSITIONS, JOURNAL, PNL, NAV, COSTS):
        ours = one.store.read(table, as_of=None, first=FIRST, last=LAST, where={"book": "research"})
        live = other.store.read(table, as_of=None, first=FIRST, last=LAST, where={"book": "paper"})
        drop = [c for c in ("book", "exec_id", "client_order_id", "reference", "known_at") if c in table.schema]
        frames = [f.drop(drop).sort(pl.all()) for f in (ours, live)]
        found[f"{table.name} (range book against live book)"] = (
            frames[0].height,
            frames[0].height
            + frames[1].height
            - 2 * frames[0].join(frames[1], on=frames[0].columns, how="semi", nulls_equal=True).height,
        )
    return found


def differing(one: pl.DataFrame, other: pl.DataFrame) -> int:
    """Rows that are not in both frames with the same bits."""
    return (
        one.join(other, on=one.columns, how="anti", nulls_equal=True).height
        + other.join(one, on=one.columns, how="anti", nulls_equal=True).height
    )


def vintages(ws: Workspace) -> dict[str, int]:
    """How many late versions start a vintage, by cause, in the blocks of the whole panel."""
    features, causes = find_set(STRATEGY.feature_set), Counter[str]()
    sessions = ws.cuts.calendar.between(FIRST, LAST)
    anchor = anchors(ws.store, features, ws.cuts, sessions)["anchor"][0]
    bars, actions = as_versions(ws.store, features, ws.cuts, anchor, LAST)
    first_known = bars.sort("sid", "i", "e").with_columns(n=pl.int_range(pl.len()).over("sid", "i"))
    late = first_known.filter("late")
    causes["late rows"] = late.filter((pl.col("n") == 0) & ~pl.col("withdrawn")).height
    causes["withdrawals"] = late.filter("withdrawn").height
    before = pl.col("close").shift(1).over("sid", "i")
    prices = pl.any_horizontal(
        pl.col(c) != pl.col(c).shift(1).over("sid", "i") for c in ("open", "high", "low", "close")
    )
    restated = first_known.with_columns(price=prices.fill_null(value=False), known_before=before.is_not_null()).filter(
        pl.col("late") & (pl.col("n") > 0) & ~pl.col("withdrawn")
    )
    causes["restated prices"] = restated.filter("price").height
    causes["restated volume alone"] = restated.filter(~pl.col("price")).height
    causes["late actions"] = actions.filter("late").height
    return dict(causes)


def main(home: Path, data: Path) -> None:
    """The whole story, printed."""
    start = time.perf_counter()
    shutil.rmtree(home, ignore_errors=True)
    history = workspace(home / "history", data)
    sessions = history.cuts.calendar
    days = sessions.between(BEGIN, CUT)
    print("history to 2016-03-31, in range calls")
    timed(arrive(history, CUT), "history")
    timed(derive(history, days, train_at=[CUT]), "history")
    ranged, daily = (workspace(home / name, data) for name in ("range", "daily"))
    for ws in (ranged, daily):
        shutil.copytree(history.home, ws.home)
    traded = sessions.between(FIRST, LAST)

    print(f"the range: {len(traded)} sessions in one call each")
    timed(arrive(ranged, LAST), "range")
    timed(derive(ranged, traded), "range")
    timed([run(ranged.store, STRATEGY, BOOKS[0], ranged.cuts, traded)], "range")

    print("day by day, through the outbox and the paper venue")
    orders = Counter[str]()
    for session in traded:
        reports = timed(run_day(daily, session), "day", quiet=True)
        by_stage = {r.stage: r for r in reports}
        for name in ("breaks_found",):
            orders[name] += int(by_stage["reconcile"].numbers[name])
        print(
            f"  {session} " + " ".join(f"{r.stage}:{r.state}" for r in reports if r.state == "refused"),
            end="\r",
            flush=True,
        )

    print("\ncompared: rows, rows that differ")
    for name, (rows, different) in compare(ranged, daily).items():
        print(f"  {name:44} {rows:>10,} {different:>6,}")

    print("replay of one decision a week")
    stamp = provenance(daily)
    for monday in traded[::5]:
        decided = daily.store.read(DECISIONS, as_of=None, first=monday, last=monday).filter(
            pl.col("reason") == "SELECTED"
        )
        if decided.height:
            answer = replay(
                daily.store, find_set, daily.deployment.strategy, daily.cuts, decided["decision_id"][0], stamp
            )
            print(f"  {monday} {answer.decision_id} {answer.symbol:6} {'equal' if answer.equal else 'DIFFERS'}")

    tell(daily, orders)
    print(f"report: {range_report(daily.store, BOOKS[1], FIRST, LAST, folder=daily.reports)}")
    print(
        "seconds by stage: "
        + ", ".join(f"{k} {v:.1f}" for k, v in sorted(SECONDS.items(), key=lambda kv: -kv[1]) if v >= 0.5)
    )
    print(
        f"in all {time.perf_counter() - start:.0f} s, peak memory "
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB"
    )


def tell(ws: Workspace, orders: Counter[str]) -> None:
    """The figures of the run."""
    store = ws.store
    captures, bars = store.read(CAPTURES, as_of=None), store.read(BARS, as_of=None)
    print(
        f"captures {captures.height}, rows {captures['rows'].sum():,}, versions of bars {bars.height:,}, "
        f"restatements {bars.height - bars.select('sid', 'session').n_unique():,}, instruments "
        f"{bars['sid'].n_unique():,}"
    )
    print(
        "quarantined: "
        + ", ".join(
            f"{r} {n:,}"
            for r, n in store.read(QUARANTINE, as_of=None)
            .group_by("reason")
            .len()
            .sort("len", descending=True)
            .iter_rows()
        )
    )
    actions = in_force(store.read(ACTIONS, as_of=None), ACTIONS)
    print("actions: " + ", ".join(f"{k} {n:,}" for k, n in actions.group_by("kind").len().sort("kind").iter_rows()))
    sbux = store.read(LISTINGS, as_of=None).filter(pl.col("symbol") == "SBUX")["sid"].unique()
    print(
        "SBUX: "
        + ", ".join(
            f"{a['kind']} {a['numerator']}:{a['denominator']} ex {a['session']}"
            for a in actions.filter(pl.col("sid").is_in(sbux.implode()) & (pl.col("kind") == "split")).iter_rows(
                named=True
            )
        )
    )
    cb = (
        store.read(LISTINGS, as_of=None)
        .filter(pl.col("symbol") == "CB")
        .select("sid", "session", "name", "listed")
        .sort("session")
    )
    print(f"CB: {cb['sid'].n_unique()} instruments: {cb.rows()}")
    print(f"vintages started, by cause: {vintages(ws)}")
    scores, labels = store.read(SCORES, as_of=None, first=FIRST), in_force(store.read(LABELS, as_of=None), LABELS)
    judged = ic_estimate(
        rank_ic(scores.join(labels.select("session", "sid", "value"), on=["session", "sid"])), STRATEGY.horizon
    )
    print(
        f"out-of-sample rank IC {judged.mean:+.4f} ± {judged.error:.4f} (Newey-West), t "
        f"{judged.t or 0.0:+.2f}, {judged.n} sessions"
    )
    decisions = store.read(DECISIONS, as_of=None, first=FIRST)
    print(
        "decisions: "
        + ", ".join(
            f"{r} {n:,}" for r, n in decisions.group_by("reason").len().sort("len", descending=True).iter_rows()
        )
    )
    sent = ws.ledger.outbox.orders("paper")
    print(
        f"orders {len(sent):,}: "
        + ", ".join(f"{s} {n:,}" for s, n in Counter(w.state.value for w in sent).items())
        + f"; fills {len(ws.ledger.executions.fills('paper')):,}; breaks {orders['breaks_found']}"
    )
    nav, costs = (
        store.read(NAV, as_of=None, where={"book": "paper"}),
        store.read(COSTS, as_of=None, where={"book": "paper"}),
    )
    net, fees = (float(nav[c].sum()) for c in ("pnl", "fees"))
    print(
        f"P&L gross of fees {net + fees:,.2f}, fees {fees:,.2f}, net {net:,.2f}; shortfall "
        f"{costs['shortfall'].sum():,.2f} (delay {costs['delay'].sum():,.2f}, trading "
        f"{costs['trading'].sum():,.2f}, opportunity {costs['opportunity'].sum():,.2f})"
    )


if __name__ == "__main__":
    import os

    here = Path(__file__).parents[1]
    shared = Path(os.environ.get("QUANT_SHARED_DATA", here.parent / "shared" / "data")) / "pystock"
    main(Path(sys.argv[1] if len(sys.argv) > 1 else ".quant/real").absolute(), shared)
