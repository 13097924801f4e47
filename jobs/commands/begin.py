"""First steps: the demo and the UI."""

import os
from pathlib import Path
from typing import Annotated

import typer

PATIENCE = "300"  # seconds that a code location may take to answer, on a machine that is busy


def demo(fresh: Annotated[bool, typer.Option("--fresh", help="Delete the demo's home first.")] = False) -> None:
    """Run a simulated market from its first row to the report, with a delivery killed halfway. Three minutes."""
    # its frames are small: to wake a thread for each costs a fifth more than the work itself
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    from jobs.demo import tell

    tell(fresh=fresh)


def ui(
    port: int = 3000,
    launch: Annotated[
        bool,
        typer.Option("--allow-launch", help="Let the page start runs and switch schedules; it only shows otherwise."),
    ] = False,
    daemon: Annotated[
        bool, typer.Option("--daemon/--no-daemon", help="With --allow-launch, run Dagster's daemon beside it.")
    ] = True,
    host: Annotated[
        str, typer.Option(help="The address to listen on; any but loopback needs QUANT_UI_PASSWORD.")
    ] = "127.0.0.1",
    workspace: Annotated[
        Path | None,
        typer.Option(
            "--workspace",
            "-w",
            metavar="FILE",
            exists=True,
            dir_okay=False,
            resolve_path=True,
            help="A workspace.yaml of code locations: yours beside the platform's.",
        ),
    ] = None,
) -> None:
    """Open the Dagster UI of this home on loopback, for reading; Ctrl-C ends it.

    Requests of other pages and under other names are refused. QUANT_UI_PASSWORD asks for a password.
    """
    os.environ.setdefault("DAGSTER_GRPC_TIMEOUT_SECONDS", PATIENCE)  # Dagster reads it when it is imported
    from desk.workspace import home
    from jobs.console import escape, say
    from jobs.execute import dagster_home
    from jobs.ui import serve

    folder = dagster_home(home())
    say(
        f"http://{escape(host)}:{port}  (home {escape(str(home()))}; {'' if launch else 'for reading, '}Ctrl-C ends it)"
    )
    serve(home(), folder, port, launch=launch, daemon=launch and daemon, host=host, workspace=workspace)
