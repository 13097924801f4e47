"""The audit of one feature set: does it look ahead, does its kernel keep the laws? Its rows are stored in AUDITS, under
the fingerprint of the audited set.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta

import msgspec
import polars as pl

from quant_assets.calendars import Cuts
from quant_assets.features.audit.cuts import MOST, Cut, choose
from quant_assets.features.audit.laws import LAWS as KERNEL_LAWS
from quant_assets.features.audit.laws import examine
from quant_assets.features.audit.pairs import PAIRS, Compared, compare
from quant_assets.features.audit.recomputation import (
    AFTER,
    BEFORE,
    TRUNCATION,
    Compute,
    Finding,
    Recomputation,
    recompute,
    shown,
    windows,
)
from quant_assets.features.audit.recomputation import LAWS as STORE_LAWS
from quant_assets.features.audit.views import Remembered
from quant_assets.features.publish import anchors, compute
from quant_assets.features.sets import DAILY, FeatureSet
from quant_assets.frames import bounds, span
from quant_assets.ports import Progress, Store, quiet
from quant_assets.records import Frozen, StageReport
from quant_assets.tables import AUDITS

LAWS = (*STORE_LAWS, *KERNEL_LAWS)
NOTHING = "nothing to audit on"
NONE_COMPARED = Compared()


class Standing(Frozen, frozen=True):
    """The audit status of a set's current declaration and source.

    `state`: passed, failed, unproven (no law was broken, but there was no history to prove it on) or never; `reason`:
    one sentence for a person.
    """

    state: str
    reason: str
    audited_at: datetime | None = None

    @property
    def refusal(self) -> str:
        """Why nothing may be traded on the set: what its audit found; empty where it found nothing."""
        return self.reason if self.state == "failed" else ""


def audit(
    store: Store,
    feature_set: FeatureSet,
    universe: str,
    cuts: Cuts,
    sessions: Sequence[date],
    *,
    now: datetime,
    progress: Progress = quiet,
    at: Sequence[Cut] | None = None,
    most: int = MOST,
    pairs: int = PAIRS,
    seed: int = 0,
) -> pl.DataFrame:
    """Rows of AUDITS, one for each of `LAWS`: the set on at most `most` cuts in `sessions` (or those `at`) and, where
    it keeps the laws there, on `pairs` random pairs of name and session; its functions on a synthetic panel.

    `store` is only read; where several sets are audited, pass one `Remembered` so that each table is read once. Without
    sessions that have members and values nothing is proven, and no law of the store counts as passed.
    """
    ordered = sorted(sessions)
    held = store if isinstance(store, Remembered) else remembered(store, feature_set, cuts, ordered)
    chosen = (
        choose(held, universe, cuts, ordered, lookback=feature_set.lookback, most=most, seed=seed)
        if at is None
        else list(at)
    )
    if chosen:
        # a call with its arguments put in
        of_universe: Compute = lambda store, one, asked: compute(store, one, universe, cuts, asked)  # noqa: E731
        tried = recompute(
            held,
            feature_set,
            chosen,
            windows(cuts, chosen, ordered[-1]),
            cuts.of,
            of_universe,
            progress=progress,
            seed=seed,
        )
        rare = (
            Compared()
            if tried.findings or not tried.values
            else _rare(held, feature_set, universe, cuts, ordered, pairs=pairs, seed=seed, progress=progress)
        )
    else:
        tried, rare = Recomputation(), Compared()
    return outcome_rows(feature_set, universe, ordered, chosen, tried, now, rare)


def _rare(
    store: Store,
    feature_set: FeatureSet,
    universe: str,
    cuts: Cuts,
    sessions: Sequence[date],
    *,
    pairs: int,
    seed: int,
    progress: Progress,
) -> Compared | Finding:
    try:
        return compare(store, feature_set, universe, cuts, sessions, pairs=pairs, seed=seed, progress=progress)
    # a user's functions may raise anything; what could not be tried is not kept
    except Exception as error:  # noqa: BLE001
        said = f"{type(error).__name__}: {str(error)[:600]}"
        return Finding(law=TRUNCATION, sentence=f"random pairs of name and session could not be computed alone: {said}")


def outcome_rows(
    feature_set: FeatureSet,
    of: str,
    sessions: Sequence[date],
    chosen: Sequence[Cut],
    tried: Recomputation,
    now: datetime,
    rare: Compared | Finding = NONE_COMPARED,
) -> pl.DataFrame:
    """Rows of AUDITS: what was tried on the members of a universe or on a venue's bars (`of`), and what the set's
    functions do on a synthetic panel. `rare`: what was compared beside the cuts.
    """
    found = _finding(rare)
    if found is not None:
        tried = msgspec.structs.replace(tried, findings=(*tried.findings, found))
    rows = [*_store_rows(feature_set, of, sessions, chosen, tried, rare), *_kernel_rows(feature_set)]
    known = {
        "session": sessions[-1] if sessions else now.date(),
        "feature_set": feature_set.name,
        "version": feature_set.version,
        "fingerprint": feature_set.fingerprint,
        "known_at": now,
    }
    return AUDITS.conform(pl.DataFrame([known | row for row in rows], schema=dict(AUDITS.schema), orient="row"))


def remembered(store: Store, feature_set: FeatureSet, cuts: Cuts, sessions: Sequence[date]) -> Remembered:
    """The store, of which an audit of `sessions` reads each table once."""
    first, last = (min(sessions), max(sessions)) if sessions else (date.min, date.max)
    if sessions:
        located = anchors(store, feature_set, cuts, [cuts.calendar.shift(first, -BEFORE), last])
        earliest, _ = span(located["anchor"], date)
        first = min(earliest, cuts.calendar.shift(first, -feature_set.lookback))
    return Remembered(store, first, last)


def record(
    store: Store,
    feature_set: FeatureSet,
    universe: str,
    cuts: Cuts,
    sessions: Sequence[date],
    *,
    now: datetime,
    progress: Progress = quiet,
) -> StageReport:
    """Audit the set and store its outcome; `refused` where it broke a law, with the first reason."""
    return recorded(store, feature_set, audit(store, feature_set, universe, cuts, sessions, now=now, progress=progress))


def together(audits: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The audits of one set in several lanes as one, a row a law: the first that is broken, else what was tried in all.
    A lane in which nothing could be tried breaks no law that another one kept.
    """
    if len(audits) == 1:
        return audits[0]
    untried = pl.col("evidence").str.starts_with(NOTHING)
    rank = pl.when(pl.col("passed")).then(1).when(untried).then(2).otherwise(0)
    kept = pl.col("_rank") == 1
    by_law = pl.concat(audits).with_columns(pl.col("session").max(), pl.col("known_at").max(), _rank=rank)
    found = by_law.group_by("law", maintain_order=True).agg(
        pl.exclude("cuts", "cells", "evidence").sort_by("_rank", maintain_order=True).first(),
        pl.col("cuts").sum(),
        pl.col("cells").sum(),
        pl.when(kept.any() & ~(pl.col("_rank") == 0).any())
        .then(pl.col("evidence").filter(kept).unique(maintain_order=True).str.join("; "))
        .otherwise(pl.col("evidence").sort_by("_rank", maintain_order=True).first())
        .alias("evidence"),
    )
    return AUDITS.conform(found.select(*AUDITS.schema))


def recorded(store: Store, feature_set: FeatureSet, rows: pl.DataFrame) -> StageReport:
    """Store the rows of an audit as the latest of their set, even if the clock of a historical run is behind an earlier
    one.

    The report is `refused` if a law was broken, with the first reason.
    """
    which = {"feature_set": feature_set.name, "version": feature_set.version, "fingerprint": feature_set.fingerprint}
    before = store.read(AUDITS, as_of=None, where=which, columns=())["known_at"].max()
    if isinstance(before, datetime):
        rows = rows.with_columns(known_at=pl.max_horizontal("known_at", pl.lit(before + timedelta(microseconds=1))))
    store.append(AUDITS, rows)
    failed, last = rows.filter(~pl.col("passed")), rows["session"][0]
    return StageReport(
        stage=f"audit_{feature_set.name}",
        first=last,
        last=last,
        state="refused" if failed.height else "done",
        reason=_reason(failed),
        rows=rows.height,
        numbers={
            "laws": rows.height,
            "broken": failed.height,
            "cuts": (bounds(rows["cuts"], int) or (0, 0))[1],
            "cells": int(rows["cells"].sum()),
        },
    )


def standing(store: Store, feature_set: FeatureSet, as_of: datetime | None = None) -> Standing:
    """The outcome of the latest audit known by `as_of` on exactly this declaration and source code."""
    rows = store.read(
        AUDITS,
        as_of=as_of,
        where={"feature_set": feature_set.name, "version": feature_set.version, "fingerprint": feature_set.fingerprint},
    )
    if rows.is_empty():
        others = store.read(AUDITS, as_of=as_of, where={"feature_set": feature_set.name})
        before = (
            " as it is now; what was audited is another version or another text of its code" if others.height else ""
        )
        return Standing(
            state="never",
            reason=f"{feature_set.name} {feature_set.version} was never audited{before}: quant features audit "
            f"{feature_set.name}",
        )
    latest = rows.filter(pl.col("known_at") == pl.col("known_at").max())
    failed, when = latest.filter(~pl.col("passed")), latest["known_at"][0]
    if missing := sorted(set(LAWS) - set(latest["law"])):
        return Standing(
            state="never",
            reason=f"{feature_set.name} {feature_set.version} was audited before there was a law on "
            f"{', '.join(missing)}: quant features audit {feature_set.name}",
            audited_at=when,
        )
    if failed.height and failed["evidence"].str.starts_with(NOTHING).all():
        return Standing(
            state="unproven",
            reason=f"{feature_set.name} {feature_set.version} is not proven yet: {failed['evidence'][0]}",
            audited_at=when,
        )
    if failed.height:
        return Standing(
            state="failed",
            reason=f"{feature_set.name} {feature_set.version} did not pass its audit: {_reason(failed)}",
            audited_at=when,
        )
    return Standing(
        state="passed",
        reason=f"{feature_set.name} {feature_set.version} passed {latest.height} laws on {latest['cuts'].max()} cuts",
        audited_at=when,
    )


def audited(store: Store, feature_set: FeatureSet, as_of: datetime | None = None) -> tuple[bool, str]:
    """Whether a champion may feed on the set, and why (not)."""
    found = standing(store, feature_set, as_of)
    return found.state == "passed", found.reason


def _reason(failed: pl.DataFrame) -> str:
    ordered = failed.sort(
        pl.col("law").replace_strict(list(LAWS), range(len(LAWS)), default=len(LAWS), return_dtype=pl.Int64)
    )
    first = [f"{law}: {evidence}" for law, evidence in ordered.select("law", "evidence").head(1).iter_rows()]
    return "".join(first) + (
        f" ({failed.height - 1} more laws broken: {', '.join(ordered['law'][1:])})" if failed.height > 1 else ""
    )


def _finding(rare: Compared | Finding) -> Finding | None:
    """How a pair that is not what the range makes of it breaks the law of truncation."""
    if isinstance(rare, Finding) or rare.differs is None:
        return rare if isinstance(rare, Finding) else None
    d = rare.differs
    sentence = (
        f"{d.column or 'a row'} of session {d.at}, sid {d.sid}, is {shown(d.one)} as its series ends there, "
        f"and {shown(d.other)} as it "
        f"goes on: {rare.where} reads what lies after the session, or other sessions than its own. It is "
        f"rare: none of the "
        f"cuts showed it, one of the first {rare.pairs:,} random pairs of name and session did"
    )
    return Finding(
        law=TRUNCATION,
        sentence=sentence,
        column=d.column,
        at=str(d.at),
        sid=d.sid if isinstance(d.sid, int) else None,
    )


def _store_rows(
    feature_set: FeatureSet,
    of: str,
    sessions: Sequence[date],
    chosen: Sequence[Cut],
    tried: Recomputation,
    rare: Compared | Finding,
) -> list[dict[str, object]]:
    broken = {f.law: f for f in tried.findings}
    if not sessions:
        nothing = f"{NOTHING}: no session was given"
    elif not chosen:
        nothing = (
            f"{NOTHING}: {of} has no {'member' if feature_set.frequency == DAILY else 'bar'} in {sessions[0]} "
            f"to {sessions[-1]}"
        )
    elif not tried.values:
        nothing = (
            f"{NOTHING}: at {len(chosen)} cuts no feature has a value; give it more history "
            f"({feature_set.lookback} sessions before the first)"
        )
    else:
        nothing = ""
    passed = (
        f"{len(chosen)} cuts: {'; '.join(map(str, chosen))}. {tried.cells:,} cells of up to {tried.names} names "
        f"compared to the bit, {tried.values:,} of them values, in ranges of {AFTER + 1} to "
        f"{BEFORE + AFTER + 1} sessions"
    )
    passed += f". {rare.chance}" if isinstance(rare, Compared) and rare.pairs else ""
    passed += (
        f". Of these features there was never a value, so that nothing is proven of them: {', '.join(tried.never)}"
        if tried.never
        else ""
    )
    cells = tried.cells + (rare.cells if isinstance(rare, Compared) else 0)
    return [
        _row(law, broken.get(law), nothing, passed, len(chosen), cells if law == TRUNCATION else tried.cells)
        for law in STORE_LAWS
    ]


def _kernel_rows(feature_set: FeatureSet) -> list[dict[str, object]]:
    found = examine(feature_set)
    broken = {f.law: f for f in found.findings}
    return [_row(law, broken.get(law), "", found.tried, 0, found.cells[law]) for law in KERNEL_LAWS]


def _row(law: str, finding: Finding | None, nothing: str, passed: str, cuts: int, cells: int) -> dict[str, object]:
    said = (
        {"column": finding.column or None, "at": finding.at or None, "sid": finding.sid}
        if finding
        else {"column": None, "at": None, "sid": None}
    )
    return {
        "law": law,
        "passed": not (finding or nothing),
        "cuts": cuts,
        "cells": cells,
        "evidence": finding.sentence if finding else nothing or passed,
        **said,
    }
