"""`quant check`: a deployment file read whole, its parts tried on for reading alone."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.commands.options import AsJson

if TYPE_CHECKING:
    from desk.document.reading import Reading


def check(
    file: Annotated[
        Path | None, typer.Argument(help="By default the deployment that other commands would take.")
    ] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Only print the JSON Schema of the file, for an editor.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List every fault of a deployment file; if it has none, open each source and broker for reading. Writes nothing.

    Exit codes: 0 all is fine, 1 there are faults.
    """
    from desk import deployment as file_of
    from desk.workspace import deployment_file, home
    from quant_assets.errors import ConfigurationError

    if schema:
        typer.echo(file_of.schema(), nl=False)
        raise typer.Exit
    path = file or deployment_file(home())
    found, deployment = file_of.examine(path)
    if deployment is None:
        _faults(path, found, as_json=as_json)
        raise typer.Exit(1)
    from datetime import UTC, datetime

    from desk.checkup import checkup
    from desk.workspace import Workspace
    from jobs.console import findings

    told = list(checkup(Workspace(home(), deployment), datetime.now(UTC)))
    findings(told, str(path), as_json=as_json)
    if refused := [f for f in told if f.state == "refused"]:
        raise ConfigurationError(
            f"{len(refused)} of {len(told)} things in {path} cannot be used as they are: "
            f"{', '.join(f'{f.what} {f.name}' for f in refused)}; the lines above show why, and what to do"
        )


def _faults(path: Path, found: "Reading", *, as_json: bool) -> None:
    from desk.document.excerpts import excerpt
    from jobs.console import faults

    text = path.read_text(encoding="utf-8-sig")
    faults([(f, excerpt(text, found, f)) for f in found.faults], str(path), as_json=as_json)
