"""One Parquet or CSV file of daily prices with a declared column mapping.

A file either says in which capture each row came (`ColumnMapping.label`), or it does not; then each session is its
own capture and its knowledge time is assumed. The rule for the knowledge time is one of

    label+1d@13:00   days after the label, at a time of day in UTC
    close+1h         after the session's close (h or m); on a day that is no session, after the next close
"""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from pathlib import Path

import polars as pl

from quant_assets.errors import CaptureUnreadable, ConfigurationError
from quant_assets.market_data.calendars import Calendar
from quant_assets.records import Capture, Frozen, content_id, frame_hash
from resources.sources.rows import FIELDS, LISTINGS, check, lines, split, typed

_RULE = re.compile(r"(?P<from>label|close)\+(?P<by>\d+)(?P<unit>[dhm])(@(?P<hour>[01]\d|2[0-3]):(?P<minute>[0-5]\d))?")
_UNITS = {"d": "days", "h": "hours", "m": "minutes"}


class ColumnMapping(Frozen, frozen=True, forbid_unknown_fields=True):
    """Under which column of the file each field stands. `label`: the column that names the capture a row came in."""

    symbol: str = "symbol"
    session: str = "session"
    open: str = "open"
    high: str = "high"
    low: str = "low"
    close: str = "close"
    volume: str = "volume"
    adj_close: str | None = None
    label: str | None = None


class Files:
    """The MarketDataSource port on such a file. It declares no actions; they are derived where adj_close is given.

    `listings`: a Parquet file with symbol, name, optionally sector, and first_capture and last_capture (the listing
    stands in the captures between them). The price file is read once, when first needed, and kept.
    """

    name = "files"

    def __init__(self, prices: Path, mapping: ColumnMapping, calendar: Calendar, *, known_at: str, listings: Path | None = None) -> None:
        if not (rule := _RULE.fullmatch(known_at)) or (rule["unit"] == "d") != (rule["hour"] is not None) or (rule["from"] == "label") != (rule["unit"] == "d"):
            raise ConfigurationError(f"known_at {known_at!r} is neither like label+1d@13:00 nor like close+1h")
        if rule["from"] == "label" and int(rule["by"]) < 1:
            raise ConfigurationError(f"known_at {known_at!r}: a session is not over on its own day everywhere; use at least label+1d")
        self.prices = prices
        self.mapping = mapping
        self.calendar = calendar
        self.listings = listings
        self._rule = rule

    def labels(self, first: date | None = None, last: date | None = None) -> Sequence[date]:
        """See the port. Raises CaptureUnreadable where the file cannot be read."""
        return [d for d in self._spans if (first is None or d >= first) and (last is None or d <= last)]

    def fetch(self, label: date) -> Capture:
        """See the port. Raises CaptureUnreadable where the file cannot be read or has no rows of that label."""
        if label not in self._spans:
            raise CaptureUnreadable(f"{self.prices.name}: no rows of {label}; the file has {len(self._spans)} captures")
        rows = self._rows.slice(*self._spans[label])
        read = split(rows, self.prices.name, self._header, self._names) if self._header else rows
        prices, malformed = check(read)
        listings = self._listed_at(label)
        digest = content_id(frame_hash(rows.drop("line", "label")), frame_hash(listings) if listings is not None else "", length=64)
        return Capture(
            source=self.name, label=label, location=str(self.prices), sha256=digest, known_at=self.known_at(label), assumed=self.mapping.label is None,
            prices=prices, listings=listings, actions=None, malformed=malformed,
        )  # fmt: skip

    def known_at(self, label: date) -> datetime:
        """When the capture became known, by the rule."""
        delay = timedelta(**{_UNITS[self._rule["unit"]]: int(self._rule["by"])})
        if self._rule["from"] == "close":
            return (self.calendar.close(self.calendar.on_or_after(label)) + delay).astimezone(UTC)
        return datetime.combine(label + delay, time(int(self._rule["hour"]), int(self._rule["minute"])), UTC)

    @cached_property
    def _names(self) -> dict[str, str | None]:
        """The file's column by field; an adj_close under that very name is used though no one named it, for without it there are no actions."""
        named = {f: getattr(self.mapping, f) for f in FIELDS}
        return {**named, "adj_close": named["adj_close"] or ("adj_close" if "adj_close" in self._present else None)}

    @cached_property
    def _present(self) -> list[str]:
        return self._header.split(",") if self._header else list(pl.read_parquet_schema(self.prices))

    @cached_property
    def _header(self) -> str:
        """The first line of a CSV file; empty for Parquet."""
        if self.prices.suffix == ".parquet":
            return ""
        with self.prices.open(encoding="utf-8", errors="replace") as file:
            return file.readline().rstrip("\r\n")

    @cached_property
    def _rows(self) -> pl.DataFrame:
        """All rows by label and line: fields as they are typed (Parquet), or line and content (CSV)."""
        try:
            present = self._present
            wanted = {**{f: c for f, c in self._names.items() if c is not None}, **({"label": self.mapping.label} if self.mapping.label else {})}
            if missing := [c for c in wanted.values() if c not in present]:
                raise ConfigurationError(f"{self.prices}: columns {missing} of the mapping are not in the file, which has {present}")
            when = wanted.get("label", wanted["session"])
            if self._header:
                found = lines(self.prices.read_text(encoding="utf-8", errors="replace")).filter(~((pl.col("line") == 1) & (pl.col("content") == self._header)))
                label = pl.col("content").str.split(",").list.get(present.index(when), null_on_oob=True).str.to_date("%Y-%m-%d", strict=False)
            else:
                found = pl.read_parquet(self.prices, columns=sorted(set(wanted.values())))
                label = pl.col(when).str.to_date("%Y-%m-%d", strict=False) if found.schema[when] == pl.String else pl.col(when).cast(pl.Date)
                absent = (pl.lit(None, pl.Float64).alias(f) for f, c in self._names.items() if c is None)
                found = found.with_row_index("line", offset=1).select(
                    *(pl.col(c).alias(f) for f, c in wanted.items() if f != "label"), *absent, pl.lit(self.prices.name).alias("file"), pl.col("line").cast(pl.Int64), label.alias("label")
                )
                label = pl.col("label")
        except (OSError, pl.exceptions.PolarsError) as error:
            raise CaptureUnreadable(f"{self.prices}: {error}") from error
        # a row without a readable label goes with its neighbour's capture, where it is reported as malformed
        return found.with_columns(label.forward_fill().backward_fill().alias("label")).drop_nulls("label").sort("label", "line")

    @cached_property
    def _spans(self) -> dict[date, tuple[int, int]]:
        """Offset and number of the rows of each label, ascending."""
        counts = self._rows["label"].rle().struct.unnest()
        offsets = counts["len"].cum_sum() - counts["len"]
        return dict(zip(counts["value"].to_list(), zip(offsets.to_list(), counts["len"].to_list(), strict=True), strict=True))

    @cached_property
    def _listings(self) -> pl.DataFrame | None:
        if self.listings is None:
            return None
        try:
            found = pl.read_parquet(self.listings)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise CaptureUnreadable(f"{self.listings}: {error}") from error
        return found if "sector" in found.columns else found.with_columns(pl.lit(None, pl.String).alias("sector"))

    def _listed_at(self, label: date) -> pl.DataFrame | None:
        """The listings of a capture; when they will end is not told. A symbol may stand under several names: the file keeps first and last captures only."""
        if self._listings is None:
            return None
        standing = self._listings.filter(pl.col("first_capture") <= label, pl.col("last_capture") >= label)
        return typed(standing, LISTINGS).sort("symbol", "name")
