"""What must hold between the markets and moments of a deployment: each strategy has a market, each market data, and a
strategy learns what it can trade.
"""

from datetime import date
from pathlib import Path
from typing import Any

from desk.document.reading import Reading
from desk.span_faults import span_faults
from quant_assets.calendars import Cuts, calendar
from quant_assets.calendars.venues import codes
from quant_assets.errors import CalendarUnknown, ConfigurationError
from quant_assets.market_data.markets import AT
from quant_assets.moments import Every
from quant_assets.strategy import Strategy
from resources.clock import SystemClock
from resources.sources.open import open_source

TRADED = {"open": ("open_to_open", "triple_barrier"), "close": ("traded_close_to_close",)}
"""The labels between prices at which orders fill, by the auction."""


def market_faults(found: Reading, folder: Path) -> None:
    """Each market has a calendar of its own and a source that can be opened; no source is called like one of another
    market.
    """
    seen = {_own(found): "calendar"}
    for path, market in found.each("markets").items():
        if (first := seen.setdefault(market.calendar, path)) != path:
            what = f"the market of {market.calendar} is declared twice, the other is {first}; its sources belong there"
            _fault(found, f"{path}.calendar", what)
        if market.calendar in codes():
            _sources(found, folder, path, market)
    for path, declared in {"source": found.values.get("source"), **found.each("feeds")}.items():
        if AT in (name := str(getattr(declared, "name", ""))):
            _fault(found, f"{path}.name", f"{name} has an {AT}, after which a source's market is written; take another")


def _fault(found: Reading, path: str, what: str, *grounds: str) -> None:
    if not found.wrong(path, *grounds):
        found.fault(path, what)


def _own(found: Reading) -> str:
    """The deployment's own calendar."""
    return found.values.get("calendar", "XNYS")


def _strategies(found: Reading) -> dict[str, Strategy]:
    return found.each("strategies")


def _sources(found: Reading, folder: Path, path: str, market: Any) -> None:
    names: dict[str, str] = {}
    feeds = {f"{path}.feeds[{n}]": feed for n, feed in enumerate(market.feeds)}
    for at, declared in {f"{path}.source": market.source, **feeds}.items():
        try:
            there = calendar(market.calendar)
            opened = open_source(declared, there, cache=folder, clock=SystemClock())
        except ConfigurationError as error:
            _fault(found, at, str(error))
            continue
        if (first := names.setdefault(opened.name.lower(), at)) != at:
            _fault(found, at, f"two feeds are named {opened.name}, the other is {first}. Give each a name (name: …)")


def strategy_faults(found: Reading) -> None:
    """Each strategy trades a market that is there; those of different lanes have universes of different names; each
    learns returns between the prices at which its orders fill.
    """
    markets = [_own(found), *(m.calendar for m in found.each("markets").values())]
    lanes: dict[str, tuple[str, Strategy]] = {}
    for path, one in _strategies(found).items():
        if one.calendar not in codes():
            continue  # a fault of its own
        if one.calendar not in markets:
            what = f"no data feeds a strategy of {one.calendar}; declare its source under `markets`, or take one of "
            _fault(found, f"{path}.calendar", what + ", ".join(markets), "calendar", "markets")
            continue
        first, same = lanes.setdefault(one.universe.name.lower(), (path, one))
        if (same.calendar, same.moment, same.venues_beside) != (one.calendar, one.moment, one.venues_beside):
            what = (
                f"{first}, which decides at another time or venue, has the universe {one.universe.name} too: what is "
                "drawn and computed for one would count for the other. Give it another name"
            )
            _fault(found, f"{path}.universe.name", what)
        _label(found, path, one)
    span_faults(found, markets)
    there = {s.calendar for s in _strategies(found).values()}
    if there and _own(found) not in there and not found.values.get("production"):  # research ingests nothing of it
        what = f"no strategy has this calendar; there are {sorted(there)}; make one of these the deployment's own"
        _fault(found, "calendar", what, "strategies")


def _label(found: Reading, path: str, one: Strategy) -> None:
    if isinstance(one.moment, Every):
        return
    start = found.values.get("start") or date.today()  # noqa: DTZ011  # any day will do
    try:
        cuts = Cuts(calendar(one.calendar), one.moment)
        auction = cuts.auction(cuts.calendar.on_or_after(start))
    except CalendarUnknown:
        return
    if one.rule.kind not in (*TRADED[auction], "close_to_close"):
        what = (
            f"it trades at the {auction} and would learn {one.rule.kind}, between prices at which it does not trade: "
            f"write label: {{kind: {TRADED[auction][0]}, horizon: {one.rule.horizon}}}"
        )
        _fault(found, f"{path}.label" if one.label else path, what, f"{path}.decide")
