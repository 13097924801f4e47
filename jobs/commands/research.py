"""`quant research`: a home for research beside production."""

from pathlib import Path
from typing import Annotated

import typer


def research(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where its deployment.yaml is written.")],
    production: Annotated[
        Path | None,
        typer.Option("--production", metavar="HOME", help="The home whose tables it reads; by default $QUANT_HOME."),
    ] = None,
) -> None:
    """Begin a research home: it reads a production home's tables, writes its own, and never changes a byte there.

    It has production's market data, calendar and clock, strategies of its own or production's, and research books. No
    file is overwritten.
    """
    from desk.beside import begin
    from desk.home import home
    from jobs.console import escape, say

    file = begin(folder.absolute(), (production or home()).absolute())
    say(f"[dim]{escape(str(file))}[/]")
    say("Next:")
    say(
        f"  [bold]cd {escape(str(folder))} && quant backfill[/]  [dim]features, models, decisions and research books, "
        "as far as production has decided[/]"
    )
    say("  [bold]quant try FILE.py:NAME[/]  [dim]a feature of your own, on production's market[/]")
