"""Which instrument a symbol meant: symbol to sid and back, in a session, as known at a cut.

Reference data are stored under the vendor's own symbols; the sid is looked up when they are read. So a listing
that is corrected later corrects them as well, from the cut on that knew it, and no stored row has to change.
"""

from datetime import datetime

import polars as pl

from quant_assets.contract import in_force, known_by
from quant_assets.tables import LISTINGS


def canonical(symbol: str = "symbol") -> pl.Expr:
    """A symbol as symbols are compared: capitals, and one dot wherever vendors write a dot, dash, slash, underscore or
    blank (BRK.B, BRK-B, BRK/B, BRK B).
    """
    return pl.col(symbol).str.to_uppercase().str.strip_chars().str.replace_all(r"[\s./_\-]+", ".")


def resolve(rows: pl.DataFrame, listings: pl.DataFrame, cut: datetime) -> pl.DataFrame:
    """`rows` (symbol, session, …) in their order with `sid`: the instrument that the symbol meant in that session, as
    known at `cut`; null where it meant none.

    `listings`: versions of LISTINGS rows. Symbols are compared in their canonical form. Where two instruments claim one
    symbol, the later listing has it, for as long as it lasts.
    """
    spans = _spans(listings, cut).with_columns(_key=canonical())
    edges = pl.concat([spans.select("_key", edge=c) for c in ("start", "until")]).unique().drop_nulls()
    claims = edges.join(spans, on="_key").filter(
        (pl.col("start") <= pl.col("edge")) & ((pl.col("edge") < pl.col("until")) | pl.col("until").is_null())
    )
    winners = claims.sort("start", "known_at", "sid").unique(["_key", "edge"], keep="last", maintain_order=True)
    means = edges.join(winners.select("_key", "edge", "sid"), on=["_key", "edge"], how="left").sort("edge")
    return _as_of(rows.with_columns(_key=canonical()), means, "_key", "sid").drop("_key")


def symbols(rows: pl.DataFrame, listings: pl.DataFrame, cut: datetime) -> pl.DataFrame:
    """`rows` (sid, session, …) in their order with `symbol`: under which the instrument was listed in that session, as
    known at `cut`; null where it was not listed.
    """
    spans = _spans(listings, cut)
    ended = (
        spans.filter(pl.col("until").is_not_null())
        .select("sid", edge="until", symbol=pl.lit(None, pl.String))
        .join(spans.select("sid", edge="start"), on=["sid", "edge"], how="anti")
    )
    called = pl.concat([spans.select("sid", edge="start", symbol="symbol"), ended]).sort("edge")
    return _as_of(rows, called, "sid", "symbol")


def _spans(listings: pl.DataFrame, cut: datetime) -> pl.DataFrame:
    """sid, symbol, start, until (null: to this day), known_at: when which instrument was listed under which symbol."""
    said = in_force(known_by(listings, cut), LISTINGS).sort("sid", "session")
    return (
        said.with_columns(until=pl.col("session").shift(-1).over("sid"))
        .filter("listed")
        .select("sid", "symbol", "until", "known_at", start="session")
    )


def _as_of(rows: pl.DataFrame, told: pl.DataFrame, by: str, value: str) -> pl.DataFrame:
    """`rows` in their order with the last `value` that `told` (by, edge, value; sorted by edge) has by each row's
    session.
    """
    kept = rows.drop(value, strict=False).with_row_index("_row").sort("session")
    return (
        kept.join_asof(
            told.select(by, "edge", value), left_on="session", right_on="edge", by=by, check_sortedness=False
        )
        .sort("_row")
        .drop("_row", "edge", strict=False)
    )
