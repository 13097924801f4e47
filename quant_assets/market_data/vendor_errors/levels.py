"""Prices on another level than the rest of their series: another unit (pounds for pence), or before a split when all
others are after it.

Opens and closes in turn are one series, in which `breaks.path` finds the changes of level; so a week may be wrong in
part. A high or low is on the level on which it fits its row's open and close. Rows away from the level in force are
wrong by the ratio of the two. In force is the level at which the name last traded: of splits at once, of units when it
has lasted `SETTLED` traded rows; before that, the one of most traded rows. Rows without volume do not count while
others trade: untraded prices are copied, and copies are where units go wrong.
"""

import itertools
import math
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from quant_assets.market_data.vendor_errors import breaks
from quant_assets.market_data.vendor_errors.basis import PRICES
from quant_assets.market_data.vendor_errors.breaks import SETTLED, SMALLEST_MOVE, SMALLEST_SPLIT, SOON, Floats, Level
from quant_assets.market_data.vendor_errors.cells import AROUND, cells
from quant_assets.market_data.vendor_errors.thresholds import Thresholds

UNTRADABLE = math.log(
    5
)  # 58 of 805,166 daily moves of 2,668 US names go beyond: all but a few are splits, new listings or errors
LARGE = 3.0  # usual moves: below it no jump is asked
TORN = math.log(40)  # how far apart the prices of a row must be for one of them to be of another unit

SERIES = (*PRICES, "adj_close")
Indices = NDArray[np.int64]


def restored(
    bars: pl.DataFrame, moves: pl.DataFrame, limits: Thresholds
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """`bars` with every row on its name's level in force, findings by row (`_row` and the columns of
    `diagnosis.FINDINGS`), and breaks that nothing explains (`_row`, symbol, `_ratio`).

    `bars`: sorted by symbol and session, with `_row`. `moves`: the same rows, from `volatility.with_moves` and
    `volatility.usual`.
    """
    asked = _asked(moves)
    evidence = {c: asked[c].to_numpy() for c in _EVIDENCE}
    ends = np.append(np.flatnonzero(evidence["_first_row"]), asked.height)
    names = [{c: v[a:b] for c, v in evidence.items()} for a, b in itertools.pairwise(ends)]
    parts = [_judged(rows, limits) for rows in names]
    wrong = pl.concat([_NOTHING_WRONG, *(part for part, _ in parts if part is not None)])
    at = np.concatenate([np.zeros(0, dtype=np.int64), *(gap for _, gap in parts)])
    gaps = asked.filter(pl.col("_row").is_in(at.tolist())).with_columns(_move=pl.col("_largest"), _typical="_last")
    mendable = wrong.filter(pl.col("_sure") >= limits.mended)
    rows = _applied(bars, mendable) if mendable.height else bars
    told = _findings(bars, wrong, limits) if wrong.height else _gap_findings(gaps.clear())
    return rows, pl.concat([told, _gap_findings(gaps)]), gaps.select("_row", "symbol", _ratio=pl.col("_move").exp())


_FACTORS = tuple(f"_by_{c}" for c in SERIES)
_NOTHING_WRONG = pl.DataFrame(
    schema={
        "_row": pl.Int64,
        **dict.fromkeys(_FACTORS, pl.Float64),
        "_shares": pl.Float64,
        "_ratio": pl.Float64,
        "_split": pl.Boolean,
        "_sure": pl.Float64,
    }
)
_EVIDENCE = (
    "_row", "_first_row", "_day", *PRICES, "_priced", "_first", "_second", "_per_open", "_per_close", "_per_whole",
    "_volumes", "_trades", "_traded", "_declared", "_held", "_usually_held",
)  # fmt: skip
Rows = dict[str, NDArray[Any]]  # of one name, by column of `_EVIDENCE`


def _asked(moves: pl.DataFrame) -> pl.DataFrame:
    """The names with a jump that may be a change of level, of a slipped point or nearly, or any large one where a split
    is declared; and what is asked of them (`_EVIDENCE`).
    """
    size = pl.max_horizontal(*(pl.col(f"_move_{k}").abs() for k in ("open", "close", "whole")))
    ratio = pl.when((pl.col("split") > 0) & (pl.col("split").log().abs() >= SMALLEST_SPLIT)).then(pl.col("split"))
    declared = ratio.is_not_null().any().over("symbol")
    four = [pl.when(pl.col(c) > 0).then(pl.col(c)) for c in PRICES]
    torn = (pl.max_horizontal(four) / pl.min_horizontal(four)).log() > pl.when(declared).then(SMALLEST_SPLIT).otherwise(
        TORN
    )
    jump = (size > UNTRADABLE) | (declared & (size > SMALLEST_MOVE)) | torn
    symbols = moves.filter(jump.fill_null(value=False)).get_column("symbol").unique()
    paid = pl.col("dividend").is_between(0, pl.col("_before"), closed="none")
    ex = pl.when(paid).then((pl.coalesce("_o", "_c") / (pl.col("_before") - pl.col("dividend"))).log())
    first = pl.coalesce("_move_open", "_move_close")
    trades = (pl.col("volume") > 0).fill_null(value=False)
    volume = pl.when(trades).then(pl.col("volume").cast(pl.Float64))
    past = volume.rolling_median(SOON, min_samples=SETTLED).shift()
    coming = volume.reverse().rolling_median(SOON, min_samples=SETTLED).reverse()
    before = (trades.cast(pl.Int64).cum_sum() - trades.cast(pl.Int64)).over("symbol") > 0
    held = pl.col("adj_close") / pl.when(pl.col("close") > 0).then(pl.col("close"))
    rows = moves.filter(pl.col("symbol").is_in(symbols.implode())).with_columns(
        pl.col(*PRICES).fill_null(math.nan),
        _first_row=(pl.col("symbol") != pl.col("symbol").shift()).fill_null(value=True),
        _day=pl.col("session").cast(pl.Date).cast(pl.Int32).cast(pl.Int64),
        _priced=pl.col("_last").is_not_null(),
        _first=pl.when(ex.abs() < first.abs()).then(ex).otherwise(first).fill_null(0.0),
        _second=pl.when(pl.col("_o").is_not_null()).then("_move_close").fill_null(0.0),
        _volumes=(coming.over("symbol") / past.over("symbol")).log().fill_null(math.nan),
        _trades=trades,
        _traded=before | ~trades.any().over("symbol"),
        _declared=ratio.fill_null(math.nan),
        _held=held.fill_null(math.nan),
        _usually_held=held.rolling_median(2 * AROUND + 1, center=True, min_samples=1)
        .over("symbol")
        .fill_null(math.nan),
    )
    return rows.with_columns(
        _largest=pl.when(pl.col("_first").abs() >= pl.col("_second").abs()).then("_first").otherwise("_second")
    )


def _judged(rows: Rows, limits: Thresholds) -> tuple[pl.DataFrame | None, Indices]:
    """What is wrong with one name's rows: the factors of the wrong ones, and the rows with gaps."""
    height, declared, day = len(rows["_row"]), rows["_declared"], rows["_day"]
    splits = [(int(day[k]), float(declared[k])) for k in np.flatnonzero(~np.isnan(declared))]
    half, events = _events(rows)
    levels = breaks.levels_of(splits, events)
    states, leads = breaks.path(levels, events, limits)
    untold = (np.abs(events.move) > UNTRADABLE) & (leads == 0)
    gaps = rows["_row"][np.unique(half[untold] // 2)]
    near = np.ones(height)
    for when, ratio in splits:
        near[np.abs(day - when) <= breaks.NEAR] = ratio
    segment = np.searchsorted(half, np.arange(2 * height), side="right")
    unit, split = _wrongs(rows, levels, states[segment])
    both, sure = unit * split, _sureness(len(half), states, leads)[segment]
    factors, alone = cells(rows, both[::2], both[1::2], near, limits)
    wrong = np.flatnonzero((factors != 1).any(axis=1))
    if not len(wrong):
        return None, gaps
    ratios = np.array([dict(splits).get(level.at, math.nan) for level in levels])
    found = ratios[states][~np.isnan(ratios[states])]
    concerned = ratios[states[segment]]
    ratio = np.where(split[1::2] != 1, concerned[1::2], concerned[::2])
    ratio = np.where(np.isnan(ratio), found[-1] if len(found) else near, ratio)
    off = (
        np.abs(np.abs(np.log(factors)) - np.abs(np.log(near))[:, None]) < 1e-9
    )  # a high or low alone, by the split's ratio
    by_split = (split[::2] != 1) | (split[1::2] != 1) | ((near != 1) & off.any(axis=1))
    leads_by_row = np.minimum(
        np.where(both[::2] != 1, sure[::2], np.inf), np.where(both[1::2] != 1, sure[1::2], np.inf)
    )
    return pl.DataFrame(
        {
            "_row": rows["_row"][wrong],
            **{c: factors[wrong, k] for k, c in enumerate(_FACTORS)},
            "_shares": np.where(split[::2] == split[1::2], 1 / split[::2], 1.0)[wrong],
            "_ratio": ratio[wrong],
            "_split": by_split[wrong],
            "_sure": np.minimum(alone, leads_by_row)[wrong],
        },
        schema=_NOTHING_WRONG.schema,
    ), gaps


def _events(rows: Rows) -> tuple[Indices, breaks.Events]:
    """The large moves of a name, each at its half row (2 × row at the open, + 1 within it)."""
    move = np.column_stack([rows["_first"], rows["_second"]]).ravel()
    per = np.column_stack([rows["_per_open"], rows["_per_close"]]).ravel()
    half = np.flatnonzero((np.abs(move) > SMALLEST_MOVE) & (np.abs(move) * per > LARGE))
    row = half // 2
    return half, breaks.Events(
        row, rows["_day"][row], move[half], 1 / per[half], rows["_volumes"][row], rows["_traded"][row]
    )


def _wrongs(rows: Rows, levels: list[Level], states: Indices) -> tuple[Floats, Floats]:
    """By half row, the factor to its name's level in force: the part that is a unit, and the part that is a split."""
    traded = rows["_priced"] & rows["_trades"]
    votes = np.flatnonzero(traded if traded.any() else rows["_priced"])
    unit = np.array([1.0 if level.at >= 0 else level.ratio for level in levels])[states]
    split = np.array([level.ratio if level.at >= 0 else 1.0 for level in levels])[states]
    priced = np.flatnonzero(rows["_priced"])
    newest = float(split[1::2][priced[-1]]) if len(priced) else 1.0  # prices are on the basis of the newest share
    return _in_force(unit[1::2], votes) / unit, newest / split


def _in_force(levels: Floats, votes: Indices) -> float:
    voted = levels[votes]
    if not len(voted):
        return 1.0
    others = np.flatnonzero(voted != voted[-1])
    run = votes[others[-1] + 1 :] if len(others) else votes
    rows = len(levels) - run[0]
    if len(run) >= SETTLED or (len(run) > 1 and rows >= 2 * SETTLED):
        return float(voted[-1])
    values, back, counts = np.unique(voted[::-1], return_index=True, return_counts=True)
    return float(values[np.lexsort((back, -counts))[0]])


def _sureness(events: int, states: Indices, leads: Floats) -> Floats:
    """By segment between events, by how much its change of level leads: the leads at both ends of the stretch on that
    level.
    """
    sure = np.full(len(states), np.inf)
    changes = np.flatnonzero(states[1:] != states[:-1])  # the event after segment k
    edges = [-1, *changes.tolist(), events]
    for before, after in itertools.pairwise(edges):
        ends = [leads[e] for e in (before, after) if 0 <= e < events]
        sure[before + 1 : after + 1] = sum(ends) if ends else np.inf
    return sure


def _applied(bars: pl.DataFrame, wrong: pl.DataFrame) -> pl.DataFrame:
    rows = bars.join(wrong, on="_row", how="left", maintain_order="left")
    volume = pl.col("volume") * pl.col("_shares")
    volume = volume.round().cast(bars.schema["volume"]) if bars.schema["volume"].is_integer() else volume
    off = {c: pl.col(f"_by_{c}") for c in SERIES}
    return rows.with_columns(
        *(pl.when(by != 1).then(pl.col(c) * by).otherwise(pl.col(c)).alias(c) for c, by in off.items()),
        pl.when(pl.col("_shares") != 1).then(volume).otherwise(pl.col("volume")).alias("volume"),
    ).select(bars.columns)


def _findings(bars: pl.DataFrame, wrong: pl.DataFrame, limits: Thresholds) -> pl.DataFrame:
    """A finding for each row that is wrong as a whole, and for each price that is wrong alone."""
    rows = wrong.filter(pl.col("_sure") >= limits.told).join(
        bars.select("_row", *PRICES), on="_row", maintain_order="left"
    )
    one = pl.col("_by_close")
    whole = pl.all_horizontal((pl.col(f"_by_{c}") == one) | pl.col(c).is_null() for c in PRICES) & (one != 1)
    said = [
        _said(rows.filter(whole), "close", limits),
        *(_said(rows.filter(~whole, pl.col(f"_by_{c}") != 1, pl.col(c).is_not_null()), c, limits) for c in PRICES),
    ]
    return pl.concat(said).sort("_row", maintain_order=True)


def _said(rows: pl.DataFrame, column: str, limits: Thresholds) -> pl.DataFrame:
    by, found = pl.col(f"_by_{column}"), pl.col(column)
    missed = ((by * pl.col("_ratio")) - 1).abs() < 1e-4
    rule = (
        pl.when(~pl.col("_split"))
        .then(pl.lit("UNIT_100X"))
        .when(missed)
        .then(pl.lit("SPLIT_MISSED"))
        .otherwise(pl.lit("SPLIT_DOUBLED"))
    )
    sure = pl.col("_sure") >= limits.mended
    unit = pl.format(
        "{} {} is {} times what the level in force makes it: it should be {}",
        pl.lit(column),
        _short(found),
        _short(1 / by),
        _short(found * by),
    )
    split = pl.format(
        "the declared split of {} for 1 is {} here: {} {} should be {}",
        _short(pl.col("_ratio")),
        pl.when(missed).then(pl.lit("missing")).otherwise(pl.lit("counted twice")),
        pl.lit(column),
        _short(found),
        _short(found * by),
    )
    text = pl.when(pl.col("_split")).then(split).otherwise(unit)
    return rows.select(
        pl.col("_row").cast(pl.Int64),
        rule=rule,
        column=pl.lit(column),
        found=found,
        expected=found * by,
        confidence=1 / (1 + (-pl.col("_sure")).exp()),
        repaired=sure,
        message=pl.when(sure).then(text).otherwise(pl.format("{}; the evidence does not suffice to mend it", text)),
    )


def _short(number: pl.Expr) -> pl.Expr:
    return number.round_sig_figs(6).cast(pl.String).fill_null("?")


def _gap_findings(gaps: pl.DataFrame) -> pl.DataFrame:
    """An unexplained break is reported and not repaired: the ratio is known only to within the day's own move."""
    text = pl.format(
        "the price goes from {} to {} in one row, {} times; no unit and no declared split or dividend "
        "explains it: ask for the corporate action",
        _short(pl.col("_before")),
        _short(pl.col("_typical")),
        pl.col("_move").exp().round_sig_figs(4),
    )
    return gaps.select(
        "_row", rule=pl.lit("PRICE_BREAK"), column=pl.lit("close"), found="_typical", expected="_before",
        confidence=pl.lit(0.5), repaired=pl.lit(value=False), message=text,
    )  # fmt: skip
