"""As-of adjustment of the whole panel, 3,000 names × 2,500 sessions, against three ways of writing it that give the
same answer.

    python -m bench.adjustment [NAMES SESSIONS]         (some three minutes on two cores)

Bars and actions are in memory when the clock starts, and all rows of all columns when it stops. The contestants take
turns in one process per number of threads, Polars and DuckDB on as many as said, pandas on one; medians of the rounds.
The peers are the join-as-of that Polars users write, DuckDB's windows and ASOF joins, and a pandas loop over the names.
Of a peer's prices and volumes none may differ from ours by more than 1e-12.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from statistics import median

import duckdb
import numpy as np
import polars as pl

from quant_assets.frames import span
from quant_assets.market_data.adjustment import adjusted
from quant_assets.tables import ACTIONS

ROUNDS = 3
COLUMNS = ("open", "high", "low", "close", "volume")
WINDOWS = """
with located as (
    select a.sid, a.session, a.ratio, a.paid / b.close as paid
    from moves a asof join bars b on a.sid = b.sid and a.session > b.session),
grown as (
    select sid, session, product(ratio / (1 - paid)) over w as growth, product(ratio) over w as shares from located
    window w as (partition by sid order by session rows between current row and unbounded following))
select b.sid, b.session, open / coalesce(growth, 1) as open, high / coalesce(growth, 1) as high,
    low / coalesce(growth, 1) as low, close / coalesce(growth, 1) as close, volume * coalesce(shares, 1) as volume
from bars b asof left join grown g on b.sid = g.sid and b.session < g.session
"""


def panel(names: int, sessions: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Random walks with four dividends a year and some two splits in ten: BARS and ACTIONS as in force."""
    random = np.random.default_rng(11)
    days = np.arange(sessions) * 7 // 5 + date(2014, 1, 2).toordinal() - date(1970, 1, 1).toordinal()
    close = np.exp(3 + np.cumsum(random.normal(0, 0.01, (names, sessions)), axis=1)).ravel()
    grid = {"sid": np.repeat(np.arange(names), sessions), "session": np.tile(days.astype(np.int32), names)}
    prices = {"open": close * 1.001, "high": close * 1.01, "low": close * 0.99, "close": close}
    bars = pl.DataFrame({**grid, **prices, "volume": random.integers(1_000, 10**7, len(close))}).with_columns(
        pl.col("session").cast(pl.Date)
    )
    quarters = np.arange(30, sessions, 63)
    paid = pl.DataFrame(
        {
            "sid": np.repeat(np.arange(names), len(quarters)),
            "session": np.tile(days[quarters].astype(np.int32), names),
            "kind": "dividend",
            "cash": 0.05,
        }
    )
    chosen = random.random((names, sessions)) < 2 / 2_500
    sid, at = np.nonzero(chosen)
    split = pl.DataFrame(
        {
            "sid": sid,
            "session": days[at].astype(np.int32),
            "kind": "split",
            "numerator": random.integers(2, 5, len(sid)),
            "denominator": 1,
        }
    )
    known = {"withdrawn": False, "origin": "declared", "known_at": datetime(2014, 1, 1, tzinfo=UTC)}
    acted = pl.concat([paid, split], how="diagonal").with_columns(
        pl.col("session").cast(pl.Date), **{c: pl.lit(v) for c, v in known.items()}
    )
    nothing = [pl.lit(None, t).alias(c) for c, t in ACTIONS.schema.items() if c not in acted.columns]
    return bars, acted.with_columns(nothing).select(pl.col(c).cast(t) for c, t in ACTIONS.schema.items()).sort(
        ACTIONS.key
    )


def by_session(actions: pl.DataFrame) -> pl.DataFrame:
    """What the peers start from: sid, session, ratio, paid."""
    ratio = (pl.col("numerator") / pl.col("denominator")).fill_null(1.0).product()
    return (
        actions.group_by("sid", "session")
        .agg(ratio=ratio, paid=pl.col("cash").cast(pl.Float64).fill_null(0.0).sum())
        .sort("sid", "session")
    )


def joined(bars: pl.DataFrame, actions: pl.DataFrame) -> pl.DataFrame:
    """The join as of that Polars users write."""
    closes = bars.select("sid", "session", "close")
    located = (
        by_session(actions)
        .join_asof(
            closes, on="session", by="sid", strategy="backward", allow_exact_matches=False, check_sortedness=False
        )
        .drop_nulls("close")
    )
    grown = located.with_columns(growth=pl.col("ratio") / (1 - pl.col("paid") / pl.col("close"))).select(
        "sid", "session", pl.col("growth", "ratio").cum_prod(reverse=True).over("sid")
    )
    out = bars.join_asof(
        grown, on="session", by="sid", strategy="forward", allow_exact_matches=False, check_sortedness=False
    )
    prices = [(pl.col(c) / pl.col("growth").fill_null(1.0)).alias(c) for c in COLUMNS[:-1]]
    return out.select("sid", "session", *prices, pl.col("volume") * pl.col("ratio").fill_null(1.0))


def windows(bars: pl.DataFrame, actions: pl.DataFrame, threads: int) -> pl.DataFrame:
    """DuckDB's windows and ASOF joins."""
    with duckdb.connect() as con:
        con.execute(f"set threads = {threads:d}")
        con.register("bars", bars.to_arrow())
        con.register("moves", by_session(actions).to_arrow())
        return con.sql(WINDOWS).pl()


def looped(bars: pl.DataFrame, actions: pl.DataFrame) -> pl.DataFrame:
    """A pandas user's loop over the names."""
    import pandas as pd

    frame, moves = bars.to_pandas(), dict(iter(by_session(actions).to_pandas().groupby("sid")))
    done = []
    for sid, of in frame.groupby("sid"):
        one = of.set_index("session")
        prices, shares = np.ones(len(one)), np.ones(len(one))
        for ex, ratio, paid in moves[sid][["session", "ratio", "paid"]].to_numpy() if sid in moves else ():
            at = int(one.index.searchsorted(ex))
            if at:
                prices[:at] *= ratio / (1 - paid / one["close"].iloc[at - 1])
                shares[:at] *= ratio
        done.append(
            one.assign(**{c: one[c] / prices for c in COLUMNS[:-1]}, volume=one["volume"] * shares).reset_index()
        )
    return pl.DataFrame(pl.from_pandas(pd.concat(done)[["sid", "session", *COLUMNS]]))


def compare(names: int, sessions: int, threads: int) -> None:
    """Run the contestants in turns and print their medians beside ours."""
    bars, actions = panel(names, sessions)
    _, last = span(bars["session"], date)
    contestants: dict[str, Callable[[], pl.DataFrame]] = {
        "ours": lambda: adjusted(bars, actions, "adjusted", last),
        "Polars join_asof": lambda: joined(bars, actions),
        f"DuckDB {duckdb.__version__} windows": lambda: windows(bars, actions, threads),
        "pandas loop": lambda: looped(bars, actions),
    }
    print(f"{bars.height:,} rows, {actions.height:,} actions, {threads} thread(s), medians of {ROUNDS}")
    wall: dict[str, list[float]] = {name: [] for name in contestants}
    cpu: dict[str, list[float]] = {name: [] for name in contestants}
    answer = contestants["ours"]()
    for _ in range(ROUNDS):
        for name, run in contestants.items():
            started, used = time.perf_counter(), time.process_time()
            found = run()
            wall[name].append(time.perf_counter() - started)
            cpu[name].append(time.process_time() - used)
            found = found if name == "ours" else found.sort("sid", "session")
            # the maximum of floats
            worst = max(float((found[c] / answer[c] - 1).abs().max()) for c in COLUMNS)  # pyright: ignore[reportArgumentType]
            if found.height != answer.height or worst > 1e-12:
                raise SystemExit(
                    f"{name} answers differently: {found.height:,} rows for {answer.height:,}, off by {worst:.1e}"
                )
    for name in contestants:
        ratios = [median(t / o for t, o in zip(times[name], times["ours"], strict=True)) for times in (wall, cpu)]
        print(
            f"  {name:24} {median(wall[name]):7.2f} s {median(cpu[name]):7.2f} CPU-s   ×{ratios[0]:.1f} of "
            f"ours in time, ×{ratios[1]:.1f} in CPU",
            flush=True,
        )


if __name__ == "__main__":
    size = [int(a) for a in sys.argv[1:3]] or [3_000, 2_500]
    if len(sys.argv) > 3:
        compare(*size, threads=int(sys.argv[3]))
    else:
        for count in ("1", "2"):
            subprocess.run(
                [sys.executable, "-m", "bench.adjustment", *map(str, size), count],
                check=True,
                env={**os.environ, "POLARS_MAX_THREADS": count},
            )  # this file again
