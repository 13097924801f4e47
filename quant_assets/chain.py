"""The order of the day, once: which stage follows which, what each reads and writes, and the function that does it.

The Dagster jobs, the day, the range and the what-if all read `CHAIN`. A stage's function does its work for all
strategies or books over the sessions that it is given, and takes the ports that it needs as arguments of their names.

The day of session D is run at D's decision time, before the next open: the fills are those of D's open, the decisions
are made from D, and the orders go to the next open. A range is decided by the same functions; it sends nothing.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from quant_assets.backtest.loop import trade_books
from quant_assets.backtest.slot_stages import (
    audit_bar_sets,
    decide_at,
    label_bars,
    publish_at,
    publish_bar_sets,
    score_at,
    train_on_bars,
)
from quant_assets.books.booking import book_sessions
from quant_assets.execution.collecting import collect_fills
from quant_assets.execution.session_delivery import deliver_books
from quant_assets.execution.slot_delivery import collect_slots, deliver_slots
from quant_assets.features.audit.gate import audit_sets
from quant_assets.features.labels import label_strategies
from quant_assets.features.publish import publish_sets
from quant_assets.market_data.arrivals import ingest_deliveries
from quant_assets.market_data.quality import judge_sessions, judge_untraded
from quant_assets.market_data.universe import draw_universes
from quant_assets.models.drift import measure_strategies
from quant_assets.models.scoring import score_strategies
from quant_assets.models.training import train_champions
from quant_assets.post_trade.costs import cost_books
from quant_assets.post_trade.reconciliation import reconcile_books
from quant_assets.post_trade.report import report_sessions
from quant_assets.records import StageReport
from quant_assets.signals.decide import decide_strategies
from quant_assets.stage import Stage, Stages


def _in_order(*stages: Stage) -> tuple[Stage, ...]:
    return tuple(replace(stage, place=place) for place, stage in enumerate(stages))


MARKET = ("bars", "actions", "listings", "captures")
BOOKED = ("positions", "cash", "journal", "pnl", "nav")
MODEL = ("models", "promotions")
PUBLISHED = ("features_*", "anchors")

CHAIN = _in_order(
    Stage(
        "market_data",
        ("vendor", "datasets_*"),
        (*MARKET, "proposed_actions", "quarantine", "data_findings", "datasets_*"),
        ingest_deliveries,
    ),
    Stage("fills", ("venue", *MARKET), ("executions", "outbox", "fills", "orders"), collect_fills),
    Stage("positions", ("executions", "fills", *MARKET, "datasets_*"), BOOKED, book_sessions),
    Stage("reconciliation", ("venue", "outbox", "executions", *BOOKED), ("breaks", "facts"), reconcile_books),
    Stage("universe", (*MARKET, "datasets_*"), ("universe", "bars", "actions", "listings"), draw_universes),
    Stage(
        "verdicts",
        (*MARKET, "datasets_*", "quarantine", "universe"),
        ("verdicts", "data_findings"),
        judge_sessions,
    ),
    Stage("features", (*MARKET, "datasets_*", "universe"), PUBLISHED, publish_sets),
    Stage("no_look_ahead", (*MARKET, "datasets_*", "universe", *PUBLISHED), ("audits",), audit_sets),
    Stage("labels", (*MARKET, "datasets_*", "universe", *PUBLISHED), ("labels",), label_strategies),
    Stage("champion", ("captures", *PUBLISHED, "labels", "audits"), MODEL, train_champions),
    Stage("scores", (*PUBLISHED, *MODEL), ("scores",), score_strategies),
    Stage("feature_drift", (*PUBLISHED, *MODEL), ("feature_drift", "pages"), measure_strategies),
    Stage(
        "decisions",
        (*MARKET, "proposed_actions", "datasets_*", "universe", "verdicts", *PUBLISHED, "audits", *MODEL, "scores"),
        ("decisions",),
        decide_strategies,
    ),
    Stage(
        "orders",
        (*MARKET, "datasets_*", "verdicts", "decisions", *BOOKED, "breaks"),
        ("outbox", "venue", "facts"),
        deliver_books,
    ),
    Stage("costs", (*MARKET, "datasets_*", "fills", "orders", *BOOKED), ("costs",), cost_books),
    Stage(
        "report",
        (
            *MARKET,
            "datasets_*",
            "quarantine",
            "data_findings",
            "verdicts",
            "decisions",
            "orders",
            "fills",
            *BOOKED,
            "breaks",
            "costs",
            "act_heads",
        ),
        ("pages", "act_heads", "facts"),
        report_sessions,
    ),
)
"""The stages of a day, in order."""

RESEARCH = Stage(
    "research_books_traded", (*MARKET, "datasets_*", "decisions"), ("orders", "fills", *BOOKED, "costs"), trade_books
)
"""What a range does with its decisions in place of the venue, the books and their costs."""

STAGES: Stages = {s.name: s for s in (*CHAIN, RESEARCH)}


ON_BARS: Stages = {
    name: replace(STAGES[name], function=function)
    for name, function in {
        "features": publish_bar_sets,
        "no_look_ahead": audit_bar_sets,
        "labels": label_bars,
        "champion": train_on_bars,
        "scores": score_at,
        "decisions": decide_at,
        "orders": deliver_slots,
    }.items()
}
"""What these stages do where the strategies of a lane decide at slots; the others are as ever."""


AT_SLOTS: Stages = {name: ON_BARS.get(name, s) for name, s in STAGES.items() if name != "feature_drift"}
"""The stages of such a lane by session; drift is of days."""


UNTRADED: Stages = {**STAGES, "verdicts": replace(STAGES["verdicts"], function=judge_untraded)}
"""The stages of a market on which nothing is decided; those of strategies and books have nothing to do."""


SLOT: tuple[Stage, ...] = (
    STAGES["market_data"],
    replace(STAGES["fills"], function=collect_slots),
    replace(STAGES["features"], function=publish_at),
    ON_BARS["scores"],
    ON_BARS["decisions"],
    ON_BARS["orders"],
)
"""What is done at each slot of a session; `asked` are the slots. The session's own chain follows when it is over."""


def between(first: str, last: str) -> tuple[Stage, ...]:
    """The stages of the day from one to another, both included."""
    names = [s.name for s in CHAIN]
    return CHAIN[names.index(first) : names.index(last) + 1]


def run(stages: Iterable[Stage], ports: Mapping[str, object]) -> Iterator[StageReport]:
    """Run the stages one after another with the ports that each takes."""
    for stage in stages:
        yield from stage.run(ports)


HISTORY: Mapping[str, tuple[Stage, ...]] = {
    "market_data": (STAGES["market_data"], *between("universe", "verdicts")),
    "labels": (STAGES["labels"],),
    "champion": (STAGES["champion"],),
    "decisions": between("scores", "decisions"),
}
"""The assets of a range beside those of the feature sets, each with consecutive stages."""
