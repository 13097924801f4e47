"""One Parquet or CSV file of daily prices with a declared column mapping.

A file either says in which capture each row came (`ColumnMapping.label`), or it does not; then each session is its
own capture and its knowledge time is assumed. The rule for the knowledge time is one of

    label+1d@13:00   days after the label, at a time of day in UTC
    close+1h         after the session's close (h or m); on a day that is no session, after the next close
"""

import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property, partial
from pathlib import Path

import polars as pl

from quant_assets.errors import CaptureUnreadable, ConfigurationError
from quant_assets.market_data.calendars import Calendar
from quant_assets.records import Capture, Declared, Frozen, content_id, frame_hash
from resources.sources.large import ROWS, ByLabel
from resources.sources.rows import FIELDS, LISTINGS, check, lines, split, typed

_RULE = re.compile(r"(?P<from>label|close)\+(?P<by>\d+)(?P<unit>[dhm])(@(?P<hour>[01]\d|2[0-3]):(?P<minute>[0-5]\d))?")
_UNITS = {"d": "days", "h": "hours", "m": "minutes"}
CHARACTERS = 16_000_000  # of a CSV file that are read at a time


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


class PriceFile(Declared, frozen=True, kw_only=True, tag="files"):
    """Such a file, as it is declared."""

    prices: str
    mapping: ColumnMapping = ColumnMapping()
    known_at: str = "close+1h"
    listings: str | None = None


class Files:
    """The MarketDataSource port on such a file. It declares no actions; they are derived where adj_close is given.

    `listings`: a Parquet file with symbol, name, optionally sector, and first_capture and last_capture (the listing
    stands in the captures between them). Of the price file a stretch is in memory at a time; see `large.py`.
    """

    name = "files"

    def __init__(
        self, prices: Path, mapping: ColumnMapping, calendar: Calendar, *, known_at: str, listings: Path | None = None
    ) -> None:
        if (
            not (rule := _RULE.fullmatch(known_at))
            or (rule["unit"] == "d") != (rule["hour"] is not None)
            or (rule["from"] == "label") != (rule["unit"] == "d")
        ):
            raise ConfigurationError(f"known_at {known_at!r} is neither like label+1d@13:00 nor like close+1h")
        if rule["from"] == "label" and int(rule["by"]) < 1:
            raise ConfigurationError(
                f"known_at {known_at!r}: a session is not over on its own day everywhere; use at least label+1d"
            )
        self.prices = prices
        self.mapping = mapping
        self.calendar = calendar
        self.listings = listings
        self._rule = rule
        self._seen: tuple[int, int] | None = None  # the file's size and time of change

    def labels(self, first: date | None = None, last: date | None = None) -> Sequence[date]:
        """See the port. Raises CaptureUnreadable where the file cannot be read."""
        with self._reading():
            labels = self._rows.counts
        return [d for d in labels if (first is None or d >= first) and (last is None or d <= last)]

    def fetch(self, label: date) -> Capture:
        """See the port. Raises CaptureUnreadable where the file cannot be read or has no rows of that label."""
        with self._reading():
            if label not in self._rows.counts:
                raise CaptureUnreadable(
                    f"{self.prices.name}: no rows of {label}; the file has {len(self._rows.counts)} captures"
                )
            rows = self._rows.rows(label)
        read = split(rows, self.prices.name, self._header, self._names) if self._header else rows
        prices, malformed = check(read)
        listings = self._listed_at(label)
        digest = content_id(
            frame_hash(rows.drop("line", "label")), frame_hash(listings) if listings is not None else "", length=64
        )
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

    @contextmanager
    def _reading(self) -> Generator[None]:
        """Raises CaptureUnreadable where the file cannot be read, or is not any more the one whose labels were read."""
        try:
            stat = self.prices.stat()
            self._seen = self._seen or (stat.st_size, stat.st_mtime_ns)
            if self._seen != (stat.st_size, stat.st_mtime_ns):
                raise CaptureUnreadable(
                    f"{self.prices}: the file was changed while its captures were being read; start again"
                )
            yield
        except (OSError, pl.exceptions.PolarsError) as error:
            raise CaptureUnreadable(f"{self.prices}: {error}") from error

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
    def _rows(self) -> ByLabel:
        """All rows by label, with line: fields as they are typed (Parquet), or content (CSV)."""
        present = self._present
        wanted = {
            **{f: c for f, c in self._names.items() if c is not None},
            **({"label": self.mapping.label} if self.mapping.label else {}),
        }
        if missing := [c for c in wanted.values() if c not in present]:
            raise ConfigurationError(
                f"{self.prices}: columns {missing} of the mapping are not in the file, which has {present}"
            )
        when = wanted.get("label", wanted["session"])
        if self._header:
            return ByLabel(partial(self._text, present.index(when)), None)
        return ByLabel(partial(self._typed, wanted, when), partial(self._typed_slice, wanted, when, None))

    def _text(self, when: int, columns: list[str] | None) -> Iterator[pl.DataFrame]:
        """The lines of the CSV file without its header; the label is the field number `when`."""
        label = (
            pl.col("content")
            .str.split(",")
            .list.get(when, null_on_oob=True)
            .str.to_date("%Y-%m-%d", strict=False)
            .alias("label")
        )
        before = 0
        with self.prices.open(encoding="utf-8", errors="replace") as file:
            while text := file.read(CHARACTERS) + file.readline():
                found = (
                    lines(text)
                    .with_columns(pl.col("line") + before)
                    .filter(~((pl.col("line") == 1) & (pl.col("content") == self._header)))
                )
                before += text.count("\n")
                yield found.select("line", "content", label).select(columns or pl.all())

    def _typed(self, wanted: Mapping[str, str], when: str, columns: list[str] | None) -> Iterator[pl.DataFrame]:
        """The rows of the Parquet file."""
        total = pl.scan_parquet(self.prices).select(pl.len()).collect().item()
        for offset in range(0, total, ROWS):
            yield self._typed_slice(wanted, when, columns, offset, ROWS)

    def _typed_slice(
        self, wanted: Mapping[str, str], when: str, columns: list[str] | None, offset: int, rows: int
    ) -> pl.DataFrame:
        """So many rows of the Parquet file."""
        read = [when] if columns == ["label"] else sorted(set(wanted.values()))
        found = pl.scan_parquet(self.prices).select(read).slice(offset, rows).collect()
        label = (
            pl.col(when).str.to_date("%Y-%m-%d", strict=False)
            if found.schema[when] == pl.String
            else pl.col(when).cast(pl.Date)
        ).alias("label")
        if columns == ["label"]:
            return found.select(label)
        absent = (pl.lit(None, pl.Float64).alias(f) for f, c in self._names.items() if c is None)
        named = (pl.col(c).alias(f) for f, c in wanted.items() if f != "label")
        return found.with_row_index("line", offset=offset + 1).select(
            *named, *absent, pl.lit(self.prices.name).alias("file"), pl.col("line").cast(pl.Int64), label
        )

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
