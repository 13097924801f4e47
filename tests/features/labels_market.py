"""A small market in memory for labels: late and restated prices, endings, a universe, an index, listings, published
exposures.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cache

import numpy as np
import polars as pl

from quant_assets.contract import MONEY, Table
from quant_assets.features.declared import declare
from quant_assets.features.labels import compute_labels, gross_returns
from quant_assets.features.sets import FeatureSet
from quant_assets.strategy import LabelRule
from quant_assets.tables import ACTIONS, BARS, LISTINGS, UNIVERSE
from quant_assets.vendor_tables import INDEX_MEMBERS
from tests.features.test_blocks import CUTS, random_panel

DAYS = CUTS.calendar.between(date(2016, 1, 4), date(2016, 8, 5))
STYLE = declare(FeatureSet("style_of_a_test", "1", ("size", "beta", "twin"), ("close",), 1, lambda panel: panel))


class Memory:
    """The Store port, for reading only, over frames by table name."""

    def __init__(self, frames: Mapping[str, pl.DataFrame]) -> None:
        self.frames = frames

    def read(
        self,
        table: Table,
        *,
        as_of: datetime,
        first: date | None = None,
        last: date | None = None,
        where: Mapping[str, str | int] | None = None,
        columns: Sequence[str] | None = None,
    ) -> pl.DataFrame:
        """See the port."""
        keep = [pl.col("known_at") <= as_of, *(pl.col(c) == pl.lit(v) for c, v in (where or {}).items())]
        keep += [pl.col(table.event) >= first] if first else []
        keep += [pl.col(table.event) <= last] if last else []
        wanted = [c for c in table.schema if columns is None or c in columns or c in table.key]
        return self.frames.get(table.name, table.empty()).filter(keep).sort(table.key).select(wanted)


def rows(table: Table, records: Sequence[Mapping[str, object]] | pl.DataFrame) -> pl.DataFrame:
    """Rows of a table; columns not named are null."""
    frame = records if isinstance(records, pl.DataFrame) else pl.DataFrame(records, infer_schema_length=None)
    return frame.select(
        pl.col(c).cast(t) if c in frame.columns else pl.lit(None, t).alias(c) for c, t in table.schema.items()
    )


@cache
def market(seed: int) -> Memory:
    """The random panel of the blocks' tests with restated highs and lows, endings, and what labels may be net of."""
    bars, actions = random_panel(seed)
    rng = np.random.default_rng(seed + 100)
    wild = bars.filter(pl.Series(rng.random(bars.height) < 0.05)).with_columns(
        high=pl.col("high") * 1.06, low=pl.col("low") * 0.95
    )
    late = pl.Series(rng.integers(0, 9, wild.height))
    bars = pl.concat([bars, wild.with_columns(known_at=pl.col("known_at") + pl.duration(days=late, minutes=1))]).unique(
        ["sid", "session", "known_at"], keep="last", maintain_order=True
    )
    ended = endings(rng)
    over = bars.join(
        ended.filter(pl.col("sid") < 10).select("sid", over="session"), on="sid", how="left", maintain_order="left"
    ).select((pl.col("session") >= pl.col("over")).fill_null(value=False))
    bars = bars.filter(~over.to_series())
    return Memory(
        {
            "bars": rows(BARS, bars),
            "actions": rows(ACTIONS, pl.concat([actions.with_columns(counterpart=pl.lit(None, pl.String)), ended])),
            **memberships(bars["sid"].unique().sort().to_list(), rng),
            STYLE.table.name: exposures(bars["sid"].unique().sort().to_list(), rng),
        }
    )


def endings(rng: np.random.Generator) -> pl.DataFrame:
    """Some names end in the middle, in one way or another, and some of these endings are told late; of the last one it
    is not true.
    """
    out = []
    for sid in (3, 5, 7, 9, 11):
        session = DAYS[int(rng.integers(60, 120))]
        kind = "delisting" if sid in {3, 5} else "merger"
        told = {
            "value": -0.4 if sid == 3 else None,
            "cash": Decimal("61.5") if sid == 7 else None,
            "counterpart": "BB" if sid == 11 else None,
        }
        known = CUTS.of(session) + timedelta(days=int(rng.integers(-3, 6)))
        out.append(
            {
                "sid": sid,
                "session": session,
                "kind": kind,
                "numerator": None,
                "denominator": None,
                "withdrawn": False,
                "known_at": known,
                **told,
            }
        )
    schema = {
        "sid": pl.Int64,
        "session": pl.Date,
        "kind": pl.String,
        "numerator": pl.Int64,
        "denominator": pl.Int64,
        "cash": MONEY,
        "value": pl.Float64,
        "withdrawn": pl.Boolean,
        "known_at": BARS.schema["known_at"],
        "counterpart": pl.String,
    }
    return pl.DataFrame(out, schema_overrides=schema).select(*schema)


def memberships(sids: Sequence[int], rng: np.random.Generator) -> dict[str, pl.DataFrame]:
    """A universe by the month, an index with weights that are sometimes told late, and listings under symbols of which
    two change hands.
    """
    months = [d for d in DAYS if d == CUTS.calendar.on_or_after(d.replace(day=1))]
    ends = [*months[1:], DAYS[-1]]
    members = [
        {"session": a, "until": b, "universe": "few", "sid": s, "known_at": CUTS.of(a)}
        for a, b in zip(months, ends, strict=True)
        for s in sids
        if rng.random() < 0.7
    ]
    told = [
        {
            "session": DAYS[n],
            "index": "IX",
            "symbol": f"s.{s}",
            "member": rng.random() < 0.8,
            "weight": float(rng.random()),
            "withdrawn": False,
            "known_at": CUTS.of(DAYS[n]) + timedelta(days=int(rng.integers(-2, 6))),
        }
        for s in sids
        for n in sorted(rng.choice(100, size=3, replace=False))
    ]
    listed = [
        {"session": DAYS[0], "sid": s, "symbol": f"S {s}", "listed": True, "known_at": CUTS.of(DAYS[0])} for s in sids
    ]
    listed += [
        {"session": DAYS[70], "sid": s, "symbol": f"S {t}", "listed": True, "known_at": CUTS.of(DAYS[73])}
        for s, t in ((1, 2), (2, 1))
    ]
    return {
        UNIVERSE.name: rows(UNIVERSE, members),
        INDEX_MEMBERS.name: rows(INDEX_MEMBERS, told),
        LISTINGS.name: rows(LISTINGS, listed),
    }


def exposures(sids: Sequence[int], rng: np.random.Generator) -> pl.DataFrame:
    """Exposures of most names, published at the cut; some rebuilt later, with values that no label may read."""
    out = []
    for day in DAYS[20:]:
        for sid in sids:
            size, beta = rng.normal(3, 1), rng.normal()
            row = {
                "session": day,
                "universe": "few",
                "sid": sid,
                "version": "1",
                "size": size,
                "beta": beta if rng.random() > 0.05 else None,
                "twin": 2 * size - 1,
                "known_at": CUTS.of(day),
            }
            out.append(row)
            if rng.random() < 0.1:
                out.append({**row, "size": 77.0, "known_at": CUTS.of(day) + timedelta(days=1)})
    return rows(STYLE.table, out)


def known(bars: pl.DataFrame, subject: Sequence[str], cut: datetime) -> list[dict[str, object]]:
    """The rows in force at a cut, one by one."""
    latest = bars.filter(pl.col("known_at") <= cut).sort(*subject, "known_at").unique(subject, keep="last")
    return latest.filter(~pl.col("withdrawn")).to_dicts()


def labels(seed: int, rule: LabelRule, sessions: Sequence[date]) -> pl.DataFrame:
    """The labels that become known in `sessions`."""
    return compute_labels(market(seed), CUTS, rule, sessions)  # pyright: ignore[reportArgumentType]  # it only reads


def gross(seed: int, rule: LabelRule, sessions: Sequence[date]) -> pl.DataFrame:
    """What the labels that become known in `sessions` are made of, before anything is taken out of them."""
    return gross_returns(market(seed), CUTS, rule, sessions)  # pyright: ignore[reportArgumentType]  # as above
