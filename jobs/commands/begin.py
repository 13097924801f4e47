"""First steps: the demo and the UI."""

import sys
from typing import Annotated

import typer


def demo(fresh: Annotated[bool, typer.Option("--fresh", help="Delete the demo's home first.")] = False) -> None:
    """Run a simulated market from its first row to the report, with a delivery killed halfway. Three minutes."""
    from jobs.demo import tell

    tell(fresh=fresh)


def ui(port: int = 3000) -> None:
    """Open the Dagster UI of this home on loopback; Ctrl-C ends it."""
    import os
    import subprocess

    from desk.workspace import home
    from jobs.console import say
    from jobs.execute import dagster_home

    folder = dagster_home(home())
    say(f"http://127.0.0.1:{port}  (home {home()}; Ctrl-C ends it)")
    command = [
        sys.executable,
        "-m",
        "dagster",
        "dev",
        "--module-name",
        "jobs.definitions",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    environment = {**os.environ, "QUANT_HOME": str(home()), "DAGSTER_HOME": str(folder)}
    raise typer.Exit(subprocess.call(command, cwd=folder, env=environment))  # our own interpreter on our own module
