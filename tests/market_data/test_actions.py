"""Actions from raw against adjusted closes."""

from datetime import date
from decimal import Decimal

import polars as pl
import pytest

from quant_assets.market_data.actions import derive, news, pairs
from quant_assets.market_data.calendars import calendar
from quant_assets.tables import ACTIONS

XNYS = calendar("XNYS")
P, C, NEXT = date(2016, 3, 7), date(2016, 3, 8), date(2016, 3, 9)


def rows(*bars: tuple[date, float, float, float]) -> pl.DataFrame:
    """Bars (session, open, close, adj_close) of one name."""
    found = pl.DataFrame(list(bars), schema={"session": pl.Date, "open": pl.Float64, "close": pl.Float64, "adj_close": pl.Float64}, orient="row")
    return found.with_columns(sid=pl.lit(7, pl.Int64), symbol=pl.lit("AA"), file=pl.lit("f"), line=pl.int_range(pl.len(), dtype=pl.Int64))


def derived(*bars: tuple[date, float, float, float]) -> list[tuple[object, ...]]:
    return derive(pairs(rows(*bars), XNYS))[0].select("session", "kind", "numerator", "denominator", "cash").rows()


def stand(actions: pl.DataFrame, **more: object) -> pl.DataFrame:
    return actions.with_columns(withdrawn=pl.lit(value=False)).with_columns(**{k: pl.lit(v) for k, v in more.items()})


@pytest.mark.parametrize(
    ("before", "adjusted", "terms"),
    [
        (95.23, 47.62, (2, 1)),
        (59.73, 29.86, (2, 1)),
        (43.250001, 28.833334, (3, 2)),
        (39.8, 34.608695, (23, 20)),
        (0.78002, 4.68009, (1, 6)),
        (0.37, 2.589997, (1, 7)),
        (0.095, 5.699999, (1, 60)),
        (0.04, 4.0, (1, 100)),
    ],
)
def test_splits_snap_to_small_integers(before: float, adjusted: float, terms: tuple[int, int]) -> None:
    """Factors as the real panel has them, rounded to cents or to six decimals, become the ratio that was meant."""
    assert derived((P, before, before, adjusted), (C, adjusted, adjusted, adjusted)) == [(C, "split", *terms, None)]


@pytest.mark.parametrize(("before", "adjusted", "cash"), [(1.55, 1.05, "0.5"), (0.78, 0.53, "0.25"), (74.489998, 66.489999, "8"), (42.0, 41.79, "0.21"), (42.0, 41.8, "0.2"), (9.74, 9.43, "0.31")])
def test_dividends_are_not_taken_for_splits(before: float, adjusted: float, cash: str) -> None:
    """What is left of the close is a dividend, large ones too where some odd ratio lies near."""
    assert derived((P, before, before, adjusted), (C, adjusted, adjusted, adjusted)) == [(C, "dividend", None, None, Decimal(cash))]


def test_no_action_no_row() -> None:
    """Equal raw and adjusted closes, and factors that stay the same, are nothing."""
    assert derived((P, 10, 10.0, 10.0), (C, 11, 11.0, 11.0)) == []
    assert derived((P, 10, 10.0, 9.0), (C, 11, 11.0, 9.9)) == [(NEXT, "dividend", None, None, Decimal("1.1"))]


def test_an_announced_action_is_ex_the_session_after() -> None:
    """An adjusted close below the last raw one belongs to the session that comes next."""
    assert derived((P, 41.0, 41.0, 40.3553), (C, 40.7, 40.7, 40.06)) == [(NEXT, "dividend", None, None, Decimal("0.64"))]


def test_a_split_that_the_price_does_not_show_is_ex_the_session_after() -> None:
    """The vendor adjusted one drop early: the open still trades at the old price."""
    assert derived((P, 0.37, 0.37, 5.55), (C, 0.38, 0.38, 0.38)) == [(NEXT, "split", 1, 15, None)]


@pytest.mark.parametrize(("factor", "opens"), [(1.04, 10.0), (0.66, 10.0)])
def test_what_nothing_explains_is_kept_apart(factor: float, opens: float) -> None:
    """A factor above one that is no split, or a large one that the price contradicts, is no action."""
    actions, refused = derive(pairs(rows((P, 10, 10.0, 10.0 * factor), (C, opens, 10.0, 10.0)), XNYS))
    assert actions.is_empty()
    assert refused.select("line", "reason").rows() == [(0, "UNEXPLAINED_FACTOR")]


def test_confidence_follows_the_evidence() -> None:
    """A split that the open confirms is sure, one only announced is not; a dividend of a cent is half rounding."""
    seen = derive(pairs(rows((P, 10, 10.0, 5.0), (C, 5.0, 5.0, 5.0)), XNYS))[0]["confidence"].item()
    announced = derive(pairs(rows((P, 10, 10.0, 5.0), (C, 10, 10.0, 5.0)), XNYS))[0]["confidence"].item()
    cent = derive(pairs(rows((P, 10, 10.0, 9.99), (C, 10.0, 10.0, 10.0)), XNYS))[0]["confidence"].item()
    assert (announced, seen) == (0.5, 1.0)
    assert 0.4 < cent < 0.6


def test_the_same_action_again_is_no_news() -> None:
    """Terms that stand are a no-op whatever the file; other terms are a new version; none at all where there was one withdraws it."""
    evidence = pairs(rows((P, 10, 10.0, 9.8), (C, 9.8, 9.8, 9.8)), XNYS)
    given, _ = derive(evidence)
    assert news(given, evidence, stand(given, file="earlier")).is_empty()
    other = stand(given).with_columns(cash=pl.lit(Decimal("0.3"), ACTIONS.schema["cash"]))
    assert news(given, evidence, other).select("cash", "withdrawn").rows() == [(Decimal("0.2"), False)]
    nothing = pairs(rows((P, 10, 10.0, 10.0), (C, 9.8, 9.8, 9.8)), XNYS)
    assert news(given.clear(), nothing, stand(given)).select("session", "withdrawn").rows() == [(C, True)]


def test_a_declared_action_is_not_overruled() -> None:
    """Evidence neither restates nor withdraws what the vendor declared."""
    evidence = pairs(rows((P, 10, 10.0, 9.8), (C, 9.8, 9.8, 9.8)), XNYS)
    given, _ = derive(evidence)
    said = stand(given, origin="declared").with_columns(cash=pl.lit(Decimal("0.21"), ACTIONS.schema["cash"]))
    assert news(given, evidence, said).is_empty()


def test_a_pair_across_a_gap_does_not_repeat_an_action() -> None:
    """A factor between Monday and Wednesday is the action already known for Tuesday, not another one."""
    known, _ = derive(pairs(rows((P, 10, 10.0, 9.8), (C, 9.8, 9.8, 9.8)), XNYS))
    wide = pairs(rows((P, 10, 10.0, 9.8), (NEXT, 9.8, 9.8, 9.8)), XNYS)
    assert news(derive(wide)[0], wide, stand(known)).is_empty()
