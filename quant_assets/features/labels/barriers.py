"""Triple-barrier labels: what a holder gets who leaves at a profit, at a loss, or when the time is over (López de Prado
2018, ch. 3).

Entry at open(t+1). The barriers stand at multiples of the name's daily volatility as known at the cut of t, in what one
share has returned since the entry (splits and payments counted), the time's at open(t+1+h).

Touches are of highs and lows: a stop works all day, and closes alone would call a name a winner that was stopped out
before. A session that opens beyond a barrier is left at its open. Where one session touches both, the lower counts:
which came first is not known, and the loss is the careful guess. Proceeds of an ending are the price of its session. A
halt touches nothing.

The label becomes known at the first cut that knows of a touch; one found late is filed when it was found. All is
element by element on arrays (session t, name), so that no bit depends on the range.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import polars as pl

from quant_assets.features.labels.returns import endings
from quant_assets.market_data.adjustment import ENDING, terms
from quant_assets.strategy import LabelRule

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
PRICES = ("open", "high", "low", "close")
ENDED = ("merged", "taken_out", "delisted")


@dataclass(frozen=True)
class _Known:
    """Prices and terms of actions by (session, sid) as known so many sessions later (the place in `lagged`); NaN where
    there is none. `size` sessions are looked at together.
    """

    first: int
    size: int
    lagged: list[dict[str, Floats]]
    any_ended: bool

    def at(self, column: str, position: int, lag: int) -> Floats:
        """What the cuts `lag` sessions later know of the sessions from `position` on."""
        return self.lagged[lag][column][position - self.first : position - self.first + self.size]


def barrier_returns(
    bars: pl.DataFrame, actions: pl.DataFrame, rule: LabelRule, ends: pl.DataFrame, at_time: pl.DataFrame
) -> pl.DataFrame:
    """Columns u, sid, t, value, died, touched: the labels of sessions t that become known at the positions in `ends`
    (column u).

    `bars` (sid, open, high, low, close) and `actions` are `blocks.versions`; `at_time`: the same rule's returns from
    open to open (u, sid, t, value, died), which hold where no barrier was touched. A name without a volatility (bars in
    less than half of its sessions, or prices that never move) has no barriers and no label, whatever becomes of it.
    """
    sids = bars["sid"].unique().sort()
    first, last = cast("tuple[int, int]", ends.select(pl.col("u").min(), last=pl.col("u").max()).row(0))
    t = first - rule.horizon - 1  # the first session of which a label may become known
    known = _known(bars, actions, sids, rule, t, last - t)
    with np.errstate(invalid="ignore", divide="ignore"):
        sigma = _volatility(known, t, rule.volatility)
        filed, value, which, died = _first_touch(known, rule, t, sigma)
    row, column = np.nonzero(filed >= 0)
    touched = pl.DataFrame(
        {
            "t": row + t,
            "sid": sids.to_numpy()[column],
            "u": row + t + 1 + filed[row, column],
            "value": value[row, column],
            "touched": which[row, column],
            "died": died[row, column],
        }
    )
    row, column = np.nonzero((filed < 0) & (sigma > 0))
    untouched = pl.DataFrame({"t": row + t, "sid": sids.to_numpy()[column]}, schema={"t": pl.Int32, "sid": pl.Int64})
    timed = at_time.join(untouched, on=["t", "sid"], how="semi").with_columns(touched=pl.lit("time"))
    names = pl.when(pl.col("touched") == 1).then(pl.lit("upper")).otherwise(pl.lit("lower")).alias("touched")
    early = touched.with_columns(names).cast({"t": pl.Int32, "u": pl.Int32}).join(ends, on="u", how="semi")
    return pl.concat([early.select(timed.columns), timed]).sort("u", "t", "sid")


def _first_touch(known: _Known, rule: LabelRule, t: int, sigma: Floats) -> tuple[Ints, Floats, Ints, Bools]:
    """By (session t, sid): how many sessions after t+1 the first cut that knows of a touch comes (-1: none before time
    is over), the return there, which barrier (1 upper, 2 lower), and whether the name had ended.
    """
    filed, value = np.full(sigma.shape, -1), np.full(sigma.shape, np.nan)
    which, died = np.zeros(sigma.shape, np.int64), np.zeros(sigma.shape, np.bool_)
    for k in range(rule.horizon + 1):
        returned, barrier, ended = _path(known, rule, t + 1, k, sigma)
        new = (filed < 0) & (barrier > 0)
        filed[new], value[new], which[new], died[new] = k, returned[new], barrier[new], ended[new]
    return filed, value, which, died


def _path(known: _Known, rule: LabelRule, entry: int, k: int, sigma: Floats) -> tuple[Floats, Ints, Bools]:
    """The first touch, from the entry to the session k later, as that session's cut knows it: the return, the barrier
    (0: none), whether the name had ended.
    """
    upper, lower = (sigma * m if m else np.full(sigma.shape, np.inf) for m in (rule.upper, rule.lower))
    paid_in, shares, income = known.at("open", entry, k), np.ones(sigma.shape), np.zeros(sigma.shape)
    returned, barrier, died = (
        np.full(sigma.shape, np.nan),
        np.zeros(sigma.shape, np.int64),
        np.zeros(sigma.shape, np.bool_),
    )

    def leave(which: int, out: Bools, at: Floats) -> Bools:
        """Leave at `out`, if the holder has not left before, with the return `at`."""
        now = (barrier == 0) & out & (sigma > 0)
        returned[now], barrier[now] = at[now], which
        return now

    for m, proceeds in enumerate(
        _proceeds(known, entry, k)[: rule.horizon]
    ):  # at the open of the last session the time is over
        if m:  # what is paid is paid on the shares held before its ex-session
            income = income + known.at("paid", entry + m, k - m) * shares
            shares = shares * known.at("ratio", entry + m, k - m)
        at_open, high, low = (
            known.at(c, entry + m, k - m) * shares / paid_in - 1.0 + income / paid_in for c in ("open", "high", "low")
        )
        leave(1, at_open >= upper, at_open)
        leave(2, at_open <= -lower, at_open)
        leave(2, low <= -lower, -lower)
        leave(1, high >= upper, upper)
        if proceeds is not None:
            got = proceeds * shares / paid_in - 1.0 + income / paid_in
            died |= leave(1, got >= upper, got) | leave(2, got <= -lower, got)
    return returned, barrier, died


def _proceeds(known: _Known, entry: int, k: int) -> Sequence[Floats | None]:
    """Per session from the entry to k later, what a share of a name that has ended brought; NaN where it lives, None
    where all do.
    """
    if not known.any_ended:
        return [None] * (k + 1)
    closes = [known.at("close", entry + m, k - m) for m in range(k + 1)]
    gone = [np.isnan(closes[m]) for m in range(k + 1)]
    for m in reversed(range(k)):
        gone[m] = gone[m] & gone[m + 1]
    said = {c: np.full(closes[0].shape, np.nan) for c in ENDED}
    out, last = list[Floats | None](), closes[0]
    for m in range(k + 1):
        last = np.where(np.isnan(closes[m]), last, closes[m])
        if m:
            news = {c: known.at(c, entry + m, k - m) for c in ENDED}
            said = {c: np.where(np.isnan(news[c]), said[c], news[c]) for c in ENDED}
        made = [last * (1.0 + said["merged"]), said["taken_out"], last * (1.0 + said["delisted"])]
        first = np.where(np.isnan(made[0]), np.where(np.isnan(made[1]), made[2], made[1]), made[0])
        out.append(np.where(gone[m], first, np.nan))
    return out


def _volatility(known: _Known, t: int, sessions: int) -> Floats:
    """The standard deviation of the daily returns over the `sessions` up to t, as t's cut knows them; NaN where fewer
    than half of them (or two) are there.
    """
    returns = []
    for lag in range(sessions):
        close, before = known.at("close", t - lag, lag), known.at("close", t - lag - 1, lag + 1)
        returns.append((close * known.at("ratio", t - lag, lag) + known.at("paid", t - lag, lag)) / before - 1.0)
    there = [np.isfinite(r) for r in returns]
    count, total = np.zeros(returns[0].shape), np.zeros(returns[0].shape)
    for r, is_there in zip(returns, there, strict=True):
        count, total = count + is_there, total + np.where(is_there, r, 0.0)
    mean, squares = total / np.maximum(count, 1.0), np.zeros(total.shape)
    for r, is_there in zip(returns, there, strict=True):
        squares = squares + np.where(is_there, (r - mean) * (r - mean), 0.0)
    return np.where((count >= 2) & (2 * count >= sessions), np.sqrt(squares / np.maximum(count - 1.0, 1.0)), np.nan)


def _known(bars: pl.DataFrame, actions: pl.DataFrame, sids: pl.Series, rule: LabelRule, t: int, size: int) -> _Known:
    """All that the labels of `size` sessions from t on look at.

    What a cut knows of a session differs from what the cut before knew where news of it came in between.
    """
    first, lags = t - rule.volatility, max(rule.volatility, rule.horizon) + 1
    shape = (size + rule.volatility + rule.horizon + 1, len(sids))
    place = pl.DataFrame({"sid": sids, "column": range(len(sids))}, schema={"sid": pl.Int64, "column": pl.Int64})
    rows, acted = (
        f.join(place, on="sid", maintain_order="left").with_columns(
            row=pl.col("i") - first, lag=pl.col("e") - pl.col("i")
        )
        for f in (bars, actions)
    )
    lagged, prices, moves = (
        list[dict[str, Floats]](),
        {c: np.full(shape, np.nan) for c in PRICES},
        _moves(acted.head(0), shape),
    )
    for lag in range(lags):
        news = rows.filter(pl.col("lag") == lag)
        if news.height:
            at = news["row"].to_numpy(), news["column"].to_numpy()
            prices = {c: p.copy() for c, p in prices.items()}
            for c, p in prices.items():
                p[at] = news.select(pl.when(~pl.col("withdrawn")).then(c)).to_series().fill_null(np.nan).to_numpy()
        if (acted["lag"] == lag).any():
            moves = _moves(acted.filter(pl.col("lag") <= lag), shape)
        lagged.append({**prices, **moves})
    return _Known(first, size, lagged, any_ended=bool(acted["kind"].is_in(ENDING).any()))


def _moves(acted: pl.DataFrame, shape: tuple[int, int]) -> dict[str, Floats]:
    """What the versions of actions given, the latest of each, make of one share: ratio, paid and `ENDED`, by (row,
    column).
    """
    held = (
        acted.sort("row", "column", "kind", "e")
        .unique(["row", "column", "kind"], keep="last", maintain_order=True)
        .filter(~pl.col("withdrawn"))
    )
    out = {"ratio": np.ones(shape), "paid": np.zeros(shape), **{c: np.full(shape, np.nan) for c in ENDED}}
    adjusting = terms(held, "row", "column")
    for c in ("ratio", "paid"):
        out[c][adjusting["row"].to_numpy(), adjusting["column"].to_numpy()] = adjusting[c].to_numpy()
    for c, said in endings().items():
        told = held.select("row", "column", said.alias(c)).drop_nulls(c)
        out[c][told["row"].to_numpy(), told["column"].to_numpy()] = told[c].to_numpy()
    return out
