"""How far each session's features have moved from what its champion was trained on: stored by feature, drawn as a
page.
"""

from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

import msgspec
import polars as pl

from quant_assets.calendars import Cuts
from quant_assets.errors import ModelError
from quant_assets.features.catalogue import find_set
from quant_assets.features.drift import median_psi, psi
from quant_assets.features.sets import FeatureSet
from quant_assets.models.drift_page import drift_page
from quant_assets.models.promotion import champions
from quant_assets.ports import Store
from quant_assets.records import StageReport
from quant_assets.strategy import Strategy
from quant_assets.tables import FEATURE_DRIFT

STAGE = "feature_drift"


def measure(
    store: Store, feature_set: FeatureSet, strategy: Strategy, cuts: Cuts, sessions: Sequence[date]
) -> StageReport:
    """Write FEATURE_DRIFT of `sessions`: the values published at each cut against the frozen reference of the champion
    in force.

    The same functions on the same rows as the drift guardrail, so that what is shown is what refused. A session without
    a champion, or with one of another feature version, has no rows.
    """
    rows = drift(store, feature_set, strategy, cuts, sessions)
    last = median_psi(rows.filter(pl.col("session") == rows["session"].max())) if rows.height else None
    worst = rows.sort("psi", descending=True, nulls_last=True).head(1)
    return StageReport(
        stage=STAGE,
        first=min(sessions),
        last=max(sessions),
        state="done" if rows.height else "empty",
        reason="" if rows.height else "no champion of this feature version was in force",
        rows=store.append(FEATURE_DRIFT, rows),
        numbers={"sessions": rows["session"].n_unique()},
        measures={
            **({"median_psi": last} if last is not None else {}),
            **({"largest_psi": worst["psi"][0]} if worst.height and worst["psi"][0] is not None else {}),
        },
        notes=(f"largest: {worst['feature'][0]} on {worst['session'][0]}",) if worst.height else (),
    )


def drift(
    store: Store, feature_set: FeatureSet, strategy: Strategy, cuts: Cuts, sessions: Sequence[date]
) -> pl.DataFrame:
    """The rows of FEATURE_DRIFT for `sessions`, sorted by its key."""
    first, last = min(sessions), max(sessions)
    known, where = (
        champions(store, strategy.name, cuts.of(last)),
        {"version": feature_set.version, "universe": strategy.universe.name},
    )
    published = store.read(feature_set.table, as_of=cuts.of(last), first=first, last=last, where=where)
    by_session = {
        s: rows for (s,), rows in published.partition_by("session", as_dict=True, maintain_order=True).items()
    }
    out = [FEATURE_DRIFT.empty()]
    for session in sorted(set(sessions)):
        try:
            model = known.of(session, cuts.of(session))
        except ModelError:
            continue  # decisions of the session record why there is no model
        if (model.feature_set, model.feature_version) != (feature_set.name, feature_set.version):
            continue
        rows = by_session.get(session, feature_set.table.empty())
        moved = psi(model.metrics.drift, rows.filter(pl.col("known_at") <= cuts.of(session)))
        named = moved.with_columns(
            session=pl.lit(session),
            strategy=pl.lit(strategy.name),
            model_id=pl.lit(model.model_id),
            known_at=pl.lit(cuts.of(session)),
        )
        # the schema's dtypes
        out.append(named.select(*FEATURE_DRIFT.schema).cast(dict(FEATURE_DRIFT.schema)))  # pyright: ignore[reportArgumentType]
    return pl.concat(out).sort(FEATURE_DRIFT.key)


def measure_strategies(
    store: Store, cuts: Cuts, strategies: Sequence[Strategy], sessions: Sequence[date], reports: Path
) -> Iterator[StageReport]:
    """Measure the drift of each strategy's features, and write its page to `reports`; the report links to it."""
    for strategy in strategies:
        found = measure(store, find_set(strategy.feature_set), strategy, cuts, sessions)
        page = drift_page(store, strategy, max(sessions), reports)
        links = {f"drift_{strategy.name}": str(page)} if page else {}
        yield msgspec.structs.replace(found, links=links)
