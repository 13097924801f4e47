"""1_market_data: captures become raw bars, actions, listings; sessions are judged; the universe is drawn."""

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

import dagster as dg

from quant_assets.assets import OWNERS, merged, resources_of, result, sessions_of, staged
from quant_assets.contract import Table
from quant_assets.market_data.datasets import Dataset
from quant_assets.ports import MarketDataSource
from quant_assets.records import StageReport
from quant_assets.stage import Stage, Stages
from quant_assets.tables import ACTIONS, BARS, LISTINGS, QUARANTINE

GROUP = "1_market_data"
MARKET_DATA = {t.name: t for t in (BARS, ACTIONS, LISTINGS, QUARANTINE)}  # what every delivery of bars brings
RUNBOOK = "Runbook: a missing or thin capture is `quant why SESSION`; refused rows are `quant quarantine list`."


def build(
    sessions: dg.PartitionsDefinition[str], stages: Stages, fed: Sequence[Dataset] = ()
) -> Sequence[dg.AssetsDefinition]:
    """The stage's assets, partitioned by `sessions`: the daily bars with what belongs to them, and each dataset
    that a feed brings.
    """
    ingest = stages["market_data"]
    specs = [
        dg.AssetSpec(
            name,
            description=f"{table.doc}\n\n{RUNBOOK}",
            owners=OWNERS,
            group_name=GROUP,
            kinds={"deltalake", "polars"},
        )
        for name, table in MARKET_DATA.items()
    ]

    @dg.multi_asset(
        name="market_data",
        specs=specs,
        partitions_def=sessions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        required_resource_keys={*_ports(ingest), "source", "backups", "beside_own"},
        op_tags={"dagster/priority": "0"},
    )
    def market_data(context: dg.AssetExecutionContext) -> Iterable[dg.MaterializeResult[Any]]:
        days = sessions_of(context)
        given = context.resources
        report = _ingested(ingest, context, days, [*given.beside_own, given.source, *given.backups])
        for name, table in MARKET_DATA.items():
            yield result(report, key=context.asset_key_for_output(name), extra=_stored(table, context, days))

    universe = staged(
        stages["universe"],
        sessions,
        group_name=GROUP,
        deps=["bars", "listings", *(d.name for d in fed)],
        kinds={"polars"},
        description="The most liquid names, drawn at each month's first session as known at its cut; half-open "
        f"intervals.\n\n{RUNBOOK}",
    )
    verdicts = staged(
        stages["verdicts"],
        sessions,
        group_name=GROUP,
        deps=["bars", "universe"],
        kinds={"polars"},
        description="What the quality rules found on each session, stored by content hash: the data guardrail and "
        f"delivery read these rows.\n\n{RUNBOOK}",
    )
    return [market_data, verdicts, universe, *(observed(sessions, ingest, d) for d in fed)]


def observed(sessions: dg.PartitionsDefinition[str], ingest: Stage, dataset: Dataset) -> dg.AssetsDefinition:
    """The asset of a declared dataset: everything that its feeds have and that was not ingested yet."""

    @dg.asset(
        name=dataset.name,
        partitions_def=sessions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        required_resource_keys={*_ports(ingest), "feeds"},
        op_tags={"dagster/priority": "0"},
        group_name=GROUP,
        owners=OWNERS,
        kinds={"deltalake", "polars"},
        description=f"{dataset.table.doc}\n\n{RUNBOOK}",
    )
    def asset(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        days = sessions_of(context)
        report = _ingested(ingest, context, days, context.resources.feeds[dataset.name])
        return result(report, extra=_stored(dataset.table, context, days))

    return asset


def _ports(ingest: Stage) -> set[str]:
    return resources_of(ingest) - {"sources"}


def _ingested(
    ingest: Stage, context: dg.AssetExecutionContext, days: Sequence[date], sources: Sequence[MarketDataSource]
) -> StageReport:
    """The stage on some of the sources: each dataset has an asset of its own."""
    ports = {name: getattr(context.resources, name) for name in _ports(ingest)}
    clock = context.resources.clock_of(days[-1])
    return merged(list(ingest.run({**ports, "clock": clock, "sources": sources, "sessions": days})))


def _stored(table: Table, context: dg.AssetExecutionContext, days: Sequence[date]) -> dict[str, Any]:
    """What a table holds of the sessions, as metadata: rows, distinct instruments (or deliveries), its version."""
    store, cuts = context.resources.store, context.resources.cuts
    rows = store.read(table, as_of=cuts.of(days[-1]), first=days[0], last=days[-1])
    distinct = next(c for c in ("sid", "capture", table.event) if c in rows.columns)
    return {"rows_of_sessions": rows.height, "distinct": rows[distinct].n_unique(), "version": store.version(table)}
