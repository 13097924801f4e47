"""Daily bars made of a venue's intraday bars, where nothing else sends them: each session is a capture, known when its
last bar has ended.

kind: bars_of
venue: coinbase
frequency: 1h
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Annotated, Any

import polars as pl
from msgspec import Meta

from quant_assets.calendars import Calendar
from quant_assets.contract import in_force
from quant_assets.errors import CaptureUnreadable, ConfigurationError
from quant_assets.features.intraday import seconds_of
from quant_assets.frames import bounds
from quant_assets.ports import Store
from quant_assets.records import Capture, Currency, Declared, Name, frame_hash
from quant_assets.vendor_tables import INTRADAY_BARS
from resources.sources.rows import MALFORMED, PRICES

DAY = timedelta(days=1)


class BarsOf(Declared, frozen=True, kw_only=True, tag="bars_of"):
    """Daily bars made of the bars of a venue that a feed of `intraday_bars` brings."""

    venue: Annotated[str, Meta(min_length=1, description="Whose bars, as `intraday_bars` calls it.")]
    frequency: Annotated[
        str,
        Meta(
            pattern="^[1-9][0-9]*[smh]$(?!\\n)",
            description="The length of those bars.",
            extra={"write": "a length of a bar, as in 1m or 1h"},
        ),
    ] = "1h"
    delay: Annotated[int, Meta(ge=0, le=3600, description="Seconds after the close until a session is known.")] = 0
    name: Annotated[Name | None, Meta(description="What the source is called; by default the venue.")] = None
    currency: Annotated[Currency, Meta(description="In what its prices are.")] = "USD"


def bring_bars(declared: BarsOf, feeds: Sequence[Any]) -> list[Any]:
    """Those of the feeds that bring intraday bars, of the venue where they name one."""
    bars = [one for one in feeds if one.dataset == INTRADAY_BARS.name]
    venues = [getattr(one, "venue", getattr(one, "exchange", declared.venue)) for one in bars]
    return [one for one, venue in zip(bars, venues, strict=True) if venue == declared.venue]


class DailyBars:
    """The MarketDataSource port on the bars that are stored already."""

    def __init__(self, declared: BarsOf, store: Store | None, calendar: Calendar) -> None:
        self.name = declared.name or f"bars_of_{declared.venue}"
        self._declared = declared
        self._store = store
        self._calendar = calendar

    def labels(self, first: date | None = None, last: date | None = None) -> Sequence[date]:
        """See the port: the sessions from the first bar's on that are over by the last one."""
        starts = self._bars(None if first is None else first - DAY, last)["ts"]
        seen = bounds(starts.dt.date(), date)
        if seen is None:
            return []
        begin, end = self._calendar.on_or_after(seen[0]), self._calendar.on_or_before(seen[1] + DAY)
        found = self._calendar.between(begin, end)
        inside = [d for d in found if (first is None or d >= first) and (last is None or d <= last)]
        length = timedelta(seconds=self._seconds)
        latest = starts.max()
        return [d for d in inside if self._calendar.close(d) <= latest + length]  # type: ignore[operator]

    def fingerprints(self, labels: Sequence[date]) -> Mapping[date, str | None]:
        """See the port: what is made of bars as known at the close is made once."""
        return dict.fromkeys(labels)

    def fetch(self, label: date) -> Capture:
        """See the port. Raises CaptureUnreadable where no bar of that session is stored, or where its last bars are
        known only after it.
        """
        close = self._calendar.close(label)
        known_at = close + timedelta(seconds=self._declared.delay)
        rows = self._bars(self._calendar.open(label).date(), close.date())
        inside = rows.filter(pl.col("ts") >= self._calendar.open(label), pl.col("ts") < close)
        self._all_in_time(label, inside, close, known_at)
        inside = inside.filter(pl.col("known_at") <= known_at)
        bars = in_force(inside, INTRADAY_BARS).sort("symbol", "ts")
        if bars.is_empty():
            raise CaptureUnreadable(
                f"{self.name}: no bar of {label} was known by {known_at:%Y-%m-%d %H:%M} UTC; ingest the feed of "
                "`intraday_bars` first"
            )
        prices = bars.group_by("symbol", maintain_order=True).agg(
            open=pl.col("open").first(),
            high=pl.col("high").max(),
            low=pl.col("low").min(),
            close=pl.col("close").last(),
            volume=pl.col("volume").sum().floor().cast(pl.Int64),
            line=pl.len().cast(pl.Int64),
        )
        whole = prices.with_columns(
            session=pl.lit(label), adj_close=pl.lit(None, pl.Float64), file=pl.lit(f"{INTRADAY_BARS.name} {label}")
        ).select(*PRICES)
        return Capture(
            source=self.name,
            label=label,
            location=f"{INTRADAY_BARS.name} of {self._declared.venue}",
            sha256=frame_hash(whole),
            known_at=known_at,
            assumed=False,
            prices=whole.with_columns(line=pl.int_range(1, pl.len() + 1, dtype=pl.Int64)),
            listings=None,
            actions=None,
            malformed=pl.DataFrame(schema=MALFORMED),
        )

    def _all_in_time(self, label: date, inside: pl.DataFrame, close: datetime, known_at: datetime) -> None:
        """Raise CaptureUnreadable where the session would lack its last bars: they are longer than what is left of it,
        and declared known at an end that lies after the close.
        """
        ended = pl.col("ts") + pl.duration(seconds=self._seconds)
        late = inside.group_by("ts").agg(pl.col("known_at").min()).filter(ended > close, pl.col("known_at") > known_at)
        if late.height:
            raise CaptureUnreadable(
                f"{self.name}: the bars of {self._declared.frequency} that begin at {late['ts'].min():%H:%M} UTC on "
                f"{label} end after the close and are known only then, so the session would have no close; feed bars "
                "of a length that fills it, such as 30m"
            )

    @property
    def _seconds(self) -> int:
        return seconds_of(self._declared.frequency)

    def _bars(self, first: date | None, last: date | None) -> pl.DataFrame:
        if self._store is None:
            raise ConfigurationError(f"{self.name}: daily bars of intraday bars are made of the tables of a home")
        where = {"venue": self._declared.venue, "seconds": self._seconds}
        until = None if last is None else last + DAY
        return self._store.read(INTRADAY_BARS, as_of=None, first=first, last=until, where=where)
