"""`quant breaks …` and `quant kill-switch …`: what a trading desk decides by hand; every act is on record."""

from typing import Annotated

import typer

from jobs.commands.options import AsJson, By, Reason, producing, refuse_research, wall, workspace

breaks_app = typer.Typer(no_args_is_help=True, help="List and resolve differences between our ledger and the venue.")
switch_app = typer.Typer(no_args_is_help=True, help="Stop sending orders at once, or allow it again.")


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

    producing().ledger.breaks.resolve(break_id, by=by, reason=reason, now=wall())
    say(f"Break {escape(break_id)} is resolved by {escape(by)}.")


OfBook = Annotated[str | None, typer.Option("--book", metavar="BOOK", help="Only this book.")]
OfAccount = Annotated[str | None, typer.Option("--account", metavar="ACCOUNT", help="Only the book of this account.")]


def _scope(book: str | None, account: str | None) -> str:
    if book and account:
        raise typer.BadParameter("give --book or --account, not both")
    return f"book {book}" if book else f"account {account}" if account else "all"


def _known(book: str | None, account: str | None) -> None:
    """Refuse a name that the deployment does not have: its switch would stop nothing.

    Where the deployment file has a fault, any name is taken: a fault must not keep anybody from stopping.
    """
    from quant_assets.errors import ConfigurationError

    try:
        books = workspace().deployment.books
    except ConfigurationError:
        return
    for name, kind, names in (
        (book, "book", {b.name for b in books}),
        (account, "account", {b.account for b in books}),
    ):
        if name and name not in names:
            raise ConfigurationError(f"no {kind} is named {name!r}; there are {', '.join(sorted(names)) or 'none'}")


def _switch(*, on: bool, scope: str, by: str, reason: str) -> None:
    from desk.ledger import ledger_of
    from desk.workspace import home, notifier_of
    from jobs.console import escape, say

    refuse_research()  # who looks at the wrong home must not believe that production has stopped
    ledger_of(home()).kill_switch.set(on, scope=scope, by=by, reason=reason, now=wall())
    of = "" if scope == "all" else f" for {scope}"
    notifier_of(home()).notify("critical", f"The kill switch{of} is {'ON' if on else 'off'}, by {by}", reason)
    state = "[bold red]ON[/]: nothing leaves" if on else "[bold green]off[/]"
    say(f"The kill switch{escape(of)} is {state}.")


@switch_app.command("on")
def switch_on(by: By, reason: Reason, book: OfBook = None, account: OfAccount = None) -> None:
    """Nothing leaves from now on: of any book, or only of one (--book, --account)."""
    if book or account:
        _known(book, account)
    _switch(on=True, scope=_scope(book, account), by=by, reason=reason)


@switch_app.command("off")
def switch_off(by: By, reason: Reason, book: OfBook = None, account: OfAccount = None) -> None:
    """Sending is allowed again, as far as no other switch is on."""
    _switch(on=False, scope=_scope(book, account), by=by, reason=reason)


@switch_app.command("show")
def switch_show(book: OfBook = None, account: OfAccount = None, as_json: AsJson = False) -> None:
    """Which switches are on, and why: that for all, and those of books and accounts. Exit code 20 where one is on."""
    from desk.ledger import ledger_of
    from desk.workspace import home
    from jobs.console import switches

    wanted = {"all", _scope(book, account)} if book or account else None
    found = [s for s in ledger_of(home()).kill_switch.listed() if wanted is None or s.scope in wanted]
    switches(found, as_json=as_json)
    raise typer.Exit(20 if any(s.on for s in found) else 0)
