"""A small market in memory with everything that a look ahead needs to be caught: late rows, restatements, halts, names
that die, filings and their amendments, labels, published features.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise

import numpy as np
import polars as pl

from quant_assets.contract import UTC_MICROS, Table
from quant_assets.features.audit.views import within
from quant_assets.features.labels import publish_labels
from quant_assets.features.price_volume import PRICE_VOLUME
from quant_assets.features.publish import publish
from quant_assets.tables import ACTIONS, BARS, LISTINGS, UNIVERSE
from quant_assets.vendor_tables import FILINGS
from tests.features.test_blocks import CUTS, random_panel

UNIVERSE_NAME = "small"
FIRST, LAST = date(2016, 4, 1), date(2016, 7, 29)
SESSIONS = CUTS.calendar.between(FIRST, LAST)
NOW = datetime(2016, 9, 1, tzinfo=UTC)


class Memory:
    """The Store port on frames."""

    def __init__(self) -> None:
        self.frames: dict[str, pl.DataFrame] = {}
        self.reads: list[str] = []

    def append(self, table: Table, frame: pl.DataFrame) -> int:
        """Rows that stand already are passed over."""
        standing, given = self.frames.get(table.name, table.empty()), table.conform(frame)
        new = given.join(standing, on=list(table.key), how="anti")
        self.frames[table.name] = pl.concat([standing, new]).sort(table.key)
        return new.height

    def read(
        self,
        table: Table,
        *,
        as_of: datetime | None,
        first: date | None = None,
        last: date | None = None,
        where: Mapping[str, str | int] | None = None,
        columns: Sequence[str] | None = None,
    ) -> pl.DataFrame:
        """See the port."""
        self.reads.append(table.name)
        rows = self.frames.get(table.name, table.empty()).filter(within(table, as_of, first, last, where or {}))
        return rows.select(c for c in table.schema if columns is None or c in columns or c in table.key)

    def version(self, table: Table) -> int:
        """The first, where it exists."""
        return 0 if table.name in self.frames else -1


def filled(table: Table, rows: pl.DataFrame) -> pl.DataFrame:
    """`rows` with every column of the table, null where there is none; told by the source when it became known."""
    known = rows.with_columns(
        declared_known_at="known_at",
        source=pl.lit("test"),
        capture=pl.col(table.event),
        file=pl.lit("test"),
        line=pl.int_range(pl.len()),
    )
    return known.select(
        (pl.col(c) if c in known.columns else pl.lit(None)).cast(t).alias(c) for c, t in table.schema.items()
    )


@cache
def market(seed: int = 5, names: int = 14) -> Memory:
    """The market of `seed`, with labels and features published for `SESSIONS`."""
    store, rng = Memory(), np.random.default_rng(seed)
    bars, actions = random_panel(seed, names)
    store.append(BARS, filled(BARS, bars.with_columns(symbol=pl.format("S{}", "sid"))))
    lives = bars.group_by("sid").agg(first=pl.col("session").min(), last=pl.col("session").max()).sort("sid")
    dead = lives.filter(pl.col("last") < LAST)
    gone = dead.select(
        "sid", session=pl.Series([CUTS.calendar.shift(s, 1) for s in dead["last"]], dtype=pl.Date)
    ).with_columns(kind=pl.lit("delisting"), value=pl.lit(-0.3), withdrawn=pl.lit(value=False))
    gone = gone.with_columns(known_at=pl.Series([CUTS.of(s) for s in gone["session"]], dtype=UTC_MICROS))
    store.append(ACTIONS, pl.concat([filled(ACTIONS, actions), filled(ACTIONS, gone)]).unique(ACTIONS.key))
    listed = pl.concat(
        [
            lives.select("sid", session="first", listed=pl.lit(value=True)),
            gone.select("sid", "session", listed=pl.lit(value=False)),
        ]
    )
    listed = listed.with_columns(
        known_at=pl.Series([CUTS.of(s) for s in listed["session"]], dtype=UTC_MICROS),
        symbol=pl.format("S{}", "sid"),
        sector=pl.when(pl.col("sid") % 3 == 0).then(pl.lit("A")).otherwise(pl.lit("B")),
    )
    store.append(LISTINGS, filled(LISTINGS, listed))
    store.append(UNIVERSE, _members(lives, rng))
    store.append(
        FILINGS,
        filled(
            FILINGS,
            pl.DataFrame([row for sid in lives["sid"] for row in _filings(sid, rng)]).with_columns(
                pl.col("known_at").cast(UTC_MICROS)
            ),
        ),
    )
    publish_labels(store, CUTS, 5, SESSIONS)
    publish(store, PRICE_VOLUME, UNIVERSE_NAME, CUTS, SESSIONS)
    return store


def _members(lives: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """All but two of the names that have begun, anew each month."""
    starts = [CUTS.calendar.on_or_after(date(2016, month, 1)) for month in range(2, 11)]
    rows = []
    for start, until in pairwise(starts):
        alive = lives.filter(pl.col("first") <= start, pl.col("last") >= start)["sid"].to_list()
        out = set(rng.choice(alive, size=min(2, len(alive)), replace=False).tolist()) if alive else set()
        rows += [
            {
                "session": start,
                "until": until,
                "universe": UNIVERSE_NAME,
                "sid": s,
                "rank": n,
                "dollar_volume": 1.0,
                "known_at": CUTS.of(start),
            }
            for n, s in enumerate(alive)
            if s not in out
        ]
    return pl.DataFrame(rows, schema=dict(UNIVERSE.schema))


def _filings(sid: int, rng: np.random.Generator) -> list[dict[str, object]]:
    """A company's quarters: filed five to seven weeks after their end, two in three amended later."""
    rows: list[dict[str, object]] = []
    for end in (date(2015, 9, 30), date(2015, 12, 31), date(2016, 3, 31), date(2016, 6, 30)):
        filed = datetime.combine(end, datetime.min.time(), UTC) + timedelta(
            days=int(rng.integers(35, 50)), hours=int(rng.integers(12, 22))
        )
        row = {
            "session": end,
            "symbol": f"S{sid}",
            "form": "10-Q",
            "fiscal_year": "2016",
            "fiscal_period": "Q",
            "amended": False,
            "item": "revenue",
            "value": float(rng.uniform(10, 90)),
            "withdrawn": False,
            "known_at": filed,
        }
        rows.append(row)
        if rng.random() < 0.67:
            rows.append(
                {
                    **row,
                    "amended": True,
                    "value": float(rng.uniform(10, 90)),
                    "known_at": filed + timedelta(days=int(rng.integers(10, 60))),
                }
            )
    return rows
