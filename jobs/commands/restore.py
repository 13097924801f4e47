"""`quant backup` and `quant restore`: a home copied whole, and brought back; on record."""

from pathlib import Path
from typing import Annotated

import typer

from jobs.commands.options import AsJson, By, Reason, acted, wall


def backup(
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="FOLDER", help="Default: where the last one went, else beside the home."),
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="Only list the backups in the folder.")] = False,
    as_json: AsJson = False,
) -> None:
    """Back up the home: ledger, venues, tables, models, pages. A file that was copied before is not copied again."""
    from desk.backup.make import backup as make
    from desk.backup.manifest import default_folder, last_backup, names
    from desk.workspace import home
    from jobs.console import escape, frame, progress, say

    where = home()
    last = last_backup(where)
    folder = (to or (Path(last.folder) if last else default_folder(where))).absolute()
    if listed:
        import polars as pl

        shown = pl.DataFrame({"backup": names(folder)}, schema={"backup": pl.String})
        frame(shown, "json" if as_json else "table", title=f"backups in {folder}, oldest first")
        return
    with progress() as tick:
        made = make(where, folder, wall(), tick)
    say(
        f"Backup [bold]{made.manifest.name}[/] in {escape(str(folder))}: {len(made.manifest.entries):,} files, "
        f"{made.copied:,} of them new ({made.bytes:,} bytes)."
    )


def restore(
    by: By,
    reason: Reason,
    folder: Annotated[Path | None, typer.Argument(help="The folder of backups.")] = None,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="TIME|NAME", help="The newest backup not after it, UTC; default: the last."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="PATH", help="Only this file or folder of the home: tables/bars."),
    ] = None,
    ledger_anew: Annotated[
        bool,
        typer.Option("--ledger-anew", help="Without a backup: an empty ledger, with the kill switch on for all."),
    ] = False,
) -> None:
    """Restore the home from a backup, each file verified first. What is replaced is kept in the home, in .before-TIME.

    Stop the daemon first. Killed anywhere, the same command finishes.
    """
    from desk.backup.restoring import restore as bring_back
    from desk.workspace import home
    from jobs.console import escape, progress, say, switches

    where = home()
    if (folder is None) is not ledger_anew:
        raise typer.BadParameter("name the folder of backups, or give --ledger-anew where there is none")
    if folder is None:
        _ledger_anew(where, by, reason)
        return
    with progress() as tick:
        done = bring_back(where, folder.absolute(), at, only or (), acted(by, reason), tick)
    say(
        f"Restored backup [bold]{done.backup}[/]: {done.files:,} files or folders; those before are in "
        f"{escape(str(where / done.aside))}. Run `quant doctor`, then `quant run daily`: it asks the venue what it has."
    )
    if done.on:
        switches(done.on, as_json=False)


def _ledger_anew(where: Path, by: str, reason: str) -> None:
    from desk.ledger import make_anew
    from desk.lock import only_run
    from jobs.console import say

    with only_run(where):
        make_anew(where, by=by, reason=reason, now=wall())
    say(
        "The ledger is empty, and the kill switch is [bold red]ON[/]. Run `quant run daily`: it books what the venue "
        "has. Compare positions and orders with the venue, then `quant kill-switch off --by NAME --reason WHY`."
    )
