"""Which instrument a symbol means, learnt from the deliveries one after the other."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from quant_assets.calendars import Calendar

SAME_CLOSE = 0.02  # closes of one session that differ by more are not of one instrument, if the name confirms it
REUSE_AFTER = 20  # sessions without a bar after which another name under an old symbol is another instrument
REOPENS_WITHIN = (
    252  # sessions, a year, after which a symbol without a name that absence alone had ended is taken for another one
)
CONTINUES_WITHIN = timedelta(days=10)  # a symbol change shows within these days, or not at all


def content_sid(symbol: str, label: date, market: str = "") -> int:
    """The id of the instrument first captured under `symbol` of a market with the capture `label`: 52 bits of SHA-256,
    so that it is the same anywhere and exact in a double.
    """
    return int(hashlib.sha256(f"{market}{':' if market else ''}{symbol}|{label}".encode()).hexdigest()[:13], 16)


def normal(name: str) -> pl.Expr:
    """A company name as it is compared: letters and digits only, lower case."""
    return pl.col(name).str.to_lowercase().str.replace_all(r"[^a-z0-9]+", "")


@dataclass(frozen=True)
class Identified:
    """`assigned`: symbol, sid, name, sector, first, event (kept | new | replaced | reused | continued), old_sid (of
    replaced and reused), old_name, old_sector, old_symbol, listed, since.
    """

    assigned: pl.DataFrame

    def of(self, *events: str) -> pl.DataFrame:
        """The symbols to which one of these events happened."""
        return self.assigned.filter(pl.col("event").is_in(events))


def identify(
    rows: pl.DataFrame,
    names: pl.DataFrame | None,
    instruments: pl.DataFrame,
    overlap: pl.DataFrame,
    recent: pl.Series,
    delisted: pl.DataFrame,
    last_session: Callable[[int], date | None],
    label: date,
    calendar: Calendar,
    market: str = "",
) -> Identified:
    """Assign each symbol of a capture's clean `rows` to an instrument.

    `names`: symbol, name, sector as listed in this capture (None: the vendor lists nothing); `instruments`: the state
    of each sid (sid, symbol, name, sector, listed, session, known_at); `overlap`: sid, session, close in force before
    this capture, for the sessions in it; `recent`: sids with a bar in the last `REUSE_AFTER` sessions; `delisted`: sid,
    ended, as the vendor declared; `last_session(sid)`: its last bar.

    A symbol keeps its instrument unless its name changed and a session known before now closes elsewhere (replaced), or
    it comes back under another name after a long gap or a declared delisting (reused); where the vendor gives no names,
    after a year, for a halt is no death. A new symbol continues an instrument of the same name whose symbol has just
    vanished, if the closes of their common sessions agree; of share classes only the one that vanished.
    """
    listed_as = (
        names
        if names is not None
        else pl.DataFrame(schema={"symbol": pl.String, "name": pl.String, "sector": pl.String})
    )
    holders = instruments.sort("listed", "known_at", "sid").unique("symbol", keep="last", maintain_order=True)
    held = holders.select("symbol", "sid", "listed", old_name="name", old_sector="sector", since="session")
    symbols = (
        rows.group_by("symbol")
        .agg(first=pl.col("session").min())
        .join(listed_as, on="symbol", how="left")
        .join(held, on="symbol", how="left")
        .sort("symbol")
    )
    renamed = (normal("name") != normal("old_name")).fill_null(value=False)

    moved = (
        symbols.filter(renamed)
        .join(rows.select("symbol", "session", "close"), on="symbol")
        .join(overlap.rename({"close": "was"}), on=["sid", "session"])
    )
    replaced = set(moved.filter((pl.col("close") / pl.col("was") - 1).abs() > SAME_CLOSE)["symbol"].to_list())
    silent = symbols.filter(pl.col("sid").is_not_null() & ~pl.col("sid").is_in(recent.implode()))
    nameless = pl.col("name").is_null() | pl.col("old_name").is_null()
    other = silent.filter(pl.when(nameless).then(~pl.col("listed")).otherwise(renamed)).with_columns(nameless=nameless)
    dead = symbols.join(delisted, on="sid").filter((pl.col("first") >= pl.col("ended")) & (nameless | renamed))
    reused = set(dead["symbol"].to_list()) | {
        s
        for s, sid, first, unnamed in other.select("symbol", "sid", "first", "nameless").iter_rows()
        if _gap(calendar, last_session(sid), first) > (REOPENS_WITHIN if unnamed else REUSE_AFTER)
    }
    # a symbol that means another instrument now leaves its old one free to be found under a new symbol
    alive = held.filter(
        pl.col("symbol").is_in(pl.concat([rows["symbol"], listed_as["symbol"]]).implode())
        & ~pl.col("symbol").is_in([*replaced, *reused])
    )
    gone = instruments.join(alive, on="sid", how="anti").select("sid", same=normal("name"))
    continued = _continued(symbols.filter(pl.col("sid").is_null()), rows, gone, overlap, last_session, label)

    event = (
        pl.when(pl.col("symbol").is_in(list(replaced)))
        .then(pl.lit("replaced"))
        .when(pl.col("symbol").is_in(list(reused)))
        .then(pl.lit("reused"))
        .when(pl.col("symbol").is_in(list(continued)))
        .then(pl.lit("continued"))
        .when(pl.col("sid").is_null())
        .then(pl.lit("new"))
        .otherwise(pl.lit("kept"))
    )
    symbols = symbols.with_columns(event=event)
    fresh = {
        s: content_sid(s, label, market)
        for s in symbols.filter(pl.col("event").is_in(["new", "replaced", "reused"]))["symbol"].to_list()
    }
    given = pl.DataFrame(
        {"symbol": [*fresh, *continued], "given": [*fresh.values(), *continued.values()]},
        schema={"symbol": pl.String, "given": pl.Int64},
    )
    return Identified(
        symbols.join(given, on="symbol", how="left")
        .with_columns(old_sid="sid")
        .with_columns(sid=pl.coalesce("given", "sid"))
        .drop("given")
    )


def _gap(calendar: Calendar, last: date | None, first: date) -> int:
    return 0 if last is None else calendar.index(first) - calendar.index(last)


def _continued(
    new: pl.DataFrame,
    rows: pl.DataFrame,
    gone: pl.DataFrame,
    overlap: pl.DataFrame,
    last_session: Callable[[int], date | None],
    label: date,
) -> dict[str, int]:
    """Symbol to the sid it continues: the same name, gone from the capture under its old symbol, unambiguous both
    ways.
    """
    pairs = new.select("symbol", same=normal("name")).drop_nulls().filter(pl.col("same") != "").join(gone, on="same")
    pairs = pairs.filter(
        pl.Series(
            [
                (last := last_session(sid)) is not None and last >= label - CONTINUES_WITHIN
                for sid in pairs["sid"].to_list()
            ],
            dtype=pl.Boolean,
        )
    )
    both = pairs.join(rows.select("symbol", "session", "close"), on="symbol").join(
        overlap.rename({"close": "was"}), on=["sid", "session"]
    )
    apart = both.filter((pl.col("close") / pl.col("was") - 1).abs() > SAME_CLOSE)
    pairs = pairs.join(apart, on=["symbol", "sid"], how="anti").filter(
        pl.col("symbol").is_unique() & pl.col("sid").is_unique()
    )
    return dict(pairs.sort("symbol").select("symbol", "sid").rows())
