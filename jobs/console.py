"""What the CLI prints."""

import json
import sys
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING, Any

import msgspec
from rich.console import Console
from rich.table import Table

from quant_assets.errors import ConfigurationError
from quant_assets.ports import Progress
from quant_assets.records import StageReport

if TYPE_CHECKING:
    import polars as pl

    from jobs.live import Step
    from quant_assets.signals.replay import Replay
    from quant_assets.today.status import Status

console = Console(soft_wrap=False)
COLOURS = {"done": "green", "empty": "yellow", "refused": "red", "due": "yellow", "waiting": "dim", "blocked": "red"}
SHOWN = 12  # numbers of an asset on one line


def say(text: str) -> None:
    """One line to a person."""
    console.print(text, highlight=False, soft_wrap=True)


def as_json(value: Any) -> None:
    """One JSON document to a script."""
    sys.stdout.write(msgspec.json.encode(value, enc_hook=str).decode() + "\n")


@contextmanager
def progress() -> Generator[Progress]:
    """A bar on stderr with what is being done and how long it still takes."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    with Bar(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("…", total=None)

        def tick(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total, description=what)

        yield tick


def _numbers(numbers: Iterable[tuple[str, object]]) -> str:
    shown = [f"{k} {v:,.6g}" if isinstance(v, float) else f"{k} {v}" for k, v in numbers if isinstance(v, (int, float, str)) and not isinstance(v, bool) and v != ""]
    return ", ".join(shown[:SHOWN])


def show(reports: Sequence[StageReport]) -> None:
    """A line for each stage."""
    for r in reports:
        say(f"[{COLOURS.get(r.state, 'white')}]{r.state:8}[/] {r.stage:22} {_numbers(r.numbers.items())} {r.reason}")
        for note in r.notes[:5]:
            say(f"           {note}")


def steps(ran: "Iterable[Step]", *, as_json: bool) -> "list[Step]":
    """Show each job as it ends, and return them all."""
    out: list[Step] = []
    stderr = Console(stderr=True)
    with stderr.status("starting"):
        for step in ran:
            out.append(step)
            if as_json:
                sys.stdout.write(msgspec.json.encode(step, enc_hook=str).decode() + "\n")
                continue
            say(f"[bold]{step.session} {step.job}[/]")
            for name, metadata in step.assets.items():
                state = str(metadata.get("state", "done"))
                say(f"  [{COLOURS.get(state, 'white')}]{state:8}[/] {name:24} {_numbers((k, v) for k, v in metadata.items() if k != 'state' and not k.startswith('dagster'))}")
    return out


def frame(rows: "pl.DataFrame", output: str, *, title: str = "") -> None:
    """A frame as a table for a person, or csv, json or parquet on standard output."""
    match output:
        case "csv":
            rows.write_csv(sys.stdout)
        case "json":
            as_json(rows.to_dicts())
        case "parquet":
            rows.write_parquet(sys.stdout.buffer)
        case "table":
            table = Table(title=f"{title} ({rows.height:,} rows)", title_justify="left")
            for name, dtype in rows.schema.items():
                table.add_column(name, justify="right" if dtype.is_numeric() else "left", overflow="fold")
            for row in rows.head(200).iter_rows():
                table.add_row(*("" if v is None else f"{v:,.6g}" if isinstance(v, float) else str(v) for v in row))
            console.print(table)
        case _:
            raise ConfigurationError(f"no format is named {output!r}; there are table, csv, json and parquet")


def statuses(answers: "Sequence[Status]", session: date, *, as_json: bool) -> None:
    """The questions of the day and their answers."""
    if as_json:
        sys.stdout.write(json.dumps({"session": session.isoformat(), "fine": all(a.fine for a in answers), "stages": [msgspec.to_builtins(a) for a in answers]}) + "\n")
        return
    fine = all(a.fine for a in answers)
    table = Table(title=f"Session {session}: " + ("[bold green]fine[/]" if fine else "[bold red]somebody has to act[/]"), title_justify="left")
    for column in ("question", "state", "answer", "next command"):
        table.add_column(column, overflow="fold")
    for a in answers:
        table.add_row(a.question, f"[{COLOURS.get(a.state, 'white')}]{a.state}[/]", a.answer, a.next_command)
    console.print(table)


def replayed(answer: "Replay", *, as_json: bool) -> None:
    """Each field of a decision, stored and rebuilt."""
    if as_json:
        sys.stdout.write(msgspec.json.encode({"equal": answer.equal, **msgspec.to_builtins(answer, enc_hook=str)}, enc_hook=str).decode() + "\n")
        return
    table = Table(title=f"{answer.decision_id}  {answer.symbol}  {answer.session}", title_justify="left")
    for column in ("field", "stored", "replayed", "equal"):
        table.add_column(column, overflow="fold")
    for f in answer.fields:
        table.add_row(f.name, str(f.stored), str(f.replayed), "[green]yes[/]" if f.equal else "[bold red]NO[/]")
    console.print(table)
    for note in answer.notes:
        say(note)
    say("[bold green]Equal to the bit.[/]" if answer.equal else "[bold red]The replay differs.[/]")


def traced(walked: Sequence[Any], *, as_json: bool) -> None:
    """The steps of a walk from a fill to the vendor's lines."""
    if as_json:
        sys.stdout.write(msgspec.json.encode([msgspec.to_builtins(s, enc_hook=str) for s in walked], enc_hook=str).decode() + "\n")
        return
    for step in walked:
        values = msgspec.to_builtins(step, enc_hook=str)
        say("[bold]→[/] " + "  ".join(f"{k} {v}" for k, v in values.items()))
