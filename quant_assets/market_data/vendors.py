"""Other vendors of daily bars beside the deployment's own source: what is declared of them, and their deliveries as
rows of VENDOR_BARS. `cross_check` compares them with the source's bars, and fills in what the source lacks.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Annotated, Literal

import msgspec
import polars as pl
from msgspec import Meta

from quant_assets.calendars import Calendar
from quant_assets.market_data.delivered import possible
from quant_assets.market_data.screening import CONTENT, screen
from quant_assets.ports import MarketDataSource, PartlyRead
from quant_assets.records import Capture, Frozen, Name
from quant_assets.vendor_tables import VENDOR_BARS

BESIDE = f"{VENDOR_BARS.name}/"  # with what the names of such sources begin


class Vendor(Frozen, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another vendor of daily bars. The source wins where both have a bar; a backup fills in what the source lacks.

    Of several backups the one that had the bar first fills it in, at one cut the first in the list, until the source
    delivers.
    """

    name: Annotated[Name, Meta(description="What the vendor is called, in rows and findings.")]
    role: Annotated[
        Literal["backup", "check"],
        Meta(description="backup: its bars are used where the source has none at the cut. check: only compared."),
    ] = "backup"
    close: Annotated[
        float, Meta(ge=0, le=1, description="Closes that differ by more are a finding: 0.005 is half a percent.")
    ] = 0.005
    volume: Annotated[
        Annotated[float, Meta(ge=0, le=100)] | None,
        Meta(description="Volumes that differ by more, as a fraction, are a finding; without it none is."),
    ] = None
    block_above: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None,
        Meta(description="A session in which a larger share of closes differs is not traded; without it, it is."),
    ] = None

    @property
    def stored_as(self) -> str:
        """Under which name its deliveries are stored."""
        return BESIDE + self.name


def filled(bars: pl.DataFrame) -> bool:
    """Whether a backup brought any of these rows of BARS."""
    return bars["source"].str.starts_with(BESIDE).any()


class Beside:
    """The MarketDataSource port on another vendor: its bars are rows of VENDOR_BARS, and no symbol gets a sid."""

    def __init__(self, source: MarketDataSource, vendor: Vendor, calendar: Calendar) -> None:
        self.name = vendor.stored_as
        self.source = source
        self._vendor = vendor.name
        self._calendar = calendar

    def labels(self, first: date | None = None, last: date | None = None) -> Sequence[date]:
        """See the port."""
        return self.source.labels(first, last)

    def fingerprints(self, labels: Sequence[date]) -> Mapping[date, str | None]:
        """See the port."""
        return self.source.fingerprints(labels)

    @property
    def unread(self) -> Sequence[str]:
        """See `PartlyRead`."""
        return self.source.unread if isinstance(self.source, PartlyRead) else ()

    def fetch(self, label: date) -> Capture:
        """See the port. Rows that cannot be bars have their reason as `fault`."""
        given = possible(self.source.fetch(label), self._calendar)
        clean, rejected = screen(given, self._calendar)
        vendor = pl.lit(self._vendor).alias("vendor")
        faulty = rejected.select(vendor, "symbol", "file", "line", "content", fault="reason")
        rows = pl.concat([clean.select(vendor, *CONTENT, "file", "line"), faulty], how="diagonal")
        whole = rows.with_columns(
            pl.lit(None, t).alias(c) for c, t in {"content": pl.String, "fault": pl.String}.items() if c not in rows
        )
        return msgspec.structs.replace(
            given,
            source=self.name,
            prices=given.prices.clear(),
            listings=None,
            actions=None,
            malformed=given.malformed.clear(),
            dataset=VENDOR_BARS.name,
            others={VENDOR_BARS.name: whole},
        )
