"""From bars to findings and repairs: first the level of prices, then, on restored prices, what is paid and how the adjusted close took it."""

import polars as pl

from quant_assets.errors import ContractViolation
from quant_assets.market_data.vendor_errors import levels, payouts

NEEDED = ("symbol", "session", "open", "high", "low", "close", "adj_close", "volume", "dividend", "split")
CALMEST = 0.005  # daily volatility below which nobody's price fall says more: ticks and stale quotes
NORMAL = 1.4826  # from a median absolute move to a standard deviation

FINDINGS = ("symbol", "session", "rule", "column", "found", "expected", "confidence", "repaired", "message")


def diagnose(bars: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What is wrong in `bars`, and the rows as they should be.

    `bars`: symbol, session, open, high, low, close, adj_close, volume, dividend, split, optionally capital_gains, and whatever else; one row per symbol and
    session, in any order. Prices are on the basis of the newest share (see `basis.split_adjusted`); `dividend` is per such share, 0 where none is declared,
    null where the vendor says nothing about it; `split` is shares after for one before, 0, 1 or null where there is none; gains are part of the dividend.

    Findings (columns `FINDINGS`, by symbol and session): the rule, the column it is about, the value found and the one expected, how sure, and whether the repairs mend it.
    Repairs: whole rows in the columns of `bars`, by symbol and session: those of the findings, and those whose adjusted close follows from them. Nothing is edited:
    append them under a later `known_at`. Diagnosing bars with the repairs in place finds nothing more to repair.

    Raises ContractViolation where a column is missing or a symbol has two rows in a session.
    """
    missing = [c for c in NEEDED if c not in bars.columns]
    if missing:
        raise ContractViolation(
            f"bars to diagnose lack {', '.join(missing)}; they have {', '.join(bars.columns)}. Give dividends and splits beside the prices, or nulls where the vendor has none."
        )
    twice = bars.height - bars.n_unique(["symbol", "session"])
    if twice:
        raise ContractViolation(
            f"{twice} rows of the bars to diagnose repeat the symbol and session of another: take the rows in force as of one time first."
        )
    floats = [c for c in (*levels.SERIES, "dividend", "split", "capital_gains") if c in bars.columns]
    given = (
        bars.sort("symbol", "session")
        .with_columns(pl.col(floats).cast(pl.Float64).fill_nan(None))
        .with_row_index("_row")
        .with_columns(pl.col("_row").cast(pl.Int64))
    )
    rows = given if "capital_gains" in given.columns else given.with_columns(capital_gains=pl.lit(0.0))
    restored, on_levels, gaps = levels.restored(
        rows.join(_usual_move(rows), on="symbol", how="left", maintain_order="left")
    )
    seen = payouts.seen(restored)
    verdicts = payouts.judged(seen, gaps)
    findings = (
        pl.concat([on_levels, _told(verdicts)])
        .join(given.select("_row", "symbol", "session"), on="_row", maintain_order="left")
        .sort("_row", "rule", "column")
        .select(FINDINGS)
    )
    right = _paid_right(seen, verdicts.filter(_mendable())).select(given.columns)
    changed = pl.any_horizontal(pl.col(c).ne_missing(pl.col(f"{c}_given")) for c in (*floats, "volume"))
    repairs = right.join(
        given.select("_row", *floats, "volume"), on="_row", suffix="_given", maintain_order="left"
    ).filter(changed)
    return findings, repairs.select(bars.columns)


def _usual_move(rows: pl.DataFrame) -> pl.DataFrame:
    """`_per_usual` by symbol: one over the robust daily volatility of the closes that moved at all. Inverted here, for where a joined column is one value repeated, Polars divides by it with other last bits than elsewhere."""
    close = pl.when(pl.col("close") > 0).then(pl.col("close"))
    move = rows.select("symbol", _move=(close / close.forward_fill().shift()).log().abs().over("symbol")).filter(
        pl.col("_move").is_between(0, levels.MOVE, closed="none")
    )
    usual = move.group_by("symbol").agg(_usual=(NORMAL * pl.col("_move").median()).clip(CALMEST))
    names = (
        rows.select("symbol").unique(maintain_order=True).join(usual, on="symbol", how="left", maintain_order="left")
    )
    return names.select("symbol", _per_usual=1 / pl.col("_usual").fill_null(CALMEST))


def _mendable() -> pl.Expr:
    return pl.col("_rule") != pl.lit("ADJUSTMENT_UNEXPLAINED")


def _told(verdicts: pl.DataFrame) -> pl.DataFrame:
    """Findings by row of the verdicts on payments."""
    verdicts = verdicts.with_columns(_cash=pl.col("_step") * pl.col("_prev"))
    rule = pl.col("_rule")
    about_cash = rule.is_in(["DIVIDEND_WRONG", "DIVIDEND_PHANTOM", "DIVIDEND_MISSING"])
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
            "dividend {} repeats its neighbour a few days apart; the price fell {} % here and followed the other one: there was none",
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
            "the adjusted close took {}: the dividend {} and once more the capital gains {} that are in it; the price fell {} %",
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
            "the adjusted close took {} ({} % of the last price {}, which fell {} %); no dividend is declared and the price does not show one",
            step,
            share,
            price,
            fell,
        ),
    }
    return verdicts.select(
        "_row", rule=rule, column=pl.when(about_cash).then(pl.lit("dividend")).otherwise(pl.lit("adj_close")), found=pl.when(about_cash).then("dividend").otherwise("_cash"),
        expected="_amount", confidence=1 / (1 + (-pl.col("_sure")).exp()), repaired=_mendable(),
        message=pl.coalesce(*(pl.when(rule == pl.lit(name)).then(text) for name, text in texts.items())),
    )  # fmt: skip


def _said(number: pl.Expr, digits: int = 6) -> pl.Expr:
    return number.round_sig_figs(digits).cast(pl.String).fill_null("?")


def _paid_right(seen: pl.DataFrame, verdicts: pl.DataFrame) -> pl.DataFrame:
    """`seen` with amounts as judged, and, before each payment whose step was wrong, the adjusted close rebuilt: close × last ratio × product of later (1 - step)."""
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
