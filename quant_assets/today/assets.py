"""0_today: one look tells an operator whether today is fine."""

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

import dagster as dg

from quant_assets.assets import OWNERS, sessions_of
from quant_assets.characters import markdown
from quant_assets.today.status import Status

GROUP = "0_today"

Questions = Callable[[date], Sequence[Status]]
"""The answers for a session, as `day_status` gives them."""


def build(sessions: dg.PartitionsDefinition[str]) -> Sequence[dg.AssetsDefinition]:
    """The stage's assets, partitioned by `sessions`."""

    @dg.asset(
        partitions_def=sessions,
        backfill_policy=dg.BackfillPolicy.multi_run(1),
        group_name=GROUP,
        owners=OWNERS,
        description="What is due, done or blocked in the session, and the next command.\n\nRunbook: `quant "
        "today` prints the same; each check asks one question.",
    )
    def day_status(context: dg.AssetExecutionContext, status: dg.ResourceParam[Questions]) -> dg.MaterializeResult[Any]:
        (day,) = sessions_of(context)
        answers = status(day)
        lines = [
            "| stage | state | answer | next |",
            "|---|---|---|---|",
            *(
                f"| {s.name} | {s.state} | {markdown(s.answer)} | `{s.next_command}` |"
                if s.next_command
                else f"| {s.name} | {s.state} | {markdown(s.answer)} | |"
                for s in answers
            ),
        ]
        fine = all(s.fine for s in answers)
        return dg.MaterializeResult(
            metadata={
                "fine": fine,
                "to_act_on": sum(not s.fine for s in answers),
                "status": dg.MetadataValue.md("\n".join(lines)),
            }
        )

    return [day_status]
