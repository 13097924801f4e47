"""Actions from raw against adjusted closes."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from quant_assets.calendars import calendar
from quant_assets.contract import in_force
from quant_assets.market_data.actions import COLUMNS, declared, news
from quant_assets.market_data.derivation import derive, pairs
from quant_assets.market_data.evidence import Evidence
from quant_assets.market_data.ingest import ingest
from quant_assets.tables import ACTIONS, BARS
from resources.tables.store import DeltaStore

XNYS = calendar("XNYS")
P, C, NEXT = date(2016, 3, 7), date(2016, 3, 8), date(2016, 3, 9)


def rows(*bars: tuple[date, float, float, float]) -> pl.DataFrame:
    """Bars (session, open, close, adj_close) of one name."""
    found = pl.DataFrame(
        list(bars),
        schema={"session": pl.Date, "open": pl.Float64, "close": pl.Float64, "adj_close": pl.Float64},
        orient="row",
    )
    return found.with_columns(
        sid=pl.lit(7, pl.Int64), symbol=pl.lit("AA"), file=pl.lit("f"), line=pl.int_range(pl.len(), dtype=pl.Int64)
    )


def anyhow(evidence: pl.DataFrame) -> pl.DataFrame:
    """The actions that are likeliest, however unsure."""
    return derive(evidence, Evidence(min_confidence=0.0)).actions


def derived(*bars: tuple[date, float, float, float]) -> list[tuple[object, ...]]:
    return anyhow(pairs(rows(*bars), XNYS)).select("session", "kind", "numerator", "denominator", "cash").rows()


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


@pytest.mark.parametrize(
    ("before", "adjusted", "cash"),
    [
        (1.55, 1.05, "0.5"),
        (0.78, 0.53, "0.25"),
        (74.489998, 66.489999, "8"),
        (42.0, 41.79, "0.21"),
        (42.0, 41.8, "0.2"),
        (9.74, 9.43, "0.31"),
    ],
)
def test_dividends_are_not_taken_for_splits(before: float, adjusted: float, cash: str) -> None:
    """What is left of the close is a dividend, large ones too where some odd ratio lies near."""
    assert derived((P, before, before, adjusted), (C, adjusted, adjusted, adjusted)) == [
        (C, "dividend", None, None, Decimal(cash))
    ]


def test_no_action_no_row() -> None:
    """Equal raw and adjusted closes, and factors that stay the same, are nothing."""
    assert derived((P, 10, 10.0, 10.0), (C, 11, 11.0, 11.0)) == []
    assert derived((P, 10, 10.0, 9.0), (C, 11, 11.0, 9.9)) == [(NEXT, "dividend", None, None, Decimal("1.1"))]


def test_an_announced_action_is_ex_the_session_after() -> None:
    """An adjusted close below the last raw one belongs to the session that comes next."""
    assert derived((P, 41.0, 41.0, 40.3553), (C, 40.7, 40.7, 40.06)) == [
        (NEXT, "dividend", None, None, Decimal("0.64"))
    ]


def test_a_split_that_the_price_does_not_show_is_ex_the_session_after() -> None:
    """The vendor adjusted one drop early: the open still trades at the old price."""
    assert derived((P, 0.37, 0.37, 5.55), (C, 0.38, 0.38, 0.38)) == [(NEXT, "split", 1, 15, None)]


@pytest.mark.parametrize(
    ("before", "adjusted", "opens", "kind"),
    [
        (66.289998, 27.899831, 26.89, "spin_off"),  # eBay and PayPal, 2376:1000
        (63.949997, 60.731242, 60.5, "spin_off"),  # DuPont and Chemours, 1053:1000
        (1075.04996, 649.577015, 653.1, "spin_off"),  # Graham and Cable One
        (5.76, 5.625, 5.62, "dividend"),  # 0.135 happens to be 1000/1024
        (23.66, 22.749999, 22.2, "dividend"),  # 0.91 happens to be 1000/1040
        (51.549999, 37.049998, 37.79, "dividend"),  # 14.50 in cash
        (32.83, 32.698543, 32.7, "dividend"),  # 0.131457, converted
    ],
)
def test_spin_offs_are_told_from_dividends(before: float, adjusted: float, opens: float, kind: str) -> None:
    """A factor of 1000/n to the last digit whose amount nobody would pay in cash is a spin-off, with its worth; what is
    paid in cash is a dividend whatever the factor.
    """
    found = anyhow(pairs(rows((P, before, before, adjusted), (C, opens, opens, opens)), XNYS))
    assert found.select("kind", pl.coalesce(pl.col("cash").cast(pl.Float64), "value").round(4)).rows() == [
        (kind, round(before - adjusted, 4))
    ]
    assert (found["cash"][0] is None, found["value"][0] is None) == (
        (True, False) if kind == "spin_off" else (False, True)
    )


@pytest.mark.parametrize(("factor", "opens"), [(1.04, 10.0), (0.66, 10.0), (0.268391, 4.5)])
def test_what_nothing_explains_is_kept_apart(factor: float, opens: float) -> None:
    """A factor above one that is no split, or a large one that the price contradicts, is no action."""
    actions, refused, asked = derive(pairs(rows((P, 10, 10.0, 10.0 * factor), (C, opens, 10.0, 10.0)), XNYS))
    assert actions.is_empty()
    assert refused.select("line", "reason").rows() == [(0, "UNEXPLAINED_FACTOR")]
    assert asked.select("explanations", "confidence").rows() == [("", 0.0)]


def test_a_price_that_moves_otherwise_is_not_one_to_wait_for() -> None:
    """A factor that the open contradicts by moving far, and not just by staying, is asked about where it stands: the
    next session will not show it.
    """
    asked = derive(pairs(rows((P, 7.8, 7.83001, 2.56152), (C, 11.72, 10.61, 10.61)), XNYS)).proposals
    assert asked.select("session", "explanations").rows() == [(C, "")]


def test_confidence_follows_the_evidence() -> None:
    """A split that the open confirms is sure, one only announced is not; how far the open is from it counts."""
    prices = {
        "seen": ((P, 10, 10.0, 5.0), (C, 5.0, 5.0, 5.0)),
        "announced": ((P, 10, 10.0, 5.0), (C, 10, 10.0, 5.0)),
        "moved": ((P, 10, 10.0, 5.0), (C, 6.0, 5.5, 5.5)),
        "a cent": ((P, 10, 10.0, 9.99), (C, 10.0, 10.0, 10.0)),
    }
    sure = {name: anyhow(pairs(rows(*bars), XNYS))["confidence"].item() for name, bars in prices.items()}
    assert sure["announced"] == 0.498
    assert 0.8 < sure["moved"] < 0.9 < sure["seen"]
    assert sure["a cent"] > 0.95


def test_the_same_action_again_is_no_news() -> None:
    """Terms that stand are a no-op whatever the file; other terms are a new version; none at all where there was one
    withdraws it.
    """
    evidence = pairs(rows((P, 10, 10.0, 9.8), (C, 9.8, 9.8, 9.8)), XNYS)
    given = anyhow(evidence)
    assert news(given, evidence, stand(given, file="earlier")).is_empty()
    other = stand(given).with_columns(cash=pl.lit(Decimal("0.3"), ACTIONS.schema["cash"]))
    assert news(given, evidence, other).select("cash", "withdrawn").rows() == [(Decimal("0.2"), False)]
    nothing = pairs(rows((P, 10, 10.0, 10.0), (C, 9.8, 9.8, 9.8)), XNYS)
    assert news(given.clear(), nothing, stand(given)).select("session", "withdrawn").rows() == [(C, True)]


def test_a_declared_action_is_not_overruled() -> None:
    """Evidence neither restates nor withdraws what the vendor declared."""
    evidence = pairs(rows((P, 10, 10.0, 9.8), (C, 9.8, 9.8, 9.8)), XNYS)
    given = anyhow(evidence)
    said = stand(given, origin="declared").with_columns(cash=pl.lit(Decimal("0.21"), ACTIONS.schema["cash"]))
    assert news(given, evidence, said).is_empty()


def test_a_pair_across_a_gap_does_not_repeat_an_action() -> None:
    """A factor between Monday and Wednesday is the action already known for Tuesday, not another one."""
    known = anyhow(pairs(rows((P, 10, 10.0, 9.8), (C, 9.8, 9.8, 9.8)), XNYS))
    wide = pairs(rows((P, 10, 10.0, 9.8), (NEXT, 9.8, 9.8, 9.8)), XNYS)
    assert news(anyhow(wide), wide, stand(known)).is_empty()


def test_a_dividend_that_the_vendor_places_twice_is_one() -> None:
    """The same terms again within four days, to what an exchange rate does, are the action that stands; other terms, or
    a month later, are another.
    """
    known = anyhow(pairs(rows((P, 10, 10.0, 9.73), (C, 9.7, 9.7, 9.7)), XNYS))
    again = pairs(rows((C, 9.7, 9.7, 9.43), (NEXT, 9.68, 9.68, 9.68)), XNYS)
    assert news(anyhow(again), again, stand(known)).is_empty()
    in_dollars = pairs(rows((C, 9.7, 9.7, 9.45), (NEXT, 9.68, 9.68, 9.68)), XNYS)
    assert news(anyhow(in_dollars), in_dollars, stand(known)).is_empty()
    other = pairs(rows((C, 9.7, 9.7, 9.5), (NEXT, 9.68, 9.68, 9.68)), XNYS)
    assert news(anyhow(other), other, stand(known))["session"].to_list() == [NEXT]
    april, following = date(2016, 4, 7), date(2016, 4, 8)
    monthly = pairs(rows((april, 9.7, 9.7, 9.43), (following, 9.68, 9.68, 9.68)), XNYS)
    assert news(anyhow(monthly), monthly, stand(known))["session"].to_list() == [following]


def test_spin_offs_and_doubled_dividends_of_the_real_panel(panel: Callable[..., Any], tmp_path: Path) -> None:
    """In the summer of 2015 the vendor's factors hold five spin-offs, which are not paid in cash, and dividends of NYMT
    and FFIN placed twice, which are one each.
    """
    source = panel(date(2015, 6, 8), date(2015, 7, 21), ["EBAY", "BAX", "GHC", "TRS", "DD", "NYMT", "FFIN", "SYMC"])
    store = DeltaStore(tmp_path)
    ingest(source, store, None, datetime(2026, 1, 2, tzinfo=UTC), source.labels(), XNYS)
    symbols = store.read(BARS, as_of=None).select("sid", "symbol").unique()
    found = in_force(store.read(ACTIONS, as_of=None), ACTIONS).join(symbols, on="sid").sort("session", "symbol")
    july = [(date(2015, 7, 1), s) for s in ("BAX", "DD", "GHC", "TRS")]
    assert found.filter(pl.col("kind") == "spin_off").select("session", "symbol").rows() == [
        *july,
        (date(2015, 7, 20), "EBAY"),
    ]
    paid = found.filter(pl.col("symbol").is_in(["NYMT", "FFIN"]), pl.col("kind") == "dividend")
    assert paid.select("session", "symbol", "cash").rows() == [
        (date(2015, 6, 11), "FFIN", Decimal("0.16")),
        (date(2015, 6, 25), "NYMT", Decimal("0.27")),
    ]


HOLDERS = pl.DataFrame({"symbol": ["AA", "BB"], "sid": [7, 8]})


def told(*rows: dict[str, object], **columns: list[object]) -> pl.DataFrame:
    """A vendor's declared actions, of AA ex `C` where nothing else is said."""
    schema = {"symbol": pl.String, "session": pl.Date} | {
        c: ACTIONS.schema[c]
        for c in COLUMNS
        if c in {"kind", "numerator", "denominator", "cash", "value", "counterpart", "file", "line"}
    }
    plain = {"symbol": "AA", "session": C, "kind": "dividend", "file": "a.csv"}
    frame = pl.DataFrame([dict.fromkeys(schema) | plain | {"line": i} | r for i, r in enumerate(rows)], schema=schema)
    return frame.with_columns(pl.Series(c, v) for c, v in columns.items())


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"kind": "split", "numerator": 2, "denominator": 1}, None),
        ({"kind": "split", "numerator": 2}, "INCOMPLETE_ACTION"),
        ({"kind": "split", "numerator": 0, "denominator": 1}, "INCOMPLETE_ACTION"),
        ({"kind": "stock_dividend", "numerator": 21, "denominator": 20}, None),
        ({"kind": "stock_dividend", "cash": Decimal(1)}, "INCOMPLETE_ACTION"),
        ({"cash": Decimal("0.2")}, None),
        ({"value": 0.2}, "INCOMPLETE_ACTION"),
        ({"cash": Decimal("-0.2")}, "INCOMPLETE_ACTION"),
        ({"kind": "spin_off", "value": 5.5}, None),
        ({"kind": "spin_off", "numerator": 1, "denominator": 4, "counterpart": "BB"}, None),
        ({"kind": "spin_off", "numerator": 1, "denominator": 4}, "INCOMPLETE_ACTION"),
        ({"kind": "merger", "cash": Decimal(30)}, None),
        ({"kind": "merger", "numerator": 1, "denominator": 4, "counterpart": "BB"}, None),
        ({"kind": "merger"}, "INCOMPLETE_ACTION"),
        ({"kind": "delisting"}, None),
        ({"kind": "symbol_change"}, None),
        ({"kind": "buyback"}, "UNKNOWN_KIND"),
        ({"symbol": "ZZ", "cash": Decimal(1)}, "UNKNOWN_SYMBOL"),
    ],
)
def test_a_declared_action_says_what_its_kind_needs(row: dict[str, object], reason: str | None) -> None:
    """Each kind with its terms is taken; without them it is rejected with a reason, and so are kinds and symbols that
    nobody knows.
    """
    good, bad = declared(told(row), HOLDERS)
    assert (good.height, bad["reason"].to_list()) == ((1, []) if reason is None else (0, [reason]))


def test_dividends_of_one_session_add_up_and_contradictions_are_kept_apart() -> None:
    """A regular and a special dividend are one amount, the same row twice is one row, two splits of one session are
    none.
    """
    good, bad = declared(
        told(
            {"cash": Decimal("0.25")},
            {"cash": Decimal(2)},
            {"cash": Decimal("0.25")},
            {"symbol": "BB", "cash": Decimal(1)},
        ),
        HOLDERS,
    )
    assert good.select("sid", "cash").rows() == [(7, Decimal("2.25")), (8, Decimal(1))]
    assert bad.is_empty()
    split = {"kind": "split", "denominator": 1}
    good, bad = declared(told({**split, "numerator": 2}, {**split, "numerator": 3}, {"cash": Decimal(1)}), HOLDERS)
    assert good["kind"].to_list() == ["dividend"]
    assert bad.select("line", "reason").rows() == [(0, "CONFLICT"), (1, "CONFLICT")]


def test_what_a_vendor_takes_back_is_withdrawn() -> None:
    """A row marked withdrawn takes back what stands under its key, once; moved to another day it is a withdrawal and an
    action; what never stood is no news.
    """
    standing = stand(declared(told({"cash": Decimal("0.2")}), HOLDERS)[0])
    moved, _ = declared(told({}, {"session": NEXT, "cash": Decimal("0.2")}, withdrawn=[True, False]), HOLDERS)
    found = news(moved, pairs(rows(), XNYS), standing)
    assert found.sort("session").select("session", "withdrawn").rows() == [(C, True), (NEXT, False)]
    assert found.columns == [*COLUMNS, "withdrawn"]
    gone = standing.with_columns(withdrawn=pl.lit(value=True))
    assert news(moved.filter("withdrawn"), pairs(rows(), XNYS), gone).is_empty()
    assert news(moved.filter("withdrawn"), pairs(rows(), XNYS), standing.clear()).is_empty()
    again, _ = declared(told({}, {"cash": Decimal("0.3")}, withdrawn=[True, False]), HOLDERS)
    assert news(again, pairs(rows(), XNYS), standing).select("cash", "withdrawn").rows() == [(Decimal("0.3"), False)]


@pytest.mark.parametrize("kind", ["delisting", "merger"])
def test_a_derived_delisting_gives_way_to_what_the_vendor_declares(kind: str) -> None:
    """Where a death was derived, and the vendor then says when and for how much, the derived one is withdrawn, be it on
    another day or the same.
    """
    guessed = declared(
        told({"kind": "delisting", "value": 0.0}, {"symbol": "BB", "kind": "delisting", "value": 0.0}), HOLDERS
    )[0]
    standing = stand(guessed, origin="derived")
    for day in (C, NEXT):
        given, _ = declared(told({"kind": kind, "session": day, "value": -0.3}), HOLDERS)
        found = news(given, pairs(rows(), XNYS), standing)
        versions = pl.concat([standing, found.select(standing.columns)]).unique(
            ["sid", "session", "kind"], keep="last", maintain_order=True
        )
        alive = versions.filter(~pl.col("withdrawn")).sort("sid")
        assert alive.select("sid", "session", "kind", "value").rows() == [
            (7, day, kind, -0.3),
            (8, C, "delisting", 0.0),
        ]


def test_a_capture_takes_back_what_an_earlier_one_declared(
    capture: Callable[..., Any], captures: Callable[..., Any], tmp_path: Path
) -> None:
    """From captures to the table: a dividend declared, moved and taken back; as of each day what was then in force, and
    nothing is lost.
    """
    bars = [[("AA", day, 10.0)] for day in (P, C, NEXT)]
    said = [
        told({"cash": Decimal("0.2"), "session": date(2016, 3, 11)}),
        told(
            {"session": date(2016, 3, 11)},
            {"cash": Decimal("0.2"), "session": date(2016, 3, 14)},
            withdrawn=[True, False],
        ),
    ]
    said.append(told({"session": date(2016, 3, 14)}, withdrawn=[True]))
    source = captures(
        {day: capture(day, rows_, actions=acted) for day, rows_, acted in zip((P, C, NEXT), bars, said, strict=True)}
    )
    store = DeltaStore(tmp_path)
    ingest(source, store, None, datetime(2026, 1, 2, tzinfo=UTC), source.labels(), XNYS)
    standing = [
        in_force(store.read(ACTIONS, as_of=datetime(2016, 3, d, 14, tzinfo=UTC)), ACTIONS)["session"].to_list()
        for d in (8, 9, 10)
    ]
    assert standing == [[date(2016, 3, 11)], [date(2016, 3, 14)], []]
    assert store.read(ACTIONS, as_of=None).height == 4
