"""Does the set look ahead? One blocking check on every feature asset, with nothing to do for its author."""

from collections.abc import Sequence
from datetime import date

import dagster as dg

from quant_assets.assets import LAST
from quant_assets.calendars import Cuts, calendar
from quant_assets.features.assets import asset_of_bars
from quant_assets.features.audit.audit import Standing
from quant_assets.features.audit.gate import audit_bars_if_due, audit_if_due
from quant_assets.features.catalogue import find_set
from quant_assets.features.intraday import OnBars
from quant_assets.features.sets import FeatureSet
from quant_assets.ports import Clock, Notifier, Progress, Store
from quant_assets.strategy import Strategy, universes_of

NAME = "no_look_ahead"
REFUSES = "quant/refuses"
"""Tag of runs that end in decisions: what failed is refused there, as a NO_TRADE that says why, and the books are
settled all the same. Other runs stop.
"""
QUESTION = (
    "Does a value at t depend on nothing that was unknown at t's cut? Asked of the stored market truncated at "
    "cuts of every awkward kind, with its future poisoned, and of the kernel on a synthetic panel."
    " The answer holds for the set as it is declared and written; a changed line of its code is asked again. By "
    "hand: `quant features audit NAME`."
)


def build(
    live: Sequence[FeatureSet], ranged: Sequence[FeatureSet], strategies: Sequence[Strategy]
) -> Sequence[dg.AssetChecksDefinition]:
    """A check for each set, where it is published by session and where it is by range.

    Where one fails a notification is sent, no model of the set becomes champion, and nothing downstream is made in
    its run,
    but for decisions (in runs tagged `REFUSES`) that refuse.
    """
    return [
        *(_no_look_ahead(dg.AssetKey(f.table.name), f, universes_of(strategies, f.name)[0]) for f in live),
        *(
            _no_look_ahead(dg.AssetKey(["history", f.table.name]), f, universes_of(strategies, f.name)[0])
            for f in ranged
        ),
    ]


def _no_look_ahead(key: dg.AssetKey, feature_set: FeatureSet, universe: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=key, name=NAME, blocking=True, description=QUESTION)
    def no_look_ahead(
        context: dg.AssetCheckExecutionContext,
        store: dg.ResourceParam[Store],
        cuts: dg.ResourceParam[Cuts],
        clock: dg.ResourceParam[Clock],
        notifier: dg.ResourceParam[Notifier],
        progress: dg.ResourceParam[Progress],
    ) -> dg.AssetCheckResult:
        last = cuts.calendar.on_or_before(_asked(context) or cuts.due(clock.now()))
        found = audit_if_due(
            store, feature_set, universe, cuts, last, now=clock.now(), notifier=notifier, progress=progress
        )
        return _shown(found, feature_set, stops=REFUSES not in context.run.tags)

    return no_look_ahead


def of_bars(declared: Sequence[OnBars]) -> Sequence[dg.AssetChecksDefinition]:
    """A check for each set on a venue's bars, where it is published by session."""
    return [_bars_no_look_ahead(dg.AssetKey(asset_of_bars(one)), one) for one in declared]


def at_slots(read: Sequence[OnBars]) -> Sequence[dg.AssetChecksDefinition]:
    """A check for each set on bars that strategies read, by session and by range."""
    names = [(asset_of_bars(one), one) for one in read]
    return [_bars_no_look_ahead(dg.AssetKey(key), one) for name, one in names for key in (name, ["history", name])]


def _bars_no_look_ahead(key: dg.AssetKey, one: OnBars) -> dg.AssetChecksDefinition:
    feature_set = find_set(one.feature_set)

    @dg.asset_check(asset=key, name=NAME, blocking=True, description=QUESTION)
    def no_look_ahead(
        context: dg.AssetCheckExecutionContext,
        store: dg.ResourceParam[Store],
        clock: dg.ResourceParam[Clock],
        notifier: dg.ResourceParam[Notifier],
        progress: dg.ResourceParam[Progress],
    ) -> dg.AssetCheckResult:
        hours, now = calendar(one.calendar), clock.now()
        last = hours.on_or_before(_asked(context) or now.date())
        found = audit_bars_if_due(store, one, hours, last, now=now, notifier=notifier, progress=progress)
        return _shown(found, feature_set, stops=REFUSES not in context.run.tags)

    return no_look_ahead


def _asked(context: dg.AssetCheckExecutionContext) -> date | None:
    """The last session of the run."""
    tags = context.run.tags
    keys = [tags.get(f"dagster/{k}") for k in ("partition", "asset_partition_range_end")]
    return max((date.fromisoformat(k) for k in (tags.get(LAST), *keys) if k), default=None)


def _shown(found: Standing, feature_set: FeatureSet, *, stops: bool = True) -> dg.AssetCheckResult:
    metadata = {
        "state": found.state,
        "evidence": found.reason,
        "version": feature_set.version,
        "fingerprint": feature_set.fingerprint,
    }
    severity = (
        dg.AssetCheckSeverity.ERROR if found.state == "failed" and stops else dg.AssetCheckSeverity.WARN
    )  # where there is nothing yet to prove it on, the day goes on; a champion waits
    return dg.AssetCheckResult(
        passed=found.state == "passed", severity=severity, metadata=metadata, description=found.reason
    )
