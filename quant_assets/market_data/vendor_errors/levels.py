"""Prices that stand on another level than the rest of their series: another unit (pounds for pence), or before a split where all others are after it.

A *break* is a move between two rows that no trading makes: a hundredfold, or the ratio of a split that the vendor declares nearby and has by his own
convention taken out of the prices. Adding up breaks gives each row its level; rows away from the level in force are wrong by the ratio of the two.
In force is the level at which the name last traded, once that has lasted `SETTLED` traded rows; before that, the one of most traded rows.
Rows without volume do not vote while others trade: what nobody traded at is copied, and copies are where units go wrong.
"""

import math

import polars as pl

from quant_assets.market_data.vendor_errors.basis import PRICES

UNITS = (100.0, 1000.0)  # pence, cents and agorot to the main unit; fils and millimes
GLITCH = 10.0  # a slipped decimal point; believed only where it is undone soon, for some names do fall by nine tenths
MOVE = 0.5  # how far, in logs, a day's own move may take a break from its ratio: -40 % to +65 %
UNTRADABLE = math.log(
    5
)  # 58 of 805,166 daily moves of 2,668 US names go beyond: all but a few are splits, new listings or errors
SMALLEST_SPLIT = math.log(1.2)  # nearer to one, a break cannot be told from a bad day
NEAR = 15  # sessions by which vendors miss the ex-session of a split they declare
SOON = 10  # sessions within which a passing error is over
ODDS = 1e-3  # of a move of the right size near a declared split, or of a hundredfold, one in a thousand is a vendor's before anything is known of its shape
SETTLED = 5  # traded rows that make a level the one in force: a trading week

SERIES = (*PRICES, "adj_close")


def restored(bars: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """`bars` with every row on its name's level in force, findings by row (`_row` and the columns of `diagnosis.FINDINGS`), and breaks that nothing explains (`_row`, symbol, `_ratio`).

    `bars`: sorted by symbol and session, with `_row` and `_per_usual`, one over the usual daily move.
    """
    seen = _moves(bars)
    breaks = _breaks(seen)
    named = seen.filter(pl.col("symbol").is_in(breaks["symbol"].unique().implode())).join(
        breaks.select("_row", "_step", "_kind"), on="_row", how="left", maintain_order="left"
    )
    judged = _against_the_level_in_force(named, "unit", "split")
    scaled = bars.join(judged, on="_row", how="left", maintain_order="left").with_columns(
        pl.col("_unit", "_split").fill_null(1.0)
    )
    whole = (pl.col("_unit") * pl.col("_split")).alias("_scale")
    volume = pl.col("volume") / pl.col("_split")
    volume = volume.round().cast(bars.schema["volume"]) if bars.schema["volume"].is_integer() else volume
    rows = scaled.with_columns(whole).with_columns(
        pl.when(pl.col("_scale") != 1).then(pl.col(c) * pl.col("_scale")).otherwise(pl.col(c)).alias(c) for c in SERIES
    )
    rows = rows.with_columns(volume=pl.when(pl.col("_split") != 1).then(volume).otherwise(pl.col("volume")))
    findings = _row_findings(rows, bars, breaks)
    rows, cells = _cells(rows.drop("_unit", "_split", "_scale"))
    gaps = breaks.filter(pl.col("_kind") == pl.lit("gap"))
    return (
        rows,
        pl.concat([findings, cells, _gap_findings(gaps)]),
        gaps.select("_row", "symbol", _ratio=pl.col("_move").exp()),
    )


def _typical() -> pl.Expr:
    """The middle of the four prices, which one bad cell cannot move; the close where the others are missing."""
    four = [pl.when(pl.col(c) > 0).then(pl.col(c)) for c in PRICES]
    middle = (pl.sum_horizontal(four) - pl.max_horizontal(four) - pl.min_horizontal(four)) / 2
    whole = pl.all_horizontal(e.is_not_null() for e in four)
    return pl.when(whole).then(middle).otherwise(four[-1])


def _moves(bars: pl.DataFrame) -> pl.DataFrame:
    """`_move`: the log move to each row from the one before that has prices, less the dividend where that makes it smaller; the split declared nearest, and how far off."""
    ratio = pl.when((pl.col("split") > 0) & (pl.col("split").log().abs() >= SMALLEST_SPLIT)).then(pl.col("split"))
    seen = bars.with_columns(_typical=_typical(), _declared=ratio)
    seen = seen.with_columns(_at=pl.when(pl.col("_declared").is_not_null()).then(pl.col("_row")))
    seen = seen.with_columns(
        pl.col("_typical").forward_fill().shift().over("symbol").alias("_before"),
        pl.col("_declared").backward_fill().over("symbol").alias("_next"),
        (pl.col("_at").backward_fill().over("symbol") - pl.col("_row")).alias("_to_next"),
        pl.col("_declared").forward_fill().over("symbol").alias("_last"),
        (pl.col("_row") - pl.col("_at").forward_fill().over("symbol")).alias("_since_last"),
    )
    plain = (pl.col("_typical") / pl.col("_before")).log()
    ex = pl.when(pl.col("dividend").is_between(0, pl.col("_before"), closed="none")).then(
        (pl.col("_typical") / (pl.col("_before") - pl.col("dividend"))).log()
    )
    nearer_next = pl.col("_to_next").is_not_null() & (
        pl.col("_since_last").is_null() | (pl.col("_to_next") <= pl.col("_since_last"))
    )
    return seen.with_columns(
        _move=pl.when(ex.abs() < plain.abs()).then(ex).otherwise(plain),
        _ratio=pl.when(nearer_next).then(pl.col("_next")).otherwise(pl.col("_last")),
        _age=(pl.col("_row") - pl.col("_row").first()).over("symbol"),
        _off=pl.when(nearer_next).then(pl.col("_to_next")).otherwise(pl.col("_since_last")),
    )


def _breaks(seen: pl.DataFrame) -> pl.DataFrame:
    """The breaks: `_kind` (unit, split, or gap where nothing explains it), `_step`, the log ratio it stands for (gap: zero), and `_sure`, the log odds."""
    size, split = pl.col("_move").abs(), pl.col("_ratio").log().abs()
    moved = seen.filter(size > SMALLEST_SPLIT / 2).with_columns(_split_misfit=(size - split).abs())
    units = [math.log(u) for u in (GLITCH, *UNITS)]
    moved = moved.with_columns(_unit=pl.coalesce(pl.when((size - u).abs() < MOVE).then(pl.lit(u)) for u in units))
    as_split = (pl.col("_split_misfit") < split / 2) & (
        (pl.col("_split_misfit") < (size - pl.col("_unit")).abs() + 1e-9) | pl.col("_unit").is_null()
    )
    moved = moved.with_columns(
        _kind=pl.when(as_split)
        .then(pl.lit("split"))
        .when(pl.col("_unit").is_not_null())
        .then(pl.lit("unit"))
        .when(size > UNTRADABLE)
        .then(pl.lit("gap")),
        _step=pl.col("_move").sign() * pl.when(as_split).then(split).otherwise(pl.col("_unit")),
    ).filter(pl.col("_kind").is_not_null())
    undone = pl.any_horizontal(
        ((pl.col("_step") + pl.col("_step").shift(k)).abs() < 1e-9)
        & ((pl.col("_row") - pl.col("_row").shift(k)).abs() <= SOON)
        & (pl.col("_kind") == pl.col("_kind").shift(k))
        for k in (1, -1)
    )
    moved = moved.with_columns(_passing=undone.over("symbol").fill_null(value=False)).join(
        _volumes(seen, moved), on="_row", how="left", maintain_order="left"
    )
    return _believed(moved)


def _believed(moved: pl.DataFrame) -> pl.DataFrame:
    """Which candidates are breaks. A passing one is told twice by the price; a lasting one must agree with what volume does: shares multiply, money does not."""
    price = _tails((pl.col("_move") - pl.col("_step")) * pl.col("_per_usual")) - _tails(
        pl.col("_move") * pl.col("_per_usual")
    )
    shares = (_tails(pl.col("_volumes") + pl.col("_step")) - _tails(pl.col("_volumes"))).fill_null(0.0)
    by_split, by_unit = pl.col("_kind") == pl.lit("split"), pl.col("_kind") == pl.lit("unit")
    odds = math.log(ODDS) + pl.when(pl.col("_passing")).then(2 * price).when(by_split).then(price + shares).otherwise(
        price
    )
    glitch = (pl.col("_step").abs() - math.log(GLITCH)).abs() < 1e-9
    regrouped = (pl.col("_volumes") * pl.col("_step").sign() < -1).fill_null(
        value=False
    )  # volume fell to a third or less as the price rose: rather an undeclared split
    lasting = (
        pl.when(by_split).then(pl.col("_off") <= NEAR).otherwise(~glitch & ~regrouped & (pl.col("_age") >= SETTLED))
    )
    told = (by_split | by_unit) & (odds > 0) & (pl.col("_passing") | lasting)
    kind = pl.when(told).then(pl.col("_kind")).when(pl.col("_move").abs() > UNTRADABLE).then(pl.lit("gap"))
    return moved.with_columns(_kind=kind, _step=pl.when(told).then(pl.col("_step")).otherwise(0.0), _sure=odds).filter(
        pl.col("_kind").is_not_null()
    )


def _tails(x: pl.Expr) -> pl.Expr:
    """Log density of a Student t with three degrees of freedom, up to a constant: returns and changes of volume have such tails."""
    return -2 * (x**2 / 3).log1p()


def _volumes(seen: pl.DataFrame, moved: pl.DataFrame) -> pl.DataFrame:
    """`_volumes` by `_row`: log of the median traded volume of the `SOON` rows from it over that of the rows before; null where either traded less than `SETTLED` times."""
    named = seen.filter(pl.col("symbol").is_in(moved["symbol"].unique().implode())).select(
        "_row", "symbol", _v=pl.when(pl.col("volume") > 0).then(pl.col("volume").cast(pl.Float64))
    )
    past = pl.col("_v").rolling_median(SOON, min_samples=SETTLED).shift()
    coming = pl.col("_v").reverse().rolling_median(SOON, min_samples=SETTLED).reverse()
    return named.select("_row", _volumes=(coming.over("symbol") / past.over("symbol")).log())


def _against_the_level_in_force(named: pl.DataFrame, *kinds: str) -> pl.DataFrame:
    """By `_row`, for each kind, what the row must be multiplied by (`_unit`, `_split`) to stand on its name's level in force; rows that stand there are left out."""
    priced = pl.col("_typical").is_not_null()
    traded = priced & (pl.col("volume") > 0).fill_null(value=False)
    rows = named.with_columns(
        _votes=pl.when(traded.any().over("symbol")).then(traded).otherwise(priced), _priced=priced
    )
    for kind in kinds:
        step = pl.when(pl.col("_kind") == pl.lit(kind)).then(pl.col("_step")).fill_null(0.0)
        rows = rows.with_columns(_level=step.cum_sum().over("symbol").round(6))
        votes = rows.filter("_votes")
        last = votes.group_by("symbol").agg(_in_force=pl.col("_level").last())
        votes = votes.join(last, on="symbol", maintain_order="left")
        since = (
            votes.filter(pl.col("_level") != pl.col("_in_force")).group_by("symbol").agg(_since=pl.col("_row").max())
        )
        run = votes.join(since, on="symbol", how="left", maintain_order="left").filter(
            pl.col("_row") > pl.col("_since").fill_null(-1)
        )
        settled = run.group_by("symbol").agg(
            _settled=(pl.len() >= SETTLED) | (pl.lit(kind == "split") & pl.col("_declared").is_not_null().any())
        )
        most = (
            votes.group_by("symbol", "_level")
            .agg(n=pl.len(), at=pl.col("_row").max())
            .sort("symbol", "n", "at")
            .group_by("symbol", maintain_order=True)
            .agg(_most=pl.col("_level").last())
        )
        force = (
            last.join(settled, on="symbol")
            .join(most, on="symbol")
            .select("symbol", _in_force=pl.when("_settled").then("_in_force").otherwise("_most"))
        )
        away = pl.col("_in_force") - pl.col("_level")
        rows = (
            rows.join(force, on="symbol", how="left", maintain_order="left")
            .with_columns(
                pl.when(away.abs() > 1e-5).then(_exactly(away, pl.col("_ratio"))).otherwise(1.0).alias(f"_{kind}")
            )
            .drop("_in_force")
        )
    return rows.filter("_priced", pl.any_horizontal(pl.col(f"_{k}") != 1 for k in kinds)).select(
        "_row", "_ratio", *(f"_{k}" for k in kinds)
    )


def _exactly(away: pl.Expr, declared: pl.Expr) -> pl.Expr:
    """exp(away), to the last digit where that is the declared ratio, its inverse or a power of ten."""
    tens = (away / math.log(10)).round()
    names = [(pl.lit(10.0).pow(tens), tens * math.log(10)), (declared, declared.log()), (1 / declared, -declared.log())]
    return pl.coalesce(*(pl.when((away - log).abs() < 1e-5).then(value) for value, log in names), away.exp())


def _row_findings(rows: pl.DataFrame, bars: pl.DataFrame, breaks: pl.DataFrame) -> pl.DataFrame:
    """One finding per row that was moved to another level. Confidence: of the least sure of the breaks that put it there."""
    sure = (
        breaks.filter(pl.col("_kind") != pl.lit("gap"))
        .group_by("symbol", "_kind")
        .agg(_sure=1 / (1 + (-pl.col("_sure").min()).exp()))
    )
    by_split = pl.col("_split") != 1
    moved = rows.filter(pl.col("_scale") != 1).with_columns(
        _kind=pl.when(by_split).then(pl.lit("split")).otherwise(pl.lit("unit"))
    )
    moved = moved.join(sure, on=["symbol", "_kind"], how="left", maintain_order="left").join(
        bars.select("_row", _found="close"), on="_row", maintain_order="left"
    )
    missed = (pl.col("_split") * pl.col("_ratio") - 1).abs() < 1e-4
    rule = (
        pl.when(~by_split)
        .then(pl.lit("UNIT_100X"))
        .when(missed)
        .then(pl.lit("SPLIT_MISSED"))
        .otherwise(pl.lit("SPLIT_DOUBLED"))
    )
    unit = pl.format(
        "the row's prices are {} times those of the level in force: close {} should be {}", (1 / pl.col("_scale")).round_sig_figs(6), pl.col("_found").round_sig_figs(6), pl.col("close").round_sig_figs(6)
    )  # fmt: skip
    split = pl.format(
        "the declared split of {} for 1 is {} in this row: close {} should be {}",
        pl.col("_ratio").round_sig_figs(6), pl.when(missed).then(pl.lit("missing")).otherwise(pl.lit("counted twice")), pl.col("_found").round_sig_figs(6), pl.col("close").round_sig_figs(6),
    )  # fmt: skip
    return moved.select(
        "_row", rule=rule, column=pl.lit("close"), found="_found", expected="close", confidence="_sure",
        repaired=pl.lit(value=True), message=pl.when(by_split).then(split).otherwise(unit),
    )  # fmt: skip


def _cells(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Single prices a hundred times off the others of their row, put right, and their findings; the adjusted close follows the close where it jumps with it."""
    typical = _typical()
    off = {c: (pl.col(c) / pl.col("_typical")).log() for c in PRICES}
    factor = {
        c: pl.coalesce(
            *(pl.when((e.abs() - math.log(u)).abs() < MOVE).then(pl.lit(u).pow(-e.sign())) for u in UNITS), pl.lit(1.0)
        )
        for c, e in off.items()
    }
    wrong = (
        rows.with_columns(_typical=typical)
        .filter(pl.any_horizontal(e.abs() > math.log(min(UNITS)) - MOVE for e in off.values()))
        .with_columns(factor[c].alias(f"_by_{c}") for c in PRICES)
    )
    wrong = wrong.filter(pl.any_horizontal(pl.col(f"_by_{c}") != 1 for c in PRICES))
    neighbours = rows.select(
        "_row",
        _yield=(pl.col("adj_close") / pl.col("close")).rolling_median(5, min_samples=1, center=True).over("symbol"),
    )
    wrong = wrong.join(neighbours, on="_row", maintain_order="left")
    follows = (
        (pl.col("adj_close") / pl.col("_typical") / pl.col("_yield")).log().abs() > math.log(min(UNITS)) - MOVE
    ).fill_null(value=False)
    wrong = wrong.with_columns(_by_adj_close=pl.when(follows).then(pl.col("_by_close")).otherwise(1.0))
    right = wrong.select("_row", *((pl.col(c) * pl.col(f"_by_{c}")).alias(c) for c in SERIES))
    said = pl.concat(
        wrong.filter(pl.col(f"_by_{c}") != 1).select(
            "_row", rule=pl.lit("UNIT_100X"), column=pl.lit(c), found=c, expected=pl.col(c) * pl.col(f"_by_{c}"), confidence=pl.lit(0.99), repaired=pl.lit(value=True),
            message=pl.format("{} {} is on another unit than the row's other prices, around {}", pl.lit(c), pl.col(c).round_sig_figs(6), pl.col("_typical").round_sig_figs(6)),
        )
        for c in PRICES
    )  # fmt: skip
    return rows.update(right, on="_row") if right.height else rows, said


def _gap_findings(gaps: pl.DataFrame) -> pl.DataFrame:
    """A break that nothing explains is told and not repaired: the ratio is known only to within the day's own move."""
    text = pl.format(
        "the price goes from {} to {} in one row, {} times; no unit and no declared split or dividend explains it: ask for the corporate action",
        pl.col("_before").round_sig_figs(6), pl.col("_typical").round_sig_figs(6), pl.col("_move").exp().round_sig_figs(4),
    )  # fmt: skip
    return gaps.select(
        "_row",
        rule=pl.lit("PRICE_BREAK"),
        column=pl.lit("close"),
        found="_typical",
        expected="_before",
        confidence=pl.lit(0.5),
        repaired=pl.lit(value=False),
        message=text,
    )
