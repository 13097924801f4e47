"""2_features: published feature sets and labels, evaluated by anchored blocks: a range equals its days."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from typing import Any, NamedTuple

import dagster as dg

from quant_assets.assets import UNDER_WAY, session_partitions, staged
from quant_assets.calendars import calendar
from quant_assets.features.catalogue import find_set
from quant_assets.features.intraday import OnBars, publish_bars
from quant_assets.features.labels import label_rules
from quant_assets.features.publish import publish_set
from quant_assets.features.sets import FeatureSet
from quant_assets.ports import Clock, Store
from quant_assets.records import StageReport
from quant_assets.stage import Stage, Stages
from quant_assets.strategy import Strategy, universes_of
from quant_assets.vendor_tables import INTRADAY_BARS

GROUP = "2_features"
RUNBOOK = (
    "Runbook: an empty session has its reason in `reason`; values are frozen at the session's cut and never change."
)


def publishing(feature_set: FeatureSet, strategies: Sequence[Strategy], stages: Stages) -> Stage:
    """The stage that publishes one set over the universes of the strategies that read it."""
    universes = universes_of(strategies, feature_set.name)
    function = partial(publish_set, feature_set=feature_set, universes=universes)
    name = feature_set.table.name
    return replace(stages["features"], name=name, reads=feature_set.reads, writes=(name,), function=function)


class Published(NamedTuple):
    """A set as a stage publishes it, and what its asset shows."""

    stage: Stage
    shown: Mapping[str, Any]


def by_session(feature_sets: Sequence[FeatureSet], strategies: Sequence[Strategy], stages: Stages) -> list[Published]:
    """Sets of sessions, over the universes of the strategies that read them."""
    return [Published(publishing(f, strategies, stages), described(f)) for f in feature_sets]


def at_slots(read: Sequence[tuple[Strategy, OnBars]], stages: Stages) -> list[Published]:
    """The sets on bars that strategies read which decide at slots, each once."""
    by_set = {bars: [s for s, b in read if b == bars] for _, bars in read}
    return [
        Published(
            replace(
                stages["features"],
                name=asset_of_bars(bars),
                reads=(INTRADAY_BARS.name,),
                writes=(find_set(bars.feature_set).table.name,),
                function=partial(stages["features"].function, strategies=strategies),
            ),
            _described_on_bars(bars, "As far as its bars have ended by the session's cut."),
        )
        for bars, strategies in by_set.items()
    ]


def described(feature_set: FeatureSet) -> dict[str, Any]:
    """What the asset of a set shows of its declaration."""
    return {
        "kinds": {"polars"},
        "metadata": _declared(feature_set),
        "description": f"{feature_set.table.doc}\n\n"
        f"Version {feature_set.version}, {len(feature_set.features)} features, lookback {feature_set.lookback} "
        f"sessions, reads {', '.join(feature_set.columns)}; docs/features.md has a line on each.\n\n{RUNBOOK}",
    }


def _declared(feature_set: FeatureSet) -> dict[str, Any]:
    return {
        "version": feature_set.version,
        "fingerprint": feature_set.fingerprint,
        "features": len(feature_set.features),
        "lookback": feature_set.lookback,
    }


def build(
    sessions: dg.PartitionsDefinition[str],
    stages: Stages,
    feature_sets: Sequence[FeatureSet],
    strategies: Sequence[Strategy],
    fed: Sequence[str] = (),
) -> Sequence[dg.AssetsDefinition]:
    """The stage's assets, partitioned by `sessions`: every set given, and the labels. `fed`: the datasets that
    feeds bring, on which inputs may depend.
    """
    upstream = {"bars", "actions", "universe", "listings", *fed}
    rules = label_rules(strategies)
    measured = {r.net_of for r in rules if r.net_of is not None}
    factors = [find_set(n.factors).table.name for n in measured if n.factors]
    members = [
        *("universe" for n in measured if n.universe),
        *(t for n in measured if n.index or n.symbol for t in ("listings", *(["index_members"] if n.index else []))),
    ]

    learnt = "; ".join(f"{r.name} over {r.horizon} sessions" for r in rules)
    labels = staged(
        stages["labels"],
        sessions,
        group_name=GROUP,
        deps=[
            "bars",
            "actions",
            *sorted({*members} & upstream),
            *sorted({*factors} & {f.table.name for f in feature_sets}),
        ],
        kinds={"polars"},
        description=f"What models learn, filed under the session in which it becomes known: {learnt}.\n\n{RUNBOOK}",
    )
    published = [
        staged(
            publishing(f, strategies, stages),
            sessions,
            group_name=GROUP,
            deps=[t for t in f.reads if t in upstream],
            **described(f),
        )
        for f in feature_sets
    ]
    return [*published, labels]


def build_at_slots(
    sessions: dg.PartitionsDefinition[str],
    stages: Stages,
    published: Sequence[Published],
    strategies: Sequence[Strategy],
) -> Sequence[dg.AssetsDefinition]:
    """The stage's assets where strategies decide at slots, partitioned by `sessions`: their sets on bars, and the
    labels of bars.
    """
    learnt = "; ".join(f"{r.name} over {r.horizon} bars" for r in label_rules(strategies))
    labels = staged(
        stages["labels"],
        sessions,
        group_name=GROUP,
        deps=[INTRADAY_BARS.name, "actions"],
        kinds={"polars"},
        description=f"What models learn of bars, known when its last bar is: {learnt}.\n\n{RUNBOOK}",
    )
    sets = [staged(p.stage, sessions, group_name=GROUP, deps=[INTRADAY_BARS.name], **p.shown) for p in published]
    return [*sets, labels]


def of_bars(declared: Sequence[OnBars], first: date, last: date | None) -> Sequence[dg.AssetsDefinition]:
    """An asset for each set on a venue's bars, with a partition for each session of that venue."""
    return [_on_bars(one, session_partitions(calendar(one.calendar), first, last, UNDER_WAY)) for one in declared]


def _on_bars(one: OnBars, sessions: dg.PartitionsDefinition[str]) -> dg.AssetsDefinition:
    table = find_set(one.feature_set).table.name
    stage = Stage(asset_of_bars(one), (INTRADAY_BARS.name,), (table,), partial(publish_on_bars, one=one))
    about = "A session that is not over is published as far as it is; ask again for the rest."
    return staged(stage, sessions, group_name=GROUP, deps=[INTRADAY_BARS.name], **_described_on_bars(one, about))


def _described_on_bars(one: OnBars, about: str) -> dict[str, Any]:
    features = find_set(one.feature_set)
    return {
        "kinds": {"polars"},
        "metadata": _declared(features),
        "description": f"{features.table.doc}\n\nBars of {one.venue} on the hours of {one.calendar}, used {one.delay} "
        f"seconds after their end. {about}\n\n{RUNBOOK}",
    }


def publish_on_bars(store: Store, clock: Clock, sessions: Sequence[date], one: OnBars) -> Iterator[StageReport]:
    """Publish a set on the bars of its venue, as far as they are known."""
    features, hours, delay = find_set(one.feature_set), calendar(one.calendar), timedelta(seconds=one.delay)
    yield publish_bars(store, features, one.venue, hours, sessions, delay=delay, now=clock.now())


def asset_of_bars(one: OnBars) -> str:
    """The name of the asset: the set's table, and the venue."""
    return f"{find_set(one.feature_set).table.name}_{re.sub(r'[^A-Za-z0-9_]', '_', one.venue)}"
