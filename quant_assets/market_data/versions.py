"""Which bars of some deliveries are new versions: those that differ from the version known before them."""

import polars as pl

from quant_assets.market_data.known import SAYS


def versions(rows: pl.DataFrame, standing: pl.DataFrame) -> pl.DataFrame:
    """The rows that differ, with `withdrawn` (false), `restated` (there was a version before) and `opened` (none was in
    force).

    `rows`: clean rows of deliveries with sid and delivery, one for each instrument, session and delivery; `standing`:
    the latest version, of each bar, that was known before all of them.
    """
    subject = ("sid", "session")
    nothing = {c: pl.lit(None, t) for c, t in rows.schema.items() if c not in standing.columns}
    before = standing.with_columns(**nothing).with_columns(delivery=pl.lit(-1, pl.Int32))
    given = rows.with_columns(withdrawn=pl.lit(value=False))
    both = pl.concat([before.select(given.columns), given]) if before.height else given
    both = both.sort(*subject, "delivery")
    stood = pl.all_horizontal(pl.col(c) == pl.col(c).shift(1) for c in subject).fill_null(value=False)
    ended = pl.col("withdrawn").shift(1, fill_value=False)
    differs = pl.any_horizontal(pl.col(c).ne_missing(pl.col(c).shift(1)) for c in SAYS) | ended
    return both.with_columns(restated=stood, opened=~stood | ended).filter(
        (pl.col("delivery") >= 0) & (~pl.col("restated") | differs)
    )
