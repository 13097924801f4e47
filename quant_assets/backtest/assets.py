"""9_research: a range, by quarters: history, features, models and decisions, traded in research books. It sends
nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg

from quant_assets.assets import ranged
from quant_assets.calendars import Cuts
from quant_assets.features.assets import Published
from quant_assets.ports import Breaks, Store
from quant_assets.post_trade.report import range_report
from quant_assets.records import Book, StageReport
from quant_assets.stage import Stage, Stages

GROUP = "9_research"
UNDER = "history"
TRADED = "research_books_traded"
RUNBOOK = "Runbook: `quant backfill --from A --to B`."


def build(
    quarters: dg.PartitionsDefinition[str],
    stages: Stages,
    slices: Mapping[str, Sequence[Stage]],
    published: Sequence[Published],
    inputs: Sequence[str],
) -> Sequence[dg.AssetsDefinition]:
    """The `stages` of the chain over a range; `slices`: the assets with consecutive ones; `published`: the feature
    sets; `inputs`: the names of the assets of those that the strategies read.
    """
    read = [history_key(name) for name in inputs]

    def asset(name: str, stages: Sequence[Stage], deps: Sequence[dg.AssetKey], **shown: Any) -> dg.AssetsDefinition:
        return ranged((UNDER, name), stages, quarters, group_name=GROUP, deps=deps, **shown)

    data = history_key("market_data")
    ends = ", ".join(s.name for s in slices["decisions"])
    ready = ", ".join(s.name for s in slices["market_data"])
    return [
        asset("market_data", slices["market_data"], [], description=f"Of a range: {ready}.\n\n{RUNBOOK}"),
        *(asset(one.stage.name, [one.stage], [data], **one.shown) for one in published),
        asset(
            "labels",
            slices["labels"],
            [data, *dict.fromkeys(history_key(one.stage.name) for one in published)],
            description=f"What models learn, of a range.\n\n{RUNBOOK}",
        ),
        asset(
            "champion",
            slices["champion"],
            [*read, history_key("labels")],
            kinds={"lightgbm", "mlflow"},
            description=f"A model at each month end of a range, promoted by rule.\n\n{RUNBOOK}",
        ),
        asset(
            "decisions",
            slices["decisions"],
            [*read, history_key("champion")],
            description=f"{ends} of a range.\n\n{RUNBOOK}",
        ),
        ranged(
            (TRADED,),
            [stages[TRADED]],
            quarters,
            group_name=GROUP,
            deps=[history_key("decisions")],
            kinds={"polars"},
            description="Orders, fills, positions, cash and P&L of every research book. It sends "
            f"nothing.\n\n{RUNBOOK}",
        ),
        ranged(
            ("research_report",),
            [REPORT],
            quarters,
            group_name=GROUP,
            deps=[TRADED],
            kinds={"html"},
            description="The full report of each research book over the range.\n\n"
            "Runbook: `quant report --book research --from A --to B`.",
        ),
    ]


def history_key(name: str) -> dg.AssetKey:
    """The key of what a range computes under this name."""
    return dg.AssetKey([UNDER, name])


def report_range(
    store: Store, breaks: Breaks, cuts: Cuts, research_books: Sequence[Book], reports: Path, notice: str, sessions: Any
) -> Iterator[StageReport]:
    """Write the report of each research book over the sessions to `reports`."""
    first, last, year = min(sessions), max(sessions), cuts.calendar.sessions_per_year
    write = partial(range_report, store, folder=reports, notice=notice, per_year=year)
    pages = {f"report_{b.name}": str(write(b, first, last, breaks=breaks.listed(b.name))) for b in research_books}
    numbers = {"pages": len(pages)}
    yield StageReport(stage="report", first=first, last=last, state="done", numbers=numbers, links=pages)


REPORT = Stage("research_report", ("orders", "fills", "positions", "pnl", "nav", "costs"), ("pages",), report_range)
