"""A feature set computed again and again, each time on another store: do its values of a session stay the same?"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime

import polars as pl

from quant_assets.calendars import Cuts
from quant_assets.features.audit.cuts import Cut
from quant_assets.features.audit.difference import Difference, difference
from quant_assets.features.audit.hostile import Hostile
from quant_assets.features.audit.views import EXEMPT, KnownBy, ReadOnly
from quant_assets.features.sets import FeatureSet, Input
from quant_assets.ports import Progress, Store, quiet
from quant_assets.records import Frozen

TRUNCATION, POISONED_FUTURE, KNOWLEDGE_TIME, INPUTS = "truncation", "poisoned_future", "knowledge_time", "inputs"
LAWS = (TRUNCATION, POISONED_FUTURE, KNOWLEDGE_TIME, INPUTS)
ALWAYS = ("bars", "actions", "universe")  # every set reads them
BEFORE, AFTER = 4, 5  # sessions that are computed together with the one looked at


Compute = Callable[[Store, FeatureSet, Sequence[date]], pl.DataFrame]
"""(store, set, sessions) to rows with the columns session, sid and the features."""


class Finding(Frozen, frozen=True):
    """How a set breaks a law: what to do about it in `sentence`, and the cell that gives it away."""

    law: str
    sentence: str
    column: str = ""
    at: str = ""
    sid: int | None = None


class Recomputation(Frozen, frozen=True):
    """What was tried: the laws broken, and on how much.

    `cells`: values compared with each law, `values`: those of them that are not missing; `never`: features that had
    none.
    """

    findings: tuple[Finding, ...] = ()
    cells: int = 0
    values: int = 0
    names: int = 0
    never: tuple[str, ...] = ()


def windows(cuts: Cuts, at: Sequence[Cut], last: date) -> dict[date, list[date]]:
    """Per cut the sessions that are computed together with it, none after `last`: each second time some before it,
    too.
    """
    calendar = cuts.calendar
    first = {c.session: calendar.shift(c.session, -BEFORE * (n % 2)) for n, c in enumerate(at)}
    return {t: calendar.between(f, min(last, calendar.shift(t, AFTER))) for t, f in first.items()}


def recompute(
    store: Store,
    feature_set: FeatureSet,
    at: Sequence[Cut],
    around: Mapping[date, list[date]],
    cut_of: Callable[[date], datetime],
    compute: Compute,
    *,
    progress: Progress = quiet,
    seed: int = 0,
) -> Recomputation:
    """Compute the set at each of the cuts from what was known, and compare it with the same session in a range `around`
    it: as stored, and with another future.

    For a set of bars, the starts of bars are the sessions. An error of the set's own functions is a finding.
    """
    runs, total = _Runs(store, feature_set, cut_of, compute), 1 + 2 * len(at)
    try:
        progress(0, total, f"{feature_set.name}: the range")
        whole = runs.of(store, sorted({s for w in around.values() for s in w}))
        findings: dict[str, Finding] = {}
        counts: Counter[str] = Counter()
        cells = names = 0
        for n, cut in enumerate(at):
            t = cut.session
            progress(1 + 2 * n, total, f"{feature_set.name}: {cut}")
            alone = runs.of(KnownBy(store, cut_of(t)), [t])
            cells, names = cells + alone.height * len(feature_set.features), max(names, alone.height)
            counts.update(alone.select(feature_set.features).count().row(0, named=True))
            if TRUNCATION not in findings and (
                differs := difference(alone, whole.filter(pl.col("session") == t), feature_set.features)
            ):
                findings[TRUNCATION] = _told(
                    TRUNCATION,
                    cut,
                    differs,
                    f"when it is computed together with sessions up to {around[t][-1]}",
                    "it reads what lies after the session, or other sessions than its own",
                )
            if not findings.keys() & {POISONED_FUTURE, KNOWLEDGE_TIME}:
                findings |= {f.law: f for f in _elsewhere(runs, alone, cut, around[t], seed)}
        findings |= {f.law: f for f in runs.inputs()}
    except NotComputedError as error:
        return Recomputation(findings=tuple(Finding(law=law, sentence=f"nothing is proven: {error}") for law in LAWS))
    progress(total, total, feature_set.name)
    never = tuple(f for f in feature_set.features if not counts[f])
    return Recomputation(
        findings=tuple(findings.values()), cells=cells, values=counts.total(), names=names, never=never
    )


def _elsewhere(runs: "_Runs", alone: pl.DataFrame, cut: Cut, window: list[date], seed: int) -> Iterator[Finding]:
    """The difference of a range from `alone` when the future is another."""
    t, features = cut.session, runs.feature_set.features
    day = t.date() if isinstance(t, datetime) else t

    def otherwise(below: Store, *, future: bool, restated: bool) -> Difference | str | None:
        try:
            ranged = runs.of(Hostile(below, day, runs.cut_of(t), future=future, restated=restated, seed=seed), window)
        except NotComputedError as error:
            return str(error)
        return difference(alone, ranged.filter(pl.col("session") == t), features)

    both = otherwise(runs.store, future=True, restated=True)
    if both is None:
        return
    future = otherwise(runs.store, future=True, restated=False)
    restated = otherwise(
        KnownBy(runs.store, runs.cut_of(t)), future=False, restated=True
    )  # alone: no future but the restatements
    if future or not restated:
        when = "after all that became known later was changed (other values, names gone, splits)"
        yield _told(POISONED_FUTURE, cut, future or both, when, "it reads rows that were not known at the cut")
    if restated:
        why = "it reads by event time. Read what was known by each session's own cut: known_at <= cuts.of(session)"
        yield _told(
            KNOWLEDGE_TIME, cut, restated, "after events up to the session were restated a minute after the cut", why
        )


def _told(law: str, cut: Cut, differs: Difference | str, when: str, why: str) -> Finding:
    if isinstance(differs, str):
        return Finding(law=law, sentence=f"{differs} {when}: {why}. Cut: {cut}", at=str(cut.session))
    more = f" ({differs.others} more columns differ)" if differs.others else ""
    what = (
        f"{differs.column} of session {differs.at}, sid {differs.sid}, is {shown(differs.one)}"
        if differs.column
        else f"session {differs.at}, sid {differs.sid}, has {differs.one}"
    )
    sentence = f"{what} as known at the cut, and {shown(differs.other)} {when}{more}: {why}. Cut: {cut}"
    sid = differs.sid if isinstance(differs.sid, int) else None
    return Finding(
        law=law,
        sentence=sentence,
        column=differs.column,
        at=str(differs.at) if sid == differs.sid else f"{differs.at} {differs.sid}",
        sid=sid,
    )  # bars are identified by symbol


def shown(value: object) -> str:
    """A value as text in a sentence."""
    return "missing" if value is None else repr(value) if isinstance(value, float) else str(value)


class NotComputedError(Exception):
    """The set's functions raised."""


class _Runs:
    """Computes the set, and notes which tables it and each of its inputs read in each run."""

    def __init__(
        self, store: Store, feature_set: FeatureSet, cut_of: Callable[[date], datetime], compute: Compute
    ) -> None:
        self.store, self.cut_of, self._compute = store, cut_of, compute
        self.feature_set = replace(
            feature_set, inputs=tuple(replace(i, read=self._noting(i)) for i in feature_set.inputs)
        )
        self._asked: defaultdict[str, list[set[str]]] = defaultdict(list)

    def of(self, store: Store, sessions: Sequence[date]) -> pl.DataFrame:
        """The set's values of `sessions`, read from `store`."""
        try:
            return self._compute(store, self.feature_set, sessions)
        except Exception as error:
            said = f"{type(error).__name__}: {str(error)[:600]}"
            raise NotComputedError(
                f"{self.feature_set.name} could not be computed for {sessions[0]} to {sessions[-1]}: {said}"
            ) from error

    def _noting(self, one: Input) -> Callable[[Store, Cuts, str, Sequence[date]], pl.DataFrame]:
        def read(store: Store, cuts: Cuts, universe: str, sessions: Sequence[date]) -> pl.DataFrame:
            asked = ReadOnly(store)
            rows = one.read(asked, cuts, universe, sessions)
            self._asked[one.name].append(asked.asked - EXEMPT)
            return rows

        return read

    def inputs(self) -> Iterator[Finding]:
        """Inputs that read what they do not declare, or that did not read at all and so must have remembered."""
        for one in self.feature_set.inputs:
            runs = self._asked[one.name]
            if undeclared := sorted({t for asked in runs for t in asked} - {*one.tables, *ALWAYS}):
                sentence = (
                    f"input {one.name!r} reads {', '.join(undeclared)} and declares "
                    f"{', '.join(one.tables) or 'nothing'}: say "
                    f"tables=({', '.join(repr(t) for t in sorted({*one.tables, *undeclared}))},)"
                )
                yield Finding(law=INPUTS, sentence=sentence, column=next(iter(one.columns), ""))
            elif not all(runs):
                sentence = (
                    f"input {one.name!r} answered {sum(not asked for asked in runs)} of {len(runs)} times "
                    f"without reading a table: it remembers what it read of another cut. Read from the store "
                    f"given, each time"
                )
                yield Finding(law=INPUTS, sentence=sentence, column=next(iter(one.columns), ""))
