"""What the CLI prints."""

import json
import sys
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import msgspec
from rich.console import Console, ConsoleOptions, RenderableType
from rich.errors import MarkupError
from rich.markup import escape
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from quant_assets.characters import json_text, one_line, spreadsheet, visible
from quant_assets.errors import ConfigurationError
from quant_assets.ports import Progress
from quant_assets.records import StageReport, Switch
from resources.secrets import without_secrets

if TYPE_CHECKING:
    import polars as pl

    from desk.checkup import Finding
    from desk.document.reading import Fault
    from jobs.live import Step
    from jobs.next_step import Next
    from quant_assets.post_trade.lineage import Station
    from quant_assets.signals.replay import Field, Replay
    from quant_assets.today.status import Status


class Terminal(Console):
    """A console on which text that others wrote is shown and never obeyed: hidden characters are printed as their
    escapes, and `:words:` stay words.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(emoji=False, **settings)

    def render_str(self, text: str, **settings: Any) -> Text:
        """See Rich."""
        return super().render_str(visible(without_secrets(text)), **settings)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """See Rich. What Rich itself sends to the terminal are control segments."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=visible(without_secrets(segment.text)))


console = Terminal(soft_wrap=False)
COLOURS = {"done": "green", "empty": "yellow", "refused": "red", "due": "yellow", "waiting": "dim", "blocked": "red"}
SHOWN = 12  # numbers of an asset on one line
ROWS = 200  # of a table for a person
WHOLE = 32  # characters that are never broken over lines: an id
FOLDED = 24  # the least width of a column that is
LOG_SECONDS = 5.0  # between two lines of progress in a log file
STATIONS = 5  # rows of a step on the way back


def say(text: str) -> None:
    """One line to a person, in Rich's markup: `escape` what somebody else wrote. What is no markup is printed as it
    is.
    """
    text = visible(without_secrets(text))
    try:
        shown = Text.from_markup(text, emoji=False)
    except MarkupError:
        shown = Text(text)
    console.print(shown, highlight=False, soft_wrap=True)


def switches(found: Sequence[Switch], *, as_json: bool) -> None:
    """Each kill switch that is on, and why; or that all are off."""
    on = [s for s in found if s.on]
    if as_json:
        first = on[0] if on else found[0]
        _json({"on": first.on, "reason": first.reason, "scope": first.scope, "switches": found})
        return
    for switch in on:
        of = "" if switch.scope == "all" else f" for {switch.scope}"
        say(f"The kill switch{escape(of)} is [bold red]ON[/]: {escape(switch.reason)}.")
    if not on:
        say("The kill switch is [bold green]off[/].")


def _json(value: object) -> None:
    """One document on a line, to a script."""
    sys.stdout.write(json_text(without_secrets(msgspec.json.encode(value, enc_hook=str).decode())) + "\n")


def working(what: str, *, quiet: bool = False) -> AbstractContextManager[object]:
    """A spinner on stderr while something is worked out; none on a pipe, and none where `quiet`."""
    return nullcontext() if quiet else Terminal(stderr=True).status(f"{what} …")


@contextmanager
def progress() -> Generator[Progress]:
    """A bar on stderr with what is being done and how long it still takes; in a log file a line now and then."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    stderr = Terminal(stderr=True)
    if not stderr.is_terminal:
        yield _logged()
        return
    columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Bar(*columns, console=stderr, transient=True) as bar:
        task = bar.add_task("…", total=None)

        def tick(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total or None, description=what)

        yield tick


def _logged() -> Progress:
    """Lines on stderr: the first at once, then one every `LOG_SECONDS`."""
    last = float("-inf")

    def tick(done: int, total: int, what: str) -> None:
        nonlocal last
        if (now := time.monotonic()) - last >= LOG_SECONDS:
            last = now
            of = f"{done:,} of {total:,}: " if total else ""
            sys.stderr.write(f"{datetime.now(UTC):%H:%M:%S} {of}{one_line(what)}\n")
            sys.stderr.flush()

    return tick


FORMATS = {
    ",.2f": {"equity", "cash", "pnl", "fees", "traded", "notional", "shortfall", "delay", "trading", "opportunity"},
    ".1%": {"coverage", "decile_spread"},
    ".4f": {"ic", "ic_error", "median_psi", "largest_psi"},
    ".2f": {"ic_t"},
}
"""How numbers of a stage are written, by their names; all others are counts."""
_FORMAT = {name: form for form, names in FORMATS.items() for name in names}


def number(name: str, value: object) -> str:
    """A number of a stage as a person reads it: money in cents, shares in per cent, counts whole."""
    if not isinstance(value, int | float):
        return str(value)
    form = _FORMAT.get(name) or (",.0f" if float(value).is_integer() else ",.6g")
    return f"{value:{form}}"


def _numbers(numbers: Iterable[tuple[str, object]]) -> str:
    one_line = [
        (k, v)
        for k, v in numbers
        if isinstance(v, (int, float, str)) and not isinstance(v, bool) and v != "" and "\n" not in str(v)
    ]
    return ", ".join(f"{k} {number(k, v)}" for k, v in one_line[:SHOWN])


def _stages(rows: Iterable[tuple[str, str, str]]) -> Table:
    """State, name and numbers of stages, in columns that fit the terminal."""
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, overflow="fold", max_width=28)
    table.add_column(overflow="fold")
    for state, name, text in rows:
        table.add_row(Text(state, style=COLOURS.get(state, "white")), Text(name), Text(text))
    return table


def show(reports: Sequence[StageReport]) -> None:
    """A row for each stage, with its first notes below."""
    for r in reports:
        numbers = _numbers({**r.numbers, **r.measures}.items())
        console.print(_stages([(r.state, r.stage, f"{numbers} {r.reason}".strip())]))
        for note in r.notes[:5]:
            say(f"         {escape(note)}")


def steps(ran: "Iterable[Step]", *, as_json: bool) -> "list[Step]":
    """Show each job as it ends, and return them all."""
    out: list[Step] = []
    stderr = Terminal(stderr=True)
    with stderr.status("starting"):
        for step in ran:
            out.append(step)
            if as_json:
                _json(step)
                continue
            say(f"[bold]{step.session} {step.job}[/]")
            shown = {k: {n: v for n, v in m.items() if not n.startswith("dagster")} for k, m in step.assets.items()}
            console.print(_stages((str(m.pop("state", "done")), k, _numbers(m.items())) for k, m in shown.items()))
    return out


def frame(rows: "pl.DataFrame", output: str, *, title: str = "") -> None:
    """A frame as a table for a person, or csv, json or parquet on standard output."""
    match output:
        case "csv":
            text = spreadsheet(rows).write_csv()
            sys.stdout.write(visible(text) if sys.stdout.isatty() else text)
        case "json":
            _json(rows.to_dicts())
        case "parquet":
            rows.write_parquet(sys.stdout.buffer)
        case "table":
            say(
                f"[italic]{escape(title)} ({rows.height:,} "
                f"rows{f', the first {ROWS}' if rows.height > ROWS else ''})[/]"
            )
            _grid(
                {name: dtype.is_numeric() for name, dtype in rows.schema.items()},
                [[_cell(v) for v in row] for row in rows.head(ROWS).iter_rows()],
            )
        case _:
            raise ConfigurationError(f"no format is named {output!r}; there are table, csv, json and parquet")


def table(rows: Sequence[Mapping[str, str]]) -> None:
    """Rows of the same names as a table; where that is too wide, a block for each."""
    if rows:
        _grid(dict.fromkeys(rows[0], False), [list(row.values()) for row in rows])


def _cell(value: object) -> str:
    return "" if value is None else f"{value:,.6g}" if isinstance(value, float) else str(value)


def _grid(columns: Mapping[str, bool], rows: Sequence[Sequence[str]]) -> None:
    """The rows as a table of the columns (name, whether to align right), in which no id is broken; where that is
    too wide, a block for each row.
    """
    columns = {one_line(name): right for name, right in columns.items()}
    rows = [[one_line(without_secrets(cell)) for cell in row] for row in rows]
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    if (
        sum(w if w <= WHOLE else FOLDED for w in widths) + 3 * len(widths) + 1 > console.width
    ):  # 3: a line and a space on both sides
        for row in rows:
            console.rule(style="dim")
            _pairs(zip(columns, row, strict=True))
        return
    table = Table()
    for (name, right), width in zip(columns.items(), widths, strict=True):
        table.add_column(Text(name), justify="right" if right else "left", no_wrap=width <= WHOLE, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)


def _pairs(values: Iterable[tuple[str, "str | Text"]]) -> None:
    """Names and values, one below the other."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in values:
        grid.add_row(Text(name), Text(visible(without_secrets(value))) if isinstance(value, str) else value)
    console.print(grid)


def one(row: "Mapping[str, object]", why: str, others: "pl.DataFrame", *, as_json: bool, title: str) -> None:
    """A row, name by name, a sentence about it, and the rows beside it."""
    if as_json:
        _json({**row, "explanation": why, "others": others.to_dicts()})
        return
    _pairs((k, str(v)) for k, v in row.items() if v is not None)
    say(escape(why))
    if others.height:
        frame(others, "table", title=title)


def begin_with(step: "Next", session: date, *, as_json: bool) -> None:
    """The one thing to do in a home whose first session was not run yet."""
    if as_json:
        _json({"session": session, "fine": False, "stages": (), "next": step})
        return
    say(f"{escape(step.text[0].upper() + step.text[1:])}. Next:")
    say(f"  [bold]{escape(step.command)}[/]")


def statuses(
    by_lane: "Sequence[tuple[str, Sequence[Status]]]", session: date, step: "Next | None", *, as_json: bool
) -> None:
    """The questions of the day and their answers, of each lane under its title (empty where there is one lane), then
    the commands to give next, each on a line that can be copied.

    `step`: what to do where all is fine.
    """
    answers = [a for _, some in by_lane for a in some]
    if as_json:
        _json({"session": session, "fine": all(a.fine for a in answers), "stages": answers, "next": step})
        return
    say(
        f"Session {session}: "
        + ("[bold green]fine[/]" if all(a.fine for a in answers) else "[bold red]somebody has to act[/]")
    )
    table = Table("question", "state", "answer")
    for title, some in by_lane:
        if title:
            table.add_section()
            table.add_row(Text(title, style="bold"))
        for a in some:
            table.add_row(Text(a.question), Text(a.state, style=COLOURS.get(a.state, "white")), Text(a.answer))
    console.print(table)
    if step:
        say(escape(f"{step.text[0].upper()}{step.text[1:]}."))
    asked = [a.next_command for a in answers] + [step.command if step else ""]
    if commands := list(dict.fromkeys(c for c in asked if c)):
        say("Next:")
    for command in commands:
        say(f"  [bold]{escape(command)}[/]")


def faults(found: "Sequence[tuple[Fault, str]]", file: str, *, as_json: bool) -> None:
    """Each fault of a deployment file, with the line in which it stands."""
    if as_json:
        _json([fault for fault, _ in found])
        return
    for fault, line in found:
        say(f"[bold]{escape(f'{file}:{fault.line}:{fault.column}')}[/] {escape(fault.path)}")
        _indented(fault.what, 4, style="red")
        _indented(line, 4, style="dim")
    say(f"[bold red]{len(found)} fault{'s' if len(found) > 1 else ''}[/]: nothing runs with this file.")


def findings(found: "Sequence[Finding]", file: str, *, as_json: bool) -> None:
    """What a deployment's parts are found to be, and what would run when."""
    if as_json:
        _json(found)
        return
    say(f"{escape(file)}")
    for one in found:
        colour = "green" if one.state == "fine" else "bold red"
        say(f"[{colour}]{one.state:8}[/] {one.what:9} [bold]{escape(one.name)}[/]  {escape(one.says)}")


def explained(
    answers: "Mapping[str, pl.DataFrame]", left_out: "Mapping[str, Sequence[str]]", session: date, *, as_json: bool
) -> None:
    """The reasons of a session for each strategy, with the numbers behind them; then what was `left_out` by book."""
    if as_json:
        _json([row for rows in answers.values() for row in rows.to_dicts()])
        return
    for strategy, rows in answers.items():
        sets = ", ".join(rows["decision_set_id"].unique(maintain_order=True))
        say(
            f"[bold]{escape(strategy)} {session}[/]: "
            + (f"{rows['names'].sum()} names, decision set {sets}" if sets else "nothing was decided")
        )
        _reasons(rows)
    for book, lines in left_out.items():
        if lines:
            say(f"[bold]{escape(book)} {session}[/]: not sent")
        for line in lines:
            _indented(line, 8)


def _reasons(rows: "pl.DataFrame") -> None:
    for r in rows.iter_rows(named=True):
        weight = f", weight {r['target_weight']:.4g}" if r["target_weight"] else ""
        say(f"{r['names']:6,}  [bold]{escape(r['reason'])}[/] ({escape(r['verdict'])}{weight})")
        _indented(r["text"], 8)
        _indented(_flat(r["detail"]), 8, style="dim")


def _indented(text: str, by: int, style: str = "") -> None:
    if text:
        console.print(Padding(Text(text, style=style), (0, 0, 0, by), expand=False))


def _flat(value: object) -> str:
    """A value in words: a JSON object is its names and values."""
    found: Any = json.loads(value) if isinstance(value, str) and value.startswith("{") else value
    if not isinstance(found, dict):
        return str(found)
    said = [f"{k} {v}" for k, v in found.items() if v is not None]
    return ", ".join(said) if max(map(len, said), default=0) <= WHOLE else "\n".join(said)


def replayed(answer: "Replay", *, as_json: bool) -> None:
    """Each field of a decision: its value, or where they differ the one stored and the one rebuilt."""
    if as_json:
        _json({"equal": answer.equal, **msgspec.structs.asdict(answer)})
        return
    say(f"[bold]{escape(answer.decision_id)}[/]  {escape(answer.symbol)}  {answer.session}")
    _pairs((f.name, _both(f)) for f in answer.fields)
    for note in answer.notes:
        say(escape(note))
    if answer.equal:
        say("[bold green]Equal to the bit.[/]")
    elif answer.elsewhere:
        say(f"[bold yellow]Another architecture: {escape(answer.elsewhere)}.[/]")
    else:
        say("[bold red]The replay differs.[/]")


def _both(field: "Field") -> Text:
    if field.equal:
        return Text(_flat(field.stored))
    return Text(f"stored   {field.stored}\nreplayed {field.replayed}", style="bold red")


def traced(walked: "Sequence[Station]", *, as_json: bool) -> None:
    """The steps of a walk from a fill to the vendor's lines; of many rows the first."""
    if as_json:
        _json(walked)
        return
    for step in walked:
        say(f"[bold]→ {step.table}[/]  {step.meaning}" + ("" if step.rows else ": none"))
        for row in step.rows[:STATIONS]:
            at = f"{row['file']}:{row['line']}  " if "file" in row else ""
            told = {
                k: said
                for k, v in row.items()
                if k not in {"file", "line"} and (said := _cell(v)) and not said.startswith("{")
            }
            _indented(at + ", ".join(f"{k} {v}" for k, v in told.items()), 4)
        if len(step.rows) > STATIONS:
            say(f"    and {len(step.rows) - STATIONS} more; --json has them all")
