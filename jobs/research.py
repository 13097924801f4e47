"""Research: history, features, models, decisions and research books of a range, by quarters, in one run."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import dagster as dg

from jobs.lanes import called, chosen, tagged
from quant_assets.backtest.assets import UNDER, history_key
from quant_assets.chain import RESEARCH

if TYPE_CHECKING:  # what define_asset_job returns has no public name
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition as AssetJob


BACKFILL = "backfill"
WORK = "quant/work"  # dagster.yaml lets one range run at a time, so that a day always has a place


def is_range(run: dg.DagsterRun | None) -> bool:
    """Whether a run computes a range, by the job or by the assets chosen in the UI: it steps aside for other runs."""
    return run is not None and (
        run.tags.get(WORK) == "range" or any(UNDER in key.path[:2] for key in run.asset_selection or ())
    )


def jobs(derived: Sequence[str], lane: str = "") -> "list[AssetJob]":
    """`backfill`, over any quarters, with the tables of the feature sets that are read; `retrain`, of one session."""
    names = ("market_data", *derived, "labels", "champion", "decisions")
    return [
        dg.define_asset_job(
            called(BACKFILL, lane),
            chosen([*(history_key(n) for n in names), RESEARCH.name, "research_report"], lane),
            executor_def=dg.in_process_executor,
            description="History, features, models and decisions of a range, traded in research books. It sends "
            "nothing.",
            tags=tagged(lane, **{WORK: "range", "dagster/priority": "-1"}),
        ),
        dg.define_asset_job(
            called("retrain", lane),
            chosen(["champion"], lane),
            executor_def=dg.in_process_executor,
            tags=tagged(lane),
            description="A model on what was known at a month end, promoted by rule; every day's run does this too.",
        ),
    ]
