"""What people ask of a home: today, why, sql, replay, trace."""

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.commands.options import AsJson, Day, day, moment, workspace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from desk.workspace import Workspace
    from quant_assets.today.status import Status

OF_THE_HOME = ("kill_switch", "acts", "heartbeat")
"""The questions that are not about a lane."""


def today(session: Day = None, as_json: AsJson = False) -> None:
    """Show what is due, done or blocked, and the next command; on a fine day, until when nothing is due.

    Exit code 20: a person has to act.
    """
    from jobs.console import begin_with, statuses
    from jobs.next_step import first_step, next_step

    ws = workspace()
    if ws.production:
        raise typer.Exit(beside_production(ws, as_json=as_json))
    day = session or ws.latest()
    if step := first_step(ws):
        begin_with(step, day, as_json=as_json)
        raise typer.Exit(20)
    by_lane = _once({lane.name: _answers(lane, session) for lane in ws.lanes})
    fine = all(a.fine for answers in by_lane.values() for a in answers)
    titles = {lane.name: f"{lane.deployment.calendar} {session or lane.latest()}" for lane in ws.lanes}
    shown = [(titles[name] if len(by_lane) > 1 else "", answers) for name, answers in by_lane.items()]
    statuses(shown, day, next_step(ws) if fine and session is None else None, as_json=as_json)
    raise typer.Exit(0 if fine else 20)


def _answers(lane: "Workspace", session: date | None) -> "list[Status]":
    """The answers of one lane, each behind its name, about the session or the lane's latest."""
    import msgspec

    from desk.day import status

    if session and not lane.cuts.calendar.is_session(session) and lane.name:
        return []
    found = status(lane, session or lane.latest())
    return [msgspec.structs.replace(a, name=f"{lane.name} {a.name}") for a in found] if lane.name else found


def _once(by_lane: "Mapping[str, Sequence[Status]]") -> "Mapping[str, Sequence[Status]]":
    """The answers by lane, those about the whole home with the first alone."""
    first, *others = by_lane
    rest = {n: [a for a in by_lane[n] if a.name.removeprefix(f"{n} ") not in OF_THE_HOME] for n in others}
    return {first: by_lane[first], **{name: answers for name, answers in rest.items() if answers}}


def beside_production(ws: "Workspace", *, as_json: bool) -> int:
    """Say how far a research home may look, and what it has of its own; always 0, for nothing is due in one."""
    import json

    from jobs.console import escape, say
    from quant_assets.tables import DECISIONS

    own = ws.tables.read(DECISIONS, as_of=None, columns=())["session"].max()
    reach = ", ".join(f"{lane.until}{f' of {lane.name}' if lane.name else ''}" for lane in ws.lanes)
    told = {"research": True, "production": str(ws.production), "decided": reach, "own": str(own or "")}
    if as_json:
        typer.echo(json.dumps(told))
        return 0
    say(f"A research home: nothing is due here. It reads {escape(str(ws.production))}, which has decided {reach}.")
    say(f"Decisions of its own: up to {own}." if own else "It has no decisions of its own yet: [bold]quant backfill[/]")
    return 0


def why(
    session: Annotated[date, typer.Argument(metavar="SESSION", parser=day)],
    slot: Annotated[
        str | None, typer.Option("--slot", metavar="HH:MM", help="Of a strategy by the hour: this slot alone.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Explain a session: its decisions by reason, and what refused them."""
    from jobs.console import explained, working
    from quant_assets.signals.why import why as explain

    ws = workspace()
    with working("reading the decisions", quiet=as_json):
        answers = {s.name: explain(w.store, s.name, session, slot) for w in ws.lanes for s in w.deployment.strategies}
        left_out = {b.name: _left_out(w, b.name, session, slot) for w in ws.lanes for b in w.books(live=True)}
    explained(answers, left_out, session, as_json=as_json)


def _left_out(ws: "Workspace", book: str, session: date, slot: str | None) -> list[str]:
    """Why a book's delivery was refused, and which orders were beyond its limits."""
    from quant_assets.execution.delivery import REFUSED
    from quant_assets.execution.outcome import NOT_SENT
    from quant_assets.records import SLOT

    known = ws.ledger.facts.recorded(book, slot or SLOT).get(session, {})
    return [line for fact in (REFUSED, NOT_SENT) for line in known.get(fact, "").splitlines()]


def sql(
    query: str,
    as_of: Annotated[
        datetime | None,
        typer.Option("--as-of", metavar="TIME", parser=moment, help="Knowledge time, ISO 8601, UTC; default now."),
    ] = None,
    output: Annotated[str, typer.Option("--format", help="table, csv, json or parquet")] = "table",
) -> None:
    """Query the tables: `bars` has the rows in force as of a time, `history.bars` every version."""
    from desk.queries import run as ask
    from jobs.console import frame, working

    moment = as_of or datetime.now(UTC)
    with working("reading the tables", quiet=output != "table"):
        answer = ask(workspace().store, query, moment)
    frame(answer, output, title=f"as of {moment:%Y-%m-%d %H:%M:%S} UTC")


def replay(decision_id: str, as_json: AsJson = False) -> None:
    """Rebuild a decision from what was known at its cut, and compare each field. Exit code 1: one differs."""
    from desk.day import provenance
    from jobs.console import replayed, working
    from quant_assets.features.catalogue import find_set
    from quant_assets.signals.replay import replay as rebuild
    from quant_assets.tables import DECISIONS

    ws = workspace()
    with working("rebuilding the decision", quiet=as_json):
        stored = ws.store.read(DECISIONS, as_of=None, where={"decision_id": decision_id}, columns=("strategy",))
        ws = ws.lane_of(stored["strategy"][0]) if stored.height and len(ws.lanes) > 1 else ws
        declared = ws.deployment
        answer = rebuild(
            ws.store, find_set, declared.strategy, ws.cuts, decision_id, provenance(ws), on_bars=ws.on_bars
        )
    replayed(answer, as_json=as_json)
    raise typer.Exit(0 if answer.equal else 1)


def trace(exec_id: str, as_json: AsJson = False) -> None:
    """Walk a fill back: order, decision, model, features, and the lines of the vendor's files."""
    from jobs.console import traced
    from quant_assets.post_trade.lineage import walk_back
    from quant_assets.tables import FILLS

    ws = workspace()
    filled = ws.store.read(FILLS, as_of=None, where={"exec_id": exec_id}, columns=())["book"].to_list()
    read = ws.strategy_of(ws.deployment.book(filled[0])) if filled else ws.deployment.strategies[0]
    traced(walk_back(ws.store, exec_id, features=ws.feature_set_of(read).table), as_json=as_json)
