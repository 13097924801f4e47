"""`quant audit …`: what people did by hand, when and why; and whether that record is whole."""

import sys
from typing import Annotated

import msgspec
import typer

from jobs.commands.options import AsJson

audit_app = typer.Typer(invoke_without_command=True, help="What people did by hand, and whether that record is whole.")


@audit_app.callback()
def audit(context: typer.Context, as_json: AsJson = False) -> None:
    """List every act of a person, oldest first: when, what, on what, by whom and why."""
    import polars as pl

    from desk.ledger import ledger_of
    from desk.workspace import home
    from jobs.console import frame

    if context.invoked_subcommand is None:
        acts = pl.DataFrame(ledger_of(home()).audit.acts(), schema=["at", "act", "subject", "by", "reason", "hash"])
        frame(acts.drop("hash"), "json" if as_json else "table", title="acts, oldest first")


Kept = Annotated[
    str, typer.Option("--head", metavar="HASH", help="A head that you kept elsewhere: from `quant today` or a report.")
]


@audit_app.command()
def verify(kept: Kept = "", as_json: AsJson = False) -> None:
    """Find acts that were deleted, changed, moved or put in between, and orders that were altered. Exit code 20:
    there are some.
    """
    from desk.ledger import ledger_of
    from desk.workspace import home
    from jobs.console import escape, say
    from quant_assets import acts as chain
    from resources.tables.store import DeltaStore

    ledger = ledger_of(home())
    acts, altered = ledger.audit.acts(), ledger.outbox.altered()
    found = chain.verify(acts, chain.kept_heads(DeltaStore(home() / "tables")))
    found = [f.sentence for f in found] + (
        [] if not kept or chain.holds(acts, kept) else [f"no act has the hash {kept}: acts were cut off or rewritten"]
    )
    found += [f"order {key} in the ledger is not the order that was bound" for key in altered]
    end = chain.head(acts)
    if as_json:
        answer = {"acts": end.acts, "head": end.hash, "faults": found}
        sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
        raise typer.Exit(20 if found else 0)
    for sentence in found:
        say(f"[bold red]{escape(sentence)}[/]")
    if not found:
        say(f"{end.acts} act(s), each as it was written. Keep the head elsewhere: [bold]{end.hash}[/]")
    raise typer.Exit(20 if found else 0)
