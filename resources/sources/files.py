"""Files of daily prices with a declared column mapping: one, or a folder or glob of them; CSV, JSON lines or Parquet,
packed or not.

    kind: files
    prices: ~/data/prices/*.csv.gz
    mapping: {symbol: ticker, session: {column: Date, format: "%d/%m/%Y"}, close: {column: Close, decimal: ","}}
    known_at: close+1h

A file either says in which capture each row came (`ColumnMapping.label`), or it does not; then each session is its
own capture and its knowledge time is assumed, and an adjusted close says only what was adjusted between two consecutive
sessions (see `pairing`). The rule for the knowledge time is one of

    label+1d@13:00   days after the label, at a time of day in UTC
    close+1h         after the session's close (h or m); on a day that is no session, after the next close
"""

import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import polars as pl
from msgspec import Meta

from quant_assets.calendars import Calendar
from quant_assets.errors import CaptureUnreadable, ConfigurationError
from quant_assets.ports import NOTHING
from quant_assets.records import Capture, Currency, Declared, Frozen, content_id, frame_hash
from resources.sources.arrival import last_known
from resources.sources.large import ByLabel
from resources.sources.pairing import paired
from resources.sources.reading.moments import days
from resources.sources.reading.opening import BROKEN, found_by, is_parquet, stem
from resources.sources.reading.sheets import Dialect, batches, columns_of, slices
from resources.sources.reading.splitting import PLACE, said
from resources.sources.reading.written import FILE, Character, Column, zone
from resources.sources.rows import FIELDS, LISTINGS, judged, parted, remarks, typed
from resources.sources.seen import Seen, State, state_of

_RULE = re.compile(r"(?P<from>label|close)\+(?P<by>\d+)(?P<unit>[dhm])(@(?P<hour>[01]\d|2[0-3]):(?P<minute>[0-5]\d))?")
_UNITS = {"d": "days", "h": "hours", "m": "minutes"}


class ColumnMapping(Frozen, frozen=True, forbid_unknown_fields=True):
    """The column of the file for each field, and its notation if that is not plain.

    A column that is not mapped is not used.

    `label`: the column that names the delivery of a row. `symbol: "{file}"`: the file's name is the ticker of all its
    rows; this is the default if files of a folder or glob have no column `symbol` and no other is named.
    """

    symbol: str | Column = "symbol"
    session: str | Column = "session"
    open: str | Column = "open"
    high: str | Column = "high"
    low: str | Column = "low"
    close: str | Column = "close"
    volume: str | Column = "volume"
    adj_close: str | Column | None = None
    label: str | Column | None = None


class PriceFile(Declared, frozen=True, kw_only=True, tag="files"):
    """Files of daily prices under a mapping of their columns: see `Files`."""

    prices: Annotated[str, Meta(min_length=1, description="The file: Parquet or CSV.")]
    mapping: Annotated[ColumnMapping, Meta(description="Under which column of the file each field stands.")] = (
        ColumnMapping()
    )
    known_at: Annotated[
        str,
        Meta(
            pattern=r"^(label\+[1-9]\d*d@([01]\d|2[0-3]):[0-5]\d|close\+\d+[hm])$",
            description="When a row could first be known.",
            extra={"write": "a rule like label+1d@13:00 (UTC) or close+1h"},
        ),
    ] = "close+1h"
    listings: Annotated[
        str | None, Meta(description="A Parquet file of listings: symbol, name, sector, first_capture, last_capture.")
    ] = None
    tz: Annotated[str | None, Meta(description="On whose clock days and times are written: an IANA name.")] = None
    decimal: Annotated[Literal[".", ","] | None, Meta(description="What stands before a number's fraction.")] = None
    delimiter: Annotated[Character | None, Meta(description="Between the fields of a text.")] = None
    encoding: Annotated[str, Meta(min_length=1, description="How a text is written.")] = "utf-8"
    currency: Annotated[Currency, Meta(description="In what its prices are.")] = "USD"


class Files:
    """The MarketDataSource port on such files. It declares no actions; they are derived if adj_close is mapped.

    `listings`: a Parquet file with symbol, name, optionally sector, and first_capture and last_capture (the listing is
    in the deliveries between them). `tz`, `decimal`: of columns that declare none of their own. `delimiter`,
    `encoding`: of text, if its header does not show the delimiter, and if it is not UTF-8. Of the price files a stretch
    is in memory at a time; see `large.py`.
    """

    name = "files"

    def __init__(
        self,
        prices: Path,
        mapping: ColumnMapping,
        calendar: Calendar,
        *,
        known_at: str,
        listings: Path | None = None,
        tz: str | None = None,
        decimal: Literal[".", ","] | None = None,
        delimiter: str | None = None,
        encoding: str = "utf-8",
        seen: Seen | None = None,
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
        if tz is not None:
            zone(tz)
        self.prices = prices
        self.mapping = mapping
        self.calendar = calendar
        self.listings = listings
        self._kept = seen or Seen()
        self._rule = rule
        self._dialect = Dialect(encoding, delimiter)
        named = {f: getattr(mapping, f) for f in (*FIELDS, "label")}
        columns = {f: Column(column=c) if isinstance(c, str) else c for f, c in named.items() if c is not None}
        self._columns = {
            f: msgspec.structs.replace(c, tz=c.tz or tz, decimal=c.decimal or decimal) for f, c in columns.items()
        }
        self._seen: list[tuple[int, int]] | None = None  # the files' sizes and times of change
        self._unread: Mapping[Path, str] = {}  # why, by the file
        self._stood: list[State] | None = None  # their state when their labels were read

    def labels(self, first: date | None = None, last: date | None = None) -> Sequence[date]:
        """See the port: of the files as they are now.

        Raises CaptureUnreadable if a file cannot be read, ConfigurationError if the mapping does not fit it.
        """
        self._forget()
        with self._reading():
            labels = self._rows.counts
        return [d for d in labels if (first is None or d >= first) and (last is None or d <= last)]

    def fingerprints(self, labels: Sequence[date]) -> Mapping[date, str | None]:
        """See the port.

        The files are read if one was changed since the last reading. Of several files, it is not known which one had a
        label that none has now.
        """
        with self._reading():
            said = self._kept.of(self._declared, self._given, self._digests)
            listed = self._listing_digests()
            self._kept.keep()
        return {
            label: _combined(said[str(label)], listed.get(str(label))) if str(label) in said else NOTHING
            for label in labels
            if str(label) in said or len(self._given) == 1
        }

    def _digests(self) -> dict[str, str]:
        return {str(label): digest for label, digest in self._rows.fingerprints.items()}

    def _listing_digests(self) -> Mapping[str, str]:
        """By label a fingerprint of its listings; empty if there are none."""
        if self.listings is None:
            return {}

        def made() -> dict[str, str]:
            found = ((label, self._listed_at(label)) for label in self._rows.counts)
            return {str(label): frame_hash(f) for label, f in found if f is not None}

        return self._kept.of(f"listings of {self._declared}", [*self._given, self.listings], made)

    @property
    def _declared(self) -> str:
        """How the files are read, as a name for what was read of them so."""
        told = [(field, msgspec.to_builtins(column)) for field, column in self._columns.items()]
        return f"rows {content_id(told, self._dialect.encoding, self._dialect.delimiter)}"

    @cached_property
    def _named(self) -> frozenset[str]:
        """The files, as rows name them."""
        return frozenset(path.relative_to(self._root).as_posix() for path in self._files)

    def _forget(self) -> None:
        """What is known of the files' earlier state, if it is not their state now."""
        before, stood = self.__dict__.pop("_given", None), self._stood
        if before is None or stood is None or before != self._given or stood != self._states():
            for held in ("_named", "_root", "_rows", "_listings"):
                self.__dict__.pop(held, None)
            self._seen, self._unread = None, {}
        self._stood = self._states()

    def _states(self) -> list[State] | None:
        """The state of the files, that of listings included; None if one is missing."""
        try:
            return [state_of(f) for f in (*self._given, *([self.listings] if self.listings else []))]
        except OSError:
            return None

    def fetch(self, label: date) -> Capture:
        """See the port. Raises CaptureUnreadable where a file cannot be read or there are no rows of that label."""
        with self._reading():
            if label not in self._rows.counts:
                raise CaptureUnreadable(
                    f"{self.prices.name}: no rows of {label}; the file has {len(self._rows.counts)} captures"
                )
            rows = self._rows.rows(label)
            rows_print = self._rows.fingerprint(label)
        prices, malformed = parted(rows)
        listings = self._listed_at(label)
        fingerprint = _combined(rows_print, None if listings is None else frame_hash(listings))
        return Capture(
            source=self.name,
            label=label,
            location=str(self.prices),
            sha256=content_id(fingerprint, length=64),
            known_at=self.known_at(label),
            assumed=self.mapping.label is None,
            prices=prices,
            listings=listings,
            actions=None,
            malformed=malformed,
            remarks=remarks(rows),
            fingerprint=fingerprint,
            files=self._named,
        )

    def read(self) -> Iterator[pl.DataFrame]:
        """All rows as they are read, in frames: label, the columns of a bar, reason and content where a row is none.

        Raises as `labels` does.
        """
        yield from self._batches(None)

    def known_at(self, label: date) -> datetime:
        """When the capture became known, by the rule."""
        delay = timedelta(**{_UNITS[self._rule["unit"]]: int(self._rule["by"])})
        if self._rule["from"] == "close":
            return (self.calendar.close(self.calendar.on_or_after(label)) + delay).astimezone(UTC)
        return datetime.combine(label + delay, time(int(self._rule["hour"]), int(self._rule["minute"])), UTC)

    @contextmanager
    def _reading(self) -> Generator[None]:
        """Raises CaptureUnreadable if a file cannot be read, or has changed since its labels were read."""
        try:
            stands = [(stat.st_size, stat.st_mtime_ns) for stat in (f.stat() for f in self._given)]
            self._seen = self._seen or stands
            if self._seen != stands:
                raise CaptureUnreadable(
                    f"{self.prices}: the file was changed while its captures were being read; start again"
                )
            yield
        except BROKEN as error:
            raise CaptureUnreadable(f"{self.prices}: {error}") from error

    @property
    def unread(self) -> Sequence[str]:
        """See `PartlyRead`."""
        return [*self._unread.values()]

    @property
    def _files(self) -> list[Path]:
        """The files that are read: all but those that cannot be."""
        return [f for f in self._given if f not in self._unread]

    @cached_property
    def _given(self) -> list[Path]:
        files, _ = found_by(str(self.prices))
        if not files:
            raise CaptureUnreadable(
                f"{self.prices}: there is no such file, and no folder with CSV, JSON or Parquet files"
            )
        return files

    @cached_property
    def _root(self) -> Path:
        return found_by(str(self.prices))[1]

    @cached_property
    def _rows(self) -> ByLabel:
        """All rows by label, read and judged; of several files without those that cannot be read."""
        made: ByLabel | None = None
        try:
            made = self._by_label()
            _ = made.counts
        except (CaptureUnreadable, ConfigurationError, *BROKEN):
            bad = {path: why for path in self._given if (why := self._fault(path))}
            if not bad or len(bad) == len(self._given):
                raise
            self._unread = bad
        return self._by_label() if self._unread or made is None else made

    def _fault(self, path: Path) -> str:
        """Why a file cannot be read; empty where it can."""
        try:
            for _ in self._frames(path, None):
                pass
        except (CaptureUnreadable, ConfigurationError, *BROKEN) as error:
            return str(error)
        return ""

    def _by_label(self) -> ByLabel:
        fold = paired if "adj_close" in self._columns and "label" not in self._columns else None
        (only, *others) = self._files
        for path in filter(is_parquet, self._files):
            for nothing in slices(path, self._root, self._wanted(None), rows=0):
                self._judged(nothing, path)  # a column of a type that cannot be read is reported before any row is
        middle = self._middle if not others and is_parquet(only) else None
        return ByLabel(self._batches, middle, lambda: last_known(self._files, self.calendar, self.known_at), fold)

    def _batches(self, columns: list[str] | None) -> Iterator[pl.DataFrame]:
        """The rows of the files, in order; of Parquet those columns alone that are mapped, or the label alone."""
        for path in self._files:
            yield from self._frames(path, columns)

    def _frames(self, path: Path, columns: list[str] | None) -> Iterator[pl.DataFrame]:
        if is_parquet(path):
            for frame in slices(path, self._root, self._wanted(columns)):
                yield self._labelled(frame, path) if columns else self._judged(frame, path)
        else:
            for frame in batches(path, self._root, dialect=self._dialect):
                yield self._judged(frame, path)

    def _middle(self, offset: int, rows: int) -> pl.DataFrame:
        (path,) = self._files
        (frame,) = slices(path, self._root, self._wanted(None), offset, rows)
        return self._judged(frame, path)

    def _wanted(self, columns: list[str] | None) -> list[str]:
        """The vendor's columns to be read."""
        told = self._columns.get("label", self._columns["session"])
        return [told.column] if columns else sorted({c.column for c in self._columns.values() if c.column != FILE})

    def _labelled(self, frame: pl.DataFrame, path: Path) -> pl.DataFrame:
        field = "label" if "label" in self._columns else "session"
        column = self._found(columns_of(path), path)[field]
        read = days(field, frame.schema[column.column], column)(frame[column.column])
        return pl.DataFrame({"label": read.struct.field("value")})

    def _found(self, columns_of_file: Sequence[str], path: Path) -> dict[str, Column]:
        """The mapped columns, all of which the file has. Raises ConfigurationError."""
        columns = dict(self._columns)
        present = [c for c in columns_of_file if c not in PLACE]
        if self.mapping.symbol == "symbol" and "symbol" not in present and not self.prices.is_file():
            columns["symbol"] = Column(column=FILE)
        if missing := [c.column for c in columns.values() if c.column not in (*present, FILE)]:
            raise ConfigurationError(
                f"{path}: columns {missing} of the mapping are not in the file, which has {present}; `quant "
                f"ingest --preview {path}` proposes a mapping"
            )
        return columns

    def _judged(self, frame: pl.DataFrame, path: Path) -> pl.DataFrame:
        """Label, the columns of a bar, and reason and content where a row is none."""
        columns = self._found(frame.columns if not is_parquet(path) else columns_of(path), path)
        fields = {
            f: pl.lit(stem(path)) if c.column == FILE else pl.col(c.column) for f, c in columns.items() if f != "label"
        }
        rows = frame.select(**fields, file="#file", line="#line", shape="#fault", content="#content")
        try:
            read = judged(rows, columns)
        except ConfigurationError as error:
            raise ConfigurationError(f"{path}: {error}") from error
        if not is_parquet(path) and read["reason"].null_count() < read.height:
            line = said([c for c in frame.columns if c not in PLACE])
            lines = frame.select(pl.coalesce("#content", line)).to_series()
            read = read.with_columns(content=pl.when(pl.col("reason").is_not_null()).then(lines))
        if "label" not in columns:
            label, reason = pl.col("session"), pl.col("reason")
        else:
            told = days("label", frame.schema[columns["label"].column], columns["label"])(
                frame[columns["label"].column]
            )
            label, reason = told.struct.field("value"), pl.coalesce("reason", told.struct.field("why"))
        return read.select(
            label.alias("label"), *(reason.alias(c) if c == "reason" else pl.col(c) for c in read.columns)
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
        """The listings of a delivery; when they will end is not included.

        A symbol may have several names: the file keeps only first and last captures.
        """
        if self._listings is None:
            return None
        standing = self._listings.filter(pl.col("first_capture") <= label, pl.col("last_capture") >= label)
        return typed(standing, LISTINGS).sort("symbol", "name")


def _combined(rows: str, listings: str | None) -> str:
    """The fingerprint of a label, from that of its rows and that of its listings."""
    return rows if listings is None else content_id(rows, listings)
