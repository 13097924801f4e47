"""6_post_trade: what was done, booked, reconciled, costed and reported."""

from collections.abc import Sequence

import dagster as dg

from quant_assets.assets import staged
from quant_assets.stage import Stages
from quant_assets.tables import COSTS, POSITIONS

GROUP = "6_post_trade"


def build(sessions: dg.PartitionsDefinition[str], stages: Stages) -> Sequence[dg.AssetsDefinition]:
    """The stage's assets: one session a run, for books that are traded."""
    positions = staged(
        stages["positions"],
        sessions,
        group_name=GROUP,
        each=True,
        deps=["fills", "actions"],
        description=f"{POSITIONS.doc} With the journal of cash, P&L by name and NAV.\n\n"
        "Runbook: sessions are booked in order; `quant run daily` catches up.",
    )
    reconciliation = staged(
        stages["reconciliation"],
        sessions,
        group_name=GROUP,
        each=True,
        deps=["positions", "fills"],
        description="Our ledger against the venue's record: orders, fills, positions, cash.\n\n"
        "Runbook: an open break blocks its book's next delivery; `quant breaks resolve ID --by --reason`.",
    )
    costs = staged(
        stages["costs"],
        sessions,
        group_name=GROUP,
        each=True,
        deps=["positions", "fills"],
        description=f"{COSTS.doc}\n\nRunbook: large delay means that the open ran away from the decision; "
        "large trading means slippage.",
    )
    report = staged(
        stages["report"],
        sessions,
        group_name=GROUP,
        each=True,
        deps=["positions", "costs", "reconciliation", "decisions"],
        kinds={"html"},
        description="The morning page of each book.\n\nRunbook: the page's first line says whether today is fine.",
    )
    return [positions, reconciliation, costs, report]
