"""The Dagster UI of a home, behind `Guarded`: in one process, so that there is no port that goes around it."""

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

import dagster as dg
import uvicorn
from dagster._core.workspace.context import WorkspaceProcessContext  # these two have no public name
from dagster._core.workspace.load_target import ModuleTarget, WorkspaceFileTarget
from dagster_webserver.app import create_app_from_workspace_process_context
from dagster_webserver.version import __version__

from jobs.guard import LOOPBACK, Guarded
from quant_assets.errors import ConfigurationError

MODULE = "jobs.definitions"
HERE = "127.0.0.1"
PATIENCE = 10.0  # seconds in which a child may end by itself


def serve(
    home: Path,
    folder: Path,
    port: int,
    *,
    launch: bool,
    daemon: bool,
    host: str = HERE,
    workspace: Path | None = None,
) -> None:
    """Serve the UI until SIGINT or SIGTERM; its children end with it. `folder`: of the Dagster instance.

    `workspace`: a file of code locations, instead of the platform's own alone.
    `launch`: runs can be started and schedules switched. `daemon`: Dagster's daemon runs beside it. The password is
    QUANT_UI_PASSWORD. Raises ConfigurationError if others could reach it and there is none.
    """
    password = os.environ.get("QUANT_UI_PASSWORD", "")
    hosts = {*LOOPBACK, *filter(None, os.environ.get("QUANT_UI_HOSTS", "").split(","))}
    if host not in LOOPBACK and not password:
        raise ConfigurationError(
            f"the UI on {host} could be reached by others; set QUANT_UI_PASSWORD, or leave it on {HERE}"
        )
    os.environ |= {"QUANT_HOME": str(home), "DAGSTER_HOME": str(folder)}
    with ExitStack() as stack:
        stack.enter_context(_ending())
        instance = stack.enter_context(dg.DagsterInstance.from_config(str(folder)))
        context = stack.enter_context(
            WorkspaceProcessContext(
                instance,
                workspace_load_target=WorkspaceFileTarget([str(workspace)])
                if workspace
                else ModuleTarget(module_name=MODULE, attribute=None, working_directory=None, location_name=None),
                version=__version__,
                read_only=not launch,
            )
        )
        if daemon:
            shown = ["--workspace", str(workspace)] if workspace else ["--module-name", MODULE]
            stack.enter_context(_child([sys.executable, "-m", "dagster._daemon", "run", *shown], folder))
        inner = create_app_from_workspace_process_context(context)
        app = Guarded(inner, hosts=hosts, password=password)
        uvicorn.run(app, host=host, port=port, log_level="warning", server_header=False)  # pyright: ignore[reportArgumentType]  # ASGI's types are wider


@contextmanager
def _ending() -> Generator[None]:
    """SIGTERM ends the block as Ctrl-C does, so that what it opened is closed."""

    def end(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _child(command: list[str], folder: Path) -> Generator[None]:
    """A process that ends with the block."""
    running = subprocess.Popen(
        command, cwd=folder, start_new_session=True
    )  # our own interpreter; Ctrl-C is ours to pass
    try:
        yield
    finally:
        running.terminate()
        try:
            running.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
