"""`quant features audit`: does a feature look ahead?"""

from datetime import date, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.commands.catalogue import among, reading, sessions
from jobs.commands.options import AsJson, From, LaneName, To, workspace

if TYPE_CHECKING:
    from desk.workspace import Workspace


def audit_features(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]…", help="Feature sets; all that this deployment declares where none is named."),
    ] = None,
    first: From = None,
    last: To = None,
    universe: Annotated[
        str | None, typer.Option(help="Whose members; default: of the strategies that read the set.")
    ] = None,
    lane: LaneName = None,
    as_json: AsJson = False,
) -> None:
    """Does a feature read data that was not known yet?

    Each set, in every lane that reads it, is computed at cuts of every awkward kind (ex-dates, delistings,
    restatements, halts, index changes) with the future cut off and with it poisoned, and its kernel is tried on a
    synthetic panel. The first column, session and instrument that shows a leak is named. The result is stored: a set
    that did not pass as it is written now can feed no champion. Exit code 1 where one fails.
    """
    import polars as pl

    from jobs.console import escape, frame, progress, say
    from quant_assets.calendars import calendar as venue_hours
    from quant_assets.errors import ConfigurationError
    from quant_assets.features.audit.audit import audit, recorded, standing, together
    from quant_assets.features.audit.bars import RECENT, audit_bars
    from quant_assets.features.audit.views import Remembered
    from quant_assets.features.catalogue import find_set, find_sets
    from quant_assets.features.sets import DAILY
    from quant_assets.tables import AUDITS

    ws = workspace()
    on_bars = {one.feature_set: one for one in ws.deployment.bars}
    asked = (
        [find_set(n) for n in names]
        if names
        else [f for f in find_sets().values() if f.frequency == DAILY or f.name in on_bars]
    )
    now, deepest = ws.clock.now(), max(f.lookback for f in asked)
    held: dict[str, tuple[list[date], Remembered]] = {}  # each table of a lane is read once for all sets

    def remembered(there: "Workspace") -> tuple[list[date], Remembered]:
        if there.name not in held:
            days = sessions(there, first, last)
            held[there.name] = days, Remembered(there.store, there.cuts.calendar.shift(days[0], -deepest), days[-1])
        return held[there.name]

    with progress() as tick:
        for one in asked:
            if one.frequency == DAILY:
                tried = list[pl.DataFrame]()
                for there in reading(ws, one, lane, universe):
                    days, store = remembered(there)
                    members = universe or among(there, one)
                    tried.append(audit(store, one, members, there.cuts, days, now=now, progress=tick))
                rows = together(tried)
            elif one.name in on_bars:
                of, days = on_bars[one.name], sessions(ws.lanes[0], first, last)
                hours = venue_hours(of.calendar)
                recent = hours.between(
                    hours.on_or_after(first or days[max(-RECENT, -len(days))]), hours.on_or_before(days[-1])
                )
                rows = audit_bars(
                    ws.store, one, of.venue, hours, recent, now=now, delay=timedelta(seconds=of.delay), progress=tick
                )
            else:
                raise ConfigurationError(
                    f"{one.name} is a set on bars, and the deployment does not say of which venue's "
                    f"(bars: [{{feature_set: {one.name}, venue: …}}])"
                )
            recorded(ws.store, one, rows)
    statuses = {f.name: standing(ws.store, f) for f in asked}
    if as_json:
        stored, when = ws.store.read(AUDITS, as_of=None), pl.col("known_at")
        of_now = stored.filter(pl.col("fingerprint").is_in([f.fingerprint for f in asked]))
        frame(of_now.filter(when == when.max().over("feature_set", "version", "fingerprint")), "json")
    else:
        for name, found in statuses.items():
            colour = "green" if found.state == "passed" else "bold red"
            say(f"[{colour}]{found.state:8}[/] {escape(f'{name:18} {found.reason}')}")
    raise typer.Exit(0 if all(v.state == "passed" for v in statuses.values()) else 1)
