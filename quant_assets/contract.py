"""What a stored table promises, and which of its rows are in force.

A stored row has an event time (the column named by ``event``) and ``known_at`` (UTC). A table's
``key`` identifies a row for good; a restatement is another row whose key differs in ``known_at``.
``subject`` is the key without knowledge time: of the rows of one subject known at a cut, the one
with the latest ``known_at`` is in force, and a ``withdrawn`` one in force means that there is none.
Columns in ``beside`` are recorded with a row but do not make it another row (run ids, commits).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from quant_assets.errors import ContractViolation
from quant_assets.records import safe_name

UTC_MICROS = pl.Datetime("us", "UTC")
MONEY = pl.Decimal(38, 6)  # wide enough that sums over a book never overflow

Schema = Mapping[str, pl.DataType | type[pl.DataType]]


@dataclass(frozen=True)
class Table:
    """One stored table. ``schema`` is in stored order and does not contain the partition column. ``defaults``: columns
    that came later, with what they are in rows written before, and in rows given without them; these may be in the
    key. ``market``: whose rows are meant, by its calendar; empty: of the market that reads. Raises ValueError where a
    folder could not be called after its name.
    """

    name: str
    doc: str
    schema: Schema
    key: tuple[str, ...]
    event: str = "session"
    beside: tuple[str, ...] = ()
    units: Mapping[str, str] = field(default_factory=dict[str, str])
    defaults: Mapping[str, str] = field(default_factory=dict[str, str])
    market: str = ""

    def __post_init__(self) -> None:
        """See the class."""
        safe_name(self.name)

    @property
    def subject(self) -> tuple[str, ...]:
        """The key without knowledge time: what a row is about."""
        return tuple(c for c in self.key if c != "known_at")

    @property
    def content(self) -> tuple[str, ...]:
        """The columns whose values make a row what it is."""
        return tuple(c for c in self.schema if c not in self.beside)

    def empty(self) -> pl.DataFrame:
        """A frame of this table with no rows."""
        return pl.DataFrame(schema=dict(self.schema))

    def filled(self, frame: pl.DataFrame) -> pl.DataFrame:
        """`frame` with the defaults where a column that came later is missing or null."""
        came = {c: pl.col(c).fill_null(d) if c in frame.columns else pl.lit(d) for c, d in self.defaults.items()}
        return frame.with_columns(**came) if came else frame

    def conform(self, frame: pl.DataFrame) -> pl.DataFrame:
        """`frame` in stored column order, dtypes cast losslessly, sorted by key.

        Raises ContractViolation naming missing and unexpected columns, nulls in the key,
        or keys that occur twice.
        """
        frame = self.filled(frame)
        missing = [c for c in self.schema if c not in frame.columns]
        unexpected = [c for c in frame.columns if c not in self.schema]
        if missing or unexpected:
            raise ContractViolation(
                f"{self.name}: missing columns {missing}, unexpected columns {unexpected}; the contract is "
                f"{list(self.schema)}"
            )
        try:
            out = frame.select(pl.col(c).cast(t, strict=True) for c, t in self.schema.items())
        except pl.exceptions.PolarsError as error:
            raise ContractViolation(
                f"{self.name}: {error}; the contract is {dict(self.schema)}, the frame has {dict(frame.schema)}"
            ) from error
        if any(out[c].null_count() for c in self.key):
            raise ContractViolation(
                f"{self.name}: null in key column(s) {[c for c in self.key if out[c].null_count()]}"
            )
        if out.select(self.key).is_duplicated().any():
            twice = out.filter(out.select(self.key).is_duplicated()).select(self.key).unique().head(3).rows()
            raise ContractViolation(f"{self.name}: key {self.key} occurs more than once, for example {twice}")
        return out.sort(self.key)


def known_by(frame: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """The rows of `frame` whose ``known_at`` is not after `as_of`."""
    return frame.filter(pl.col("known_at") <= as_of)


def in_force(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    """Of the rows given, the latest known of each subject, without the withdrawn, sorted by subject."""
    latest = frame.sort(*table.subject, "known_at").unique(table.subject, keep="last", maintain_order=True)
    return latest.filter(~pl.col("withdrawn")) if "withdrawn" in table.schema else latest
