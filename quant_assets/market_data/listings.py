"""What becomes of instruments: listed, renamed, moved to another symbol, gone, back; and the corporate actions that
follow.
"""

from datetime import date

import polars as pl

from quant_assets.calendars import Calendar
from quant_assets.contract import in_force
from quant_assets.market_data.actions import COLUMNS
from quant_assets.market_data.adjustment import ENDING
from quant_assets.market_data.identity import Identified
from quant_assets.market_data.known import UNLISTED_FOR, Known
from quant_assets.tables import ACTIONS, LISTINGS

CHANGE = ("session", "sid", "symbol", "name", "sector", "listed", "event")
# undeclared, and the proceeds are unknown: the last price is used instead
DELISTING_CONFIDENCE = 0.5
SYMBOL_CHANGE_CONFIDENCE = 0.9


def changes(
    known: Known,
    assigned: Identified,
    rows: pl.DataFrame,
    standing: pl.DataFrame,
    names: pl.DataFrame | None,
    label: date,
    calendar: Calendar,
) -> pl.DataFrame:
    """One row per instrument whose listing changed (columns `CHANGE`), `known` having learnt the delivery's bars
    already.

    event: new | continued | changed | relisted | ended. An instrument ends when its symbol means another one, when a
    delisting or merger was declared and it no longer trades, or when it has no bar: in three good sessions if the
    vendor no longer lists it (`names`: the vendor's list), in as many as the deployment declares if the vendor has no
    list (None).
    """
    day = calendar.on_or_before(label)
    symbols = assigned.assigned.with_columns(
        name=pl.coalesce("name", "old_name"), sector=pl.coalesce("sector", "old_sector"), until=pl.lit(day)
    )
    span = rows.group_by("sid").agg(newest=pl.col("session").max())
    unheard = (
        rows.join(standing.filter(~pl.col("withdrawn")), on=["sid", "session"], how="anti")
        .group_by("sid")
        .agg(starts=pl.col("session").min())
    )
    symbols = symbols.join(span, on="sid", how="left").join(unheard, on="sid", how="left").sort("symbol")
    back = ~pl.col("listed") & (pl.col("newest") >= pl.col("since"))
    differs = pl.any_horizontal(pl.col(c).ne_missing(pl.col(f"old_{c}")) for c in ("name", "sector"))
    event = (
        pl.when(pl.col("event") == "continued")
        .then(pl.lit("continued"))
        .when(pl.col("event") != "kept")
        .then(pl.lit("new"))
        .when(back)
        .then(pl.lit("relisted"))
        .when(differs & pl.col("listed"))
        .then(pl.lit("changed"))
    )
    starts = (
        pl.when(pl.col("event") == "new")
        .then("first")
        .when(pl.col("event") == "continued")
        .then(pl.coalesce("starts", "until"))
        .otherwise("until")
    )
    begun = (
        symbols.with_columns(event=event, listed=pl.lit(value=True))
        .filter(pl.col("event").is_not_null())
        .with_columns(session=starts)
        .select(CHANGE)
    )
    return pl.concat([begun, _ended(known, assigned, names, label, calendar)])


def _ended(
    known: Known, assigned: Identified, names: pl.DataFrame | None, label: date, calendar: Calendar
) -> pl.DataFrame:
    moved = assigned.of("continued")["sid"]
    over = assigned.of("replaced", "reused").filter(~pl.col("old_sid").is_in(moved.implode()))["old_sid"]
    day = calendar.on_or_before(label)
    sessions = known.evidence.delisted_after if names is None else UNLISTED_FOR
    long = known.absent(day, sessions) if day == label else over.clear()
    absent = known.instruments.filter(pl.col("sid").is_in(long.implode()))
    if names is not None:
        absent = absent.filter(~pl.col("symbol").is_in(names["symbol"].implode()))
    declared = known.actions.filter(
        pl.col("kind").is_in(ENDING), pl.col("origin") != "derived", pl.col("session") <= day, ~pl.col("withdrawn")
    )["sid"]
    declared = declared.filter(~declared.is_in(known.trading(day).implode()))
    ending = pl.concat([over, absent["sid"], declared]).unique()
    gone = known.instruments.filter(pl.col("listed") & pl.col("sid").is_in(ending.implode())).sort("sid")
    last = [known.last_session(sid) for sid in gone["sid"].to_list()]
    ends = pl.Series("session", [day if s is None else calendar.after(s) for s in last], dtype=pl.Date)
    return gone.with_columns(ends, listed=pl.lit(value=False), event=pl.lit("ended")).select(CHANGE)


def events(
    standing: pl.DataFrame, changed: pl.DataFrame, given: pl.DataFrame, rows: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The actions that the changes of listing are (columns of `actions.COLUMNS`), and the delistings that turned out
    wrong (with `withdrawn`).

    `standing`: the latest version of each action; `given`: actions of this capture, `rows`: its rows; where the vendor
    declares a merger or delisting, none is derived.
    """
    if changed.is_empty():  # most deliveries change no listing
        none = pl.DataFrame(schema={c: ACTIONS.schema[c] for c in COLUMNS})
        return none, standing.clear().select(*COLUMNS, pl.lit(value=True).alias("withdrawn"))
    given = given if "withdrawn" in given.columns else given.with_columns(withdrawn=pl.lit(value=False))
    declared = pl.concat(
        [
            f.filter((pl.col("origin") == "declared") & ~pl.col("withdrawn")).select("sid", "kind")
            for f in (standing, given)
        ]
    )
    continued = changed.filter(pl.col("event") == "continued")
    from_row = (
        rows.join(continued, on="sid", how="semi").sort("session").unique("sid", keep="first", maintain_order=True)
    )
    moved = continued.join(from_row.select("sid", "file", "line"), on="sid", how="left").with_columns(
        kind=pl.lit("symbol_change"), value=pl.lit(None, pl.Float64), confidence=SYMBOL_CHANGE_CONFIDENCE
    )
    ended = changed.filter(pl.col("event") == "ended").join(
        declared.filter(pl.col("kind").is_in(ENDING)), on="sid", how="anti"
    )
    ended = ended.with_columns(
        file=pl.lit(None, pl.String),
        line=pl.lit(None, pl.Int64),
        kind=pl.lit("delisting"),
        value=pl.lit(0.0),
        confidence=DELISTING_CONFIDENCE,
    )
    nothing = {c: pl.lit(None, ACTIONS.schema[c]) for c in ("numerator", "denominator", "cash", "counterpart")}
    happened = pl.concat(
        [
            f.with_columns(**nothing, origin=pl.lit("derived")).select(
                pl.col(c).cast(ACTIONS.schema[c]) for c in COLUMNS
            )
            for f in (moved, ended)
        ]
    )
    alive = changed.filter(pl.col("event").is_in(["relisted", "continued"]))
    wrong = standing.filter(
        (pl.col("kind") == "delisting") & (pl.col("origin") == "derived") & ~pl.col("withdrawn")
    ).join(alive, on="sid", how="semi")
    return happened, wrong.select(*COLUMNS, pl.lit(value=True).alias("withdrawn"))


def sectors(listings: pl.DataFrame) -> pl.DataFrame:
    """The latest listing of each sid: sid, symbol, sector ("unknown" where the vendor names none)."""
    latest = (
        in_force(listings, LISTINGS).sort("sid", "session", "known_at").unique("sid", keep="last", maintain_order=True)
    )
    return latest.select("sid", "symbol", pl.col("sector").fill_null("unknown"))
