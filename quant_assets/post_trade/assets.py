"""6_post_trade: what was done, booked, reconciled, costed and reported."""

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg

from quant_assets.assets import merged, result, sessions_of, staged
from quant_assets.books.booking import book_session
from quant_assets.calendars import Cuts
from quant_assets.ports import Breaks, Brokers, Clock, Executions, Notifier, Outbox, Store
from quant_assets.post_trade.costs import write_costs
from quant_assets.post_trade.reconciliation import reconcile_session
from quant_assets.post_trade.report import session_report
from quant_assets.records import Book
from quant_assets.tables import COSTS, POSITIONS

GROUP = "6_post_trade"


def build(sessions: dg.PartitionsDefinition[str], reports: Path, notice: str) -> Sequence[dg.AssetsDefinition]:
    """The stage's assets: one session a run, for books that are traded. Pages are written to `reports`."""

    @staged(
        GROUP,
        sessions,
        each=True,
        deps=["fills", "actions"],
        description=f"{POSITIONS.doc} With the journal of cash, P&L by name and NAV.\n\nRunbook: sessions are booked in order; `quant run daily` catches up.",
    )
    def positions(
        context: dg.AssetExecutionContext,
        store: dg.ResourceParam[Store],
        executions: dg.ResourceParam[Executions],
        cuts: dg.ResourceParam[Cuts],
        books: dg.ResourceParam[Sequence[Book]],
    ) -> dg.MaterializeResult[Any]:
        (day,) = sessions_of(context)
        return result(merged([book_session(store, b, cuts, day, executions.fills(b.name)) for b in books]))

    @staged(
        GROUP,
        sessions,
        each=True,
        deps=["positions", "fills"],
        description="Our ledger against the venue's record: orders, fills, positions, cash.\n\nRunbook: an open break blocks its book's next delivery; `quant breaks resolve ID --by --reason`.",
    )
    def reconciliation(
        context: dg.AssetExecutionContext,
        store: dg.ResourceParam[Store],
        outbox: dg.ResourceParam[Outbox],
        executions: dg.ResourceParam[Executions],
        breaks: dg.ResourceParam[Breaks],
        brokers: dg.ResourceParam[Brokers],
        clock: dg.ResourceParam[Clock],
        notifier: dg.ResourceParam[Notifier],
        books: dg.ResourceParam[Sequence[Book]],
    ) -> dg.MaterializeResult[Any]:
        (day,) = sessions_of(context)
        return result(
            merged(
                [
                    reconcile_session(
                        outbox, executions, breaks, brokers.open(b), store, b, day, notifier, now=clock.now()
                    )
                    for b in books
                ]
            )
        )

    @staged(
        GROUP,
        sessions,
        each=True,
        deps=["positions"],
        description=f"{COSTS.doc}\n\nRunbook: large delay means that the open ran away from the decision; large trading means slippage.",
    )
    def costs(
        context: dg.AssetExecutionContext,
        store: dg.ResourceParam[Store],
        cuts: dg.ResourceParam[Cuts],
        books: dg.ResourceParam[Sequence[Book]],
    ) -> dg.MaterializeResult[Any]:
        (day,) = sessions_of(context)
        return result(merged([write_costs(store, b, cuts, day) for b in books]))

    @staged(
        GROUP,
        sessions,
        each=True,
        deps=["positions", "costs", "reconciliation", "decisions"],
        kinds={"html"},
        description="The morning page of each book.\n\nRunbook: the page's first line says whether today is fine.",
    )
    def report(
        context: dg.AssetExecutionContext,
        store: dg.ResourceParam[Store],
        breaks: dg.ResourceParam[Breaks],
        books: dg.ResourceParam[Sequence[Book]],
        beat: dg.ResourceParam[Callable[[date], None]],
    ) -> dg.MaterializeResult[Any]:
        (day,) = sessions_of(context)
        pages = {
            b.name: session_report(store, breaks.listed(b.name), b, day, folder=reports, notice=notice) for b in books
        }
        beat(day)
        return dg.MaterializeResult(
            metadata={f"report_{name}": dg.MetadataValue.path(str(page)) for name, page in pages.items()}
            | {"pages": len(pages)}
        )

    return [positions, reconciliation, costs, report]
