"""A small desk: three names on the sessions of January 2024, made by hand."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from quant_assets.calendars import Cuts, calendar
from quant_assets.records import Book, Fill, Order
from quant_assets.tables import ACTIONS, BARS
from resources.tables.store import DeltaStore

D1, D2, D3 = date(2024, 1, 3), date(2024, 1, 4), date(2024, 1, 5)


@pytest.fixture(scope="session")
def cuts() -> Cuts:
    return Cuts(calendar("XNYS"))


@pytest.fixture
def store(tmp_path: Path) -> DeltaStore:
    return DeltaStore(tmp_path / "tables")


@pytest.fixture
def book() -> Book:
    return Book(name="alpha", strategy="s", account="A1", capital=Decimal(100_000), broker="paper", armed=True)


class Desk:
    """Makes records and frames with as little writing as possible."""

    def __init__(self, cuts: Cuts) -> None:
        self.cuts = cuts

    def order(self, cid: str, sid: int, side: int, quantity: int, price: str = "10", session: date = D1) -> Order:
        """A day order for the open."""
        return Order(
            client_order_id=cid,
            book="alpha",
            strategy="s",
            decided=self.cuts.calendar.shift(session, -1),
            session=session,
            good_till=session,
            slot="open",
            sid=sid,
            leg="1",
            symbol=f"S{sid}",
            side=side,
            quantity=quantity,
            reference_price=Decimal(price),
            decision_id=f"d-{cid}",
        )

    def fill(
        self,
        exec_id: str,
        cid: str,
        sid: int,
        side: int,
        quantity: int,
        price: str,
        fee: str = "1.00",
        arrival: str | None = None,
        session: date = D1,
    ) -> Fill:
        """An execution at the open."""
        return Fill(
            exec_id=exec_id,
            client_order_id=cid,
            session=session,
            sid=sid,
            side=side,
            quantity=quantity,
            price=Decimal(price),
            fee=Decimal(fee),
            arrival_price=Decimal(arrival or price),
            ts=self.cuts.calendar.open(session),
        )

    def bars(self, closes: dict[date, dict[int, float]], known: dict[date, date] | None = None) -> pl.DataFrame:
        """Bars whose every price is the close, known at their own cut or at that of another session."""
        rows = []
        for session, of in closes.items():
            at = self.cuts.of((known or {}).get(session, session))
            rows += [
                {
                    "session": session,
                    "sid": sid,
                    "symbol": f"S{sid}",
                    "open": close,
                    "high": close,
                    "low": close,
                    "close": close,
                    "volume": 1_000,
                    "adj_close": close,
                    "withdrawn": False,
                    "source": "hand",
                    "capture": session,
                    "file": "prices.csv",
                    "line": sid + 1,
                    "known_at": at,
                    "declared_known_at": at,
                }
                for sid, close in of.items()
            ]
        return pl.DataFrame(rows, schema=dict(BARS.schema))

    def action(self, sid: int, ex: date, kind: str, known: date | None = None, **values: object) -> pl.DataFrame:
        """One corporate action, known at the cut of its ex-session or of another session."""
        at = self.cuts.of(known or ex)
        row = {
            "session": ex,
            "sid": sid,
            "kind": kind,
            "numerator": None,
            "denominator": None,
            "cash": None,
            "value": None,
            "origin": "declared",
            "confidence": 1.0,
            "withdrawn": False,
            "source": "hand",
            "capture": ex,
            "file": "actions.csv",
            "line": 1,
            "known_at": at,
            "declared_known_at": at,
        } | values
        return pl.DataFrame([row], schema=dict(ACTIONS.schema))


@pytest.fixture(scope="session")
def desk(cuts: Cuts) -> Desk:
    return Desk(cuts)
