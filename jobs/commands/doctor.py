"""`quant doctor`: what this machine is, and whether it gives the bits that every x86-64 gives."""

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import typer

from jobs.commands.options import AsJson

if TYPE_CHECKING:
    from desk.golden.market import Golden


def doctor(as_json: AsJson = False) -> None:
    """Check this machine: compute the golden market, and compare its ids and hashes. Exit code 20: bits differ."""
    from desk.golden.market import expected, first_difference
    from desk.golden.processor import processor
    from jobs.console import say, working
    from quant_assets.portable import PROMISED, architecture

    here, wanted = processor(), expected()
    with working("the golden market, from its rows to its decisions", quiet=as_json):
        found = _made()
    first = first_difference(found, wanted)
    failed = bool(first) and architecture() == PROMISED
    if as_json:
        answer = {"machine": here, "found": found, "expected": wanted, "first_difference": first}
        sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
        raise typer.Exit(20 if failed else 0)
    for name, value in here.items():
        say(f"{name:18} {value}")
    say("")
    for layer, value in found.layers.items():
        same = value == wanted.layers.get(layer)
        say(f"{layer:42} {value}" + ("" if same else f"  [bold red]expected {wanted.layers.get(layer)}[/]"))
    say(f"{'last decision':42} {found.last_decision}\n")
    say(_told(found, first))
    raise typer.Exit(20 if failed else 0)


def fingerprint() -> str:
    """One line for the end of a story: the golden market's fingerprint, and whether it is the one of every machine."""
    from desk.golden.market import expected, first_difference

    found = _made()
    return _told(found, first_difference(found, expected()))


def _made() -> "Golden":
    from desk.golden.market import golden

    with tempfile.TemporaryDirectory(prefix="quant-golden-") as folder:
        return golden(Path(folder))


def _told(found: "Golden", first: str) -> str:
    from quant_assets.portable import PROMISED, architecture

    mark = f"Fingerprint of the golden market's decisions: [bold]{found.fingerprint}[/]"
    if not first:
        return f"{mark}: [green]the same bits as everywhere[/]."
    if architecture() != PROMISED:
        where = f"this is {architecture()}, and bits are promised on {PROMISED} alone"
        return f"{mark}: {where} (the first layer that differs: {first})."
    return (
        f"{mark}: [bold red]the bits differ, first in {first}[/]. Compare the versions above with requirements.lock, "
        "then report the processor and this table."
    )
