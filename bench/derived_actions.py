"""Splits, dividends and spin-offs derived from the real panel, against the candidates that came with it: precision and
recall, and every difference with a verdict.

    python -m bench.derived_actions [HOME]      (a minute and a half; HOME keeps the ingested tables for the next time)

The candidates are the ratios of adjusted to raw close of the session before, wherever they are not one: no truth, but a
list made by somebody else. Each difference was looked at in the prices around it; what was found stands in `VERDICTS`.
"""

import os
import sys
import tempfile
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl

from bench.real_panel import workspace
from desk.workspace import Workspace
from quant_assets.contract import in_force
from quant_assets.market_data.ingest import ingest
from quant_assets.market_data.proposals import listed
from quant_assets.tables import ACTIONS, BARS, PROPOSED_ACTIONS

DERIVED = ("split", "dividend", "spin_off")
NOW = datetime(2026, 1, 2, tzinfo=UTC)
TWICE = "one dividend, which the vendor's adjusted closes place on two sessions; ours keeps the first"
TRIPLED = (
    "a real dividend: in the 2015-04-06 drop, which holds every row three times, two of three rows adjust for "
    "it and one does not; ours quarantines the three as CONFLICT"
)
SPUN_AND_PAID = "two actions in one factor, which cannot be told apart; ours quarantines it"
VERDICTS: dict[tuple[str, str], tuple[str, str]] = {
    ("HCHC", "2015-11-12"): (
        "ours",
        "no action: the price does not move (6.97, then 6.92), and the next drop adjusts no more",
    ),
    ("RTK", "2015-08-19"): (
        "ours",
        "the 1:10 split is ex 2015-08-20, where both list it (0.72, then 6.79); the vendor adjusted one drop early",
    ),
    ("IO", "2016-02-04"): (
        "ours",
        "the 1:15 split is ex 2016-02-05, where both list it (0.38, then 6.06); the vendor adjusted one drop early",
    ),
    ("RMI", "2015-09-28"): ("ours", "both sessions of the drop are adjusted alike: it announces an action for later"),
    ("RMI", "2015-09-30"): ("ours", "both sessions of the drop are adjusted alike: it announces an action for later"),
    ("RMI", "2015-10-01"): (
        "candidates",
        (
            "the announced dividend, which the vendor then moved to 2015-10-05; the drops between are missing, "
            "so ours keeps it where it was announced"
        ),
    ),
    ("RMI", "2015-10-05"): (
        "candidates",
        "the same 0.64 as announced for 2015-10-01, found again: right session, but a second row would pay it twice",
    ),
    ("FV", "2015-09-23"): (
        "ours",
        "0.002 a share, stated to the sixth decimal (23.200001, 23.198001); the candidates' threshold is above it",
    ),
    ("WIN", "2015-04-27"): (
        "neither",
        (
            f"a 1:6 reverse split with the spin-off of CS&L (7.83, then 11.72): the vendor's factor of 0.327 "
            f"fits no price; {SPUN_AND_PAID}"
        ),
    ),
    ("CSC", "2015-11-30"): (
        "neither",
        (
            "the spin-off of CSRA with 10.50 in cash (68.62, then 30.85): the vendor's factor of 0.268 counts "
            "part of it twice; ours quarantines what the open contradicts so"
        ),
    ),
    ("IHG", "2016-05-09"): (
        "neither",
        f"a consolidation of 6 into 5 with a special dividend (39.25, then 39.16); {SPUN_AND_PAID}",
    ),
    ("RYAAY", "2015-10-28"): (
        "neither",
        f"a consolidation of 40 into 39 with a return of capital (80.56, then 81.54); {SPUN_AND_PAID}",
    ),
    **{
        (symbol, "2015-04-06"): ("candidates", TRIPLED)
        for symbol in ("AEO", "DG", "DGX", "FEIC", "GPS", "NYRT", "NYT", "SFBS")
    },
    **dict.fromkeys(
        (
            ("NYMT", "2015-06-26"),
            ("FMO", "2015-05-13"),
            ("NHF", "2015-06-19"),
            ("FFIN", "2015-06-12"),
            ("HOT", "2015-06-04"),
        ),
        ("ours", TWICE),
    ),
    **dict.fromkeys((("WGO", "2015-04-20"), ("SLW", "2015-05-18"), ("BBD", "2016-03-03")), ("ours", TWICE)),
    ("PBA", "2015-05-21"): ("ours", f"{TWICE} (0.131, the next day 0.125: paid in Canadian dollars)"),
}


def ingested(home: Path, data: Path) -> Workspace:
    """The workspace of the panel with all its captures taken in."""
    ws = workspace(home, data)
    if ws.store.version(ACTIONS) < 0:
        ingest(ws.source, ws.store, None, NOW, ws.source.labels(), ws.cuts.calendar)
    return ws


def ours(ws: Workspace) -> pl.DataFrame:
    """Columns symbol (of the time), session, kind, derived factor of prices, confidence."""
    actions = (
        in_force(ws.store.read(ACTIONS, as_of=None), ACTIONS).filter(pl.col("kind").is_in(DERIVED)).sort("session")
    )
    bars = in_force(ws.store.read(BARS, as_of=None), BARS).select("sid", "session", "symbol", "close").sort("session")
    named = actions.join_asof(bars.select("sid", "session", "symbol"), on="session", by="sid", check_sortedness=False)
    named = named.join_asof(
        bars.select("sid", "session", before="close"),
        on="session",
        by="sid",
        allow_exact_matches=False,
        check_sortedness=False,
    )
    paid = pl.coalesce(pl.col("cash").cast(pl.Float64), "value") / pl.col("before")
    return named.select(
        "symbol",
        "session",
        "kind",
        "confidence",
        ours=pl.when(kind="split").then(pl.col("denominator") / pl.col("numerator")).otherwise(1 - paid),
    )


def candidates(ws: Workspace, data: Path) -> pl.DataFrame:
    """Columns symbol, session (the one after the close that was adjusted), factor; each once."""
    listed = pl.read_parquet(data / "derived_adjustment_factors_to_20160630.parquet")
    days = {d: ws.cuts.calendar.shift(d, 1) for d in listed["prev_session"].unique().to_list()}
    return listed.select(
        "symbol", "factor", session=pl.col("prev_session").replace_strict(days, return_dtype=pl.Date)
    ).unique(["symbol", "session"], maintain_order=True)


def asked(ws: Workspace) -> pl.DataFrame:
    """Columns symbol, session, asked: what a person is asked, which is not applied and counts as missed."""
    rows = listed(ws.store.read(PROPOSED_ACTIONS, as_of=None))
    return rows.select("symbol", "session", asked=pl.lit("asked: ") + pl.col("explanations"))


def show(found: pl.DataFrame, theirs_all: pl.DataFrame, proposed: pl.DataFrame) -> None:
    """Print precision and recall by kind of what is applied, then the differences, and what a person is asked of."""
    both = found.join(theirs_all, on=["symbol", "session"], how="full", coalesce=True)
    # what a candidate that ours does not know would be: prices rise with consolidations only
    kind = pl.coalesce(
        "kind",
        pl.when((pl.col("factor") > 1) | (pl.col("factor") < 0.7)).then(pl.lit("split")).otherwise(pl.lit("dividend")),
    )
    text = pl.col("session").dt.to_string()
    both = both.with_columns(kind=kind, hit=pl.col("ours").is_not_null() & pl.col("factor").is_not_null(), at=text)
    looked = pl.DataFrame(
        [(*k, *v) for k, v in VERDICTS.items()], schema=["symbol", "at", "right", "why"], orient="row"
    )
    both = both.join(looked, on=["symbol", "at"], how="left", maintain_order="left")
    both = both.join(proposed, on=["symbol", "session"], how="left", maintain_order="left")
    print(
        f"{'':12}{'ours':>8}{'theirs':>8}{'both':>8}{'precision':>12}{'recall':>10}   after verdicts: "
        f"{'precision':>9}{'recall':>10}"
    )
    for name in (*DERIVED, "all"):
        of = both if name == "all" else both.filter(pl.col("kind") == name)
        mine, theirs, hits = (
            of.filter(c).height for c in (pl.col("ours").is_not_null(), pl.col("factor").is_not_null(), pl.col("hit"))
        )
        wrong = of.filter(
            ~pl.col("hit"), pl.col("ours").is_not_null(), (pl.col("right") != "ours").fill_null(value=True)
        ).height
        missed = of.filter(
            ~pl.col("hit"), pl.col("ours").is_null(), (pl.col("right") != "ours").fill_null(value=True)
        ).height
        true = mine - wrong
        print(
            f"{name:12}{mine:>8,}{theirs:>8,}{hits:>8,}{hits / max(mine, 1):>12.4%}{hits / max(theirs, 1):>10.4%}   "
            f"{'':16}{true / max(mine, 1):>9.4%}{true / max(true + missed, 1):>10.4%}"
        )
    off = both.filter("hit").select(off=(pl.col("ours") / pl.col("factor") - 1).abs())["off"]
    print(
        f"of the {off.len():,} in both the factor differs by at most {off.max():.1e}, in the median by "
        f"{off.median():.1e}"
    )
    print("differences:")
    for row in both.filter(~pl.col("hit")).sort("session", "symbol").iter_rows(named=True):
        side = (
            f"ours alone, {row['kind']} {row['ours']:.6f}"
            if row["factor"] is None
            else f"candidate alone, {row['factor']:.6f}"
        )
        print(
            f"  {row['symbol']:6}{row['session']}  {side:34} right: "
            f"{row['right'] or 'nobody looked yet':12} {row['why'] or ''} {row['asked'] or ''}"
        )
    asked_too = both.filter(pl.col("asked").is_not_null() & ~pl.col("hit")).height
    known, listed_all = both.filter("hit").height + asked_too, both.filter(pl.col("factor").is_not_null()).height
    print(
        f"a person is asked of {proposed.height} ex-sessions, {asked_too} of them candidates: "
        f"applied or asked are {known:,} of {listed_all:,} ({known / max(listed_all, 1):.4%})"
    )
    spun = found.filter(pl.col("kind") == "spin_off").sort("session")
    print("spin-offs: " + ", ".join(f"{s} {d}" for s, d in spun.select("symbol", "session").iter_rows()))
    unsure: pl.DataFrame = found.filter(pl.col("kind") == "split", pl.col("confidence") < 0.9).sort("session")
    print(
        "splits that the open confirms least: "
        + ", ".join(f"{s} {d} ({c})" for s, d, c in unsure.select("symbol", "session", "confidence").iter_rows())
    )


def main(home: Path, data: Path) -> None:
    """Ingest where that is not done yet, compare, print."""
    ws = ingested(home, data)
    last: date = ws.source.labels()[-1]
    print(f"{len(ws.source.labels())} captures to {last}")
    show(ours(ws), candidates(ws, data), asked(ws))


if __name__ == "__main__":
    shared = Path(os.environ.get("QUANT_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data")) / "pystock"
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]).absolute(), shared)
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(Path(folder), shared)
