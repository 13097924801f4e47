"""`quant storage …`: how the tables lie on disk; compaction, vacuum and export. Every act is on record."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.commands.options import AsJson, By, Reason, moment, wall, workspace

if TYPE_CHECKING:
    from desk.workspace import Workspace
    from quant_assets.contract import Table

storage_app = typer.Typer(no_args_is_help=True, help="Measure, compact, vacuum and export the tables.")
Only = Annotated[str | None, typer.Option("--table", help="Only this table.")]


def _tables(ws: "Workspace", only: str | None) -> "list[Table]":
    """The tables that exist, or the one named. Raises ConfigurationError where that does not."""
    from desk.queries import tables
    from quant_assets.errors import ConfigurationError

    found = {name: t for name, t in tables(ws.tables).items() if ws.tables.exists(t)}
    if only is not None and only not in found:
        raise ConfigurationError(f"no table is named {only!r} here; there are {', '.join(sorted(found)) or 'none yet'}")
    return [t for name, t in sorted(found.items()) if only in {None, name}]


@storage_app.command("stats")
def stats(table: Only = None, as_json: AsJson = False) -> None:
    """Files, rows and bytes of each table, now and with all old versions; what is cited. Exit code 20 where a cited
    version can no longer be read.
    """
    import polars as pl

    from jobs.console import frame, progress
    from quant_assets.contract import Table
    from resources.tables.citations import citations
    from resources.tables.maintenance import Statistics, statistics

    ws = workspace()
    cited = citations(ws.tables, ws.reports.glob("*.html"))
    rows: list[Statistics] = []
    found: list[Table] = _tables(ws, table)
    with progress() as tick:
        for done, one in enumerate(found):
            tick(done, len(found), one.name)
            rows.append(statistics(ws.tables, one, cited.get(one.name, set())))
    shown = pl.DataFrame([{f: getattr(r, f) for f in r.__struct_fields__} | {"lost": len(r.lost)} for r in rows])
    frame(
        shown,
        "json" if as_json else "table",
        title="the tables; small: files that compaction would write together; lost: cited versions that cannot be read",
    )
    raise typer.Exit(20 if any(r.lost for r in rows) else 0)


@storage_app.command("compact")
def compact(by: By, reason: Reason, table: Only = None) -> None:
    """Write small files together. No row changes, every version stays."""
    from jobs.console import progress, say
    from resources.tables.maintenance import compact as write_together

    ws = workspace()
    found = _tables(ws, table)
    with progress() as tick:
        for done, one in enumerate(found):
            tick(done, len(found), one.name)
            did = write_together(ws.tables, one)
            if did.rows:
                subject = f"{one.name}: {did.before} files to {did.after}"
                ws.ledger.audit.record("compact", subject, by=by, reason=reason, now=wall())
                say(f"{one.name}: {did.before:,} files are {did.after:,}, {did.rows:,} rows rewritten.")
    say("Done: every other table lies well already.")


@storage_app.command("vacuum")
def vacuum(
    delete: Annotated[bool, typer.Option("--delete", help="Delete them; without it they are only named.")] = False,
    keep_days: Annotated[
        int, typer.Option("--keep-days", help="Keep every version of these last days, cited or not.")
    ] = 30,
    by: Annotated[str, typer.Option("--by", help="Who deletes; it is recorded.")] = "",
    reason: Annotated[str, typer.Option("--reason", help="Why; it is recorded.")] = "",
    table: Only = None,
) -> None:
    """Name the files that belong to no version which is cited or recent, and delete them with --delete. What a
    decision, a model or a report cites stays.
    """
    from jobs.console import say
    from resources.tables.citations import citations
    from resources.tables.maintenance import Retention
    from resources.tables.maintenance import vacuum as drop

    if delete and not (by.strip() and reason.strip()):
        raise typer.BadParameter("deleting is on record: say --by and --reason")
    ws, retention = workspace(), Retention(keep_days=keep_days)
    cited = citations(ws.tables, ws.reports.glob("*.html"))
    for one in _tables(ws, table):
        # wall time, whatever the clock of the run: the commits were made in it
        gone = drop(ws.tables, one, cited.get(one.name, set()), retention, datetime.now(UTC), dry_run=not delete)
        if gone.files:
            say(f"{one.name}: {len(gone.files):,} files, {gone.bytes:,} bytes {'deleted' if delete else 'would go'}.")
            if delete:
                ws.ledger.audit.record(
                    "vacuum",
                    f"{one.name}: {len(gone.files)} files, {gone.bytes} bytes, versions older than {keep_days} "
                    "days that nobody cites",
                    by=by,
                    reason=reason,
                    now=wall(),
                )
    say(
        "Done: nothing else is in excess."
        if delete
        else "Nothing was deleted; --delete --by NAME --reason WHY does it."
    )


@storage_app.command("export")
def export(
    table: str,
    to: Annotated[Path, typer.Argument(help="A .parquet or .csv file; its manifest is written beside it.")],
    as_of: Annotated[
        datetime | None,
        typer.Option("--as-of", metavar="TIME", parser=moment, help="Knowledge time, ISO 8601, UTC; default now."),
    ] = None,
) -> None:
    """All rows of a table known by a time, as one file with a manifest: table, version, rows, hash."""
    from jobs.console import escape, say, working
    from resources.tables.export import export as write

    ws = workspace()
    (one,) = _tables(ws, table)
    with working("writing the file"):
        manifest = write(ws.tables, one, as_of or datetime.now(UTC), to)
    say(
        f"{manifest.rows:,} rows of {one.name}, version {manifest.version}, as of "
        f"{manifest.as_of:%Y-%m-%d %H:%M:%S} UTC: {escape(str(to))}"
    )
