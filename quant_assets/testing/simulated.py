"""A market of one name, on which a venue that is simulated can be tried."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from inspect import signature
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import polars as pl

from quant_assets.backtest.fills import FillModel
from quant_assets.calendars import Cuts, calendar
from quant_assets.records import Book
from quant_assets.tables import ACTIONS, BARS
from quant_assets.testing.trading import ORDER


def market_of_one_name(session: date) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The bars and actions of a market in which one name, sid 1, opens at 27.1234 and trades a million shares."""
    bar = {"session": session, "sid": 1, "symbol": "S1", "open": 27.1234, "high": 28.0, "low": 27.0, "close": 27.5}
    return pl.DataFrame([bar | {"volume": 1_000_000}], schema=dict(BARS.schema)), ACTIONS.empty()


def paper_market(make: Callable[..., Any], folder: Path, **options: Any) -> Any:
    """A simulated venue, by its class or function, on a market of one name; its account was opened with 100,000.

    It keeps what it remembers in a new folder below `folder`.
    """
    given = {
        "book": Book(name="desk", strategy="hand", account="A1", capital=Decimal(100_000), broker="paper"),
        "folder": Path(mkdtemp(dir=folder)),
        "market": market_of_one_name,
        "cuts": Cuts(calendar("XNYS")),
        "costs": FillModel(),
    }
    made = make(**{k: v for k, v in given.items() if k in signature(make).parameters}, **options)
    made.advance(ORDER.decided)
    return made


def trade_on_paper(broker: Any) -> None:
    """What is open at a simulated venue trades at the open of the session of `ORDER`."""
    broker.advance(ORDER.session)
