"""2_features: published feature sets and labels, evaluated by anchored blocks: a range equals its days."""

import re
from collections.abc import Collection, Sequence
from datetime import date, timedelta
from typing import Any

import dagster as dg

from quant_assets.assets import merged, result, session_partitions, sessions_of, staged
from quant_assets.calendars import Cuts, calendar
from quant_assets.features.catalogue import find_set
from quant_assets.features.intraday import OnBars, publish_bars
from quant_assets.features.labels import publish_labels
from quant_assets.features.publish import publish
from quant_assets.features.sets import FeatureSet
from quant_assets.ports import Clock, KnowledgeLog, Store
from quant_assets.strategy import Strategy, universes_of
from quant_assets.vendor_tables import INTRADAY_BARS

GROUP = "2_features"
RUNBOOK = (
    "Runbook: an empty session has its reason in `reason`; values are frozen at the session's cut and never change."
)


def _published(
    feature_set: FeatureSet,
    strategies: Sequence[Strategy],
    sessions: dg.PartitionsDefinition[str],
    upstream: Collection[str],
) -> dg.AssetsDefinition:
    universes = universes_of(strategies, feature_set.name)

    @staged(
        GROUP,
        sessions,
        name=feature_set.table.name,
        deps=[t for t in feature_set.reads if t in upstream],
        kinds={"polars"},
        metadata={
            "version": feature_set.version,
            "fingerprint": feature_set.fingerprint,
            "features": len(feature_set.features),
            "lookback": feature_set.lookback,
        },
        description=f"{feature_set.table.doc}\n\nVersion {feature_set.version}, {len(feature_set.features)} features, lookback {feature_set.lookback} sessions, reads {', '.join(feature_set.columns)}; docs/features.md has a line on each.\n\n{RUNBOOK}",
    )
    def published(
        context: dg.AssetExecutionContext,
        store: dg.ResourceParam[Store],
        knowledge: dg.ResourceParam[KnowledgeLog],
        cuts: dg.ResourceParam[Cuts],
    ) -> dg.MaterializeResult[Any]:
        days = sessions_of(context)
        knowledge.note_cut(cuts.of(days[-1]))
        return result(merged([publish(store, feature_set, universe, cuts, days) for universe in universes]))

    return published


def build(
    sessions: dg.PartitionsDefinition[str],
    feature_sets: Sequence[FeatureSet],
    strategies: Sequence[Strategy],
    fed: Sequence[str] = (),
) -> Sequence[dg.AssetsDefinition]:
    """The stage's assets, partitioned by `sessions`: every set given, and the labels. `fed`: the datasets that feeds bring, on which inputs may depend."""
    upstream = {"bars", "actions", "universe", "listings", *fed}
    rules = sorted({s.rule for s in strategies}, key=lambda r: (r.name, r.horizon))
    measured = {r.net_of for r in rules if r.net_of is not None}
    factors = [find_set(n.factors).table.name for n in measured if n.factors]
    members = [
        *("universe" for n in measured if n.universe),
        *(t for n in measured if n.index or n.symbol for t in ("listings", *(["index_members"] if n.index else []))),
    ]

    @staged(
        GROUP,
        sessions,
        deps=[
            "bars",
            "actions",
            *sorted({*members} & upstream),
            *sorted({*factors} & {f.table.name for f in feature_sets}),
        ],
        kinds={"polars"},
        description=f"What models learn, filed under the session in which it becomes known: {'; '.join(f'{r.name} over {r.horizon} sessions' for r in rules)}.\n\n{RUNBOOK}",
    )
    def labels(
        context: dg.AssetExecutionContext, store: dg.ResourceParam[Store], cuts: dg.ResourceParam[Cuts]
    ) -> dg.MaterializeResult[Any]:
        return result(merged([publish_labels(store, cuts, r, sessions_of(context)) for r in rules]))

    return [*(_published(f, strategies, sessions, upstream) for f in feature_sets), labels]


def of_bars(declared: Sequence[OnBars], first: date, last: date | None) -> Sequence[dg.AssetsDefinition]:
    """An asset for each set on a venue's bars, with a partition for each session of that venue."""
    return [_on_bars(one, session_partitions(calendar(one.calendar), first, last)) for one in declared]


def _on_bars(one: OnBars, sessions: dg.PartitionsDefinition[str]) -> dg.AssetsDefinition:
    features = find_set(one.feature_set)

    @staged(
        GROUP,
        sessions,
        name=asset_of_bars(one),
        deps=[INTRADAY_BARS.name],
        kinds={"polars"},
        metadata={
            "version": features.version,
            "fingerprint": features.fingerprint,
            "features": len(features.features),
            "lookback": features.lookback,
        },
        description=f"{features.table.doc}\n\nBars of {one.venue} on the hours of {one.calendar}, used {one.delay} seconds after their end. A session that is not over is published as far as it is; ask again for the rest.\n\n{RUNBOOK}",
    )
    def published(
        context: dg.AssetExecutionContext, store: dg.ResourceParam[Store], clock: dg.ResourceParam[Clock]
    ) -> dg.MaterializeResult[Any]:
        return result(
            publish_bars(
                store,
                features,
                one.venue,
                calendar(one.calendar),
                sessions_of(context),
                delay=timedelta(seconds=one.delay),
                now=clock.now(),
            )
        )

    return published


def asset_of_bars(one: OnBars) -> str:
    """The name of the asset: the set's table, and the venue."""
    return f"{find_set(one.feature_set).table.name}_{re.sub(r'[^A-Za-z0-9_]', '_', one.venue)}"
