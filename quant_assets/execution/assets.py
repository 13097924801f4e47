"""5_execution: decisions become orders for the next open; the venue's record comes home."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from quant_assets.assets import merged, result, sessions_of, staged
from quant_assets.calendars import Cuts
from quant_assets.execution.delivery import deliver
from quant_assets.execution.drop_copy import collect
from quant_assets.ports import Breaks, Brokers, Clock, Executions, KillSwitch, Notifier, Outbox, Store
from quant_assets.records import Book
from quant_assets.strategy import Strategy
from quant_assets.tables import FILLS, ORDERS

GROUP = "5_execution"


def build(sessions: dg.PartitionsDefinition[str]) -> Sequence[dg.AssetsDefinition]:
    """The stage's assets: one session a run, for books that are traded."""

    @staged(
        GROUP,
        sessions,
        each=True,
        deps=["bars"],
        description=f"{FILLS.doc} Booked once, whichever path brought them.\n\n"
        "Runbook: `quant breaks list` shows what does not match.",
    )
    def fills(
        context: dg.AssetExecutionContext,
        store: dg.ResourceParam[Store],
        outbox: dg.ResourceParam[Outbox],
        executions: dg.ResourceParam[Executions],
        brokers: dg.ResourceParam[Brokers],
        cuts: dg.ResourceParam[Cuts],
        clock: dg.ResourceParam[Clock],
        books: dg.ResourceParam[Sequence[Book]],
    ) -> dg.MaterializeResult[Any]:
        (day,) = sessions_of(context)
        reports = []
        for book in books:
            broker = brokers.open(book)
            broker.sync(day)
            reports.append(collect(store, outbox, executions, broker, book, cuts, day, clock.now()))
        return result(merged(reports))

    @staged(
        GROUP,
        sessions,
        each=True,
        deps=["decisions", "reconciliation"],
        description=f"{ORDERS.doc} A durable intent first, then sent: exactly once lives in the outbox.\n\n"
        "Runbook: refused deliveries say why; a HELD order needs a person; DIVERGED means that another decision set binds.",
    )
    def orders(
        context: dg.AssetExecutionContext,
        store: dg.ResourceParam[Store],
        outbox: dg.ResourceParam[Outbox],
        kill_switch: dg.ResourceParam[KillSwitch],
        breaks: dg.ResourceParam[Breaks],
        brokers: dg.ResourceParam[Brokers],
        cuts: dg.ResourceParam[Cuts],
        clock: dg.ResourceParam[Clock],
        notifier: dg.ResourceParam[Notifier],
        books: dg.ResourceParam[Sequence[Book]],
        strategies: dg.ResourceParam[Sequence[Strategy]],
    ) -> dg.MaterializeResult[Any]:
        (day,) = sessions_of(context)
        by_name = {s.name: s for s in strategies}
        return result(
            merged(
                [
                    deliver(
                        store,
                        outbox,
                        kill_switch,
                        breaks,
                        brokers.open(b),
                        b,
                        by_name[b.strategy],
                        cuts,
                        day,
                        clock,
                        notifier,
                    )
                    for b in books
                ]
            )
        )

    return [fills, orders]
