"""5_execution: decisions become orders for the next open; the venue's record comes home."""

from collections.abc import Sequence

import dagster as dg

from quant_assets.assets import staged
from quant_assets.stage import Stages
from quant_assets.tables import FILLS, ORDERS

GROUP = "5_execution"


def build(sessions: dg.PartitionsDefinition[str], stages: Stages) -> Sequence[dg.AssetsDefinition]:
    """The stage's assets: one session a run, for books that are traded."""
    fills = staged(
        stages["fills"],
        sessions,
        group_name=GROUP,
        each=True,
        deps=["bars"],
        description=f"{FILLS.doc} Booked once, whichever path brought them.\n\n"
        "Runbook: `quant breaks list` shows what does not match.",
    )
    orders = staged(
        stages["orders"],
        sessions,
        group_name=GROUP,
        each=True,
        deps=["decisions", "reconciliation"],
        description=f"{ORDERS.doc} A durable intent first, then sent: exactly once lives in the outbox.\n\n"
        "Runbook: refused deliveries say why; a HELD order needs a person; DIVERGED means that another decision "
        "set binds.",
    )
    return [fills, orders]
