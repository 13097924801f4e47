"""Does the set look ahead? One blocking check on every feature asset, with nothing to do for its author."""

from collections.abc import Sequence
from datetime import date

import dagster as dg

from quant_assets.features.audit.audit import Standing
from quant_assets.features.audit.gate import ensured
from quant_assets.features.sets import FeatureSet
from quant_assets.market_data.calendars import Cuts
from quant_assets.ports import Clock, Store
from quant_assets.signals.strategy import Strategy, universes_of

NAME = "no_look_ahead"
QUESTION = (
    "Does a value at t depend on nothing that was unknown at t's cut? Asked of the stored market truncated at cuts of every awkward kind, with its future poisoned, and of the kernel on a synthetic panel."
    " The answer holds for the set as it is declared and written; a changed line of its code is asked again. By hand: `quant audit features NAME`."
)


def build(feature_sets: Sequence[FeatureSet], strategies: Sequence[Strategy]) -> Sequence[dg.AssetChecksDefinition]:
    """A check for each set; what it refuses stops everything downstream in its run, and no model of the set becomes champion."""
    return [_no_look_ahead(f, universes_of(strategies, f.name)[0]) for f in feature_sets]


def _no_look_ahead(feature_set: FeatureSet, universe: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=feature_set.table.name, name=NAME, blocking=True, description=QUESTION)
    def no_look_ahead(context: dg.AssetCheckExecutionContext, store: dg.ResourceParam[Store], cuts: dg.ResourceParam[Cuts], clock: dg.ResourceParam[Clock]) -> dg.AssetCheckResult:
        return _shown(ensured(store, feature_set, universe, cuts, _last(context, cuts, clock), now=clock.now()), feature_set)

    return no_look_ahead


def _last(context: dg.AssetCheckExecutionContext, cuts: Cuts, clock: Clock) -> date:
    """The last session of the run; asked without one, the last whose cut has passed."""
    tags = context.run.tags
    keys = [tags.get(f"dagster/{k}") for k in ("partition", "asset_partition_range_end")]
    return max((date.fromisoformat(k) for k in keys if k), default=cuts.due(clock.now()))


def _shown(found: Standing, feature_set: FeatureSet) -> dg.AssetCheckResult:
    metadata = {"state": found.state, "evidence": found.reason, "version": feature_set.version, "fingerprint": feature_set.fingerprint}
    severity = dg.AssetCheckSeverity.ERROR if found.state == "failed" else dg.AssetCheckSeverity.WARN  # where there is nothing yet to prove it on, the day goes on; a champion waits
    return dg.AssetCheckResult(passed=found.state == "passed", severity=severity, metadata=metadata, description=found.reason)
