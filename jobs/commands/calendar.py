"""`quant calendar …`: what a person knows of the venue's days before the calendar does; every act is on record."""

from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.commands.options import AsJson, By, MarketName, Reason, acted, day, market_of, producing, workspace

if TYPE_CHECKING:
    from desk.workspace import Workspace
    from quant_assets.calendars import Hours

calendar_app = typer.Typer(no_args_is_help=True, help="Change the venue's sessions: add a closure or a session.")
Session = Annotated[date, typer.Argument(metavar="SESSION", parser=day)]


@calendar_app.command("close")
def calendar_close(session: Session, by: By, reason: Reason, lane: MarketName = None) -> None:
    """SESSION does not trade, as is known from now on. What was decided and booked stays; orders for it expire."""
    from desk.lock import only_run
    from quant_assets.market_data.closures import close

    ws = market_of(producing(), lane)
    with only_run(ws.home):
        known_at = close(
            ws.store,
            ws.knowledge,
            ws.ledger.audit,
            ws.cuts.calendar,
            session,
            act=acted(by, reason),
            now=ws.clock.now(),
        )
    _told(ws, session, known_at, "does not trade", by, reason)


@calendar_app.command("open")
def calendar_open(
    session: Session,
    by: By,
    reason: Reason,
    hours: Annotated[
        str | None,
        typer.Option("--hours", metavar="HH:MM-HH:MM", help="On the venue's clock; default: its usual hours."),
    ] = None,
    lane: MarketName = None,
) -> None:
    """SESSION trades, as is known from now on. One that is heard of after its decision time is read, and never
    traded.
    """
    from desk.lock import only_run
    from quant_assets.market_data.closures import reopen

    ws = market_of(producing(), lane)
    venue = ws.cuts.calendar
    said = None if hours is None else _hours(hours, session, ws)
    with only_run(ws.home):
        known_at = reopen(
            ws.store,
            ws.knowledge,
            ws.ledger.audit,
            venue,
            session,
            said,
            act=acted(by, reason),
            now=ws.clock.now(),
        )
    _told(ws, session, known_at, "trades", by, reason)


@calendar_app.command("list")
def calendar_list(as_json: AsJson = False) -> None:
    """What has been said of the days of every calendar here, newest first."""
    from jobs.console import frame
    from quant_assets.tables import CALENDAR_CHANGES

    rows = workspace().store.read(CALENDAR_CHANGES, as_of=None).sort("known_at", descending=True)
    frame(rows, "json" if as_json else "table", title="calendar changes")


def _hours(text: str, session: date, ws: "Workspace") -> "Hours":
    from quant_assets.calendars import Hours

    try:
        opens, closes = (
            datetime.combine(session, time.fromisoformat(t), ws.cuts.calendar.tz).astimezone(UTC)
            for t in text.split("-")
        )
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} are no hours; write HH:MM-HH:MM on the venue's clock") from error
    return Hours(opens, closes)


def _told(ws: "Workspace", session: date, known_at: datetime, what: str, by: str, reason: str) -> None:
    from jobs.console import escape, say
    from quant_assets.market_data.closures import consequence

    calendar = ws.cuts.calendar.code
    # each lane of the market decides at a moment of its own
    there = [w for w in ws.peers if w.venue == ws.venue]
    follows = "; ".join(dict.fromkeys(consequence(w.current_cuts(), session) for w in there))
    ws.notifier.notify("critical", f"{calendar}: {session} {what}, by {by}", reason)
    say(
        f"{escape(calendar)}: {session} {what}, known since {known_at:%Y-%m-%d %H:%M:%S} UTC, by {escape(by)}. "
        f"{follows}. A running daemon asks by it from its next tick on; "
        "an open at another hour needs its definitions reloaded."
    )
