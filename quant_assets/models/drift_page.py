"""The page of a strategy's feature drift: a heat map of PSI by feature and session, and the median that the guardrail
judges.
"""

from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from quant_assets.features.drift import median_psi
from quant_assets.ports import Store
from quant_assets.strategy import Strategy
from quant_assets.tables import FEATURE_DRIFT

SHOWN = 63  # sessions: a quarter
LEFT, RIGHT = 178.0, 950.0  # of the cells, in the drawing's units
STABLE, SHIFTED = 0.1, 0.25  # the usual reading of the index


def drift_page(store: Store, strategy: Strategy, session: date, folder: Path) -> Path | None:
    """Write the page of the last `SHOWN` sessions up to `session`; None where no drift is stored for that session."""
    from quant_assets.pages.rendering import render, write

    rows = store.read(FEATURE_DRIFT, as_of=None, last=session, where={"strategy": strategy.name})
    days = rows["session"].unique().sort().to_list()[-SHOWN:]
    if not days or days[-1] != session:
        return None
    facts = page_facts(rows.filter(pl.col("session") >= days[0]), days)
    known = {
        "strategy": strategy.name,
        "feature_set": strategy.feature_set,
        "limit": strategy.limits.max_psi,
        "session": session,
    }
    return write(
        folder / f"drift_{strategy.name}_{session}.html", render("drift.html.j2", {**facts, **known}, __package__ or "")
    )


def page_facts(rows: pl.DataFrame, days: list[date]) -> dict[str, Any]:
    """What the template draws, of FEATURE_DRIFT rows (one model a session) of `days`."""
    width = (RIGHT - LEFT) / len(days)
    at = {d: round(LEFT + i * width, 2) for i, d in enumerate(days)}
    latest = rows.filter(pl.col("session") == days[-1]).sort(
        "psi", "feature", descending=[True, False], nulls_last=True
    )
    by_feature = {f: r for (f,), r in rows.partition_by("feature", as_dict=True).items()}
    features = [
        {
            "name": name,
            "last": last,
            "cells": [
                {"x": at[s], "session": s, "psi": p, "ks": k, "colour": colour(p)}
                for s, p, k in by_feature[name].select("session", "psi", "ks").iter_rows()
            ],
        }
        for name, last in latest.select("feature", "psi").iter_rows()
    ]
    medians = [m for d in days if (m := median_psi(rows.filter(pl.col("session") == d))) is not None]
    largest = latest.select("feature", "psi").row(0, named=True)
    step = max(1, len(days) // 8)
    return {
        "sessions": days,
        "features": features,
        "cell": round(width * 0.94, 2),
        "ticks": [{"x": at[d], "label": f"{d.day} {d:%b}"} for d in days[::step]],
        "median": median_psi(latest),
        "medians": medians,
        "largest": largest,
        "over": latest.filter(pl.col("psi") > SHIFTED).height,
        "model_id": latest["model_id"][0],
    }


def colour(psi: float | None) -> str:
    """White to amber to red; grey where nothing was measured."""
    if psi is None:
        return "#d9dce0"
    if psi < STABLE:
        return f"hsl(45 60% {99 - 60 * psi:.0f}%)"
    if psi < SHIFTED:
        return f"hsl({45 - 100 * (psi - STABLE):.0f} 85% {84 - 80 * (psi - STABLE):.0f}%)"
    return f"hsl(8 70% {max(35, 66 - 25 * (psi - SHIFTED)):.0f}%)"
