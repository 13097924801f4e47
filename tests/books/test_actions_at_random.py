"""Any actions, known at any time, withdrawn or restated, against any orders: book and venue agree to the cent."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quant_assets.backtest.fills import FillModel, match
from quant_assets.books.day import Day, step
from quant_assets.books.due import paid_out, stopped
from quant_assets.books.explained import Past
from quant_assets.books.holdings import Holdings
from quant_assets.contract import in_force, known_by
from quant_assets.execution.doubtful import without_doubtful
from quant_assets.execution.orders import orders_for
from quant_assets.records import Fill, Working
from quant_assets.tables import ACTIONS, BARS, DECISIONS
from resources.brokers.paper import PaperBroker
from tests.books.hand_made import FREE, S, bar, weight
from tests.execution.small_market import CUTS, PAPER, action, actions

DAYS, NAMES, MODEL = S[:8], (1, 2, 3), FillModel()
RATIO = st.tuples(st.sampled_from((1, 2, 3, 4, 5, 10, 21)), st.sampled_from((1, 2, 3, 4, 5, 10, 20))).filter(
    lambda r: r[0] != r[1]
)
TERMS = st.one_of(
    RATIO.map(lambda r: ("split", {"numerator": r[0], "denominator": r[1]})),
    RATIO.map(lambda r: ("stock_dividend", {"numerator": r[0], "denominator": r[1]})),
    st.integers(1, 500).map(lambda c: ("dividend", {"cash": Decimal(c) / 100})),
    st.integers(1, 500).map(lambda c: ("spin_off", {"value": c / 100})),
    RATIO.map(lambda r: ("spin_off", {"value": 3.0, "numerator": r[0], "denominator": r[1], "counterpart": "S3"})),
    st.integers(1, 3_000).map(lambda c: ("merger", {"cash": Decimal(c) / 100})),
    RATIO.map(lambda r: ("merger", {"numerator": r[0], "denominator": r[1], "counterpart": "S3"})),
    st.integers(-100, 50).map(lambda c: ("delisting", {"value": c / 100})),
)
ACTED = st.lists(
    st.tuples(
        st.sampled_from((1, 2)),
        st.integers(2, 6),  # ex
        st.integers(-1, 3),  # known so many sessions after it
        TERMS,
        st.sampled_from(("", "withdrawn", "restated", "restated and withdrawn")),
        st.booleans(),  # whether prices show it
    ),
    max_size=4,
    unique_by=lambda a: (a[0], a[1], a[3][0]),
)
PRICES = st.lists(st.integers(-4, 4), min_size=24, max_size=24)
VOLUMES = st.lists(st.sampled_from((0, 4_000, 1_000_000)), min_size=24, max_size=24)
WANTED = st.lists(st.sampled_from((None, 0, 0, 300, 1_000)), min_size=24, max_size=24)
HALTED = st.sets(st.tuples(st.sampled_from((1, 2)), st.integers(2, 6)), max_size=3)


def versions(drawn: list[Any]) -> list[dict[str, object]]:
    """ACTIONS rows of what was drawn."""
    rows: list[dict[str, object]] = []
    for sid, ex, late, (kind, terms), then, _ in drawn:
        known = ex + late

        def row(at: int, about: tuple[int, int, str], values: Mapping[str, Any], *, gone: bool = False) -> None:
            if at < len(DAYS):
                rows.append(action(about[0], DAYS[about[1]], about[2], DAYS[at], withdrawn=gone, **values))

        about = (sid, ex, kind)
        row(known, about, terms)
        if "restated" in then:
            key = next(k for k in ("cash", "denominator", "value") if k in terms)
            row(known + 1, about, {**terms, key: terms[key] * 2})
        if "withdrawn" in then:
            row(known + 2, about, terms, gone=True)
    return rows


def market(drawn: list[Any], moves: list[int], volumes: list[int], halted: set[tuple[int, int]]) -> pl.DataFrame:
    """Bars in which the actions that prices show change them by what they are."""
    rows: list[dict[str, Any]] = []
    for sid in NAMES:
        price = 20.0
        for n, day in enumerate(DAYS):
            for _, _, _, (kind, terms), _, _ in (a for a in drawn if a[:2] == (sid, n) and a[5]):
                if kind in {"split", "stock_dividend"}:
                    price *= terms["denominator"] / terms["numerator"]
                elif kind in {"dividend", "spin_off"}:
                    price = max(price - float(terms.get("cash", terms.get("value", 0))), 1.0)
            price = round(price * (1 + moves[(sid - 1) * 8 + n] / 100), 2)
            if (sid, n) not in halted and price > 0:
                rows.append(bar(day, sid, price, volume=volumes[(sid - 1) * 8 + n]))
    return pl.DataFrame(rows, schema=dict(BARS.schema))


class Book:
    """A book that is carried in memory by the functions of the live path, beside a paper venue on disk."""

    def __init__(self, path: Path, bars: pl.DataFrame, acted: pl.DataFrame) -> None:
        self.bars, self.acted = bars, acted
        self.venue = PaperBroker(path, PAPER, self.market, CUTS, MODEL)
        self.evenings: dict[date, Holdings] = {}
        self.working: list[Working] = []
        self.held = Holdings(session=CUTS.booked_before(DAYS[0]), cash=PAPER.capital, quantities={}, marks={})

    def market(self, session: date) -> tuple[pl.DataFrame, pl.DataFrame]:
        """What the venue sees."""
        of_day = known_by(self.bars.filter(pl.col("session") == session), CUTS.of(session))
        return in_force(of_day, BARS), known_by(self.acted.filter(pl.col("session") <= session), CUTS.of(session))

    def evening(self, session: date) -> Holdings:
        """What was held at the end of a session."""
        seen = [s for s in self.evenings if s <= session]
        nothing = Holdings(session=session, cash=PAPER.capital, quantities={}, marks={})
        return self.evenings[max(seen)] if seen else nothing

    def trade(self, session: date) -> None:
        """The session at the venue, in research and in the books."""
        bars, acted = self.market(session)
        names = {w.order.sid for w in self.working}
        called = {f"S{sid}": sid for sid in bars["sid"]}
        research, changed = match(
            self.working, bars, stopped(acted, CUTS, session, names, self.held.session, called), session,
            CUTS.calendar.open(session), MODEL, paid_out(acted, CUTS, session, names),
        )  # fmt: skip
        self.venue.advance(session)
        executed = [e for e in self.venue.events(None).executions if e.ts == CUTS.calendar.open(session)]
        assert sorted((f.exec_id, f.quantity, f.price, f.fee) for f in research) == sorted(
            (e.exec_id, e.quantity, e.price, e.fee) for e in executed
        )
        now = {w.key: w for w in changed}
        self.working = [w for w in (now.get(w.key, w) for w in self.working) if not w.state.terminal]
        assert {o.client_order_id for o in self.venue.open_orders()} == {w.key for w in self.working}
        self.book(session, bars, acted, research)

    def book(self, session: date, bars: pl.DataFrame, acted: pl.DataFrame, fills: list[Fill]) -> None:
        """Book the session and compare with the venue."""
        day = Day(session=session, bars=bars, actions=acted, fills=fills)
        paid = PAPER.capital if self.evenings else None
        booked = step(PAPER, CUTS, day, self.held, paid, Past(self.evening, lambda s: self.market(s)[0]))
        nav = booked.nav.row(0, named=True)
        values = sum(booked.positions["value"], Decimal(0))
        assert nav["equity"] == nav["cash"] + values == booked.after.equity
        assert nav["pnl"] == sum(booked.pnl["total"], Decimal(0))
        assert all(q > 0 for q in booked.after.quantities.values()), booked.after.quantities
        assert (self.venue.positions(), self.venue.cash()) == (booked.after.quantities, booked.after.cash)
        self.held = self.evenings[session] = booked.after

    def order(self, session: date, wanted: Mapping[int, int]) -> None:
        """Send what brings the book to the shares wanted."""
        closes = dict(self.market(session)[0].select("sid", "close").iter_rows())
        rows = [
            {
                "session": session, "slot": "open", "sid": sid, "symbol": f"S{sid}",
                "verdict": "TRADE" if sid in wanted else "NO_TRADE",
                "target_weight": weight(wanted.get(sid, 0), closes[sid], float(self.held.equity)),
                "reference_price": closes[sid], "decision_id": "d", "decision_set_id": "s",
            }
            for sid in NAMES if sid in closes
        ]  # fmt: skip
        frame = pl.DataFrame(rows, schema={c: t for c, t in DECISIONS.schema.items() if c in rows[0]} if rows else {})
        if not rows:
            return
        following = CUTS.calendar.after(session)
        asked = orders_for(PAPER, FREE, frame, self.held, self.working, following, CUTS.calendar, {})
        past = Past(self.evening, lambda s: self.market(s)[0])
        for order in without_doubtful(asked, past, CUTS, session)[0]:
            self.venue.submit(order)
            self.working.append(Working(order=order))


NUMBER = count()


SLOW = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@settings(max_examples=25, deadline=None, suppress_health_check=SLOW)
@given(ACTED, PRICES, VOLUMES, WANTED, HALTED)
def test_any_actions_against_any_orders(
    tmp_path: Path,
    drawn: list[Any],
    moves: list[int],
    volumes: list[int],
    wanted: list[int | None],
    halted: set[tuple[int, int]],
):
    """Each day cash and positions are equity, P&L adds up, nothing is held short, and venue, research and books have
    the same fills, orders, shares and cash.
    """
    rows = versions(drawn)
    acted = actions(*rows) if rows else ACTIONS.empty()
    book = Book(tmp_path / f"{next(NUMBER)}.sqlite", market(drawn, moves, volumes, halted), acted)
    for n, session in enumerate(DAYS):
        book.trade(session)
        chosen = {sid: w for sid in NAMES if (w := wanted[(sid - 1) * 8 + n]) is not None}
        book.order(session, chosen)
