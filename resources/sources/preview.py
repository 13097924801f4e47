"""How files of daily prices would be read: their columns, what each would be, what is ambiguous, and the declaration
that reads them so.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import polars as pl

from quant_assets.calendars import Calendar
from quant_assets.errors import CaptureUnreadable, ConfigurationError
from quant_assets.records import Frozen
from resources.sources.files import ColumnMapping, Files
from resources.sources.reading.declaring import as_yaml, declared_source
from resources.sources.reading.opening import found_by
from resources.sources.reading.proposal import Form, decides, decimal, fields, forms
from resources.sources.reading.sheets import Dialect, batches
from resources.sources.reading.splitting import PLACE
from resources.sources.reading.written import FILE, Column

LOOKED_AT = 1_000_000  # rows that are read to count those kept
SAMPLES = 3
EMPTY = {"reason": pl.String, "file": pl.String, "line": pl.Int64, "label": pl.Date, "symbol": pl.String}
NOTHING_GIVEN: Mapping[str, Any] = MappingProxyType({})
TRADED_WEEKENDS = 0.1  # of the days: where fewer are weekends, a reading is not refuted by them
FEW = 10  # days that are too few to be a witness
NEEDED = ("symbol", "session", "open", "high", "low", "close", "volume")


class Seen(Frozen, frozen=True):
    """A column of the file, what it holds, and as what it would be read (empty: not used)."""

    name: str
    type: str
    samples: tuple[str, ...]
    read_as: str


class Refused(Frozen, frozen=True):
    """Why rows would be quarantined, how many, and the place of the first of them."""

    reason: str
    rows: int
    first: str


class Question(Frozen, frozen=True):
    """What the files do not decide: a key of the source, and the values of which one is right (none: any)."""

    text: str
    key: str
    choices: tuple[str, ...] = ()


class Preview(Frozen, frozen=True):
    """What is found out about files before anything is declared.

    `whole`: whether all rows were read; `source`, `yaml`: the source to declare; empty where it cannot be proposed.
    `questions`: what a person has to answer before it can be.
    """

    files: tuple[str, ...]
    columns: tuple[Seen, ...]
    rows: int
    kept: int
    whole: bool
    refused: tuple[Refused, ...]
    ambiguous: tuple[str, ...]
    questions: tuple[Question, ...]
    source: Mapping[str, object]
    yaml: str


def preview(where: str, calendar: Calendar) -> Preview:
    """Look at a file, a folder or a glob.

    Nothing is stored. Raises CaptureUnreadable where a file cannot be read at all.
    """
    return examined(where, calendar)[0]


def examined(
    where: str, calendar: Calendar, given: Mapping[str, Any] = NOTHING_GIVEN, rows: int = LOOKED_AT
) -> tuple[Preview, pl.DataFrame]:
    """The preview, and the rows that it judged (`Files.read`), at least `rows` where there are so many.

    `given`: what a person declared of the source, its mapping by field as a column's keys; it is not asked for again.
    Raises as `preview`, and ConfigurationError where what is given does not fit the files.
    """
    files, _ = found_by(where)
    if not files:
        raise CaptureUnreadable(f"{where}: there is no such file, and no folder with CSV, JSON or Parquet files")
    dialect, first = _opened(files[0], given)
    columns = [c for c in first.columns if c not in PLACE]
    zone = calendar.local(calendar.close(calendar.last)).tzinfo
    notes: list[str] = []
    questions: list[Question] = []
    if dialect.encoding != "utf-8" and "encoding" not in given:
        notes.append("the text is not UTF-8: Windows-1252 is proposed, see whether the names come out right")
    answered: Mapping[str, Mapping[str, str]] = given.get("mapping", {})
    named = _named(columns, answered, files[0])
    mapping: dict[str, Column] = {f: _column(f, c, answered.get(f, {})) for f, c in named.items()}
    if named.get("symbol") == FILE and len(files) == 1:
        notes.append(
            f"no column is a symbol: the file's name is taken for it; map another column if "
            f"{Path(files[0]).name} is not of one ticker"
        )
    if missing := [f for f in NEEDED if f not in named]:
        notes.append(f"no column seems to be {', '.join(missing)}: name them in the mapping")
        there = f"the columns are {', '.join(columns)}"
        if sum(not any(letter.isalpha() for letter in c) for c in columns) > len(columns) / 2:
            there += "; if these are values, put a line with the columns' names before them"
        questions += [Question(f"no column seems to be the {f}; {there}", f"mapping.{f}") for f in missing]
    good = first.filter(pl.col("#fault").is_null())
    if "session" in named and not {"format", "unit"} & set(answered.get("session", {})):
        mapping["session"] = _session(good, named["session"], str(zone), notes, questions)
    mark = given.get("decimal") or decimal([good[c] for f, c in named.items() if f in NEEDED[2:6]])
    if mark and "decimal" not in given:
        notes.append('numbers have decimal commas: `decimal: ","` is proposed')
    if "adj_close" in named and "adj_close" not in answered and "label" not in named:
        notes.append(
            f"{named['adj_close']} is taken for a whole history of adjusted closes: splits and dividends "
            f"are derived from it; leave it out of the mapping if it is not"
        )
    declared = declared_source(where, mapping, mark, dialect, given) if not missing else {}
    judged = _counted(where, mapping, calendar, declared, notes, rows) if declared else pl.DataFrame(schema=EMPTY)
    bad = judged.filter(pl.col("reason").is_not_null())
    reasons = (
        bad.group_by("reason")
        .agg(rows=pl.len(), first=pl.format("{}:{}", pl.col("file").first(), pl.col("line").first()))
        .sort("rows", "reason", descending=[True, False])
    )
    kept = judged.filter(pl.col("reason").is_null())
    if kept.height and kept.select("symbol", "session", "label").n_unique() < 0.5 * kept.height:
        notes.append(
            "a name has many rows a day: these are bars within the day, which are a feed (kind: tabular, "
            "dataset: intraday_bars) and no daily prices"
        )
    by_field = {c.column: f for f, c in mapping.items()}
    found = Preview(
        files=tuple(str(f) for f in files),
        columns=tuple(_seen(good, c, by_field.get(c), mapping, mark) for c in columns),
        rows=judged.height,
        kept=kept.height,
        whole=judged.height < rows,
        refused=tuple(Refused(*row) for row in reasons.rows()),
        ambiguous=tuple(notes),
        questions=tuple(questions),
        source=declared,
        yaml=as_yaml(declared) if declared else "",
    )
    return found, judged


def _opened(path: Path, given: Mapping[str, Any]) -> tuple[Dialect, pl.DataFrame]:
    """The first rows of a file, and how its text is written."""
    if {"encoding", "delimiter"} & set(given):
        dialect = Dialect(given.get("encoding", "utf-8"), given.get("delimiter"))
        return dialect, next(batches(path, dialect=dialect))
    first = next(batches(path))
    damaged = first["#fault"].str.contains("no UTF-8").any()
    if not damaged:
        return Dialect(), first
    dialect = Dialect(encoding="cp1252")
    return dialect, next(batches(path, dialect=dialect))


def _named(columns: Sequence[str], answered: Mapping[str, Mapping[str, str]], file: Path) -> dict[str, str]:
    """The column of each field: as a person named it, else by its name. Raises ConfigurationError for one that is not
    there.
    """
    named = fields(columns, by_file=True) | {f: c["column"] for f, c in answered.items() if "column" in c}
    if absent := sorted({c for c in named.values() if c not in (*columns, FILE)}):
        raise ConfigurationError(f"{file}: it has no column {', '.join(absent)}; it has {', '.join(columns)}")
    return named


def _column(field: str, name: str, keys: Mapping[str, str]) -> Column:
    """A mapped column with what a person declared of it. Raises ConfigurationError."""
    try:
        return msgspec.convert({"column": name, **keys}, Column, strict=False)
    except (msgspec.ValidationError, ValueError) as error:
        raise ConfigurationError(f"mapping.{field}: {error}") from error


def _session(rows: pl.DataFrame, name: str, zone: str, notes: list[str], questions: list[Question]) -> Column:
    """The column of days in the form that fits best; what else it may be goes to the notes, and what nothing decides to
    the questions.
    """
    cells = rows[name]
    found = forms(cells, name, zone)
    if not found:
        notes.append(
            f"{name}: no form is known that reads it; declare its format, such as {{column: {name}, format: "
            f'"%d/%m/%Y"}}'
        )
        questions.append(Question(f"{name}: no form is known that reads its days", "mapping.session.format"))
        return Column(column=name)
    best = found[0]
    for other in found[1:]:
        example = next((str(v) for v in cells.drop_nulls().head(1)), "")
        at = decides(cells, best, other)
        decided = (
            f"line {rows['#line'][at]} ({cells[at]}) decides for {best.text}"
            if at is not None
            else _weekends(best, other)
        )
        notes.append(f"{name}: {example} may be {best.text} or {other.text}; {decided}")
        if best.read == other.read and not _weekdays(best, other):
            key = "mapping.session.unit" if best.column.unit else "mapping.session.format"
            text = f"{name}: {example} may be {best.text} or {other.text}, and no row decides"
            questions.append(Question(text, key, tuple(f.column.unit or f.column.format or "" for f in (best, other))))
    if best.column.tz:
        notes.append(
            f"{name}: its days are read on the exchange's own clock, {best.column.tz}; declare another tz "
            f"if the vendor's is another"
        )
    return best.column


def _weekdays(best: Form, other: Form) -> bool:
    """Whether the one has weekdays alone and the other has not: what trades on weekdays cannot be written so."""
    return best.weekend == 0 and other.weekend >= TRADED_WEEKENDS and best.read >= FEW


def _weekends(best: Form, other: Form) -> str:
    if best.weekend < other.weekend:
        return (
            f"nothing decides; under {other.text} {other.weekend:.0%} of the days are weekends, under "
            f"{best.text} {best.weekend:.0%}"
        )
    return "nothing decides: ask the vendor"


def _counted(
    where: str,
    mapping: Mapping[str, Column],
    calendar: Calendar,
    declared: Mapping[str, Any],
    notes: list[str],
    most: int,
) -> pl.DataFrame:
    """The rows as the proposal reads them, up to `most`."""
    written = {k: declared[k] for k in ("known_at", "decimal", "delimiter", "encoding", "tz") if k in declared}
    try:
        source = Files(Path(where).expanduser(), ColumnMapping(**mapping), calendar, **written)
        parts: list[pl.DataFrame] = []
        for part in source.read():
            parts.append(part)
            if sum(p.height for p in parts) >= most:
                break
        return pl.concat(parts)
    except ConfigurationError as error:
        notes.append(str(error))
        return pl.DataFrame(schema=EMPTY)


def _seen(rows: pl.DataFrame, name: str, field: str | None, mapping: Mapping[str, Column], mark: str | None) -> Seen:
    dtype = rows.schema[name]
    cells = rows[name].drop_nulls().unique(maintain_order=True).head(SAMPLES)
    read_as = ""
    if field:
        column = mapping[field]
        form = column.format or (f"unit {column.unit}" if column.unit else "")
        read_as = " ".join(
            w for w in (field, form, column.tz or "", "decimal comma" if mark and field in NEEDED[2:] else "") if w
        )
    return Seen(name, "text" if dtype == pl.String else str(dtype), tuple(str(v)[:40] for v in cells), read_as)


def shapes(found: Preview) -> Sequence[Mapping[str, str]]:
    """The columns as a table's rows."""
    return [
        {
            "column": c.name,
            "holds": c.type,
            "first values": ", ".join(c.samples),
            "would be read as": c.read_as or "not used",
        }
        for c in found.columns
    ]
