"""1_market_data: captures become raw bars, actions, listings; sessions are judged; the universe is drawn."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from quant_assets.assets import OWNERS, merged, result, sessions_of, staged
from quant_assets.calendars import Cuts
from quant_assets.market_data.arrivals import arrivals
from quant_assets.market_data.datasets import Dataset
from quant_assets.market_data.evidence import Evidence
from quant_assets.market_data.quality import gate
from quant_assets.market_data.restatements import watching
from quant_assets.market_data.universe import update
from quant_assets.ports import Clock, KnowledgeLog, MarketDataSource, Notifier, Store
from quant_assets.strategy import Strategy
from quant_assets.tables import ACTIONS, BARS, LISTINGS, QUARANTINE

GROUP = "1_market_data"
RUNBOOK = "Runbook: a missing or thin capture is `quant why SESSION`; refused rows are `quant quarantine list`."


def build(sessions: dg.PartitionsDefinition[str], fed: Sequence[Dataset] = ()) -> Sequence[dg.AssetsDefinition]:
    """The stage's assets, partitioned by `sessions`: the daily bars with what belongs to them, and each dataset that a feed brings."""
    described = {"bars": BARS, "actions": ACTIONS, "listings": LISTINGS, "quarantine": QUARANTINE}
    specs = [
        dg.AssetSpec(
            name,
            description=f"{table.doc}\n\n{RUNBOOK}",
            owners=OWNERS,
            group_name=GROUP,
            kinds={"deltalake", "polars"},
        )
        for name, table in described.items()
    ]

    @dg.multi_asset(
        name="market_data", specs=specs, partitions_def=sessions, backfill_policy=dg.BackfillPolicy.single_run()
    )
    def market_data(
        context: dg.AssetExecutionContext,
        store: dg.ResourceParam[Store],
        knowledge: dg.ResourceParam[KnowledgeLog],
        source: dg.ResourceParam[MarketDataSource],
        evidence: dg.ResourceParam[Evidence],
        cuts: dg.ResourceParam[Cuts],
        clock: dg.ResourceParam[Clock],
        notifier: dg.ResourceParam[Notifier],
    ) -> Any:
        days = sessions_of(context)
        with watching(store, cuts, notifier, days[-1]):
            report = arrivals(
                source, store, notifier, knowledge.latest_cut(), clock.now(), days[-1], cuts.calendar, evidence=evidence
            )
        for name, table in described.items():
            column = "capture" if table is QUARANTINE else "session"
            rows = store.read(table, as_of=cuts.of(days[-1]), first=days[0], last=days[-1])
            yield result(
                report,
                key=context.asset_key_for_output(name),
                extra={
                    "rows_of_sessions": rows.height,
                    "distinct": rows["sid"].n_unique() if "sid" in rows.columns else rows[column].n_unique(),
                    "version": store.version(table),
                },
            )

    @staged(
        GROUP,
        sessions,
        deps=["bars", "listings", *(d.name for d in fed)],
        kinds={"polars"},
        description=f"The most liquid names, drawn at each month's first session as known at its cut; half-open intervals.\n\n{RUNBOOK}",
    )
    def universe(
        context: dg.AssetExecutionContext,
        store: dg.ResourceParam[Store],
        cuts: dg.ResourceParam[Cuts],
        strategies: dg.ResourceParam[Sequence[Strategy]],
    ) -> dg.MaterializeResult[Any]:
        return result(merged([update(store, cuts, s.universe, sessions_of(context)) for s in strategies]))

    @staged(
        GROUP,
        sessions,
        deps=["bars", "universe"],
        kinds={"polars"},
        description=f"What the quality rules found on each session, stored by content hash: the data guardrail and delivery read these rows.\n\n{RUNBOOK}",
    )
    def verdicts(
        context: dg.AssetExecutionContext, store: dg.ResourceParam[Store], cuts: dg.ResourceParam[Cuts]
    ) -> dg.MaterializeResult[Any]:
        return result(gate(store, cuts, sessions_of(context)))

    return [market_data, verdicts, universe, *(observed(sessions, d) for d in fed)]


def observed(sessions: dg.PartitionsDefinition[str], dataset: Dataset) -> dg.AssetsDefinition:
    """The asset of a declared dataset: everything that its feeds have and that was not taken in yet."""

    @staged(
        GROUP,
        sessions,
        name=dataset.name,
        kinds={"deltalake", "polars"},
        description=f"{dataset.table.doc}\n\n{RUNBOOK}",
    )
    def asset(
        context: dg.AssetExecutionContext,
        store: dg.ResourceParam[Store],
        knowledge: dg.ResourceParam[KnowledgeLog],
        feeds: dg.ResourceParam[Mapping[str, Sequence[MarketDataSource]]],
        cuts: dg.ResourceParam[Cuts],
        clock: dg.ResourceParam[Clock],
        notifier: dg.ResourceParam[Notifier],
    ) -> dg.MaterializeResult[Any]:
        days = sessions_of(context)
        with watching(store, cuts, notifier, days[-1]):
            reports = [
                arrivals(feed, store, notifier, knowledge.latest_cut(), clock.now(), days[-1], cuts.calendar)
                for feed in feeds[dataset.name]
            ]
        rows = store.read(dataset.table, as_of=cuts.of(days[-1]), first=days[0], last=days[-1])
        return result(merged(reports), extra={"rows_of_sessions": rows.height, "version": store.version(dataset.table)})

    return asset
