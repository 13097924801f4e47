"""The same past with another future: a store in which everything that became known after a cut is different.

What is known by the cut is unchanged, to the bit; so a feature set's values of the session must be, too.
"""

from collections.abc import Mapping
from datetime import date, datetime, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

from quant_assets.contract import MONEY, Table
from quant_assets.features.audit.views import ReadOnly, within
from quant_assets.ports import Store
from quant_assets.tables import ACTIONS, BARS

PROVENANCE = frozenset({"known_at", "declared_known_at", "source", "capture", "file", "line"})
MOMENT = timedelta(
    minutes=1
)  # after the cut: whoever reads a minute too far is caught, and so is whoever takes a local time for UTC
RECENT = timedelta(days=420)  # events so long before the cut are restated: a year, and what is filed late of it
DELISTED, DROPPED, WITHDRAWN, RESTATED = 6, 10, 10, 3  # one in so many


class Hostile(ReadOnly):
    """`below` with the past of `cut` unchanged, and after it whatever would expose look-ahead.

    `future`: rows known after the cut are scrambled, withdrawn or dropped, names are gone from `session` on, and splits
    become known a minute after the cut, of sessions to come and of past ones. `restated`: a minute after the cut, other
    values become known of events up to `session`. The change of a row depends only on its key and `seed`, however it is
    read.
    """

    def __init__(
        self, below: Store, session: date, cut: datetime, *, future: bool = True, restated: bool = True, seed: int = 0
    ) -> None:
        super().__init__(below)
        self._session, self._cut, self._seed = session, cut, seed
        self._future, self._restated = future, restated

    def seen(
        self,
        table: Table,
        as_of: datetime | None,
        first: date | None,
        last: date | None,
        where: Mapping[str, str | int],
        columns: list[str],
    ) -> pl.DataFrame:
        """See the port."""
        if as_of is not None and as_of <= self._cut:
            return self.below.read(table, as_of=as_of, first=first, last=last, where=where, columns=columns)
        helping = [c for c in ("known_at", table.event, "sid", "symbol", "withdrawn") if c in table.schema]
        read = [c for c in table.schema if c in columns or c in helping]
        rows = self.below.read(table, as_of=None, first=first, last=last, where=where, columns=read)
        past, after = rows.filter(pl.col("known_at") <= self._cut), rows.filter(pl.col("known_at") > self._cut)
        parts = [past, self._another_future(table, after) if self._future else after]
        if self._restated and "known_at" in table.key:
            parts.append(self._restatements(table, past))
        if self._future and table.name == ACTIONS.name:
            parts.append(self._splits().select(read))
        made = pl.concat(parts).unique(list(table.key), keep="last", maintain_order=True)
        return made.filter(within(table, as_of, first, last, where)).sort(table.key).select(columns)

    def _another_future(self, table: Table, rows: pl.DataFrame) -> pl.DataFrame:
        scrambled = self._scrambled(table, rows)
        later = _day_rows(table, pl.col(table.event)) > pl.lit(self._session)
        gone = (later & self._one_in(DELISTED, [who], rows)) if (who := _who(table)) else pl.lit(value=False)
        kept = ~gone & ~self._one_in(DROPPED, list(table.key), rows)
        if "withdrawn" in rows.columns:
            scrambled = scrambled.with_columns(
                withdrawn=pl.col("withdrawn") ^ self._one_in(WITHDRAWN, list(table.key), rows, again=1)
            )
        return scrambled.filter(kept)

    def _restatements(self, table: Table, past: pl.DataFrame) -> pl.DataFrame:
        """Other values for the latest event of each subject in a sample, and for half of those before."""
        day = _day_rows(table, pl.col(table.event))
        recent = past.filter(day <= pl.lit(self._session), day > pl.lit(self._session - RECENT))
        about = [c for c in table.subject if c != table.event]
        if about:
            recent = recent.filter(self._one_in(RESTATED, about, recent))
        latest = pl.col(table.event) == (pl.col(table.event).max().over(about) if about else pl.col(table.event).max())
        chosen = recent.filter(latest | self._one_in(2, list(table.subject), recent)).unique(
            list(table.subject), keep="last", maintain_order=True
        )
        known = pl.lit(self._cut + MOMENT).cast(table.schema["known_at"])
        restated = self._scrambled(table, chosen).with_columns(
            known.alias(c) for c in ("known_at", "declared_known_at") if c in chosen.columns
        )
        return restated.with_columns(withdrawn=pl.lit(value=False)) if "withdrawn" in restated.columns else restated

    def _splits(self) -> pl.DataFrame:
        """Rows of ACTIONS: for one name in so many a split in a week, and one a week ago that was heard of too late."""
        near = self.below.read(
            BARS, as_of=self._cut, first=self._session - timedelta(days=7), last=self._session, columns=()
        )
        names = near.select(pl.col("sid").unique().sort())
        split = names.filter(self._one_in(RESTATED, ["sid"], names)).join(
            pl.DataFrame({"days": [-7, 7]}, schema={"days": pl.Int64}), how="cross"
        )
        told: dict[str, object] = {
            "kind": "split",
            "numerator": 7,
            "denominator": 2,
            "origin": "declared",
            "confidence": 1.0,
            "withdrawn": False,
            "known_at": self._cut + MOMENT,
        }
        values = {
            "session": pl.lit(self._session) + pl.duration(days="days"),
            **{c: pl.lit(v) for c, v in told.items()},
            "declared_known_at": pl.lit(self._cut + MOMENT),
        }
        made = split.with_columns(**values)
        return made.select(
            (pl.col(c) if c in made.columns else pl.lit(None)).cast(t).alias(c) for c, t in ACTIONS.schema.items()
        )

    def _scrambled(self, table: Table, rows: pl.DataFrame) -> pl.DataFrame:
        """`rows` with every value another: numbers times something between a quarter and four, texts of other rows,
        truths turned for one in three.
        """
        left = {*table.key, *table.beside, *PROVENANCE, table.event, "withdrawn"}
        return rows.with_columns(
            self._another(table, rows, c, n)
            for n, c in enumerate(rows.columns)
            if c not in left and _scrambles(rows[c].dtype)
        )

    def _another(self, table: Table, rows: pl.DataFrame, column: str, n: int) -> pl.Expr:
        dtype, value = rows[column].dtype, pl.col(column)
        if dtype == pl.Boolean:
            return value ^ self._one_in(3, list(table.key), rows, again=n + 2)
        if dtype == pl.String:
            return value.reverse()
        factor = pl.lit(pl.Series(0.25 * 16.0 ** ((self._hash(list(table.key), rows, n + 2) % 10_007) / 10_007)))
        if dtype.is_integer():
            return (value * factor).ceil().cast(dtype)
        return (value.cast(pl.Float64) * factor).cast(MONEY if dtype.is_decimal() else dtype)

    def _one_in(self, many: int, columns: list[str], rows: pl.DataFrame, again: int = 0) -> pl.Expr:
        return pl.lit(pl.Series(self._hash(columns, rows, again) % many == 0))

    def _hash(self, columns: list[str], rows: pl.DataFrame, again: int = 0) -> npt.NDArray[np.uint64]:
        known = [c for c in columns if c in rows.columns]
        return rows.select(known).hash_rows(
            self._seed * 1_000 + self._session.toordinal() + again
        ).to_numpy() >> np.uint64(7)


def _day_rows(table: Table, event: pl.Expr) -> pl.Expr:
    return event.dt.date() if isinstance(table.schema[table.event], pl.Datetime) else event


def _who(table: Table) -> str | None:
    return next((c for c in ("sid", "symbol") if c in table.schema), None)


def _scrambles(dtype: pl.DataType) -> bool:
    return dtype.is_numeric() or isinstance(dtype, pl.String | pl.Boolean)
