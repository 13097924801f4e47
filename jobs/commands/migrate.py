"""`quant migrate`: the databases of a home that an older release wrote."""

from typing import Annotated

import typer


def migrate(
    plan: Annotated[bool, typer.Option("--plan", help="List what would be migrated. Write nothing.")] = False,
) -> None:
    """Bring the databases of the home to the schemas of this release.

    Each file is copied before; run again, nothing changes. Killed in the middle, each file is the old one or the new
    one, and the same command goes on.
    """
    from desk.lock import only_run
    from desk.migration import migrated, outdated
    from desk.workspace import home
    from jobs.console import escape, say

    where, count = home(), 0
    if plan:
        for one in outdated(where):
            count += 1
            say(escape(f"{one.kind.name} {one.path.relative_to(where)}: schema {one.revision} would be migrated."))
    elif where.exists():
        with only_run(where):
            for one, copy in migrated(where):
                count += 1
                name, backup = one.path.relative_to(where), copy.relative_to(where)
                was = f"migrated from schema {one.revision}; the file before is {backup}"
                say(escape(f"{one.kind.name} {name}: {was}."))
    if not count:
        say("Nothing to do: every database has the schema of this release.")
