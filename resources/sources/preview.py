"""How files of daily prices would be read: their columns, what each would be, what is ambiguous, and the declaration
that reads them so.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import polars as pl
import yaml

from quant_assets.calendars import Calendar
from quant_assets.errors import CaptureUnreadable, ConfigurationError
from quant_assets.records import Frozen
from resources.sources.files import ColumnMapping, Files
from resources.sources.reading.opening import found_by
from resources.sources.reading.proposal import Form, decides, decimal, fields, forms
from resources.sources.reading.sheets import Dialect, batches
from resources.sources.reading.splitting import PLACE
from resources.sources.reading.written import FILE, Column

LOOKED_AT = 1_000_000  # rows that are read to count those kept
SAMPLES = 3
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


class Preview(Frozen, frozen=True):
    """What is found out about files before anything is declared.

    `whole`: whether all rows were read; `yaml`: the source to declare; empty where it cannot be proposed.
    """

    files: tuple[str, ...]
    columns: tuple[Seen, ...]
    rows: int
    kept: int
    whole: bool
    refused: tuple[Refused, ...]
    ambiguous: tuple[str, ...]
    yaml: str


def preview(where: str, calendar: Calendar) -> Preview:
    """Look at a file, a folder or a glob.

    Nothing is stored. Raises CaptureUnreadable where a file cannot be read at all.
    """
    files, _ = found_by(where)
    if not files:
        raise CaptureUnreadable(f"{where}: there is no such file, and no folder with CSV, JSON or Parquet files")
    dialect, first = _opened(files[0])
    columns = [c for c in first.columns if c not in PLACE]
    zone = calendar.local(calendar.close(calendar.last)).tzinfo
    notes: list[str] = []
    if dialect.encoding != "utf-8":
        notes.append("the text is not UTF-8: Windows-1252 is proposed, see whether the names come out right")
    named = fields(columns, by_file=True)
    mapping: dict[str, Column] = {f: Column(column=c) for f, c in named.items()}
    if named.get("symbol") == FILE and len(files) == 1:
        notes.append(
            f"no column is a symbol: the file's name is taken for it; map another column if "
            f"{Path(files[0]).name} is not of one ticker"
        )
    if missing := [f for f in NEEDED if f not in named]:
        notes.append(f"no column seems to be {', '.join(missing)}: name them in the mapping")
    good = first.filter(pl.col("#fault").is_null())
    if "session" in named:
        mapping["session"] = _session(good, named["session"], str(zone), notes)
    mark = decimal([good[c] for f, c in named.items() if f in NEEDED[2:6]])
    if mark:
        notes.append('numbers have decimal commas: `decimal: ","` is proposed')
    if "adj_close" in named:
        notes.append(
            f"{named['adj_close']} is taken for a whole history of adjusted closes: splits and dividends "
            f"are derived from it; leave it out of the mapping if it is not"
        )
    declared = _declared(where, mapping, mark, dialect) if not missing else {}
    judged = (
        _counted(where, mapping, calendar, mark, dialect, notes)
        if declared
        else pl.DataFrame(
            schema={"reason": pl.String, "file": pl.String, "line": pl.Int64, "label": pl.Date, "symbol": pl.String}
        )
    )
    bad = judged.filter(pl.col("reason").is_not_null())
    reasons = (
        bad.group_by("reason")
        .agg(rows=pl.len(), first=pl.format("{}:{}", pl.col("file").first(), pl.col("line").first()))
        .sort("rows", "reason", descending=[True, False])
    )
    kept = judged.filter(pl.col("reason").is_null())
    if kept.height and kept.select("symbol", "label").n_unique() < 0.5 * kept.height:
        notes.append(
            "a name has many rows a day: these are bars within the day, which are a feed (kind: tabular, "
            "dataset: intraday_bars) and no daily prices"
        )
    by_field = {c.column: f for f, c in mapping.items()}
    return Preview(
        files=tuple(str(f) for f in files),
        columns=tuple(_seen(good, c, by_field.get(c), mapping, mark) for c in columns),
        rows=judged.height,
        kept=kept.height,
        whole=judged.height < LOOKED_AT,
        refused=tuple(Refused(*row) for row in reasons.rows()),
        ambiguous=tuple(notes),
        yaml=_as_yaml(declared) if declared else "",
    )


def _opened(path: Path) -> tuple[Dialect, pl.DataFrame]:
    """The first rows of a file, and how its text is written."""
    first = next(batches(path))
    damaged = first["#fault"].str.contains("no UTF-8").any()
    if not damaged:
        return Dialect(), first
    dialect = Dialect(encoding="cp1252")
    return dialect, next(batches(path, dialect=dialect))


def _session(rows: pl.DataFrame, name: str, zone: str, notes: list[str]) -> Column:
    """The column of days in the form that fits best; what else it may be goes to the notes."""
    cells = rows[name]
    found = forms(cells, name, zone)
    if not found:
        notes.append(
            f"{name}: no form is known that reads it; declare its format, such as {{column: {name}, format: "
            f'"%d/%m/%Y"}}'
        )
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
    if best.column.tz:
        notes.append(
            f"{name}: its days are read on the exchange's own clock, {best.column.tz}; declare another tz "
            f"if the vendor's is another"
        )
    return best.column


def _weekends(best: Form, other: Form) -> str:
    if best.weekend < other.weekend:
        return (
            f"nothing decides; under {other.text} {other.weekend:.0%} of the days are weekends, under "
            f"{best.text} {best.weekend:.0%}"
        )
    return "nothing decides: ask the vendor"


def _counted(
    where: str, mapping: Mapping[str, Column], calendar: Calendar, mark: str | None, dialect: Dialect, notes: list[str]
) -> pl.DataFrame:
    """The rows as the proposal reads them, up to `LOOKED_AT`."""
    try:
        source = Files(
            Path(where).expanduser(),
            ColumnMapping(**mapping),
            calendar,
            known_at="close+1h",
            decimal="," if mark else None,
            encoding=dialect.encoding,
        )
        parts: list[pl.DataFrame] = []
        for part in source.read():
            parts.append(part)
            if sum(p.height for p in parts) >= LOOKED_AT:
                break
        return pl.concat(parts)
    except ConfigurationError as error:
        notes.append(str(error))
        return pl.DataFrame(
            schema={"reason": pl.String, "file": pl.String, "line": pl.Int64, "label": pl.Date, "symbol": pl.String}
        )


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


def _declared(where: str, mapping: Mapping[str, Column], mark: str | None, dialect: Dialect) -> dict[str, object]:
    said: dict[str, object] = {}
    for field, column in mapping.items():
        written = {
            k: v for k, v in msgspec.structs.asdict(column).items() if k != "column" and v not in {None, False, 1.0}
        }
        if written:
            said[field] = {"column": column.column, **written}
        elif column.column != field:
            said[field] = column.column
    source: dict[str, object] = {
        "kind": "files",
        "prices": str(Path(where).expanduser().absolute()),
        "known_at": "close+1h",
        "mapping": said,
    }
    if mark:
        source["decimal"] = mark
    if dialect.encoding != "utf-8":
        source["encoding"] = dialect.encoding
    return source


def _as_yaml(source: Mapping[str, object]) -> str:
    """The declaration as a person would write it; text that YAML might take for something else is quoted."""
    lines = ["source:"]
    for key, value in source.items():
        if isinstance(value, dict):
            lines.append(f"  {key}:" if value else f"  {key}: {{}}")
            lines += [f"    {k}: {_flow(v)}" for k, v in value.items()]
        else:
            lines.append(f"  {key}: {_flow(value)}")
    return "\n".join(lines)


def _flow(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {_flow(v)}" for k, v in value.items()) + "}"
    text = str(value)
    plain = (
        re.fullmatch(r"[A-Za-z/][\w./+-]*", text) and yaml.safe_load(text) == text and text.lower() not in {"y", "n"}
    )
    return text if plain else json.dumps(value, ensure_ascii=False)


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
