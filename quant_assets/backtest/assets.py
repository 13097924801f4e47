"""9_research: the stored decisions of a range, traded in research books by the one fill model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from quant_assets.assets import merged, result, sessions_of, staged
from quant_assets.backtest.loop import run
from quant_assets.calendars import Cuts
from quant_assets.ports import Breaks, Store
from quant_assets.post_trade.report import range_report
from quant_assets.records import Book
from quant_assets.strategy import Strategy

GROUP = "9_research"


def build(sessions: dg.PartitionsDefinition[str], reports: Path, notice: str) -> Sequence[dg.AssetsDefinition]:
    """The stage's assets: a range in one run. Pages are written to `reports`."""

    @staged(
        GROUP,
        sessions,
        deps=["decisions", "actions"],
        kinds={"polars"},
        description="Orders, fills, positions, cash and P&L of every research book. It sends nothing.\n\n"
        "Runbook: `quant backtest --from A --to B`.",
    )
    def research_books_traded(
        context: dg.AssetExecutionContext,
        store: dg.ResourceParam[Store],
        cuts: dg.ResourceParam[Cuts],
        strategies: dg.ResourceParam[Sequence[Strategy]],
        research_books: dg.ResourceParam[Sequence[Book]],
    ) -> dg.MaterializeResult[Any]:
        by_name = {s.name: s for s in strategies}
        return result(merged([run(store, by_name[b.strategy], b, cuts, sessions_of(context)) for b in research_books]))

    @staged(
        GROUP,
        sessions,
        deps=["research_books_traded"],
        kinds={"html"},
        description="The full report of each research book over the range.\n\n"
        "Runbook: `quant report --book research --from A --to B`.",
    )
    def research_report(
        context: dg.AssetExecutionContext,
        store: dg.ResourceParam[Store],
        breaks: dg.ResourceParam[Breaks],
        cuts: dg.ResourceParam[Cuts],
        research_books: dg.ResourceParam[Sequence[Book]],
    ) -> dg.MaterializeResult[Any]:
        days, year = sessions_of(context), cuts.calendar.sessions_per_year
        pages = {
            b.name: range_report(
                store,
                b,
                days[0],
                days[-1],
                folder=reports,
                notice=notice,
                breaks=breaks.listed(b.name),
                per_year=year,
            )
            for b in research_books
        }
        return dg.MaterializeResult(
            metadata={f"report_{name}": dg.MetadataValue.path(str(page)) for name, page in pages.items()}
            | {"pages": len(pages)}
        )

    return [research_books_traded, research_report]
