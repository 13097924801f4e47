"""`quant features …`: the sets there are, what each feature means, backfills, pages."""

from datetime import date, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.commands.options import AsJson, From, LaneName, To, lanes_of, workspace

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from desk.workspace import Workspace
    from quant_assets.features.sets import FeatureSet

features_app = typer.Typer(no_args_is_help=True, help="List, publish, audit and explore feature sets.")
Name = Annotated[str, typer.Argument(metavar="NAME", help="A feature set; `quant features list` has them.")]
Universe = Annotated[
    str | None,
    typer.Option(
        "--universe", help="Whose members; default: of the strategies that read the set, or the first strategy's."
    ),
]


@features_app.command("list")
def listed(as_json: AsJson = False) -> None:
    """The sets that this deployment declares: how many features, what they read, whether their audit stands, how
    far they are published.
    """
    import polars as pl

    from jobs.console import frame, working
    from quant_assets.features.audit.audit import standing
    from quant_assets.features.catalogue import find_sets

    ws = workspace()
    rows: list[tuple[object, ...]] = []
    with working("looking at what is published", quiet=as_json):
        for one in find_sets().values():
            published = (
                ws.store.read(one.table, as_of=None, columns=()) if ws.store.exists(one.table) else one.table.empty()
            )
            days = published[one.table.event].cast(pl.Date)
            rows.append(
                (
                    one.name,
                    one.version,
                    len(one.features),
                    one.frequency,
                    one.lookback,
                    ", ".join(one.columns),
                    standing(ws.store, one).state,
                    days.min(),
                    days.max(),
                    published.height,
                )
            )
    columns = ("set", "version", "features", "frequency", "lookback", "reads", "audit", "first", "last", "rows")
    frame(pl.DataFrame(rows, schema=columns, orient="row"), "json" if as_json else "table", title="feature sets")


@features_app.command("show")
def show(name: Name, as_json: AsJson = False) -> None:
    """What a set is made of, and a line on each of its features."""
    import polars as pl

    from jobs.console import escape, frame, say
    from quant_assets.features.audit.audit import standing
    from quant_assets.features.catalogue import find_set

    ws = workspace()
    one = find_set(name)
    rows = pl.DataFrame({"feature": list(one.features), "meaning": [one.meaning.get(f, "") for f in one.features]})
    if not as_json:
        say(f"[bold]{escape(one.name)}[/] {escape(one.version)}: {escape(one.doc)}")
        say(
            f"Reads {', '.join(one.columns)}{''.join(f', {i.name}' for i in one.inputs)} of "
            f"{', '.join(one.reads)}; looks back {one.lookback}; every {one.frequency}; fingerprint {one.fingerprint}."
        )
        say(escape(standing(ws.store, one).reason))
    frame(rows, "json" if as_json else "table", title=f"table {one.table.name}")


@features_app.command("backfill")
def backfill(
    name: Name,
    first: From = None,
    last: To = None,
    universe: Universe = None,
    venue: Annotated[str | None, typer.Option("--venue", help="Of a set on bars (alpha158_1m): whose bars.")] = None,
    calendar: Annotated[
        str,
        typer.Option("--calendar", help="The venue's hours where the deployment does not say them: 24/7, FX, XNYS …"),
    ] = "24/7",
    lane: LaneName = None,
) -> None:
    """Publish a set over a range of sessions, a calendar quarter at a time, in each lane that reads it. Interrupted,
    the same command goes on where it stopped.
    """
    from desk.lock import only_range, stepping
    from jobs.console import progress
    from jobs.console import show as shown
    from quant_assets.calendars import calendar as hours
    from quant_assets.errors import ConfigurationError
    from quant_assets.features.catalogue import find_set
    from quant_assets.features.intraday import OnBars, publish_bars
    from quant_assets.features.publish import publish
    from quant_assets.features.sets import DAILY
    from quant_assets.records import StageReport

    ws, one = workspace(), find_set(name)
    with progress() as shown_at, only_range(ws.home):
        tick = stepping(ws.home, shown_at)
        if one.frequency == DAILY:
            reports = list[StageReport]()
            for there in reading(ws, one, lane, universe):
                asked = sessions(there, first, last)
                there.knowledge.note_cut(there.cuts.of(asked[-1]))
                reports.append(publish(there.store, one, universe or among(there, one), there.cuts, asked, tick))
        else:
            # as it is declared, so that history is what is published live
            declared = [b for b in ws.deployment.bars if b.feature_set == name and venue in {None, b.venue}]
            if (len(declared) != 1 and venue is None) or first is None or last is None:
                raise ConfigurationError(
                    f"{name} is a set on bars: say whose and when (--venue binance --from 2026-11-02 --to "
                    "2026-11-06 --calendar 24/7); `quant backfill` publishes the sets that strategies read"
                )
            of = declared[0] if declared else OnBars(feature_set=name, venue=str(venue), calendar=calendar)
            reports = [
                publish_bars(
                    ws.store,
                    one,
                    of.venue,
                    hours(of.calendar),
                    hours(of.calendar).between(first, last),
                    delay=timedelta(seconds=of.delay),
                    now=ws.clock.now(),
                    progress=tick,
                )
            ]
    shown(reports)


@features_app.command("explore")
def explore(name: Name, first: From = None, last: To = None, universe: Universe = None, lane: LaneName = None) -> None:
    """Write the page of a set over a range, one for each lane that reads it: coverage, distribution, IC with decay,
    quantile returns, turnover, correlation. And say where it is.
    """
    from jobs.console import escape, progress, say
    from quant_assets.features.audit.audit import standing
    from quant_assets.features.catalogue import find_set
    from quant_assets.features.explorer.reading import explorer

    ws, one = workspace(), find_set(name)
    found, pages = standing(ws.store, one), list["Path"]()
    with progress() as tick:
        for there in reading(ws, one, lane, universe):
            asked = sessions(there, first, last)
            page = explorer(
                there.store,
                one,
                universe or among(there, one),
                there.cuts,
                asked[0],
                asked[-1],
                folder=ws.reports,
                audit=found.reason,
                audit_passed={"passed": True, "failed": False}.get(found.state),
                notice=there.notice,
                progress=tick,
            )
            pages.append(page)
    for page in pages:
        say(escape(str(page)))


@features_app.command("drift")
def drift(
    session: Annotated[
        date | None, typer.Option("--session", help="The last session shown; default the last one measured.")
    ] = None,
    lane: LaneName = None,
) -> None:
    """Write the heat map of each strategy's feature drift against what its champion was trained on. And say where
    it is.
    """
    from jobs.console import escape, say
    from quant_assets.errors import ConfigurationError
    from quant_assets.models.drift_page import drift_page
    from quant_assets.moments import Every
    from quant_assets.tables import FEATURE_DRIFT

    whole = workspace()
    # a strategy by the hour has no drift by the session
    measuring = [
        (w, s) for w in lanes_of(whole, lane) for s in w.deployment.strategies if not isinstance(s.moment, Every)
    ]
    if not measuring:
        raise ConfigurationError("no strategy here decides once a session: there is no drift to show")
    for ws, strategy in measuring:
        measured = ws.store.read(
            FEATURE_DRIFT, as_of=None, last=session, where={"strategy": strategy.name}, columns=()
        )["session"]
        page = drift_page(ws.store, strategy, measured[-1], ws.reports) if len(measured) else None
        if page is None:
            raise ConfigurationError(
                f"no drift of {strategy.name} is stored{f' up to {session}' if session else ''}; a session with "
                "a champion stores it: quant backfill, quant run daily"
            )
        say(escape(str(page)))


def sessions(ws: "Workspace", first: date | None, last: date | None) -> list[date]:
    """The sessions asked for, of those whose data was taken in and that were due."""
    from quant_assets.tables import CAPTURES

    calendar, (begin, _) = ws.cuts.calendar, ws.span
    taken = ws.store.read(CAPTURES, as_of=None, where={"dataset": "bars"}, columns=())["capture"].max()
    due = ws.cuts.due(ws.clock.now()) if ws.deployment.clock == "system" else None
    # what is published before its data came is frozen without it, and data behind a cut that was read is known too
    # late to be traded on
    decided = ws.until if ws.production else None
    until = min(d for d in (last, taken, due, decided) if isinstance(d, date)) if isinstance(taken, date) else begin
    return calendar.between(calendar.on_or_after(first or begin), calendar.on_or_before(until))


def reading(ws: "Workspace", one: "FeatureSet", lane: str | None, universe: str | None) -> "Sequence[Workspace]":
    """The lanes that are meant: the one named, that of the universe, or those whose strategies read the set; the
    deployment's own where none does.
    """
    from quant_assets.strategy import sets_of

    if lane is not None:
        return [ws.lane_of(lane)]
    if universe:
        return [ws.lane_drawing(universe)]
    return [w for w in ws.lanes if one.name in sets_of(w.deployment.strategies)] or ws.lanes[:1]


def among(ws: "Workspace", one: "FeatureSet") -> str:
    """The universe that is meant where none is named."""
    from quant_assets.strategy import universes_of

    return universes_of(ws.deployment.strategies, one.name)[0]
