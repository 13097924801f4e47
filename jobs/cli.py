"""`quant …`: a thin layer over the same functions that the daemon's jobs call. State lives under $QUANT_HOME (.quant)."""

import sys
from datetime import UTC, date, datetime
from typing import Annotated

import typer

from jobs.commands.actions import actions_app
from jobs.commands.audit import audit
from jobs.commands.calendar import calendar_app
from jobs.commands.catalogue import features_app
from jobs.commands.check import check
from jobs.commands.data import findings_app, planned, previewed, quarantine_app, repair
from jobs.commands.desk import breaks_app, switch_app
from jobs.commands.doctor import doctor
from jobs.commands.features import init, trial
from jobs.commands.look_ahead import audit_features
from jobs.commands.migrate import migrate
from jobs.commands.options import AsJson, Day, From, To, day, moment, workspace
from jobs.commands.restatement import restatement_app
from jobs.commands.storage import storage_app
from quant_assets.errors import QuantError

app = typer.Typer(
    name="quant",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Research and trading from the same assets. Start with [bold]quant demo[/]; then [bold]quant today[/] says what is due.",
)
run_app = typer.Typer(no_args_is_help=True, help="Run what is due.")
app.add_typer(run_app, name="run")
app.add_typer(breaks_app, name="breaks")
app.add_typer(actions_app, name="actions")
app.add_typer(quarantine_app, name="quarantine")
app.add_typer(findings_app, name="findings")
app.add_typer(restatement_app, name="restatement")
app.add_typer(storage_app, name="storage")
app.add_typer(switch_app, name="kill-switch")
app.add_typer(features_app, name="features")
features_app.command("audit")(audit_features)
app.command()(audit)
app.command()(check)
app.add_typer(calendar_app, name="calendar")
app.command()(repair)
app.command("try")(trial)
app.command()(init)
app.command()(doctor)
app.command()(migrate)


@app.command()
def demo(fresh: Annotated[bool, typer.Option("--fresh", help="Throw the demo's home away first.")] = False) -> None:
    """A simulated market, from its first row to the report, with a delivery killed in mid-send. Under three minutes."""
    from jobs.demo import tell

    tell(fresh=fresh)


@app.command()
def ingest(
    last: To = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only say what would be fetched: captures, requests, how long that takes.")
    ] = False,
    preview: Annotated[
        str | None,
        typer.Option(
            "--preview",
            metavar="FILE",
            help="Only show how a file, a folder or a glob would be read, and the source to declare for it.",
        ),
    ] = None,
    known_at: Annotated[
        str | None,
        typer.Option(
            "--known-at",
            metavar="RULE",
            help="When the rows of a file without knowledge times are assumed to be known, such as close+1h.",
        ),
    ] = None,
) -> None:
    """Take in the captures that have arrived and were not taken in yet, up to one where it is named. An assumed knowledge time is stamped ASSUMED wherever the data is used.

    Exit codes: 0 done, 20 a source was refused (the others were taken in), 1 failed.
    """
    from desk.day import arrive
    from desk.lock import only_run
    from jobs.console import progress, show

    ws = workspace()
    if preview:
        raise typer.Exit(previewed(preview, ws))
    if known_at:
        ws.assume(known_at)
    with progress() as tick, only_run(ws.home):
        until = last or ws.span[1] or ws.cuts.calendar.last
        if plan:
            raise typer.Exit(planned(ws, until))
        reports = list(arrive(ws, until, tick))
    show(reports)
    raise typer.Exit(20 if any(r.state == "refused" for r in reports) else 0)


@run_app.command("daily")
def run_daily(session: Day = None, as_json: AsJson = False) -> None:
    """Data, decisions, orders, reports: each session that is due, in order, up to the one named, or else to the last one due (in a historical run, to the next one). Running it again changes nothing.

    Exit codes: 0 done, 10 done and nothing to trade, 20 a delivery was refused (quant why SESSION), 1 failed.
    """
    from jobs.console import say, steps
    from jobs.live import due, outcome
    from jobs.live import run_daily as run

    ws = workspace()
    sessions = due(ws, session)
    if not sessions:
        say("Nothing is due. `quant today` shows the last session; the next one is due at its decision time.")
        raise typer.Exit(0)
    from jobs.execute import runner

    with runner(ws) as started:
        ran = steps(run(started, sessions), as_json=as_json)
    raise typer.Exit(int(outcome(ran)))


@app.command()
def backfill(first: From = None, last: To = None) -> None:
    """History, features, models at month ends and decisions of a range, traded in the research books. It sends nothing."""
    from jobs.console import progress, steps
    from jobs.execute import runner
    from jobs.live import run_backfill

    ws = workspace()
    begin, end = ws.span
    sessions = ws.cuts.calendar
    until = sessions.on_or_before(
        last or (sessions.shift(ws.deployment.start, -1) if end else ws.cuts.due(ws.clock.now()))
    )
    with progress() as tick:
        tick(0, 0, "loading the definitions")
        with runner(ws, tick) as started:
            ran = list(run_backfill(started, sessions.on_or_after(first or begin), until))
    steps(ran, as_json=False)


@app.command()
def backtest(book: str = "research", first: From = None, last: To = None) -> None:
    """The backfill of a range, then its full report."""
    backfill(first, last)
    report(book, None, first, last)


@app.command()
def report(book: str = "paper", session: Day = None, first: From = None, last: To = None) -> None:
    """Write the page of a session (--session) or the full report of a range (--from, --to), and say where it is."""
    from jobs.console import say, working
    from quant_assets.post_trade.report import range_report, session_report

    ws = workspace()
    with working("writing the page"):
        found, breaks = ws.deployment.book(book), ws.ledger.breaks.listed(book)
        if session:
            page = session_report(ws.store, breaks, found, session, folder=ws.reports, notice=ws.notice)
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
    say(str(page))


@app.command()
def today(session: Day = None, as_json: AsJson = False) -> None:
    """What is due, done or blocked, and the next command. Exit code 20 where somebody has to act."""
    from desk.day import status
    from jobs.console import statuses

    ws = workspace()
    day = session or ws.latest()
    answers = status(ws, day)
    statuses(answers, day, as_json=as_json)
    raise typer.Exit(0 if all(a.fine for a in answers) else 20)


@app.command()
def why(session: Annotated[date, typer.Argument(metavar="SESSION", parser=day)], as_json: AsJson = False) -> None:
    """Why a session came out as it did: decisions by reason, and what refused them."""
    from jobs.console import explained, working
    from quant_assets.signals.why import why as explain

    ws = workspace()
    with working("reading the decisions", quiet=as_json):
        answers = {s.name: explain(ws.store, s.name, session) for s in ws.deployment.strategies}
    explained(answers, session, as_json=as_json)


@app.command()
def sql(
    query: str,
    as_of: Annotated[
        datetime | None,
        typer.Option("--as-of", metavar="TIME", parser=moment, help="Knowledge time, ISO 8601, UTC; default now."),
    ] = None,
    output: Annotated[str, typer.Option("--format", help="table, csv, json or parquet")] = "table",
) -> None:
    """Ask the tables: `bars` shows the rows in force as of a time, `history.bars` every version."""
    from desk.queries import run as ask
    from jobs.console import frame, working

    moment = as_of or datetime.now(UTC)
    with working("reading the tables", quiet=output != "table"):
        answer = ask(workspace().store, query, moment)
    frame(answer, output, title=f"as of {moment:%Y-%m-%d %H:%M:%S} UTC")


@app.command()
def replay(decision_id: str, as_json: AsJson = False) -> None:
    """Rebuild a decision from the stored versions as of its cut, and show that each field is equal. Exit code 1 where one is not; on another architecture that says so."""
    from desk.day import provenance
    from jobs.console import replayed, working
    from quant_assets.features.catalogue import find_set
    from quant_assets.signals.replay import replay as rebuild

    ws = workspace()
    with working("rebuilding the decision", quiet=as_json):
        answer = rebuild(ws.store, find_set, ws.deployment.strategy, ws.cuts, decision_id, provenance(ws))
    replayed(answer, as_json=as_json)
    raise typer.Exit(0 if answer.equal else 1)


@app.command()
def trace(exec_id: str, as_json: AsJson = False) -> None:
    """Walk a fill back: to its order, decision, model and features, and to the lines of the vendor's files."""
    from jobs.console import traced
    from quant_assets.post_trade.lineage import walk_back

    ws = workspace()
    traced(walk_back(ws.store, exec_id, features=ws.feature_set_of(ws.deployment.strategies[0]).table), as_json=as_json)


@app.command()
def ui(port: int = 3000) -> None:
    """The Dagster UI on this home, on loopback; Ctrl-C ends it."""
    import os
    import subprocess

    from desk.workspace import home
    from jobs.console import say
    from jobs.execute import dagster_home

    folder = dagster_home(home())
    say(f"http://127.0.0.1:{port}  (home {home()}; Ctrl-C ends it)")
    command = [
        sys.executable,
        "-m",
        "dagster",
        "dev",
        "--module-name",
        "jobs.definitions",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    environment = {**os.environ, "QUANT_HOME": str(home()), "DAGSTER_HOME": str(folder)}
    raise typer.Exit(subprocess.call(command, cwd=folder, env=environment))  # our own interpreter on our own module


def main() -> None:
    """The entry point: our own errors are one clear line, everything else keeps its traceback."""
    try:
        app()
    except QuantError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201  # the CLI speaks to a person
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print("Stopped. Run the same command again: it goes on from what is stored.", file=sys.stderr)  # noqa: T201
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
