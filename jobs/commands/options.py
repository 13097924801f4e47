"""What commands take: dates, times, who does it and why; and the workspace that they open."""

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from desk.workspace import Workspace
    from quant_assets.records import Act


def day(text: str) -> date:
    """A date. Raises BadParameter with the form it wants."""
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not a date; write YYYY-MM-DD") from error


def moment(text: str) -> datetime:
    """A time, UTC. Raises BadParameter with the form it wants."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r} is not a time; write YYYY-MM-DDTHH:MM, in UTC unless it names its offset"
        ) from error
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


DAY: dict[str, Any] = {"metavar": "YYYY-MM-DD", "parser": day}
Day = Annotated[date | None, typer.Option(**DAY)]
From = Annotated[date | None, typer.Option("--from", **DAY)]
To = Annotated[date | None, typer.Option("--to", **DAY)]
By = Annotated[str, typer.Option("--by", help="Who does this; it is recorded.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is recorded.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON for a script.")]


def wall() -> datetime:
    """The time at which a person acts, UTC: that of the wall, whatever clock the home runs on."""
    return datetime.now(UTC)


def acted(by: str, reason: str) -> "Act":
    """What a person does now."""
    from quant_assets.records import Act

    return Act(by=by, reason=reason, at=wall())


LaneName = Annotated[
    str | None,
    typer.Option(
        "--lane",
        metavar="NAME",
        help="Only this lane, by its name, calendar, strategy or book; '' is the deployment's own.",
    ),
]
MarketName = Annotated[
    str | None,
    typer.Option(
        "--lane", metavar="NAME", help="Of which market, by its calendar, as in XLON; needed where there are several."
    ),
]


def lanes_of(ws: "Workspace", lane: str | None) -> "Sequence[Workspace]":
    """The lanes that are asked about: all, or the one that is named."""
    return ws.lanes if lane is None else [ws.lane_of(lane)]


def market_of(ws: "Workspace", lane: str | None) -> "Workspace":
    """The market that is meant. Raises ConfigurationError where there are several and none is named."""
    from quant_assets.errors import ConfigurationError

    if lane is not None:
        return ws.lane_of(lane)
    first, *others = ws.markets
    if others:
        codes = ", ".join(one.deployment.calendar for one in ws.markets)
        raise ConfigurationError(f"this home has several markets, {codes}: name the one that is meant, --lane CALENDAR")
    return first


def workspace() -> "Workspace":
    """The workspace of $QUANT_HOME."""
    from desk.workspace import Workspace

    return Workspace.open()


def producing() -> "Workspace":
    """The workspace of $QUANT_HOME, for what only a production home does. Raises ConfigurationError in a research
    home.
    """
    refuse_research()
    return workspace()


def refuse_research() -> None:
    """Raise ConfigurationError in a research home, whatever else is wrong with its deployment."""
    from desk.research import production_in
    from desk.workspace import deployment_file, home
    from quant_assets.errors import ConfigurationError

    if production := production_in(deployment_file(home())):
        raise ConfigurationError(
            f"{home()} is a research home: it ingests, delivers and stops nothing, and nothing was done. Give the "
            f"command in production, with QUANT_HOME={production}"
        )
