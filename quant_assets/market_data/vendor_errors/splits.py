"""A split that is declared twice: the same ratio again within days, when prices changed their kind of share once."""

import polars as pl

from quant_assets.market_data.vendor_errors.breaks import NEAR, SMALLEST_SPLIT


def once(bars: pl.DataFrame, on_levels: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`bars` without the second declarations that the prices show to be one too many, and a finding for each second
    declaration.

    `on_levels`: the findings of `levels.restored`. Where the prices before the second one were divided by its ratio
    once more, it is taken away; where they were not, either of the two may be the right one, and nothing is mended.
    """
    ratio = pl.when((pl.col("split") > 0) & (pl.col("split").log().abs() >= SMALLEST_SPLIT)).then(pl.col("split"))
    declared = bars.select("_row", "symbol", "session", "split", _ratio=ratio).filter(pl.col("_ratio").is_not_null())
    before = {c: pl.col(c).shift().over("symbol") for c in ("_ratio", "session", "_row")}
    days = (pl.col("session").cast(pl.Date) - before["session"].cast(pl.Date)).dt.total_days()
    again = declared.filter((pl.col("_ratio") - before["_ratio"]).abs() < 1e-9, days <= NEAR)
    doubled = on_levels.filter(pl.col("rule") == pl.lit("SPLIT_DOUBLED"), "repaired").select(_before=pl.col("_row") + 1)
    again = again.with_columns(_taken=pl.col("_row").is_in(doubled["_before"].implode()))
    rows = bars.join(
        again.filter("_taken").select("_row", _none=pl.lit(value=True)), on="_row", how="left", maintain_order="left"
    )
    rows = rows.with_columns(split=pl.when(pl.col("_none")).then(0.0).otherwise("split")).drop("_none")
    text = pl.when("_taken").then(pl.lit("the prices before were divided by it twice: it is one")).otherwise(
        pl.lit("either may be the right one; the evidence does not suffice to mend it")
    )  # fmt: skip
    return rows, again.select(
        pl.col("_row").cast(pl.Int64),
        rule=pl.lit("SPLIT_PHANTOM"),
        column=pl.lit("split"),
        found="split",
        expected=pl.when("_taken").then(0.0),
        confidence=pl.when("_taken").then(0.99).otherwise(0.9),
        repaired="_taken",
        message=pl.format(
            "the split of {} for 1 is declared again within days: {}", pl.col("split").round_sig_figs(6), text
        ),
    )
