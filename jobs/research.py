"""Research: history and features over a range, models at month ends, scores to research books in one run."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import dagster as dg

from jobs.daily import heavy

if TYPE_CHECKING:  # what define_asset_job returns has no public name
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition as AssetJob

HISTORY = ("bars", "actions", "listings", "quarantine", "verdicts", "universe", "labels")
RESEARCH = ("scores", "feature_drift", "decisions", "research_books_traded", "research_report")


def jobs(derived: Sequence[str], fed: Sequence[str]) -> "list[AssetJob]":
    """History (a range), retrain (a month end), research (a range)."""
    executor = dg.in_process_executor
    return [
        dg.define_asset_job(
            "history",
            dg.AssetSelection.assets(*HISTORY, *fed, *derived) - heavy(fed),
            executor_def=executor,
            description="Captures, verdicts, universe, features and labels of a range.",
        ),
        dg.define_asset_job(
            "retrain",
            dg.AssetSelection.assets("champion"),
            executor_def=executor,
            description="A model on what was known at a month end, promoted by rule.",
        ),
        dg.define_asset_job(
            "research",
            dg.AssetSelection.assets(*RESEARCH),
            executor_def=executor,
            description="Decisions of a range, traded in research books. It sends nothing.",
        ),
    ]
