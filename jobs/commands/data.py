"""`quant quarantine …` and `quant repair`: what a person sees and does about bad data; every
act is on record.
"""

from datetime import date
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.commands.options import (
    DAY,
    AsJson,
    By,
    LaneName,
    Reason,
    acted,
    lanes_of,
    producing,
    workspace,
)

if TYPE_CHECKING:
    from desk.workspace import Workspace

quarantine_app = typer.Typer(no_args_is_help=True, help="Review vendor rows that were refused.")
RowId = Annotated[str, typer.Argument(metavar="ID", help="As `quant quarantine list` shows it; its beginning will do.")]


@quarantine_app.command("list")
def quarantine_list(
    limit: int = 50,
    everything: Annotated[bool, typer.Option("--all", help="Released and dropped ones too.")] = False,
    by_reason: Annotated[bool, typer.Option("--by-reason", help="Count them by dataset and reason.")] = False,
    as_json: AsJson = False,
) -> None:
    """The rows that were not let in, newest first: id, file, line, reason, and what they say."""
    import polars as pl

    from jobs.console import frame
    from quant_assets.market_data.repairs import listed
    from quant_assets.tables import QUARANTINE

    rows = listed(
        workspace().store.read(QUARANTINE, as_of=None),
        states=("held", "released", "dropped") if everything else ("held",),
    )
    shown = (
        rows.group_by("dataset", "reason", "state")
        .agg(rows=pl.len(), first=pl.col("capture").min(), last=pl.col("capture").max())
        .sort("rows", "dataset", "reason", descending=[True, False, False])
        if by_reason
        else rows.head(limit).select(
            "id",
            "capture",
            "dataset",
            "file",
            "line",
            "symbol",
            "reason",
            "content",
            *(("state", "by", "note") if everything else ()),
        )
    )
    frame(shown, "json" if as_json else "table", title=f"quarantine, newest first; {rows.height:,} in all")


@quarantine_app.command("show")
def quarantine_show(row_id: RowId, as_json: AsJson = False) -> None:
    """One row: what it says, why it is held, and what stands beside it."""
    from jobs.console import one
    from quant_assets.market_data.repairs import explained, find

    ws = _market(workspace(), row_id)
    row = find(ws.store, row_id)
    why, others = explained(row, ws.store)
    one(row, why, others, as_json=as_json, title="others of this name in the capture")


@quarantine_app.command("release")
def quarantine_release(row_id: RowId, by: By, reason: Reason) -> None:
    """Let a row in as it stands, known from now on: past decisions keep what they saw."""
    from desk.lock import only_run
    from jobs.console import escape, say
    from quant_assets.market_data.repairs import release

    ws = _market(producing(), row_id)
    with only_run(ws.home):
        written = release(
            ws.store,
            ws.knowledge,
            ws.ledger.audit,
            row_id,
            act=acted(by, reason),
            now=ws.clock.now(),
        )
    say(f"Released by {escape(by)}: {escape(written)}. `quant restatement list` shows what it changes.")


@quarantine_app.command("drop")
def quarantine_drop(row_id: RowId, by: By, reason: Reason) -> None:
    """Leave a row out for good; it stays on record."""
    from desk.lock import only_run
    from jobs.console import escape, say
    from quant_assets.market_data.repairs import drop

    ws = _market(producing(), row_id)
    with only_run(ws.home):
        drop(
            ws.store,
            ws.knowledge,
            ws.ledger.audit,
            row_id,
            act=acted(by, reason),
            now=ws.clock.now(),
        )
    say(f"Row {escape(row_id)} is dropped by {escape(by)}.")


def repair(
    symbol: str,
    session: Annotated[date, typer.Argument(**DAY)],
    by: By,
    reason: Reason,
    values: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="COLUMN=VALUE", help="open, high, low, close or volume; again for more."),
    ] = None,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Withdraw the bar: there was none.")] = False,
    lane: LaneName = None,
) -> None:
    """Correct a daily bar by a new row, known from now on. Past decisions keep what they saw."""
    from desk.lock import only_run
    from jobs.console import frame
    from quant_assets.market_data.repairs import repair as put_right

    if bool(values) == withdraw:
        raise typer.BadParameter("say either what to set (--set close=12.34) or --withdraw")
    try:
        numbers = {column: float(value) for column, _, value in (v.partition("=") for v in values or ())}
    except ValueError as error:
        raise typer.BadParameter(f"{error}; write --set close=12.34") from error
    ws = _trading(producing(), symbol, session, lane)
    with only_run(ws.home):
        was, now = put_right(
            ws.store,
            ws.knowledge,
            ws.ledger.audit,
            symbol,
            session,
            numbers,
            act=acted(by, reason),
            now=ws.clock.now(),
        )
    import polars as pl

    frame(
        pl.concat([was, now]).select(
            "symbol",
            "session",
            "open",
            "high",
            "low",
            "close",
            "volume",
            "withdrawn",
            "source",
            "file",
            "line",
            "known_at",
        ),
        "table",
        title="was, is",
    )


def _market(ws: "Workspace", row_id: str) -> "Workspace":
    """The market of a quarantined row: there its symbol means an instrument, and by its cuts an act is known."""
    from quant_assets.market_data.markets import market_of
    from quant_assets.market_data.repairs import find

    return ws.lane_of(market_of(str(find(ws.store, row_id)["source"])))


def _trading(ws: "Workspace", symbol: str, session: date, lane: str | None) -> "Workspace":
    """The market in which a symbol has a bar of a session; the first one asked where none has. Raises
    ConfigurationError where several have.
    """
    import polars as pl

    from quant_assets.errors import ConfigurationError
    from quant_assets.tables import BARS

    asked = ws.markets if lane is None else lanes_of(ws, lane)
    listed = [
        one
        for one in asked
        if one.store.read(BARS, as_of=None, first=session, last=session).filter(pl.col("symbol") == symbol).height
    ]
    if len(listed) > 1:
        codes = " and ".join(one.deployment.calendar for one in listed)
        raise ConfigurationError(
            f"{symbol} has a bar of {session} in {codes}: name one, as in --lane {codes.split()[0]}"
        )
    return (listed or asked)[0]


def planned(ws: "Workspace", last: date) -> int:
    """Say what an ingest of a lane up to `last` would fetch, source by source; the exit code."""
    from jobs.console import escape, say
    from quant_assets.market_data.ingest import pending
    from quant_assets.market_data.vendors import Beside
    from resources.sources.plan import Planned

    for source in ws.sources:
        todo = pending(source, ws.store, last)
        asked = source.source if isinstance(source, Beside) else source
        if todo and isinstance(asked, Planned):
            say(escape(str(asked.plan(todo[0], todo[-1]))))
        else:
            say(
                f"{escape(source.name)}: "
                + (
                    f"{len(todo):,} captures, {todo[0]} to {todo[-1]}; no vendor is asked over the network."
                    if todo
                    else "nothing that was not taken in."
                )
            )
    return 0


def previewed(where: str, ws: "Workspace") -> int:
    """Show how files would be read and the source that reads them so; the exit code: 0, or 20 where no row would be
    kept.
    """
    from rich.markup import escape

    from jobs.console import say, table
    from quant_assets.calendars import calendar
    from resources.sources.preview import preview, shapes

    found = preview(where, calendar(ws.deployment.calendar))
    say(f"[bold]{escape(found.files[0])}[/]" + (f" and {len(found.files) - 1:,} more" if len(found.files) > 1 else ""))
    table(shapes(found))
    of = "all" if found.whole else "the first"
    say(f"Of {of} {found.rows:,} rows [green]{found.kept:,} would be kept[/], {found.rows - found.kept:,} quarantined.")
    for why in found.refused:
        say(f"  {why.rows:8,}  {escape(why.reason)} (first at {escape(why.first)})")
    for note in found.ambiguous:
        say(f"[yellow]?[/] {escape(note)}")
    if not found.yaml:
        say(
            "No source can be proposed. `quant ingest --preview` again with a file whose columns can be told, "
            "or write the mapping by hand: README, Your own data."
        )
        return 20
    say(
        "Put this into $QUANT_HOME/deployment.yaml in the place of its source (known_at is an assumption: say "
        "when you really had the rows):\n"
    )
    say(escape(found.yaml))
    say("\nThen: [bold]quant ingest[/]")
    return 0 if found.kept else 20
