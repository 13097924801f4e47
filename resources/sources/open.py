"""What a deployment may declare as its source and its feeds, kind by kind, and their adapters."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from quant_assets.calendars import Calendar
from quant_assets.errors import ConfigurationError
from quant_assets.plugged import find, look_up, made, names
from quant_assets.ports import Clock, MarketDataSource, Store
from quant_assets.records import PluggedSource
from resources.sources.bars_of import BarsOf, DailyBars
from resources.sources.contracts import Contracts, SimulatedContracts
from resources.sources.exchange import Exchange, ExchangeFeed
from resources.sources.files import Files, PriceFile
from resources.sources.histories import Histories, HistoryFiles
from resources.sources.http_feed import HttpFeed
from resources.sources.http_vendor import Http
from resources.sources.ib import IbFeed, InteractiveBrokers
from resources.sources.market import Market, Simulated
from resources.sources.seen import Seen
from resources.sources.simulated import SimulatedMarket
from resources.sources.simulated_bars import SimulatedBars, SimulatedIntraday
from resources.sources.tabular import Feed, Tabular
from resources.sources.vendor_drops import Drops, VendorDrops

_VALUE = re.compile(r"""Invalid (?:enum )?value (['"]).*\1(?= - at `[$]|$)""", re.DOTALL)  # of msgspec

Source = Simulated | Contracts | Drops | PriceFile | HistoryFiles | IbFeed | BarsOf | HttpFeed
"""Where daily bars come from."""

AnyFeed = Feed | ExchangeFeed | IbFeed | HttpFeed | SimulatedBars
"""Where the rows of another dataset come from."""


def declared(values: Mapping[str, Any]) -> Source | AnyFeed | PluggedSource:
    """The declaration with these keys and values, by its kind.

    Raises ConfigurationError on a key or value that does not fit. The message has keys and no values: one may be a
    secret.
    """
    kind, kinds = values.get("kind"), {str(k.__struct_config__.tag): k for k in (*Source.__args__, *AnyFeed.__args__)}
    plugin = look_up("source", str(kind)) if str(kind) not in kinds else None
    if str(kind) not in kinds and plugin is None:
        raise ConfigurationError(
            f"the kind of the source is none of {', '.join((*kinds, *names('source')))}; write one of these"
        )
    try:
        wanted: Any = kinds[str(kind)] if plugin is None else plugin.options
        return msgspec.convert(dict(values), wanted, strict=plugin is None)
    except msgspec.ValidationError as error:
        what = _VALUE.sub("the value is none of its words", str(error))
        # without its cause, which holds the value
        raise ConfigurationError(f"source of kind {kind!r}: {what}; given are {sorted(values)}") from None


def open_source(
    what: Source | AnyFeed | PluggedSource | Mapping[str, Any],
    calendar: Calendar,
    *,
    cache: Path,
    clock: Clock,
    store: Store | None = None,
) -> MarketDataSource:
    """The source of a declaration. `cache`: the folder for pages of a vendor; `clock`: the wall clock; `store`: the
    tables, for a source that is made of another one's rows.

    Nothing is read or requested yet. Raises ConfigurationError for an impossible declaration.
    """
    seen = Seen(cache / "seen")
    opened: MarketDataSource
    match declared(what) if isinstance(what, Mapping) else what:
        case Simulated() | Contracts() | SimulatedBars() as of:
            opened = _made_up(of, calendar)
        case Drops() as of:
            opened = VendorDrops(_path(of.folder), seen, clock)
        case PriceFile() as of:
            listings = _path(of.listings) if of.listings else None
            opened = Files(
                _path(of.prices),
                of.mapping,
                calendar,
                known_at=of.known_at,
                listings=listings,
                tz=of.tz,
                decimal=of.decimal,
                delimiter=of.delimiter,
                encoding=of.encoding,
                seen=seen,
            )
        case HistoryFiles() as of:
            opened = Histories(of.layout, of.files, calendar, known_at=of.known_at, name=of.name)
        case Feed() as of:
            opened = Tabular(of, seen)
        case ExchangeFeed() | IbFeed() | HttpFeed() as of:
            opened = _over_the_network(of, calendar, cache, clock)
        case PluggedSource() as of:
            plugin = find("source", str(of["kind"]))
            opened = made(plugin, of, calendar=calendar, cache=cache, clock=clock)
        case BarsOf() as of:
            opened = DailyBars(of, store, calendar)
    return opened


def _made_up(what: Simulated | Contracts | SimulatedBars, calendar: Calendar) -> MarketDataSource:
    match what:
        case Simulated():
            return SimulatedMarket(Market(**msgspec.structs.asdict(what), calendar=calendar))
        case Contracts():
            return SimulatedContracts(what, calendar)
        case SimulatedBars():
            return SimulatedIntraday(what, calendar)


def _over_the_network(
    what: ExchangeFeed | IbFeed | HttpFeed, calendar: Calendar, cache: Path, clock: Clock
) -> MarketDataSource:
    match what:
        case ExchangeFeed():
            return Exchange(what, cache, clock)
        case IbFeed():
            return InteractiveBrokers(what, calendar, cache, clock)
        case HttpFeed():
            return Http(what, calendar, cache, clock, seen=Seen(cache / "seen"))


def _path(text: str) -> Path:
    return Path(text).expanduser()
