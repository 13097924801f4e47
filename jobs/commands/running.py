"""What a day and a range run: ingest, run daily, backfill, backtest, report."""

from typing import Annotated

import typer

from jobs.commands.data import planned, previewed
from jobs.commands.options import AsJson, Day, From, LaneName, To, lanes_of, producing, workspace

run_app = typer.Typer(no_args_is_help=True, help="Run what is due.")


def ingest(
    last: To = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show what would be fetched: deliveries, requests, time. Ingest nothing.")
    ] = False,
    preview: Annotated[
        str | None,
        typer.Option(
            "--preview",
            metavar="FILE",
            help="Show how a file, a folder or a glob would be read, and the source to declare.",
        ),
    ] = None,
    known_at: Annotated[
        str | None,
        typer.Option(
            "--known-at",
            metavar="RULE",
            help="Assume when the rows of a file were known, such as close+1h. Results are marked ASSUMED.",
        ),
    ] = None,
) -> None:
    """Ingest every delivery that has arrived, up to --to.

    Exit codes: 0 done, 20 a source was refused (the others were ingested), 1 failed.
    """
    from desk.day import arrive
    from desk.lock import only_run
    from jobs.console import progress, show

    ws = producing()
    if preview:
        raise typer.Exit(previewed(preview, ws))
    if known_at:
        ws.assume(known_at)
    with progress() as tick, only_run(ws.home):
        if plan:
            codes = [planned(one, last or one.span[1] or one.cuts.calendar.last) for one in ws.markets]
            raise typer.Exit(max(codes))
        reports = [
            report for one in ws.lanes for report in arrive(one, last or one.span[1] or one.cuts.calendar.last, tick)
        ]
    show(reports)
    raise typer.Exit(20 if any(r.state == "refused" for r in reports) else 0)


@run_app.command("daily")
def run_daily(session: Day = None, as_json: AsJson = False, lane: LaneName = None) -> None:
    """Run each session that is due, in order of their decision times: data, decisions, orders, reports.

    Without --session it runs up to the last session due; a historical run, up to the next one. Running it again changes
    nothing.

    Exit codes: 0 done, 10 done and nothing to trade, 20 a delivery was refused (quant why SESSION), 1 failed.
    """
    from jobs.console import say, steps
    from jobs.live import due_in_order, outcome
    from jobs.live import run_daily as run

    ws = producing()
    sessions = due_in_order(ws, session, lane)
    if not sessions:
        say("Nothing is due. `quant today` shows the last session; the next one is due at its decision time.")
        raise typer.Exit(0)
    from jobs.execute import runner

    with runner(ws) as started:
        ran = steps(run(started, sessions), as_json=as_json)
    raise typer.Exit(int(outcome(ran)))


def backfill(first: From = None, last: To = None, lane: LaneName = None) -> None:
    """Compute a range: history, features, models at month ends, decisions, research books. It sends nothing."""
    from jobs.console import progress, steps
    from jobs.execute import runner
    from jobs.live import run_backfill

    whole, ran = workspace(), []
    with progress() as tick:
        tick(0, 0, "loading the definitions")
        with runner(whole, tick) as started:
            for ws in lanes_of(whole, lane):
                begin, end = ws.span
                sessions = ws.cuts.calendar
                before = sessions.shift(ws.deployment.start, -1) if end else ws.cuts.due(ws.clock.now())
                until = min(sessions.on_or_before(last or before), ws.until)
                ran += run_backfill(started, sessions.on_or_after(first or begin), until, ws.name)
    steps(ran, as_json=False)


def backtest(book: str = "research", first: From = None, last: To = None) -> None:
    """Backfill a range of the book's lane, then write its full report."""
    backfill(first, last, book)
    report(book, None, first, last)


def report(book: str = "paper", session: Day = None, first: From = None, last: To = None) -> None:
    """Write the page of a session (--session) or the report of a range (--from, --to), and print its path."""
    from jobs.console import escape, say, working
    from quant_assets.acts import head
    from quant_assets.post_trade.report import range_report, session_report

    ws = workspace()
    ws = ws.lane_of(book) if len(ws.lanes) > 1 else ws
    with working("writing the page"):
        found, breaks = ws.deployment.book(book), ws.ledger.breaks.listed(book)
        if session:
            acts = head(ws.ledger.audit.acts())
            page = session_report(ws.store, breaks, found, session, folder=ws.reports, notice=ws.notice, acts=acts)
        else:
            begin, end = ws.booked(found)
            page = range_report(
                ws.store,
                found,
                first or begin,
                last or end,
                folder=ws.reports,
                notice=ws.notice,
                breaks=breaks,
                per_year=ws.cuts.calendar.sessions_per_year,
            )
    say(escape(str(page)))
