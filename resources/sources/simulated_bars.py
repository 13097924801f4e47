"""A seeded market of intraday bars, to try a strategy on that decides within its session. Each bar is
known when it has ended.

kind: simulated_bars
venue: simulated
names: 8
frequency: 1h
first: 2025-01-01
last: 2025-06-30
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from typing import Annotated

import numpy as np
import polars as pl
from msgspec import Meta
from numpy.typing import NDArray

from quant_assets.calendars import Calendar
from quant_assets.errors import CaptureUnreadable
from quant_assets.features.intraday import seconds_of
from quant_assets.portable import exp
from quant_assets.records import Capture, Declared, Name, frame_hash
from quant_assets.vendor_tables import INTRADAY_BARS
from resources.sources.rows import MALFORMED, PRICES

Floats = NDArray[np.float64]
WARM_UP, PAST = 5, 3  # bars


class SimulatedBars(Declared, frozen=True, kw_only=True, tag="simulated_bars"):
    """A simulated market of intraday bars, as it is declared. Another `last` continues the same market.

    Names are called S01USD and so on. Part of the mean return of the last three bars goes on (`trend`).
    """

    first: Annotated[date, Meta(description="The first session of the market.")]
    last: Annotated[date, Meta(description="The last session of the market.")]
    venue: Annotated[str, Meta(min_length=1, description="What `intraday_bars` calls it.")] = "simulated"
    names: Annotated[int, Meta(ge=1, le=99, description="How many names it has.")] = 8
    frequency: Annotated[
        str,
        Meta(
            pattern="^[1-9][0-9]*[smh]$(?!\\n)",
            description="The length of a bar.",
            extra={"write": "a length of a bar, as in 1m or 1h"},
        ),
    ] = "1h"
    seed: Annotated[int, Meta(ge=0, le=2_147_483_647, description="Another seed is another market.")] = 7
    trend: Annotated[float, Meta(ge=0, lt=1, description="Of the mean return of three bars, what goes on.")] = 0.3
    volume: Annotated[float, Meta(gt=0, description="What is traded in a bar, about, in units.")] = 5000.0
    name: Annotated[Name | None, Meta(description="Of the feed; by default the venue and the length.")] = None

    @property
    def dataset(self) -> str:
        """What it brings."""
        return INTRADAY_BARS.name


class SimulatedIntraday:
    """The MarketDataSource port on a market of `SimulatedBars`: a delivery for each UTC day that has bars."""

    def __init__(self, market: SimulatedBars, calendar: Calendar) -> None:
        self.market, self._calendar = market, calendar
        self.name = market.name or f"{market.venue}_{market.frequency}"

    def labels(self, first: date | None = None, last: date | None = None) -> Sequence[date]:
        """See the port: the UTC days in which a bar starts."""
        return [d for d in self._rows if (first is None or d >= first) and (last is None or d <= last)]

    def fingerprints(self, labels: Sequence[date]) -> Mapping[date, str | None]:
        """See the port: what was made once is made the same for ever."""
        return dict.fromkeys(labels)

    def fetch(self, label: date) -> Capture:
        """See the port. Raises CaptureUnreadable where no bar starts on that day."""
        if label not in self._rows:
            raise CaptureUnreadable(
                f"{self.name}: no bar starts on {label}; the market runs from {self.market.first} to {self.market.last}"
            )
        rows = self._rows[label]
        numbered = rows.with_columns(file=pl.lit(f"{label:%Y%m%d}.csv"), line=pl.int_range(2, pl.len() + 2))
        midnight = datetime.combine(label, time(), UTC) + timedelta(days=1)
        return Capture(
            source=self.name,
            label=label,
            location=f"simulated bars, seed {self.market.seed}",
            sha256=frame_hash(numbered),
            known_at=max([midnight, *rows["known_at"].tail(1)]),
            assumed=False,
            prices=pl.DataFrame(schema=PRICES),
            listings=None,
            actions=None,
            malformed=pl.DataFrame(schema=MALFORMED),
            dataset=INTRADAY_BARS.name,
            others={INTRADAY_BARS.name: numbered},
        )

    @cached_property
    def _rows(self) -> Mapping[date, pl.DataFrame]:
        """The bars by the UTC day in which they start."""
        seconds = seconds_of(self.market.frequency)
        starts = self._calendar.grid(self.market.first, self.market.last, seconds)["ts"]
        made = pl.concat([self._name(n, starts) for n in range(self.market.names)]).sort("ts", "symbol")
        whole = made.select(
            "ts",
            "symbol",
            "open",
            "high",
            "low",
            "close",
            "volume",
            venue=pl.lit(self.market.venue),
            seconds=pl.lit(seconds, pl.Int32),
            known_at=pl.col("ts") + pl.duration(seconds=seconds),
        )
        by_day = whole.with_columns(day=pl.col("ts").dt.date()).partition_by("day", as_dict=True, include_key=False)
        return {day: rows for (day,), rows in by_day.items() if isinstance(day, date)}

    def _name(self, position: int, starts: pl.Series) -> pl.DataFrame:
        """The bars of a name: drawn bar by bar, so that a later `last` goes on with the same market."""
        seed = [self.market.seed, int.from_bytes(hashlib.sha256(f"bars {position}".encode()).digest()[:8], "big")]
        drawn = np.random.Generator(np.random.PCG64(seed)).random((starts.len() + WARM_UP, 4)) - 0.5
        moves: list[float] = []
        for noise in (drawn[:, 0] * 0.02).tolist():
            past = moves[-PAST:]
            moves.append(noise + (self.market.trend * sum(past) / PAST if len(past) == PAST else 0.0))
        level = 100.0 * (1 + position)
        close = level * exp(np.cumsum(np.array(moves[WARM_UP:])))
        opened = np.concatenate([[level], close[:-1]])
        above, below = (exp(np.abs(drawn[WARM_UP:, n]) * 0.004) for n in (1, 2))
        prices = {
            "open": opened,
            "high": np.maximum(opened, close) * above,
            "low": np.minimum(opened, close) / below,
            "close": close,
        }
        return pl.DataFrame(
            {
                "ts": starts,
                "symbol": f"S{position + 1:02}USD",
                **{k: np.round(v, 2) for k, v in prices.items()},
                "volume": np.round(self.market.volume * (1 + drawn[WARM_UP:, 3])),
            }
        )
