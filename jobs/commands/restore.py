"""`quant restore`: what a home has lost, brought back; on record."""

from typing import Annotated

import typer

from jobs.commands.options import By, Reason, wall


def restore(
    by: By,
    reason: Reason,
    ledger_anew: Annotated[
        bool,
        typer.Option("--ledger-anew", help="Without a backup: an empty ledger, with the kill switch on for all."),
    ] = False,
) -> None:
    """Bring back what a home has lost."""
    from desk.ledger import make_anew
    from desk.lock import only_run
    from desk.workspace import home
    from jobs.console import say

    where = home()
    if not ledger_anew:
        raise typer.BadParameter("name what to restore: --ledger-anew makes an empty ledger")
    with only_run(where):
        make_anew(where, by=by, reason=reason, now=wall())
    say(
        "The ledger is empty, and the kill switch is [bold red]ON[/]. Run `quant run daily`: it books what the venue "
        "has. Compare positions and orders with the venue, then `quant kill-switch off --by NAME --reason WHY`."
    )
