"""`quant doctor`: whether a home is whole, and whether this machine gives the bits that every x86-64 gives."""

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from jobs.commands.options import AsJson, wall

if TYPE_CHECKING:
    from collections.abc import Sequence

    from desk.golden.market import Golden
    from desk.health.check import Check

COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def doctor(
    golden: Annotated[
        bool, typer.Option("--golden/--no-golden", help="Also compute the golden market and compare its bits.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Examine the home whole, a line a check, with the next command for what fails; then this machine's bits.

    Writes nothing. Exit codes: 0 all is well (or only to be looked at), 20 something fails.
    """
    from desk.health.examine import examine
    from desk.workspace import home
    from jobs.console import progress

    with progress() as tick:
        checks = list(examine(home(), wall(), tick))
    failed = any(c.state == "fail" for c in checks)
    if not as_json:
        _list(checks)
    answer: dict[str, object] = {"home": str(home()), "checks": checks}
    if golden:
        failed = _compared(answer, as_json=as_json) or failed
    if as_json:
        sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
    raise typer.Exit(20 if failed else 0)


def _list(checks: "Sequence[Check]") -> None:
    from jobs.console import escape, say

    for check in checks:
        say(f"[{COLOURS[check.state]}]{check.state:5}[/] {escape(check.name):14} {escape(check.found)}")
        if check.next_command:
            say(f"{'':20} next: [bold]{escape(check.next_command)}[/]")
    say("")


def _compared(answer: dict[str, object], *, as_json: bool) -> bool:
    """Compute the golden market, print or add to `answer` what came out; whether bits differ that are promised."""
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
        answer.update({"machine": here, "found": found, "expected": wanted, "first_difference": first})
        return failed
    for name, value in here.items():
        say(f"{name:18} {value}")
    say("")
    for layer, value in found.layers.items():
        same = value == wanted.layers.get(layer)
        say(f"{layer:42} {value}" + ("" if same else f"  [bold red]expected {wanted.layers.get(layer)}[/]"))
    say(f"{'last decision':42} {found.last_decision}\n")
    say(_told(found, first))
    return failed


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
