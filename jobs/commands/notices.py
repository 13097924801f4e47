"""`quant notices …` and `quant ack`: what was sent where, what still waits, and who looks after it."""

from typing import Annotated

import typer

from jobs.commands.options import AsJson, By, wall

notices_app = typer.Typer(invoke_without_command=True, help="Notices: what was sent where, and what still waits.")


@notices_app.callback()
def notices(context: typer.Context, as_json: AsJson = False) -> None:
    """List the latest notices, newest first; `by` is who acknowledged one."""
    import polars as pl

    from desk.workspace import home
    from jobs.console import frame
    from resources.notices.queue import Queue

    if context.invoked_subcommand is None:
        columns = ["id", "last", "severity", "times", "subject", "sent", "by"]
        rows = [{c: r[c] for c in columns} for r in Queue(home()).listed()]
        frame(pl.DataFrame(rows, schema=columns), "json" if as_json else "table", title="notices, newest first")


@notices_app.command("drain")
def drain_now() -> None:
    """Send what waits, and repeat critical notices that are not acknowledged. Exit code 20: some could not be sent."""
    from functools import partial

    from desk.workspace import channels_of, home
    from jobs.console import say
    from resources.notices.drain import drain

    done = drain(home(), wall(), channels=partial(channels_of, home()))
    say(f"{done.sent} sent, {done.failed} failed, {done.dead} given up, {done.waiting} waiting.")
    raise typer.Exit(20 if done.failed or done.dead or done.waiting else 0)


def ack(notice_id: Annotated[str, typer.Argument(metavar="ID")], by: By) -> None:
    """Take a notice over: that ends its repetition, and is recorded."""
    from desk.ledger import ledger_of
    from desk.workspace import home
    from jobs.console import escape, say
    from quant_assets.errors import ConfigurationError
    from resources.notices.channels import Pager
    from resources.notices.queue import Queue

    if not by.strip():
        raise ConfigurationError("name who acknowledges it: --by NAME")
    audit, now = ledger_of(home()).audit, wall()
    found = Queue(home()).acknowledge(notice_id, by, now, (Pager.name,))
    audit.record("acknowledge", f"notice {found.id}: {found.subject}", by=by, reason="acknowledged", now=now)
    say(f"{escape(found.subject)}: acknowledged by {escape(by)}.")
