"""The blast radius on the real panel: of the vendor's own restatement that moved a member most, of all that it changed
in the quarter, and of a close that we restate by a tenth.

    python -m bench.restatement [HOME]

It needs the real market data (QUANT_SHARED_DATA, or ../shared/data). The home is made once, in about two minutes, and
used again. Times are ratios to deriving and trading the whole quarter anew, in the same run.
"""

import os
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import polars as pl

from bench.real_panel import BEGIN, BOOKS, CUT, FIRST, LAST, STRATEGY, timed, workspace
from desk.blast_radius import Radius, blast_radius
from desk.counterfactual import rederive, retrade
from desk.day import arrive, derive
from desk.workspace import Workspace
from quant_assets.backtest.loop import run
from quant_assets.contract import in_force
from quant_assets.market_data.membership import Membership
from quant_assets.market_data.restatements import Selection, changes
from quant_assets.tables import BARS, DECISIONS, NAV, UNIVERSE

T = TypeVar("T")


def prepared(home: Path, data: Path) -> Workspace:
    """The quarter decided and traded in the research book, after its history."""
    ws = workspace(home, data)
    sessions = ws.cuts.calendar
    if ws.store.read(NAV, as_of=None, where={"book": BOOKS[0].name}).is_empty():
        timed(arrive(ws, CUT), "history")
        timed(derive(ws, sessions.between(BEGIN, CUT), train_at=[CUT]), "history")
        timed(arrive(ws, LAST), "range")
        timed(derive(ws, sessions.between(FIRST, LAST)), "range")
        timed([run(ws.store, ws.strategy_of(BOOKS[0]), BOOKS[0], ws.cuts, sessions.between(FIRST, LAST))], "range")
    return ws


def clocked(what: Callable[[], T]) -> tuple[T, float]:
    """The answer, and the seconds it took."""
    start = time.perf_counter()
    return what(), time.perf_counter() - start


def vendors_own(ws: Workspace) -> Selection:
    """The restated row of a member in the quarter of which close or volume moved most."""
    told = changes(ws.store, ws.cuts, Selection(first=FIRST, last=LAST, until=ws.cuts.of(LAST)), (BARS,))
    print(
        "changes of bars of the quarter: "
        + ", ".join(f"{k} {n:,}" for k, n in told.group_by("kind").len().sort("kind").iter_rows())
    )
    ratios = {
        c: pl.col("new").str.json_path_match(f"$.{c}").cast(pl.Float64)
        / pl.col("old").str.json_path_match(f"$.{c}").cast(pl.Float64)
        for c in ("close", "volume")
    }
    moved = (
        told.filter(pl.col("kind") == "restated")
        .with_columns(**ratios)
        .with_columns(move=pl.max_horizontal(pl.col("close", "volume").log().abs()))
    )
    chosen = (
        Membership.from_universe(ws.store.read(UNIVERSE, as_of=None))
        .at(ws.cuts.calendar.between(FIRST, LAST), ws.cuts)
        .select("session", sid="who")
    )
    of_members = (
        moved.join(chosen, on=["session", "sid"], how="semi")
        .filter(pl.col("move").is_finite())
        .sort("move", "session", "sid", descending=[True, False, False])
    )
    print(
        f"restated closes {moved['close'].is_not_null().sum()}, of members "
        f"{of_members['close'].is_not_null().sum()}; restated rows of members {of_members.height:,}"
    )
    row = of_members.row(0, named=True)
    return Selection(first=row["session"], last=row["session"], sids=(row["sid"],), until=ws.cuts.of(LAST))


def ours(ws: Workspace) -> Selection:
    """The close of the best-ranked name in the middle of the quarter, said a tenth higher a minute after the last
    cut.
    """
    sessions = ws.cuts.calendar.between(FIRST, LAST)
    session, moment = sessions[len(sessions) // 2], ws.cuts.of(LAST) + timedelta(minutes=1)
    sid = ws.store.read(DECISIONS, as_of=None, first=session, last=session).filter(rank=1)["sid"].item()
    row = in_force(ws.store.read(BARS, as_of=ws.cuts.of(LAST), first=session, last=session, where={"sid": sid}), BARS)
    higher = (pl.col("close") * 1.1).round(2)
    ws.store.append(
        BARS, row.with_columns(close=higher, high=pl.max_horizontal("high", higher), known_at=pl.lit(moment))
    )
    return Selection(first=session, last=session, sids=(sid,), since=ws.cuts.of(LAST))


def printed(title: str, radius: Radius, seconds: float, whole: float) -> None:
    """The radius, and what it cost."""
    print(f"\n{title}")
    for change in radius.changes.head(3).iter_rows(named=True):
        print(
            f"  {change['symbol']} {change['session']} {change['kind']}: {change['old']} -> "
            f"{change['new']}, known {change['was_known_at']} -> {change['known_at']}"
        )
    print(f"  {radius.sentence}")
    with pl.Config(
        tbl_rows=8, tbl_cols=12, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True, tbl_width_chars=150
    ):
        for name in ("features", "derived", "scores", "decisions", "trades", "pnl"):
            rows: pl.DataFrame = getattr(radius, name)
            if rows.height:
                print(f"  {name}, {rows.height:,}\n{rows.head(8)}")
    print(
        f"  {radius.sessions} sessions looked at, {seconds:.1f} s, {seconds / whole:.2f} of deriving and "
        f"trading the quarter anew"
    )


def main(home: Path, data: Path) -> None:
    """The whole story, printed."""
    ws = prepared(home, data)

    def anew() -> None:
        store, sessions = rederive(ws, {}, FIRST, LAST, print)
        retrade(ws, store, BOOKS[0], FIRST)
        differ = [
            t.name
            for t in (DECISIONS, NAV)
            if not store.read(t, as_of=None).select(t.content).equals(ws.store.read(t, as_of=None).select(t.content))
        ]
        print(f"the quarter anew, nothing restated: {len(sessions)} sessions, tables that differ: {differ or 'none'}")

    _, whole = clocked(anew)
    print(f"the quarter anew: {whole:.1f} s")
    own = vendors_own(ws)
    printed("the vendor's own restatement of a member that moved most", *clocked(lambda: blast_radius(ws, own)), whole)
    everything = Selection(first=FIRST, last=LAST, until=ws.cuts.of(LAST))
    printed("all that the vendor changed in the quarter", *clocked(lambda: blast_radius(ws, everything)), whole)
    meant = ours(ws)
    printed(
        f"a close of {STRATEGY.name}'s first choice, a tenth higher", *clocked(lambda: blast_radius(ws, meant)), whole
    )


if __name__ == "__main__":
    here = Path(__file__).parents[1]
    shared = Path(os.environ.get("QUANT_SHARED_DATA", here.parent / "shared" / "data")) / "pystock"
    main(Path(sys.argv[1] if len(sys.argv) > 1 else ".quant/restatement").absolute(), shared)
