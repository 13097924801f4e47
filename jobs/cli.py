"""`quant …`: a thin layer over the same functions that the daemon's jobs call. State lives under $QUANT_HOME
(.quant).
"""

import os
import sys
from collections.abc import Callable, Mapping
from io import TextIOWrapper
from typing import Any

import typer
from typer.core import TyperGroup

from jobs.commands.actions import actions_app
from jobs.commands.audit import audit_app
from jobs.commands.begin import demo, ui
from jobs.commands.calendar import calendar_app
from jobs.commands.catalogue import features_app
from jobs.commands.check import check
from jobs.commands.data import quarantine_app, repair
from jobs.commands.desk import breaks_app, switch_app
from jobs.commands.doctor import doctor
from jobs.commands.features import init, trial
from jobs.commands.findings import findings_app
from jobs.commands.instruments import instruments_app
from jobs.commands.ledger import ledger_app
from jobs.commands.look_ahead import audit_features
from jobs.commands.migrate import migrate
from jobs.commands.notices import ack, notices_app
from jobs.commands.questions import replay, sql, today, trace, why
from jobs.commands.research import research
from jobs.commands.restatement import restatement_app
from jobs.commands.restore import backup, restore
from jobs.commands.running import backfill, backtest, ingest, report, run_app
from jobs.commands.storage import storage_app
from quant_assets.characters import visible
from quant_assets.errors import QuantError
from quant_assets.stopping import asked, listening
from resources.secrets import without_secrets

features_app.command("audit")(audit_features)

PANELS: Mapping[str, Mapping[str, typer.Typer | Callable[..., None]]] = {
    "Begin": {"demo": demo, "init": init, "try": trial, "check": check, "doctor": doctor, "ui": ui},
    "The day, in its order": {
        "ingest": ingest,
        "run": run_app,
        "today": today,
        "why": why,
        "breaks": breaks_app,
        "ledger": ledger_app,
        "kill-switch": switch_app,
        "report": report,
        "notices": notices_app,
        "ack": ack,
    },
    "Data": {
        "quarantine": quarantine_app,
        "findings": findings_app,
        "actions": actions_app,
        "calendar": calendar_app,
        "instruments": instruments_app,
        "restatement": restatement_app,
        "repair": repair,
    },
    "Research": {
        "features": features_app,
        "backfill": backfill,
        "backtest": backtest,
        "sql": sql,
        "research": research,
    },
    "Evidence": {"replay": replay, "trace": trace, "audit": audit_app},
    "Upkeep": {"storage": storage_app, "backup": backup, "restore": restore, "migrate": migrate},
}
"""The commands in the order of `--help`."""


DEADLINE = 10.0  # seconds that a command may spend on notices when its work is done
PRIVATE = 0o077  # what a command writes is for its user alone; its child processes inherit it


class InOrder(TyperGroup):
    """Lists commands in the order of `PANELS`, groups among them."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002  # click's
        """The names, in order."""
        return [name for commands in PANELS.values() for name in commands]


app = typer.Typer(
    name="quant",
    cls=InOrder,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Research and trading from the same assets. "
    "Start with [bold]quant demo[/]; then [bold]quant today[/] shows what is due.",
)
for panel, commands in PANELS.items():
    for command_name, command in commands.items():
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=command_name, rich_help_panel=panel)
        else:
            app.command(command_name, rich_help_panel=panel)(command)


def main() -> None:
    """The entry point: our own errors are one clear line, everything else keeps its traceback."""
    os.umask(PRIVATE)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # what a terminal cannot write is no reason to fail
    with listening():
        try:
            _run()
        except SystemExit:
            if (signum := asked()) is None:
                _send_notices()
                raise
            print("Stopped. Run the same command again: it goes on from what is stored.", file=sys.stderr)  # noqa: T201
            raise SystemExit(128 + signum) from None


def _send_notices() -> None:
    """Send what the command left in the queue, now that its work is done."""
    from desk.home import home
    from resources.notices.queue import FILE, Queue

    if (home() / FILE).exists():
        from datetime import UTC, datetime
        from functools import partial

        queue, now = Queue(home()), datetime.now(UTC)
        if queue.unanswered() or queue.waiting(now):
            from desk.workspace import channels_of
            from resources.notices.drain import drain

            drain(home(), now, DEADLINE, partial(channels_of, home()))


def _run() -> None:
    try:
        app()
    except QuantError as error:
        print(visible(without_secrets(f"{type(error).__name__}: {error}")), file=sys.stderr)  # noqa: T201  # the CLI speaks to a person
        raise SystemExit(1) from None
    except Exception as error:
        if not (sentence := _about_a_file(error)):
            raise
        print(visible(f"HomeDamaged: {sentence}"), file=sys.stderr)  # noqa: T201  # the CLI speaks to a person
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _about_a_file(error: Exception) -> str:
    """What a library raised about a file of the home, in a sentence; empty where it is about something else."""
    from desk.health.foreign import sentence
    from desk.home import home

    return sentence(error, home())


if __name__ == "__main__":
    main()
