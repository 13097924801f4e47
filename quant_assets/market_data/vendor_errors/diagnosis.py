"""From bars to findings and repairs: first the level of prices, then, on restored prices, what is paid and how the
adjusted close took it.
"""

import polars as pl

from quant_assets.errors import ContractViolation
from quant_assets.market_data.vendor_errors import levels, payouts, rhythm, splits, standstill, volatility
from quant_assets.market_data.vendor_errors.thresholds import CHOSEN, Thresholds

NEEDED = ("symbol", "session", "open", "high", "low", "close", "adj_close", "volume", "dividend", "split")

FINDINGS = ("symbol", "session", "rule", "column", "found", "expected", "confidence", "repaired", "message")


def diagnose(bars: pl.DataFrame, limits: Thresholds = CHOSEN) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What is wrong in `bars`, and the rows as they should be.

    `bars`: symbol, session, open, high, low, close, adj_close, volume, dividend, split, optionally capital_gains, and
    whatever else; one row per symbol and session, in any order. Prices are on the basis of the newest share (see
    `basis.split_adjusted`); `dividend` is per such share, 0 where none is declared, null where the vendor says nothing
    about it; `split` is shares after for one before, 0, 1 or null where there is none; gains are part of the dividend.

    Findings (columns `FINDINGS`, by symbol and session): the rule, the column it is about, the value found and the one
    expected, how sure, and whether the repairs mend it. Repairs: whole rows in the columns of `bars`, by symbol and
    session: those of the findings, and those whose adjusted close follows from them. Nothing is edited: append them
    under a later `known_at`. Diagnosing bars with the repairs in place finds nothing more to repair.

    Raises ContractViolation where a column is missing or a symbol has two rows in a session.
    """
    missing = [c for c in NEEDED if c not in bars.columns]
    if missing:
        raise ContractViolation(
            f"bars to diagnose lack {', '.join(missing)}; they have {', '.join(bars.columns)}. Give "
            f"dividends and splits beside the prices, or nulls where the vendor has none."
        )
    twice = bars.height - bars.n_unique(["symbol", "session"])
    if twice:
        raise ContractViolation(
            f"{twice} rows of the bars to diagnose repeat the symbol and session of another: take the rows "
            f"in force as of one time first."
        )
    floats = [c for c in (*levels.SERIES, "dividend", "split", "capital_gains") if c in bars.columns]
    given = (
        bars.sort("symbol", "session")
        .with_columns(pl.col(floats).cast(pl.Float64).fill_nan(None))
        .with_row_index("_row")
        .with_columns(pl.col("_row").cast(pl.Int64))
    )
    rows = given if "capital_gains" in given.columns else given.with_columns(capital_gains=pl.lit(0.0))
    moves = volatility.with_moves(rows)
    usual = volatility.usual(moves)
    keys = ["symbol", "_class"]
    restored, on_levels, gaps = levels.restored(
        rows, moves.join(usual, on=keys, how="left", maintain_order="left"), limits
    )
    restored, on_splits = splits.once(restored, on_levels)
    restored = restored.with_columns(_class=moves["_class"]).join(usual, on=keys, how="left", maintain_order="left")
    seen = payouts.with_noise(payouts.seen(restored))
    verdicts = _verdicts(seen, gaps, limits)
    findings = (
        pl.concat([on_levels, on_splits, standstill.standing(moves, limits), _reported(verdicts.filter("_reported"))])
        .join(given.select("_row", "symbol", "session"), on="_row", maintain_order="left")
        .sort("_row", "rule", "column")
        .select(FINDINGS)
    )
    right = _paid_right(seen, verdicts.filter("_mended")).select(given.columns)
    changed = pl.any_horizontal(pl.col(c).ne_missing(pl.col(f"{c}_given")) for c in (*floats, "volume"))
    repairs = right.join(
        given.select("_row", *floats, "volume"), on="_row", suffix="_given", maintain_order="left"
    ).filter(changed)
    return findings, repairs.select(bars.columns)


def _verdicts(seen: pl.DataFrame, gaps: pl.DataFrame, limits: Thresholds) -> pl.DataFrame:
    """What is wrong with payments and steps, by row; `_reported` of them as findings, `_mended` in the repairs."""
    paid = rhythm.gains_once(rhythm.without_repeats(payouts.weighed(seen, gaps, limits), limits), limits)
    verdicts = pl.concat(
        [paid.filter(pl.col("_rule").is_not_null()), rhythm.unpaid(seen)], how="diagonal_relaxed"
    ).sort("_row")
    verdicts = verdicts.with_columns(
        _reported=pl.lit(value=True),
        _if_paid_day=payouts.likelihood(pl.col("_y"), fall="_fall"),
        _if_not_day=payouts.likelihood(pl.lit(0.0), fall="_fall"),
    )
    verdicts = rhythm.misdated(verdicts)
    return verdicts.with_columns(_mended=pl.col("_known") & (pl.col("_lead") >= limits.mended))


def _reported(verdicts: pl.DataFrame) -> pl.DataFrame:
    """Findings by row of the verdicts on payments."""
    verdicts = verdicts.with_columns(_cash=pl.col("_step") * pl.col("_prev"))
    rule = pl.col("_rule")
    about_cash = rule.is_in(["DIVIDEND_WRONG", "DIVIDEND_PHANTOM", "DIVIDEND_MISSING", "DIVIDEND_MISDATED"])
    amount, step, right, price, gains = (
        _said(pl.col(c)) for c in ("dividend", "_cash", "_amount", "_prev", "capital_gains")
    )
    share, fell = _said(100 * pl.col("_y"), 3), _said(100 * pl.col("_fall"), 3)
    texts = {
        "DIVIDEND_WRONG": pl.format(
            "dividend {} is {} % of the last price {}, which fell {} %; the adjusted close took {}: it should be {}",
            amount,
            share,
            price,
            fell,
            step,
            right,
        ),
        "DIVIDEND_PHANTOM": pl.format(
            "dividend {} is {} % of the last price and the price fell {} %: nobody paid it, or it repeats "
            "its neighbour",
            amount,
            share,
            fell,
        ),
        "DIVIDEND_MISDATED": pl.format(
            "dividend {} is declared here, and the adjusted close took it a few sessions away; the price "
            "fell {} % here",
            amount,
            fell,
        ),
        "DIVIDEND_MISSING_ADJUSTMENT": pl.format(
            "dividend {} ({} % of the last price {}) is declared and the adjusted close did not take it",
            amount,
            share,
            price,
        ),
        "DIVIDEND_WRONG_ADJUSTMENT": pl.format(
            "the adjusted close took {} for a dividend of {} ({} % of the last price {}, which fell {} %)",
            step,
            amount,
            share,
            price,
            fell,
        ),
        "CAPITAL_GAIN_DOUBLE": pl.format(
            "the adjusted close took {}: the dividend {} and once more the capital gains {} that are in it; "
            "the price fell {} %",
            step,
            amount,
            gains,
            fell,
        ),
        "DIVIDEND_MISSING": pl.format(
            "the adjusted close took {} ({} % of the last price {}, which fell {} %) and no dividend is declared",
            step,
            share,
            price,
            fell,
        ),
        "ADJUSTMENT_UNEXPLAINED": pl.format(
            "the adjusted close took {} ({} % of the last price {}, which fell {} %); no dividend is "
            "declared and the price does not show one",
            step,
            share,
            price,
            fell,
        ),
    }
    mendable = rule != pl.lit("ADJUSTMENT_UNEXPLAINED")
    insufficient = (
        pl.when(pl.col("_mended") | ~mendable)
        .then(pl.lit(""))
        .otherwise(pl.lit("; the evidence does not suffice to mend it"))
    )
    return verdicts.select(
        "_row",
        rule=rule,
        column=pl.when(about_cash).then(pl.lit("dividend")).otherwise(pl.lit("adj_close")),
        found=pl.when(about_cash).then("dividend").otherwise("_cash"),
        expected=pl.when("_mended").then("_amount"),
        confidence=1 / (1 + (-pl.col("_lead").abs()).exp()),
        repaired="_mended",
        message=pl.format(
            "{}{}",
            pl.coalesce(*(pl.when(rule == pl.lit(name)).then(text) for name, text in texts.items())),
            insufficient,
        ),
    )


def _said(number: pl.Expr, digits: int = 6) -> pl.Expr:
    return number.round_sig_figs(digits).cast(pl.String).fill_null("?")


def _paid_right(seen: pl.DataFrame, verdicts: pl.DataFrame) -> pl.DataFrame:
    """`seen` with amounts as judged, and, before each payment whose step was wrong, the adjusted close rebuilt: close ×
    last ratio × product of later (1 - step).
    """
    rows = seen.join(verdicts.select("_row", "_amount", "_right_step"), on="_row", how="left", maintain_order="left")
    rows = rows.with_columns(dividend=pl.coalesce("_amount", "dividend"))
    wrong = pl.col("_right_step").is_not_null() & ((pl.col("_right_step") - pl.col("_step")).abs() > payouts.ROUNDING)
    named = pl.col("symbol").is_in(rows.filter(wrong)["symbol"].unique().implode())
    kept = 1 - pl.when(wrong).then("_right_step").when(pl.col("_step") < 1).then("_step").fill_null(0.0)
    mended = rows.filter(named).with_columns(_kept=kept, _wrong=wrong.fill_null(value=False)).with_columns(
        _later=pl.col("_kept").shift(-1, fill_value=1.0).cum_prod(reverse=True).over("symbol"),
        _due=pl.col("_wrong").shift(-1, fill_value=False).cum_max(reverse=True).over("symbol"),
        _newest=pl.col("_held").drop_nulls().last().over("symbol"),
    )  # fmt: skip
    new = mended.filter("_due").select("_row", _adjusted=pl.col("_close") * pl.col("_newest") * pl.col("_later"))
    return rows.join(new, on="_row", how="left", maintain_order="left").with_columns(
        adj_close=pl.coalesce("_adjusted", "adj_close")
    )
