"""What the terms and identifiers of an instrument must satisfy to be stored; a wrong row goes to quarantine."""

from collections.abc import Callable
from typing import get_args

import polars as pl

from quant_assets.calendars.venues import codes
from quant_assets.currencies import COINS, CURRENCIES, HUNDREDTHS
from quant_assets.identifiers import is_valid
from quant_assets.instruments import Kind
from quant_assets.market_data.rules import Rule

KINDS: tuple[str, ...] = get_args(Kind)


def _refuse(name: str, question: str, wrong: pl.Expr) -> Rule:
    return Rule(name, "refuse", question, wrong)


def _each(*columns: str, wrong: Callable[[tuple[str | None, ...]], bool]) -> pl.Expr:
    """Whether `wrong` holds of the values of a row; asked once for those that are the same."""

    def ask(rows: pl.Series) -> pl.Series:
        asked = {row: wrong(row) for row in rows.struct.unnest().unique().iter_rows()}
        return pl.Series([asked[row] for row in rows.struct.unnest().iter_rows()], dtype=pl.Boolean)

    return pl.struct(*columns).map_batches(ask, return_dtype=pl.Boolean)


_MISSING = pl.any_horizontal(pl.col(c).is_null() for c in ("expiry", "underlying", "multiplier"))

TERMS = (
    _refuse("kind", f"Is each of a kind ({', '.join(KINDS)})?", ~pl.col("kind").fill_null("").is_in(KINDS)),
    _refuse(
        "currency",
        "Is each currency one of ISO 4217 or a coin that prices are made in (GBX for pence)?",
        ~pl.col("currency").fill_null("").is_in([*CURRENCIES, *COINS, *HUNDREDTHS]),
    ),
    _refuse("calendar", "Is each calendar a known one?", _each("calendar", wrong=lambda row: row[0] not in codes())),
    _refuse("step", "Is each step positive?", pl.col("step") <= 0),
    _refuse("tick", "Is no tick negative?", pl.col("tick") < 0),
    _refuse("multiplier", "Is each multiplier positive?", pl.col("multiplier") <= 0),
    _refuse("min_notional", "Is no minimum negative?", pl.col("min_notional") < 0),
    _refuse(
        "margin",
        "Is no margin negative, and none both a fraction and an amount?",
        (pl.col("initial_margin") < 0)
        | (pl.col("contract_margin") < 0)
        | pl.all_horizontal(pl.col("initial_margin", "contract_margin").is_not_null()),
    ),
    _refuse(
        "future",
        "Has each future its expiry, its underlying and its multiplier?",
        pl.col("kind").is_in(["future"]) & _MISSING,
    ),
    _refuse("expired", "Is no expiry before the terms begin?", pl.col("expiry") < pl.col("session")),
    _refuse("first_notice", "Is no first notice after the expiry?", pl.col("first_notice") > pl.col("expiry")),
)

IDENTIFIED = (
    _refuse("calendar", "Is each calendar a known one?", _each("calendar", wrong=lambda row: row[0] not in codes())),
    _refuse(
        "check_digit",
        "Is each ISIN, FIGI and conId one, with its check digit?",
        _each("scheme", "identifier", wrong=lambda row: bool(row[1]) and not is_valid(row[0] or "", row[1] or "")),
    ),
)
