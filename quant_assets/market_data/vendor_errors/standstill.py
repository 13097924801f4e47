"""A feed that stopped: a name that trades has the same close quoted for a week or longer without volume.

A halt looks the same, so it is reported and nothing is repaired.
"""

import polars as pl

from quant_assets.market_data.vendor_errors.basis import PRICES
from quant_assets.market_data.vendor_errors.thresholds import Thresholds

SHORTEST = 4  # rows: less is a holiday that the vendor fills in
QUIET = 0.05  # share of untraded rows outside the run above which a name is thin: repeated closes are normal for it


def standing(moves: pl.DataFrame, limits: Thresholds) -> pl.DataFrame:
    """Findings by row (`_row` and the columns of `diagnosis.FINDINGS`) of `moves` (from `volatility.with_moves`) that
    repeat the close before without volume, in runs so long that a name which otherwise trades does not have them.
    """
    still = pl.all_horizontal(pl.col(c) == pl.col("_before") for c in PRICES) & (pl.col("volume").fill_null(0) == 0)
    rows = moves.select("_row", "symbol", "close", "_before", "_class", *PRICES[:3], "volume").with_columns(
        _still=still.fill_null(value=False), _quiet=pl.col("volume").fill_null(0) == 0
    )  # fmt: skip
    rows = rows.filter(pl.col("_class").is_in(["day", "week"]))
    run = (pl.col("_still") != pl.col("_still").shift()).fill_null(value=True).cum_sum().over("symbol")
    rows = rows.with_columns(_run=run).with_columns(
        _long=pl.len().cast(pl.Int64).over("symbol", "_run"),
        _rows=pl.len().cast(pl.Int64).over("symbol"),
        _untraded=pl.col("_quiet").cast(pl.Int64).sum().over("symbol"),
        _ends=pl.col("_run") == pl.col("_run").last().over("symbol"),
    )
    share = (pl.col("_untraded") - pl.col("_long") + 1) / (pl.col("_rows") - pl.col("_long") + 20)
    odds = -pl.col("_long") * share.clip(1e-3, 1.0).log() - limits.stale
    least = pl.when(pl.col("_class") == pl.lit("week")).then(2).otherwise(SHORTEST)
    told = rows.filter(
        "_still", ~pl.col("_ends"), pl.col("_long") >= least, share < QUIET, pl.col("_rows") >= 3 * pl.col("_long")
    ).with_columns(_odds=odds)
    return told.filter(pl.col("_odds") > limits.told).select(
        pl.col("_row").cast(pl.Int64),
        rule=pl.lit("STALE_RUN"),
        column=pl.lit("close"),
        found="close",
        expected=pl.lit(None, pl.Float64),
        confidence=1 / (1 + (-pl.col("_odds").clip(upper_bound=50)).exp()),
        repaired=pl.lit(value=False),
        message=pl.format(
            "the close {} is quoted for {} rows without volume by a name that trades: the feed stood still, "
            "or trading did; the evidence does not suffice to mend it",
            pl.col("close").round_sig_figs(6),
            "_long",
        ),
    )
