"""`quant breaks …` and `quant kill-switch …`: what a trading desk decides by hand; every act is on record."""

from typing import Annotated

import typer

from jobs.commands.options import AsJson, By, Reason, wall, workspace

breaks_app = typer.Typer(no_args_is_help=True, help="Differences between our ledger and the venue's record.")
switch_app = typer.Typer(no_args_is_help=True, help="Stop and release all sending, at once.")


@breaks_app.command("list")
def breaks_list(
    everything: Annotated[bool, typer.Option("--all", help="Resolved ones too.")] = False, as_json: AsJson = False
) -> None:
    """Open breaks, oldest first. An open break blocks its book's next delivery."""
    import polars as pl

    from jobs.console import frame

    frame(
        pl.DataFrame(list(workspace().ledger.breaks.listed(open_only=not everything))),
        "json" if as_json else "table",
        title="breaks",
    )


@breaks_app.command("resolve")
def breaks_resolve(break_id: str, by: By, reason: Reason) -> None:
    """Close a break that somebody has explained."""
    from jobs.console import escape, say

    workspace().ledger.breaks.resolve(break_id, by=by, reason=reason, now=wall())
    say(f"Break {escape(break_id)} is resolved by {escape(by)}.")


def _switch(*, on: bool, by: str, reason: str) -> None:
    from desk.workspace import home, notifier_of
    from jobs.console import say
    from resources.ledger.open import open_ledger

    open_ledger(home()).kill_switch.set(on, by=by, reason=reason, now=wall())  # whatever the deployment file says
    notifier_of(home()).notify("critical", f"The kill switch is {'ON' if on else 'off'}, by {by}", reason)
    say("The kill switch is [bold red]ON[/]: nothing leaves." if on else "The kill switch is [bold green]off[/].")


@switch_app.command("on")
def switch_on(by: By, reason: Reason) -> None:
    """Nothing leaves from now on."""
    _switch(on=True, by=by, reason=reason)


@switch_app.command("off")
def switch_off(by: By, reason: Reason) -> None:
    """Sending is allowed again."""
    _switch(on=False, by=by, reason=reason)


@switch_app.command("status")
def switch_status(as_json: AsJson = False) -> None:
    """Whether it is on, and why. Exit code 20 where it is on."""
    from desk.workspace import home
    from jobs.console import switch
    from resources.ledger.open import open_ledger

    found = open_ledger(home()).kill_switch.state()
    switch(found.reason, on=found.on, as_json=as_json)
    raise typer.Exit(20 if found.on else 0)
