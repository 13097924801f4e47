"""Why a session came out as it did: the counts by reason, in words."""

import json
from datetime import date

import polars as pl

from quant_assets.ports import Store
from quant_assets.signals.decide import first_recorded
from quant_assets.signals.guardrails import REASONS
from quant_assets.tables import CAPTURES, DECISIONS

WHY = {
    "strategy": pl.String,
    "session": pl.Date,
    "decision_set_id": pl.String,
    "verdict": pl.String,
    "reason": pl.String,
    "names": pl.UInt32,
    "target_weight": pl.Float64,
    "text": pl.String,
    "detail": pl.String,
}


def why(store: Store, strategy: str, session: date, slot: str | None = None) -> pl.DataFrame:
    """One row per verdict and reason of the set recorded first, most names first; no rows where nothing was decided.
    `slot`: of this one alone, where a session has several.

    Columns strategy, session, decision_set_id, verdict, reason, names, target_weight (sum), text (what the reason
    means, with what has been learned since), detail (JSON, the numbers of one of the names).
    """
    where = {"strategy": strategy} | ({"slot": slot} if slot else {})
    rows = first_recorded(store.read(DECISIONS, as_of=None, first=session, last=session, where=where))
    by = ["strategy", "session", "decision_set_id", "verdict", "reason"]
    counted = rows.group_by(by, maintain_order=True).agg(
        names=pl.len(), target_weight=pl.col("target_weight").sum(), detail=pl.col("detail").first()
    )
    texts = [_text(store, r["reason"], r["detail"], session) for r in counted.iter_rows(named=True)]
    return (
        counted.with_columns(text=pl.Series(texts, dtype=pl.String))
        .select(pl.col(c).cast(t) for c, t in WHY.items())
        .sort("names", "reason", descending=[True, False])
    )


def _text(store: Store, reason: str, detail: str, session: date) -> str:
    """The reason's sentence, and what the store adds to it today."""
    added = ""
    if reason == "DATA_MISSING":
        arrived = store.read(CAPTURES, as_of=None, first=session, last=session, where={"dataset": "bars"})[
            "known_at"
        ].min()
        added = f"; it arrived {arrived:%Y-%m-%d %H:%M} UTC, too late" if arrived else "; it has not arrived since"
    if reason == "DATA_VERDICT_FAILED":
        added = f": {json.loads(detail)['findings']}"
    if reason == "FEATURES_REFUSED":
        added = f": {json.loads(detail)['found']}"
    return REASONS.get(reason, reason) + added
