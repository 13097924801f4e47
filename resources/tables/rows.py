"""Which rows of a stored table are read, and how the columns that it has meet those of its contract."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import polars as pl

from quant_assets.contract import Table
from quant_assets.errors import ContractViolation
from resources.tables.data_files import PARTITION

if TYPE_CHECKING:
    from deltalake import DeltaTable, Schema

SPANS = 8  # stretches of days that one comparison looks up apart


def fields(table: Table) -> "Schema":
    """The stored columns of a table, as Delta names their types."""
    from deltalake import Schema

    return Schema.from_arrow(table.empty().with_columns(pl.lit(0, dtype=pl.Int32).alias(PARTITION)).to_arrow().schema)


def within(table: Table, first: date | None, last: date | None) -> pl.Expr:
    """Whether a row's event lies in [first, last], said so that partitions and files without such a row are not
    opened.
    """
    event, instants = pl.col(table.event), isinstance(table.schema[table.event], pl.Datetime)
    keep = [pl.lit(value=True)]
    if first is not None:
        keep += [
            pl.col(PARTITION) >= first.year,
            event >= (datetime.combine(first, time.min, UTC) if instants else first),
        ]
    if last is not None:
        keep += [pl.col(PARTITION) <= last.year, event <= (datetime.combine(last, time.max, UTC) if instants else last)]
    return pl.all_horizontal(keep)


def spans(events: pl.Series) -> list[tuple[date, date]]:
    """The stretches of days on which the events lie, at most SPANS: a late row of an old session must not make the
    years between be read.
    """
    days: list[date] = events.cast(pl.Date).unique().sort().to_list()
    widest = sorted(
        ((b - a, i) for i, (a, b) in enumerate(pairwise(days), 1) if b - a > timedelta(days=4)), reverse=True
    )
    cuts = sorted(i for _, i in widest[: SPANS - 1])
    return [(days[a], days[b - 1]) for a, b in zip([0, *cuts], [*cuts, len(days)], strict=True)]


def gained(table: Table, at: "DeltaTable") -> list[str]:
    """The columns that the contract has and the stored table has not, yet. Raises ContractViolation where the two
    cannot be brought together.
    """
    stored = {c: t for c, t in pl.Schema(at.schema()).items() if c != PARTITION}
    contract = pl.Schema(table.schema)
    lacking = [c for c in contract if c not in stored]
    wrong = {c: (stored[c], contract.get(c)) for c in stored if stored[c] != contract.get(c)}
    if wrong or set(lacking) - set(table.defaults) & {*table.key, table.event}:
        raise ContractViolation(
            f"{table.name}: the stored table and its contract do not fit. "
            f"Stored, in version {at.version()}: {_told(stored)}; the contract: {_told(contract)}. "
            f"Otherwise stored (stored, contract): { ({c: (str(a), str(b)) for c, (a, b) in wrong.items()}) }; "
            f"not stored: {lacking}. A contract may only gain columns outside its key, or with a default: use the "
            "release that wrote the table, or export it, rename the folder and append again under the new contract"
        )
    return lacking


def _told(schema: Mapping[str, pl.DataType]) -> str:
    return ", ".join(f"{c} {t}" for c, t in schema.items())


def projected(table: Table, columns: Sequence[str] | None) -> list[str]:
    """`columns` and the key, or all, in stored order."""
    return [c for c in table.schema if columns is None or c in columns or c in table.key]


def collect(table: Table, at: "DeltaTable", keep: list[pl.Expr], columns: Sequence[str] | None = None) -> pl.DataFrame:
    """The rows that satisfy all of `keep`, in stored column order, sorted by key; rows from before a column came have
    its default, or null.
    """
    missing = gained(table, at)
    rows = (
        pl.scan_delta(at)
        .with_columns(pl.lit(None, dtype=table.schema[c]).alias(c) for c in missing)
        .with_columns(pl.col(c).fill_null(default) for c, default in table.defaults.items())
        .filter(keep)
        .select(columns or list(table.schema))
    )
    return rows.collect(engine="in-memory").sort(table.key)


def conflict(table: Table, stored: pl.DataFrame, given: pl.DataFrame) -> str:
    """How many rows of `given` have the key of another row and another content, and where the first two differ."""
    key = given.select(table.key).row(0, named=True)
    ours, theirs = (
        f.filter(pl.all_horizontal(pl.col(c) == pl.lit(v) for c, v in key.items())).row(0, named=True)
        for f in (given, stored)
    )
    differ = {c: (theirs[c], ours[c]) for c in table.content if c in ours and theirs[c] != ours[c]}
    return f"{table.name}: {given.height} row(s) stand already with another content; {key}: (stands, given) {differ}"
