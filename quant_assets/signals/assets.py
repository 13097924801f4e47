"""4_signals: one decision for each instrument and session: trade, or NO_TRADE and why."""

from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Any

import dagster as dg

from quant_assets.assets import merged, result, sessions_of, staged
from quant_assets.calendars import Cuts
from quant_assets.features.audit.audit import standing
from quant_assets.features.catalogue import find_set
from quant_assets.ports import Clock, KillSwitch, KnowledgeLog, Stamp, Store
from quant_assets.records import StageReport
from quant_assets.signals.decide import decide
from quant_assets.strategy import Strategy
from quant_assets.tables import DECISIONS

GROUP = "4_signals"


def build(sessions: dg.PartitionsDefinition[str]) -> Sequence[dg.AssetsDefinition]:
    """The stage's assets, partitioned by `sessions`."""

    @staged(
        GROUP,
        sessions,
        deps=["scores", "universe", "verdicts"],
        kinds={"polars"},
        description=f"{DECISIONS.doc}\n\nRunbook: `quant why SESSION` counts the refusals and says what to do; `quant replay DECISION_ID` rebuilds one.",
    )
    def decisions(
        context: dg.AssetExecutionContext,
        store: dg.ResourceParam[Store],
        knowledge: dg.ResourceParam[KnowledgeLog],
        kill_switch: dg.ResourceParam[KillSwitch],
        cuts: dg.ResourceParam[Cuts],
        clock: dg.ResourceParam[Clock],
        stamp: dg.ResourceParam[Stamp],
        strategies: dg.ResourceParam[Sequence[Strategy]],
        late: dg.ResourceParam[Callable[[Sequence[date], datetime], bool]],
    ) -> dg.MaterializeResult[Any]:
        days = sessions_of(context)
        knowledge.note_cut(cuts.of(days[-1]))
        switch, is_late = kill_switch.state(), late(days, clock.now())
        reports: list[StageReport] = []
        for s in strategies:
            features = find_set(s.feature_set)
            refused = standing(store, features).refusal  # where an audit was due, the check before has made it
            reports.append(
                decide(
                    store,
                    features,
                    s,
                    cuts,
                    days,
                    kill_switch=(switch.on, switch.reason),
                    provenance=stamp(context.run.run_id),
                    now=clock.now(),
                    late=is_late,
                    features_refused=refused,
                )
            )
        return result(merged(reports))

    return [decisions]
