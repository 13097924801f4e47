"""A small market's history in a store, row by row: bars, actions, listings, members, sectors and filings, each known
when the test says.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl

from quant_assets.calendars import Cuts, calendar
from quant_assets.contract import Table
from quant_assets.tables import ACTIONS, BARS, LISTINGS, UNIVERSE
from quant_assets.vendor_tables import FILINGS, SECTORS
from resources.tables.store import DeltaStore

CUTS = Cuts(calendar("XNYS"))
DAYS = CUTS.calendar.between(date(2016, 4, 1), date(2016, 6, 30))
LONG_AGO = CUTS.of(date(2014, 1, 2))
NAME = "small"


def known(session: date, late: int = 0) -> datetime:
    """An hour before the cut of a session, or so many days later."""
    return CUTS.of(session) - timedelta(hours=1) + timedelta(days=late)


def append(store: DeltaStore, table: Table, rows: Sequence[Mapping[str, object]]) -> None:
    """Store rows; what they leave out is what most of their kind say."""
    if not rows:
        return
    kind = {
        **dict.fromkeys(table.schema),
        "withdrawn": False,
        "source": "test",
        "capture": date(2014, 1, 2),
        "file": "test",
        "line": 1,
        "known_at": LONG_AGO,
    }
    full = [{**kind, **r} for r in rows]
    full = [{**r, "declared_known_at": r.get("declared_known_at") or r["known_at"]} for r in full]
    store.append(
        table, pl.DataFrame([[r[c] for c in table.schema] for r in full], schema=dict(table.schema), orient="row")
    )


def bar(
    sid: int, session: date, close: float, *, late: int = 0, volume: int = 1000, withdrawn: bool = False
) -> dict[str, object]:
    """A bar of which only close and volume matter."""
    prices = dict.fromkeys(("open", "high", "low", "close"), close)
    return {
        "sid": sid,
        "session": session,
        "symbol": f"S{sid}",
        **prices,
        "volume": volume,
        "withdrawn": withdrawn,
        "known_at": known(session, late),
    }


def listing(
    sid: int,
    symbol: str = "",
    *,
    sector: str | None = None,
    session: date = date(2014, 1, 2),
    at: datetime = LONG_AGO,
    listed: bool = True,
) -> dict[str, object]:
    """A listing from a session on."""
    return {
        "sid": sid,
        "session": session,
        "symbol": symbol or f"S{sid}",
        "name": f"Company {sid}",
        "sector": sector,
        "listed": listed,
        "known_at": at,
    }


def member(
    sid: int, session: date = date(2014, 1, 2), until: date = date(2018, 1, 2), at: datetime = LONG_AGO
) -> dict[str, object]:
    """Membership over [session, until)."""
    return {
        "sid": sid,
        "session": session,
        "until": until,
        "universe": NAME,
        "rank": sid,
        "dollar_volume": 1.0,
        "known_at": at,
    }


def filing(
    symbol: str,
    end: date,
    at: datetime,
    items: Mapping[str, float],
    *,
    period: str = "FY",
    form: str = "",
    amended: bool = False,
    withdrawn: bool = False,
) -> list[dict[str, object]]:
    """The numbers of one report."""
    said = {
        "symbol": symbol,
        "session": end,
        "form": form or ("10-K" if period == "FY" else "10-Q"),
        "fiscal_year": str(end.year),
        "fiscal_period": period,
        "amended": amended,
    }
    return [
        {**said, "item": item, "value": value, "known_at": at, "withdrawn": withdrawn} for item, value in items.items()
    ]


def history(path: Path, **tables: Sequence[Mapping[str, object]]) -> DeltaStore:
    """A store of these rows; the members are also listed where nothing else is said."""
    store = DeltaStore(path)
    if "listings" not in tables:
        tables["listings"] = [listing(sid) for sid in sorted({int(str(m["sid"])) for m in tables["universe"]})]
    for table in (BARS, ACTIONS, LISTINGS, UNIVERSE, SECTORS, FILINGS):
        append(store, table, tables.get(table.name, []))
    return store
