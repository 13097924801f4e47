"""The market data source that a deployment names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from quant_assets.errors import ConfigurationError
from quant_assets.market_data.calendars import Calendar
from quant_assets.ports import Clock, MarketDataSource


@dataclass(frozen=True)
class Surroundings:
    """What a source may need beside its declaration. `cache`: where pages that a vendor gave are kept; `clock`: the wall."""

    calendar: Calendar
    cache: Path
    clock: Clock


def open_source(declared: Mapping[str, Any], calendar: Calendar, *, cache: Path, clock: Clock) -> MarketDataSource:
    """The source of a kind. Daily bars: `simulated` (fields of `Market`), `vendor_drops` (folder), `files` (prices, mapping, known_at, listings), `histories` (layout, files), `ib`.

    Other datasets: `tabular` (fields of `Feed`), `ccxt` (of `ExchangeFeed`), `ib` (of `IbFeed`).
    Raises ConfigurationError on an unknown kind or a field that does not fit.
    """
    kind = str(declared.get("kind"))
    if kind not in _OPENERS:
        raise ConfigurationError(f"no source is of kind {kind!r}; there are {', '.join(_OPENERS)}")
    try:
        return _OPENERS[kind]({k: v for k, v in declared.items() if k != "kind"}, Surroundings(calendar, cache, clock))
    except (TypeError, KeyError, msgspec.ValidationError) as error:
        raise ConfigurationError(f"source of kind {kind!r}: {error}; given are {dict(declared)}") from error


def _simulated(values: dict[str, Any], near: Surroundings) -> MarketDataSource:
    from resources.sources.market import Market
    from resources.sources.simulated import SimulatedMarket

    span = {k: msgspec.convert(values.pop(k), date) for k in ("first", "last")}
    return SimulatedMarket(Market(**span, calendar=near.calendar, **values))


def _vendor_drops(values: dict[str, Any], _: Surroundings) -> MarketDataSource:
    from resources.sources.vendor_drops import VendorDrops

    return VendorDrops(Path(values.pop("folder")).expanduser(), **values)


def _files(values: dict[str, Any], near: Surroundings) -> MarketDataSource:
    from resources.sources.files import ColumnMapping, Files

    mapping = msgspec.convert(values.pop("mapping", {}), ColumnMapping)
    listings = Path(values.pop("listings")).expanduser() if "listings" in values else None
    return Files(
        Path(values.pop("prices")).expanduser(),
        mapping,
        near.calendar,
        known_at=values.pop("known_at", "close+1h"),
        listings=listings,
        **values,
    )


def _histories(values: dict[str, Any], near: Surroundings) -> MarketDataSource:
    from resources.sources.histories import Histories

    return Histories(values.pop("layout"), values.pop("files"), near.calendar, **values)


def _tabular(values: dict[str, Any], _: Surroundings) -> MarketDataSource:
    from resources.sources.tabular import Feed, Tabular

    return Tabular(msgspec.convert(values, Feed))


def _ccxt(values: dict[str, Any], near: Surroundings) -> MarketDataSource:
    from resources.sources.exchange import Exchange, ExchangeFeed

    return Exchange(msgspec.convert(values, ExchangeFeed, strict=False), near.cache, near.clock)


def _ib(values: dict[str, Any], near: Surroundings) -> MarketDataSource:
    from resources.sources.ib import IbFeed, InteractiveBrokers

    return InteractiveBrokers(msgspec.convert(values, IbFeed, strict=False), near.calendar, near.cache, near.clock)


_OPENERS: Mapping[str, Callable[[dict[str, Any], Surroundings], MarketDataSource]] = {
    "simulated": _simulated, "vendor_drops": _vendor_drops, "files": _files, "histories": _histories, "tabular": _tabular, "ccxt": _ccxt, "ib": _ib,
}  # fmt: skip
