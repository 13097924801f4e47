"""Any dataset in files: one feed is a dataset, its files, and how their columns become the dataset's.

    kind: tabular
    dataset: reference_rates
    files: /data/treasury_curves.csv.gz        # a path, folder or glob: CSV (gz, bz2, zst, zip), JSON lines, Parquet
    mapping: {session: {column: Time Period, format: "%Y-%m-%d %H:%M:%S%z"}}
    wide: {name: tenor, value: rate}           # every other column is a tenor
    constants: {curve: us_treasury}
    known_at: event+1d@13:00

Each file is a capture (files of one label are one together), unless the mapping says under `label` which column tells
the capture of a row. The label of a file is the day that `day` finds in its name, else the last event in it.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import polars as pl
from msgspec import Meta

from quant_assets.contract import UTC_MICROS
from quant_assets.errors import CaptureUnreadable, ConfigurationError, ContractViolation
from quant_assets.frames import bounds
from quant_assets.market_data.datasets import dataset
from quant_assets.market_data.observations import OPTIONAL, typed
from quant_assets.ports import NOTHING
from quant_assets.records import Capture, Declared, Name, content_id, frame_hash
from resources.sources.large import ROWS
from resources.sources.layouts import LAYOUTS
from resources.sources.layouts.columns import Shape, Wide, check, shaped
from resources.sources.reading.opening import BROKEN, found_by, is_parquet
from resources.sources.reading.sheets import Dialect, sheet
from resources.sources.reading.written import Character, Column, zone
from resources.sources.rows import MALFORMED, PRICES
from resources.sources.seen import Digests, Seen

_RULE = re.compile(r"(?P<of>event|label)\+(?P<by>\d+)(?P<unit>[dhm])(@(?P<hour>[01]\d|2[0-3]):(?P<minute>[0-5]\d))?")
_UNITS = {"d": "days", "h": "hours", "m": "minutes"}


class Feed(Declared, frozen=True, tag="tabular"):
    """A feed as it is declared: a `mapping` (with `wide` if each column is a thing of its own) or a `layout`.

    `constants`: values that hold for every row. `known_at`: event+1d, event+90m, event+1d@13:00 after the row's event
    (a bar's event is its end), or label+1d@13:00 after the delivery's label, UTC; none if mapping or layout have the
    column. `day`: a regular expression with the groups year, month and, if given, day. `name`: distinguishes feeds of
    one dataset; the default is the layout's, else the files'. `tz`, `decimal`: of columns that declare none of their
    own. `delimiter`, `encoding`: of text, if its header does not show the delimiter, and if it is not UTF-8.
    """

    dataset: Annotated[str, Meta(description="Of which dataset its rows are.")]
    files: Annotated[str, Meta(min_length=1, description="A path or a glob.")]
    mapping: Annotated[Mapping[str, str | Column] | None, Meta(description="The file's column by the dataset's.")] = (
        None
    )
    wide: Annotated[Wide | None, Meta(description="Where each column that no mapping names is a thing.")] = None
    layout: Annotated[str | None, Meta(description="A shape that no mapping can express, instead of one.")] = None
    constants: Annotated[Mapping[str, Any], Meta(description="What holds for every row.")] = {}
    known_at: Annotated[
        Annotated[
            str,
            Meta(
                pattern=r"^(event|label)\+\d+[dhm](@([01]\d|2[0-3]):[0-5]\d)?$",
                extra={"write": "a rule like event+1d, event+90m, event+1d@13:00 or label+1d@13:00 (UTC)"},
            ),
        ]
        | None,
        Meta(description="When a row could first be known, where no column tells."),
    ] = None
    day: Annotated[
        str | None, Meta(description="The day in a file's name: a pattern with groups for year, month, day.")
    ] = None
    name: Annotated[Name | None, Meta(description="Tells feeds of one dataset apart.")] = None
    tz: Annotated[str | None, Meta(description="Of columns that declare none: an IANA name.")] = None
    decimal: Annotated[
        Literal[".", ","] | None, Meta(description="Of columns that declare none: before a fraction.")
    ] = None
    delimiter: Annotated[Character | None, Meta(description="Between the fields of a text.")] = None
    encoding: Annotated[str, Meta(min_length=1, description="How a text is written.")] = "utf-8"


class Tabular:
    """The MarketDataSource port on a feed.

    A knowledge time from a rule on the event is assumed; one that the vendor gives, by a column or by a label of its
    own, is not. The label of a file that cannot be read is the day of its last change, and fetching it raises.
    """

    def __init__(self, feed: Feed, seen: Seen | None = None) -> None:
        self.feed = feed
        self._seen = seen or Seen()
        self.dataset = dataset(feed.dataset)
        self.name = f"{feed.dataset}/{feed.name or feed.layout or Path(feed.files).name.split('.')[0]}"
        if (feed.mapping is None) == (feed.layout is None) or (feed.layout and feed.wide):
            raise ConfigurationError(f"{self.name}: a feed has a mapping, or a layout of {sorted(LAYOUTS)}")
        if feed.layout and feed.layout not in LAYOUTS:
            raise ConfigurationError(f"{self.name}: no layout is named {feed.layout!r}; there are {sorted(LAYOUTS)}")
        self._shape = (
            Shape(feed.dataset, feed.mapping, feed.wide, feed.constants, feed.tz, feed.decimal)
            if feed.mapping is not None
            else None
        )
        self._dialect = Dialect(feed.encoding, feed.delimiter)
        if feed.tz is not None:
            zone(feed.tz)
        if self._shape:
            check(self._shape, self.dataset)
        self._rule = _RULE.fullmatch(feed.known_at or "")
        if feed.known_at is not None and not self._rule:
            raise ConfigurationError(
                f"{self.name}: known_at {feed.known_at!r} is neither like event+1d, event+1d@13:00 or "
                f"event+90m nor like label+1d@13:00"
            )
        if self._rule and self._rule["hour"] and self._rule["unit"] != "d":
            raise ConfigurationError(
                f"{self.name}: known_at {feed.known_at!r} names a time of day, so it counts in days"
            )
        if (
            self._rule
            and self._rule["of"] == "event"
            and self._rule["unit"] != "d"
            and self.dataset.table.schema[self.dataset.table.event] == pl.Date
        ):
            raise ConfigurationError(
                f"{self.name}: known_at {feed.known_at!r} is before the end of the day that the row describes; "
                "write event+1d or event+1d@13:00"
            )
        if self._shape and ("known_at" in self._shape.mapping) == bool(self._rule):
            raise ConfigurationError(
                f"{self.name}: declare known_at once: either as a rule, or as a column of the mapping"
            )
        self._labels: dict[tuple[Path, int], list[date]] = {}
        self._held: tuple[tuple[Path, int], pl.DataFrame] | None = None

    def labels(self, first: date | None = None, last: date | None = None) -> Sequence[date]:
        """See the port. Raises ContractViolation where a file's columns are not those of the mapping."""
        found = {label for path in self._files() for label in self._labels_of(path)}
        return sorted(d for d in found if (first is None or d >= first) and (last is None or d <= last))

    def fingerprints(self, labels: Sequence[date]) -> Mapping[date, str | None]:
        """See the port: of the files of a label, or of its rows if a column has the label.

        A file whose label is its last event has another label once it has grown: the old label is not missed.
        """
        files = self._files()
        held = {path: self._labels_of(path) for path in files}
        said = {label: self._fingerprint(label, [p for p in files if label in held[p]]) for label in labels}
        self._seen.keep()
        if self._by_row and len(files) == 1:
            return {label: fingerprint or NOTHING for label, fingerprint in said.items()}
        return {label: fingerprint for label, fingerprint in said.items() if fingerprint or self._by_last_event}

    @property
    def _by_row(self) -> bool:
        """Whether a column has the label of each row."""
        return self._shape is not None and "label" in self._shape.mapping

    @property
    def _by_last_event(self) -> bool:
        return self.feed.day is None and not self._by_row

    def _fingerprint(self, label: date, paths: Sequence[Path]) -> str | None:
        if self._by_row:
            told = [
                self._seen.of(f"labels of {self.name}", [p], partial(self._digests, p)).get(str(label)) for p in paths
            ]
        else:
            told = [self._seen.sha256(p) for p in paths]
        return content_id(told) if any(told) else None

    def _digests(self, path: Path) -> dict[str, str]:
        """The fingerprint of each label's rows. Rows whose label cannot be read are those of the last."""
        rows, digests = self._known(self._rows(path, ())), Digests()
        total, last = rows.select(pl.len()).collect().item(), self._labels_of(path)[-1]
        for start in range(0, total, ROWS):
            batch = rows.slice(start, ROWS).drop("line", strict=False).collect()
            digests.add(batch.with_columns(pl.col("label").fill_null(last)))
        return {str(label): digest for label, digest in digests.by_label().items()}

    def fetch(self, label: date) -> Capture:
        """See the port.

        Raises CaptureUnreadable where there is no such capture or a file cannot be read, ContractViolation where the
        columns are not those of the mapping or of the dataset.
        """
        files = self._files()
        holding = [(path, files[:n]) for n, path in enumerate(files) if label in self._labels_of(path)]
        if not holding:
            raise CaptureUnreadable(
                f"{self.name}: no file of {self.feed.files} has the label {label}; there are {len(files)} files"
            )
        rows = self._read(holding, label)
        _, latest = bounds(rows["known_at"], datetime) or (None, None)
        return Capture(
            source=self.name,
            label=label,
            location=str(holding[0][0]) if len(holding) == 1 else self.feed.files,
            sha256=frame_hash(rows),
            known_at=latest.astimezone(UTC) if latest else datetime.combine(label + timedelta(days=1), time(), UTC),
            assumed=self._assumed(holding[0][0]),
            prices=pl.DataFrame(schema=PRICES),
            listings=None,
            actions=None,
            malformed=pl.DataFrame(schema=MALFORMED),
            dataset=self.dataset.name,
            others={self.dataset.name: rows},
            fingerprint=self._fingerprint(label, [p for p, _ in holding]),
            files=frozenset([*rows["file"].drop_nulls(), *(p.relative_to(self._root).as_posix() for p in files)]),
        )

    def _read(self, holding: Sequence[tuple[Path, Sequence[Path]]], label: date) -> pl.DataFrame:
        """The rows of the files of a label. Of several, one that cannot be read is a row with its fault."""
        parts, faults = list[pl.DataFrame](), list[tuple[str, str]]()
        for path, earlier in holding:
            try:
                parts.append(self._complete(self._of(path, earlier, label), label, path))
            except (CaptureUnreadable, ContractViolation, ConfigurationError) as error:
                if len(faults) + 1 == len(holding):
                    raise
                faults.append((path.relative_to(self._root).as_posix(), f"the file cannot be read: {error}"))
        rows = pl.concat(parts, how="diagonal_relaxed")
        if not faults:
            return rows
        bad = pl.DataFrame(faults, schema={"file": pl.String, "fault": pl.String}, orient="row")
        return pl.concat(
            [rows, bad.with_columns(line=0, known_at=pl.lit(rows["known_at"].max()))], how="diagonal_relaxed"
        )

    def _files(self) -> list[Path]:
        return found_by(self.feed.files)[0]

    @property
    def _root(self) -> Path:
        return found_by(self.feed.files)[1]

    def _rows(self, path: Path, earlier: Sequence[Path]) -> pl.LazyFrame:
        """The file's rows as mapping or layout give them.

        Parquet under a mapping is scanned; anything else is read once and held until the next.
        """
        if self._shape and is_parquet(path):
            return self._shaped(path)
        version = (path, path.stat().st_mtime_ns)
        if self._held is None or self._held[0] != version:
            self._held = (
                version,
                self._shaped(path).collect()
                if self._shape
                else LAYOUTS[self.feed.layout or ""](path, self._root, earlier),
            )
        return self._held[1].lazy()

    def _shaped(self, path: Path) -> pl.LazyFrame:
        assert self._shape is not None  # noqa: S101  # asked for feeds with a mapping only
        try:
            return shaped(sheet(path, self._root, dialect=self._dialect), self._shape, self.dataset)
        except (ContractViolation, ConfigurationError) as error:
            raise type(error)(f"{self.name}, {path}: {error}") from error

    def _of(self, path: Path, earlier: Sequence[Path], label: date) -> pl.DataFrame:
        rows = self._rows(path, earlier)
        try:
            if "label" not in rows.collect_schema():
                return rows.collect()
            told = self._known(rows)
            mine = pl.col("label") == label
            # a row whose label cannot be read is quarantined with the file's last capture
            return told.filter(
                mine | pl.col("label").is_null() if label == self._labels_of(path)[-1] else mine
            ).collect()
        except BROKEN as error:
            raise CaptureUnreadable(f"{path}: not readable ({error})") from error

    def _known(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        return rows.with_columns(typed("label", rows.collect_schema()["label"], pl.Date))

    def _labels_of(self, path: Path) -> list[date]:
        """The labels of a file's captures, ascending."""
        if (day := self._named(path)) is not None:
            return [day]
        changed = path.stat().st_mtime_ns
        if (path, changed) not in self._labels:
            self._labels[path, changed] = self._found(path) or [datetime.fromtimestamp(changed / 1e9, UTC).date()]
        return self._labels[path, changed]

    def _named(self, path: Path) -> date | None:
        if self.feed.day is None or not (found := re.search(self.feed.day, path.name)):
            return None
        try:
            year, month, *day = (int(g) for g in found.groups() if g)
            return date(year, month, *day) if day else date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)
        except (ValueError, OverflowError):  # digits that are no day: the file is labelled by its rows
            return None

    def _found(self, path: Path) -> list[date]:
        """Labels of the rows: those in their column, else the last event."""
        files = self._files()
        event = self.dataset.table.event
        try:
            rows = self._rows(path, files[: files.index(path)])
            schema = rows.collect_schema()
            if "label" in schema:
                return (
                    self._known(rows).select(pl.col("label").unique().drop_nulls().sort()).collect()["label"].to_list()
                )
            if event not in schema:
                return [date.fromisoformat(str(self.feed.constants[event]))]
            told = rows.filter(pl.col("fault").is_null()) if "fault" in schema else rows
            last = (
                told.select(typed(event, schema[event], self.dataset.table.schema[event]).cast(pl.Date).max())
                .collect()
                .item()
            )
        except (CaptureUnreadable, *BROKEN):
            return []
        except (ContractViolation, ConfigurationError):
            if len(files) == 1:
                raise
            return []  # fetching it raises; the files beside it are ingested
        return [last] if last else []

    def _assumed(self, path: Path) -> bool:
        if self._rule is None:
            return False
        return self._rule["of"] == "event" or not (
            self._named(path) or (self._shape and "label" in self._shape.mapping)
        )

    def _complete(self, rows: pl.DataFrame, label: date, path: Path) -> pl.DataFrame:
        """The rows with every column of the dataset, and known_at."""
        table, columns = self.dataset.table, self.dataset.columns
        unexpected = [c for c in rows.columns if c not in (*columns, "file", "line", "label", *OPTIONAL)]
        absent = [c for c in table.subject if c not in rows.columns and c not in self.feed.constants]
        if unexpected or absent:
            raise ContractViolation(
                f"{self.name}, {path}: the layout gives {rows.columns}, the contract of {table.name} is "
                f"{list(columns)}; "
                f"missing: {absent}, unexpected: {unexpected}. Declare what is missing under `constants`"
            )
        fixed = {
            c: pl.lit(v if isinstance(v, str | bool | int | float) else str(v)).cast(
                pl.String if isinstance(v, date) else table.schema[c], strict=False
            )
            for c, v in self.feed.constants.items()
        }
        unknown = {c: pl.lit(None, table.schema[c]) for c in columns if c not in rows.columns and c not in fixed}
        whole = rows.with_columns(**fixed, **unknown)
        whole = whole.with_columns(self._known_at(whole, label).alias("known_at"))
        return whole.select(*columns, "file", "line", *(c for c in OPTIONAL if c in whole.columns))

    def _known_at(self, rows: pl.DataFrame, label: date) -> pl.Expr:
        if "known_at" in rows.columns:
            return typed("known_at", rows.schema["known_at"], UTC_MICROS)
        if self._rule is None:
            raise ConfigurationError(
                f"{self.name}: neither the feed nor its files give a time at which rows were known; declare known_at"
            )
        table = self.dataset.table
        if self._rule["of"] == "label":
            start = pl.lit(label).cast(UTC_MICROS)
        else:
            needed = self.dataset.ends.meta.root_names() if self.dataset.ends is not None else [table.event]
            read = rows.select(typed(c, rows.schema[c], table.schema[c]) for c in needed)
            start = pl.lit(
                read.select(
                    (self.dataset.ends if self.dataset.ends is not None else pl.col(table.event)).cast(UTC_MICROS)
                ).to_series()
            )
        delay = timedelta(**{_UNITS[self._rule["unit"]]: int(self._rule["by"])})
        if self._rule["hour"]:
            return (
                start.dt.truncate("1d")
                + delay
                + timedelta(hours=int(self._rule["hour"]), minutes=int(self._rule["minute"]))
            )
        return start + delay
