"""Adjusted series, derived as of a session from raw bars and the actions known: nothing adjusted is ever stored.

An action with ex-session x makes of one share held before it `ratio` shares and pays `paid` (cash dividends, the worth
of what a spin-off hands out) per old share. All prices before x are divided by its growth:

    split-only      ratio                                  prices and volumes in the shares of the session asked for
    adjusted        ratio / (1 − paid / close before x)    what data vendors and charts show; as if reinvested at the
    theoretical ex-price
    total-return    ratio + paid / close of x              as if reinvested at the ex-session's close: returns are
    CRSP's RET, prices Quandl's

Volumes are multiplied by `ratio` alone. `adjusted` and `total-return` end with what holders got where that was
declared.
"""

from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from quant_assets.contract import in_force
from quant_assets.errors import ConfigurationError
from quant_assets.tables import ACTIONS

SPLITS = ("split", "stock_dividend")
ADJUSTING = (*SPLITS, "dividend", "spin_off", "roll")
PAYING = ("dividend", "roll")  # a roll of futures pays what the old contract cost more than the new one
ENDING = ("merger", "delisting")
POLICIES = ("unadjusted", "split-only", "adjusted", "total-return")
PRICES = ("open", "high", "low", "close")
SPAN = 1 << 26  # more days than any calendar has: group × SPAN + day orders by name, then by day

Indices = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def terms(actions: pl.DataFrame, *by: str) -> pl.DataFrame:
    """What the actions of one ex-session make of one share: columns `by`, ratio (shares after for one before), paid
    (currency per share before).

    `actions`: kind, numerator, denominator, cash, value, in force; kinds that adjust nothing are left out. A spin-off
    without a known worth pays nothing.
    """
    ratio = pl.when(pl.col("kind").is_in(SPLITS)).then(pl.col("numerator") / pl.col("denominator")).otherwise(1.0)
    paid = (
        pl.when(pl.col("kind").is_in(PAYING))
        .then(pl.col("cash").cast(pl.Float64))
        .when(kind="spin_off")
        .then("value")
        .fill_null(0.0)
    )
    kept = actions.filter(pl.col("kind").is_in(ADJUSTING)).sort(*by, "kind")
    return kept.group_by(by, maintain_order=True).agg(ratio=ratio.product(), paid=paid.sum())


def growth(ratio: pl.Expr, paid: pl.Expr) -> pl.Expr:
    """What one unit of wealth before the ex-session is in old prices, after it: `paid` as a fraction of the close
    before. One and more of it is no price's doing and counts as nothing.
    """
    return pl.when(paid < 1.0).then(ratio / (1.0 - paid)).otherwise(ratio)


def adjusted(bars: pl.DataFrame, actions: pl.DataFrame, policy: str, session: date) -> pl.DataFrame:
    """`bars` in terms of `session`, by one of `POLICIES`; sorted by (sid, session), prices and volume Float64
    (`unadjusted`: as given).

    `bars`: sid, session, open, high, low, close, volume and whatever else, in force at one knowledge time, one row per
    sid and session, up to `session`; `actions`: ACTIONS rows, any versions known by the same time. Those ex after
    `session` are not applied; so the last bars are raw. Where a merger or delisting was declared with terms that say
    what holders got, a row at its ex-session carries it: all prices there are the last adjusted close × (1 + return),
    the volume is 0, what else it has is the last bar's. A merger's shares count at their last close before. Raises
    ConfigurationError for another policy.
    """
    if policy not in POLICIES:
        raise ConfigurationError(
            f"{policy!r} is no policy for corporate actions; the policies are {', '.join(POLICIES)}"
        )
    if policy == "unadjusted" or bars.is_empty():
        return bars
    rows = _Rows(bars)
    known = in_force(actions.filter(pl.col("session") <= session), ACTIONS)
    moved = _located(rows, terms(known, "sid", "session"), policy)
    later = moved.with_columns(pl.col("growth", "ratio").cum_prod(reverse=True).over("sid"))
    prices, shares = (rows.before(moved["at"].to_numpy(), later[c].to_numpy()) for c in ("growth", "ratio"))
    scaled = [(pl.col(c) / pl.lit(pl.Series(prices))).alias(c) for c in PRICES if c in bars.columns]
    volume = [pl.col(c) * pl.lit(pl.Series(shares)) for c in ("volume",) if c in bars.columns]
    out = rows.bars.with_columns(*scaled, *volume)
    return out if policy == "split-only" else _with_endings(rows, out, known)


class _Rows:
    """Bars sorted by (sid, session), and the position of each name and each ex-session among them."""

    def __init__(self, bars: pl.DataFrame) -> None:
        key = self._index(bars)
        if (key[1:] <= key[:-1]).any():
            bars = bars.sort("sid", "session")
            key = self._index(bars)
        self.bars = bars
        self.key = key

    def _index(self, bars: pl.DataFrame) -> Indices:
        sids = bars["sid"].to_numpy()
        self.starts = np.flatnonzero(np.r_[True, sids[1:] != sids[:-1]])
        self.ends = np.r_[self.starts[1:], len(sids)]
        self.sids = sids[self.starts]
        names = np.repeat(np.arange(len(self.starts)), self.ends - self.starts)
        return names * SPAN + bars["session"].to_physical().to_numpy()

    def locate(self, sids: Indices, days: npt.NDArray[np.int32]) -> tuple[Indices, Indices, npt.NDArray[np.bool_]]:
        """Per (sid, day): the position of the name's first row not before the day, the end of its rows, and whether
        rows of it lie before.
        """
        name = np.minimum(np.searchsorted(self.sids, sids), len(self.sids) - 1)
        at = np.searchsorted(self.key, name * SPAN + days)
        return at, self.ends[name], (self.sids[name] == sids) & (at > self.starts[name])

    def before(self, at: Indices, values: Floats) -> Floats:
        """Per row the value of the next of its name's positions `at` (ascending) that lies after it; one where none
        does.
        """
        ends = np.concatenate([at, self.ends])
        order = np.argsort(ends, kind="stable")
        return np.repeat(np.concatenate([values, np.ones(len(self.ends))])[order], np.diff(ends[order], prepend=0))


def _located(rows: _Rows, moves: pl.DataFrame, policy: str) -> pl.DataFrame:
    """The `moves` (sid, session, ratio, paid) that have a row before them: sid, at (the position of the first row from
    ex on), ratio, growth.
    """
    at, end, matters = rows.locate(moves["sid"].to_numpy(), moves["session"].to_physical().to_numpy())
    found = moves.with_columns(at=at, end=end).filter(pl.Series(matters))
    if policy == "split-only":
        return found.select("sid", "at", "ratio", growth="ratio")
    closes = rows.bars["close"].cast(pl.Float64).fill_nan(None)
    here, last = found["at"].to_numpy(), found["end"].to_numpy()
    if closes.null_count():
        # a row without a close is priced by the one before it
        closes = rows.bars.select("sid", closes).select(pl.col("close").fill_null(strategy="forward").over("sid"))[
            "close"
        ]
    before = pl.col("paid") / pl.lit(closes.gather(here - 1))
    found = found.with_columns(growth=growth(pl.col("ratio"), before.fill_null(0.0)))
    if policy == "total-return":
        reinvested = pl.col("ratio") + pl.col("paid") / pl.lit(closes.gather(np.minimum(here, last - 1)))
        found = found.with_columns(growth=pl.when(pl.col("at") < pl.col("end")).then(reinvested).otherwise("growth"))
    return found.select("sid", "at", "ratio", "growth")


def _with_endings(rows: _Rows, out: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """`out` with a last row for each name whose end was declared with its terms.

    Of a merger and the delisting that follows, the merger counts.
    """
    ends = known.filter(pl.col("kind").is_in(ENDING) & (pl.col("origin") == "declared")).sort(
        "sid", "session", "kind", descending=[False, False, True]
    )
    ends = ends.unique("sid", keep="first", maintain_order=True).select(
        "sid", "kind", "numerator", "denominator", "cash", "value", "counterpart", ex="session"
    )
    last = out[rows.ends - 1].with_columns(raw=rows.bars["close"].gather(rows.ends - 1), at=rows.ends)
    last = last.join(ends, on="sid", maintain_order="left").filter(pl.col("session") < pl.col("ex"))
    shares = (pl.col("numerator") / pl.col("denominator") * pl.col("theirs")).fill_null(0.0)
    whole = (
        pl.col("counterpart").is_null() | pl.col("theirs").is_not_null()
    )  # shares of something without a price are worth we know not what
    merged = pl.when(pl.col("kind") == "merger", whole, pl.any_horizontal(pl.col("cash", "theirs").is_not_null()))
    proceeds = merged.then((pl.col("cash").cast(pl.Float64).fill_null(0.0) + shares) / pl.col("raw") - 1.0)
    last = (
        last.join(_counterparts(rows.bars, last), on="sid", how="left", maintain_order="left")
        .with_columns(made=1.0 + pl.coalesce("value", proceeds))
        .drop_nulls("made")
    )
    if last.is_empty():
        return out
    prices: dict[str, Any] = {c: pl.col("close") * pl.col("made") for c in PRICES if c in out.columns}
    volume = {"volume": pl.lit(0.0)} if "volume" in out.columns else {}
    ended = last.with_columns(session="ex", **prices, **volume).select(out.columns)
    return pl.concat([out, ended])[
        np.insert(np.arange(out.height), last["at"].to_numpy(), out.height + np.arange(ended.height))
    ]


def _counterparts(bars: pl.DataFrame, ends: pl.DataFrame) -> pl.DataFrame:
    """Columns sid, theirs: the last close before `ex` of the symbol received, for those that have one."""
    wanted = ends.filter(pl.col("counterpart").is_not_null()).select("sid", "ex", symbol="counterpart").sort("ex")
    if wanted.is_empty() or "symbol" not in bars.columns:
        return pl.DataFrame(schema={"sid": pl.Int64, "theirs": pl.Float64})
    theirs = (
        bars.filter(pl.col("symbol").is_in(wanted["symbol"].implode()))
        .select("symbol", "session", theirs="close")
        .sort("session")
    )
    found = wanted.join_asof(
        theirs,
        left_on="ex",
        right_on="session",
        by="symbol",
        strategy="backward",
        allow_exact_matches=False,
        check_sortedness=False,
    )
    return found.drop_nulls("theirs").select("sid", "theirs")
