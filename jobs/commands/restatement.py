"""`quant restatement …`: what was changed after it was known, what would have come out otherwise, and the values
that research reads from now on.
"""

import sys
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.commands.options import AsJson, LaneName, acted, day, lanes_of, moment, producing, workspace

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

    from desk.blast_radius import Radius
    from desk.workspace import Workspace
    from quant_assets.market_data.restatements import Selection

restatement_app = typer.Typer(
    no_args_is_help=True, help="List rows that changed after they were known, and what they touched."
)
SHOWN = 12  # rows of a part of the radius; --json has them all

Session = Annotated[
    date | None, typer.Argument(metavar="[SESSION]", parser=day, help="Changes of rows of this session.")
]
Since = Annotated[
    datetime | None,
    typer.Option("--since", metavar="TIME", parser=moment, help="Changes known after this time, ISO 8601, UTC."),
]
Until = Annotated[
    datetime | None, typer.Option("--until", metavar="TIME", parser=moment, help="Changes known by this time.")
]
Symbol = Annotated[
    str | None, typer.Option("--symbol", help="Changes of the instruments that were ever listed under this symbol.")
]
Sid = Annotated[int | None, typer.Option("--sid", help="Changes of this instrument.")]


def selected(
    ws: "Workspace",
    session: date | None,
    since: datetime | None,
    until: datetime | None,
    symbol: str | None,
    sid: int | None,
) -> "Selection | None":
    """The changes of a lane that the options mean; None where nothing was ever listed there under the symbol."""
    import polars as pl

    from quant_assets.market_data.restatements import Selection
    from quant_assets.tables import LISTINGS

    sids = None if sid is None else (sid,)
    if symbol is not None:
        named = ws.store.read(LISTINGS, as_of=None).filter(pl.col("symbol") == pl.lit(symbol))
        listed = named["sid"].unique().sort().to_list()
        if not listed:
            return None
        sids = tuple(s for s in listed if sid in {None, s})
    return Selection(
        since=since, until=until, first=session, last=session, sids=sids, symbols=None if symbol is None else (symbol,)
    )


def chosen(
    ws: "Workspace",
    lane: str | None,
    session: date | None,
    since: datetime | None,
    until: datetime | None,
    symbol: str | None,
    sid: int | None,
) -> "list[tuple[Workspace, Selection]]":
    """The changes that the options mean, by lane. Raises BadParameter if nothing was ever listed under the symbol."""
    meant = [(one, selected(one, session, since, until, symbol, sid)) for one in lanes_of(ws, lane)]
    if not (found := [(one, selection) for one, selection in meant if selection is not None]):
        raise typer.BadParameter(
            f"nothing was ever listed under {symbol!r}; "
            '`quant sql "select symbol, sid from history.listings"` shows the symbols'
        )
    return found


@restatement_app.command("list")
def restatement_list(
    session: Session = None,
    since: Since = None,
    until: Until = None,
    symbol: Symbol = None,
    sid: Sid = None,
    lane: LaneName = None,
    as_json: AsJson = False,
) -> None:
    """The changes in all lanes, newest first: restated, withdrawn, returned, or late (known only after the cut of its
    own session).
    """
    import polars as pl

    from jobs.console import frame, working
    from quant_assets.market_data.restatements import changes, newest

    ws = workspace()
    with working("comparing versions", quiet=as_json):
        meant = chosen(ws, lane, session, since, until, symbol, sid)
        by_lane = [changes(one.store, one.cuts, selection) for one, selection in meant]
        # what two lanes of a market see is one change; one that is late for several is late once
        found = by_lane[0] if len(by_lane) == 1 else newest(pl.concat(by_lane).unique())
    frame(
        found if as_json else found.select("known_at", "table", "session", "symbol", "kind", "old", "new"),
        "json" if as_json else "table",
        title="changes after the fact, newest first",
    )


@restatement_app.command("show")
def restatement_show(
    session: Session = None,
    since: Since = None,
    until: Until = None,
    symbol: Symbol = None,
    sid: Sid = None,
    rebuild: Annotated[
        bool,
        typer.Option(
            "--rebuild",
            help="Also store the features and labels touched as they come out now, known from now on. No "
            "decision changes.",
        ),
    ] = False,
    by: Annotated[str | None, typer.Option("--by", help="With --rebuild: who does this; it is recorded.")] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="With --rebuild: why; it is recorded.")] = None,
    lane: LaneName = None,
    as_json: AsJson = False,
) -> None:
    """The blast radius in each lane: which features, scores, decisions and trades would differ had the changes been
    known in time, and by how much P&L. What was decided stays.
    """
    from desk.blast_radius import Radius, blast_radius
    from desk.blast_radius import rebuild as renew
    from desk.lock import only_run
    from jobs.console import progress, say
    from jobs.console import show as reported
    from jobs.hours import at_slots

    if session is None and since is None and symbol is None and sid is None:
        raise typer.BadParameter(
            "name the changes: a SESSION, --since, --symbol or --sid; `quant restatement list` shows them"
        )
    if rebuild and not (by and reason):
        raise typer.BadParameter("--rebuild goes on record: say who and why, with --by and --reason")
    whole = producing() if rebuild else workspace()
    meant = chosen(whole, lane, session, since, until, symbol, sid)
    deciding = [(one, selection) for one, selection in meant if one.deployment.strategies and not at_slots(one)]
    skipped = [one.name or "its own" for one, _ in meant if at_slots(one)]
    if skipped and not as_json:
        say(f"Not computed again: {', '.join(skipped)}, whose strategies decide at slots.")
    radii = dict[str, Radius]()
    for ws, selection in deciding:
        with progress() as tick:
            radii[ws.name] = blast_radius(ws, selection, tick)
    if as_json:
        _document(radii)
    for name, radius in ({} if as_json else radii).items():
        _show(name, radius)
    if rebuild and by and reason:
        for ws, selection in deciding:
            now = ws.cuts.of(ws.latest()) if ws.deployment.clock == "session" else ws.clock.now()
            with progress() as tick, only_run(ws.home):
                reports = renew(ws, selection, act=acted(by, reason), now=now, progress=tick)
            if not as_json:
                reported(reports)


def _parts(radius: "Radius") -> "dict[str, pl.DataFrame]":
    return {
        "changes": radius.changes.select("table", "session", "symbol", "kind", "old", "new", "known_at"),
        "features": radius.features,
        "derived": radius.derived,
        "scores": radius.scores,
        "decisions": radius.decisions,
        "trades": radius.trades,
        "pnl": radius.pnl,
    }


def _document(radii: "Mapping[str, Radius]") -> None:
    """To a script: the radius of the one lane, or of each by its name."""
    import msgspec

    documents = {
        name: {
            "sentence": radius.sentence,
            "empty": radius.empty,
            "first": radius.first,
            "last": radius.last,
            "sessions": radius.sessions,
            **{n: f.to_dicts() for n, f in _parts(radius).items()},
        }
        for name, radius in radii.items()
    }
    document = documents.get("") if len(documents) == 1 else {"lanes": documents}
    sys.stdout.write(msgspec.json.encode(document or {"lanes": documents}, enc_hook=str).decode() + "\n")


def _show(lane: str, radius: "Radius") -> None:
    """Each part that is not empty, trades by how much money moved, then the sentence."""
    import polars as pl

    from jobs.console import escape, frame, say

    parts = _parts(radius)
    moved = (pl.col("cash_would").fill_null(0) - pl.col("cash").fill_null(0)).abs()
    parts["trades"] = radius.trades.sort(moved, descending=True).select(
        "book", "session", "symbol", "shares", "shares_would", "cash", "cash_would"
    )
    for name, rows in parts.items():
        if rows.height:
            frame(
                rows.head(SHOWN).with_columns(pl.col(pl.Decimal).cast(pl.Float64)),
                "table",
                title=f"{lane} {name}{f', of {rows.height:,}' if rows.height > SHOWN else ''}".strip(),
            )
    say(escape(f"{lane}: {radius.sentence}" if lane else radius.sentence))
