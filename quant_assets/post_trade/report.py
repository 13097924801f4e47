"""The morning page of a session and the full report of a range: one self-contained HTML file each, the same bytes
for the same rows.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from quant_assets.acts import Head, keep_head
from quant_assets.books.apart import apart
from quant_assets.calendars import Cuts
from quant_assets.contract import in_force
from quant_assets.pages.rendering import render, write
from quant_assets.ports import Audit, Breaks, Clock, Facts, Notifier, Store
from quant_assets.post_trade import sections
from quant_assets.post_trade.headline import answers, overall
from quant_assets.post_trade.performance import curve, performance
from quant_assets.post_trade.sections import BreakRows
from quant_assets.records import SLOT, Book, StageReport
from quant_assets.tables import LABELS, SCORES

PUBLISHED = "published"  # the fact
NAMES, ORDERS_SHOWN, POSITIONS_SHOWN = 8, 15, 15


def page_name(book: Book, session: date) -> str:
    """The file name of a session's page."""
    return f"{book.name}_{session}.html"


def session_report(
    store: Store,
    breaks: BreakRows,
    book: Book,
    session: date,
    *,
    folder: Path,
    notice: str = "",
    acts: Head | None = None,
) -> Path:
    """Write the page of `session` to `folder` and return its path. `breaks` are the book's open ones, `notice` is
    printed on top, `acts` is the end of the chain of acts of people, which the page prints for whoever keeps it.
    """
    facts = sections.read(store, book, session, session)
    nav = facts.history.sort("session")
    line = curve(nav)
    booked = facts.nav.height > 0
    page = _common(facts, breaks, notice) | {
        "session": session,
        "acts": acts,
        "today": {**nav.row(-1, named=True), **line.row(-1, named=True)} if booked else None,
        "equity": line["equity"].to_list()[-60:],
        "since": None if not booked or line["index"][-1] is None else line["index"][-1] - 1,
        "sessions": nav.height,
        "orders": sections.orders(facts, ORDERS_SHOWN),
        "positions": sections.positions(facts, POSITIONS_SHOWN),
        "position_count": facts.positions.height,
    }
    return write(folder / page_name(book, session), render("session.html.j2", page, __package__ or ""))


def range_report(
    store: Store,
    book: Book,
    first: date,
    last: date,
    *,
    folder: Path,
    notice: str = "",
    breaks: BreakRows = (),
    per_year: float | None = None,
) -> Path:
    """Write the report of [first, last], with plots, to `folder` and return its path. Labels are those known at the
    last
    cut; `per_year`: the sessions that the book's calendar has a year (see `performance`).
    """
    from quant_assets.pages.charts import bundle
    from quant_assets.post_trade import charts

    facts = sections.read(store, book, first, last)
    line = curve(facts.nav)
    days = line.join(facts.nav.select("session", "fees", "names"), on="session").rows(named=True)
    ic, estimate = _ic(store, facts)
    drawn = charts.specs(facts, line, ic) if days else {}
    page = _common(facts, breaks, notice) | {
        "first": first,
        "last": last,
        "figures": performance(facts.nav, facts.costs, per_year),
        "months": _months(line),
        "days": [
            d | {"page": name if (folder / (name := page_name(book, d["session"]))).exists() else ""} for d in days
        ],
        "sessions": len(days),
        "ic": estimate,
        "charts": drawn,
        "bundle": bundle() if drawn else "",
    }
    return write(folder / f"{book.name}_{first}_{last}.html", render("range.html.j2", page, __package__ or ""))


def _common(facts: sections.Facts, breaks: BreakRows, notice: str) -> dict[str, Any]:
    found = answers(facts, breaks)
    best, worst, by_sector = sections.pnl(facts, NAMES)
    states = sections.order_states(facts)
    return {
        "book": facts.book,
        "cut": facts.cut,
        "notice": notice,
        "answers": found,
        "overall": overall(found),
        "best": best,
        "worst": worst,
        "sectors": by_sector,
        "pnl_rows": facts.pnl.height,
        "pnl_parts": sections.parts(facts),
        "balances": sections.balances(facts),
        "carried": sections.carried(facts),
        "states": [s | {"text": f"{s['count']:,} {s['state'].lower()}"} for s in states],
        "order_count": sum(s["count"] for s in states),
        "costs": sections.costs(facts),
        "reasons": sections.reasons(facts),
        "decision_count": facts.decisions.height,
        "failed": sections.failed_rules(facts),
        "quarantined": sections.quarantined(facts),
        "suspicious": sections.suspicious(facts),
        "captures": facts.captures.height,
        "rules": facts.verdicts.height,
        "breaks": breaks,
        "ids": sections.ids(facts),
        "snapshots": sections.snapshots(facts),
        "assumed": sections.assumed(facts),
    }


def _ic(store: Store, facts: sections.Facts) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The IC of each session (session, ic, n) against one label, the first by name of the shortest horizon stored,
    and its mean with Newey–West error.
    """
    from quant_assets.evaluation import ic_estimate, rank_ic

    scores = store.read(
        SCORES, as_of=facts.cut, first=facts.first, last=facts.last, where={"strategy": facts.book.strategy}
    )
    labels = in_force(store.read(LABELS, as_of=facts.cut, first=facts.first), LABELS).drop_nulls("value")
    label, horizon = labels.select("label", "horizon").sort("horizon", "label").row(0) if labels.height else ("", 1)
    both = scores.join(
        labels.filter(pl.col("label") == label, pl.col("horizon") == horizon).select("session", "sid", "value"),
        on=["session", "sid"],
    ).sort("session", "sid", "model_id")
    ic = rank_ic(both)
    unknown = {"mean": None, "error": None, "t": None, "n": ic.height}
    return ic, msgspec.structs.asdict(ic_estimate(ic, horizon)) if ic.height > 1 else unknown


def _linked(returns: pl.Expr) -> pl.Expr:
    """The return over several sessions; null where one of them has none."""
    return pl.when(returns.null_count() == 0).then((1 + returns).product() - 1)


def _months(line: pl.DataFrame) -> list[dict[str, Any]]:
    month = pl.col("session").dt.truncate("1mo").alias("month")
    return (
        line.group_by(month, maintain_order=True)
        .agg(sessions=pl.len(), pnl=pl.col("pnl").sum(), **{"return": _linked(pl.col("return"))})
        .rows(named=True)
    )


def report_sessions(
    store: Store,
    breaks: Breaks,
    audit: Audit,
    books: Sequence[Book],
    cuts: Cuts,
    reports: Path,
    notice: str,
    notifier: Notifier,
    beat: Callable[[date], None],
    facts: Facts,
    clock: Clock,
    sessions: Sequence[date],
) -> Iterator[StageReport]:
    """Verify the acts of people and keep their head, write each book's page of each session to `reports` and record
    that it is published, then the heartbeat: the day is done.
    """

    def one(book: Book, session: date, acts: Head) -> StageReport:
        open_breaks = breaks.listed(book.name)
        page = session_report(store, open_breaks, book, session, folder=reports, notice=notice, acts=acts)
        facts.record(book.name, session, SLOT, PUBLISHED, page_name(book, session), now=clock.now())
        links = {f"report_{book.name}": str(page)}
        return StageReport(stage="report", first=session, last=session, state="done", numbers={"pages": 1}, links=links)

    for session in sessions:
        acts = keep_head(store, audit, cuts, session, notifier)
        done = [apart("report", book, session, notifier, partial(one, book, session, acts)) for book in books]
        if all(report.state == "done" for report in done):
            beat(session)
        yield from done or [StageReport("report", session, session, "done", numbers={"pages": 0})]
