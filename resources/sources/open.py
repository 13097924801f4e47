"""The market data source that a deployment names."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from quant_assets.errors import ConfigurationError
from quant_assets.market_data.calendars import Calendar
from quant_assets.ports import MarketDataSource


def open_source(declared: Mapping[str, Any], calendar: Calendar) -> MarketDataSource:
    """The source of kind `simulated` (fields of `Market`), `vendor_drops` (folder) or `files` (prices, mapping, known_at, listings).

    Raises ConfigurationError on an unknown kind or a field that does not fit.
    """
    values = {k: v for k, v in declared.items() if k != "kind"}
    kind = declared.get("kind")
    try:
        match kind:
            case "simulated":
                from resources.sources.market import Market
                from resources.sources.simulated import SimulatedMarket

                span = {k: msgspec.convert(values.pop(k), date) for k in ("first", "last")}
                return SimulatedMarket(Market(**span, calendar=calendar, **values))
            case "vendor_drops":
                from resources.sources.vendor_drops import VendorDrops

                return VendorDrops(Path(values.pop("folder")).expanduser(), **values)
            case "files":
                from resources.sources.files import ColumnMapping, Files

                mapping = msgspec.convert(values.pop("mapping", {}), ColumnMapping)
                listings = Path(values.pop("listings")).expanduser() if "listings" in values else None
                return Files(Path(values.pop("prices")).expanduser(), mapping, calendar, known_at=values.pop("known_at", "close+1h"), listings=listings, **values)
            case _:
                raise ConfigurationError(f"no source is of kind {kind!r}; there are simulated, vendor_drops and files")
    except (TypeError, KeyError, msgspec.ValidationError) as error:
        raise ConfigurationError(f"source of kind {kind!r}: {error}; given are {dict(declared)}") from error
