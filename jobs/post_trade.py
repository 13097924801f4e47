"""After the orders are out: costs and the morning page."""

from typing import TYPE_CHECKING

import dagster as dg

from jobs.daily import REPORTED
from jobs.lanes import called, chosen, tagged

if TYPE_CHECKING:  # what define_asset_job returns has no public name
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition as AssetJob


def jobs(lane: str = "") -> "list[AssetJob]":
    """post_trade."""
    return [
        dg.define_asset_job(
            called("post_trade", lane),
            chosen(REPORTED, lane),
            tags=tagged(lane),
            executor_def=dg.in_process_executor,
            description="What the session's trading cost, and its page.",
        ),
    ]
