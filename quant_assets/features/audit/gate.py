"""The audit where it is due: once for each text of a set, before anything is built on it."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta

from quant_assets.calendars import Calendar, Cuts
from quant_assets.features.audit.audit import Standing, record, recorded, standing
from quant_assets.features.audit.bars import RECENT, audit_bars
from quant_assets.features.catalogue import find_set
from quant_assets.features.intraday import OnBars
from quant_assets.features.sets import FeatureSet
from quant_assets.ports import Clock, Notifier, Progress, Store, quiet
from quant_assets.records import StageReport
from quant_assets.strategy import Strategy, sets_of, universes_of
from quant_assets.tables import UNIVERSE

HISTORY = 260  # sessions from which the cuts are taken: a year has every awkward kind of day


def audit_if_due(
    store: Store,
    feature_set: FeatureSet,
    universe: str,
    cuts: Cuts,
    last: date,
    *,
    now: datetime,
    notifier: Notifier | None = None,
    progress: Progress = quiet,
) -> Standing:
    """The audit status of the set's current source.

    If it has not passed, the set is audited on the year up to `last`, and the result is stored; if it fails, `notifier`
    is notified.
    """
    found = standing(store, feature_set)
    if found.state == "passed":
        return found
    drawn = store.read(UNIVERSE, as_of=cuts.of(last), last=last, where={"universe": universe}, columns=())
    first = drawn["session"].min()
    since = max(first, cuts.calendar.shift(last, -HISTORY)) if isinstance(first, date) else last
    record(
        store,
        feature_set,
        universe,
        cuts,
        cuts.calendar.between(cuts.calendar.on_or_after(since), last) if drawn.height else [],
        now=now,
        progress=progress,
    )
    found = standing(store, feature_set)
    if found.state == "failed" and notifier is not None:
        notifier.notify(
            "critical",
            f"{feature_set.name} did not pass its audit: its strategies do not trade (FEATURES_REFUSED), "
            f"and no model of it becomes champion",
            found.reason,
        )
    return found


def audit_bars_if_due(
    store: Store,
    bars: OnBars,
    hours: Calendar,
    last: date,
    *,
    now: datetime,
    notifier: Notifier | None = None,
    progress: Progress = quiet,
) -> Standing:
    """The audit status of a set on bars, by its current source.

    If it has not passed, the set is audited on the sessions up to `last`, and the result is stored; if it fails,
    `notifier` is notified.
    """
    features = find_set(bars.feature_set)
    if (found := standing(store, features)).state == "passed":
        return found
    recent = hours.between(hours.shift(last, 1 - RECENT), last)
    delay = timedelta(seconds=bars.delay)
    recorded(
        store, features, audit_bars(store, features, bars.venue, hours, recent, now=now, delay=delay, progress=progress)
    )
    found = standing(store, features)
    if found.state == "failed" and notifier is not None:
        subject = f"{bars.feature_set} did not pass its audit: nothing trades on it"
        notifier.notify("critical", subject, found.reason)
    return found


def audit_sets(
    store: Store,
    cuts: Cuts,
    clock: Clock,
    notifier: Notifier,
    strategies: Sequence[Strategy],
    sessions: Sequence[date],
    progress: Progress = quiet,
) -> Iterator[StageReport]:
    """Audit each set that the strategies need and whose source was not audited yet. Refused where one looks ahead."""
    last = max(sessions)
    for name in sets_of(strategies):
        universe = universes_of(strategies, name)[0]
        found = audit_if_due(
            store, find_set(name), universe, cuts, last, now=clock.now(), notifier=notifier, progress=progress
        )
        state = "done" if found.state == "passed" else "refused" if found.state == "failed" else "empty"
        reason = "" if state == "done" else found.reason
        yield StageReport(stage=f"audit {name}", first=last, last=last, state=state, reason=reason)
