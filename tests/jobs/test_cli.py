"""`quant …`: what it loads, with which exit code it ends, and what a person does with it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest

from desk import lock
from jobs import cli
from jobs.live import Exit, Step, outcome
from quant_assets.records import Break
from quant_assets.tables import LISTINGS
from tests.jobs.commands import FILLED, THIN, TRADED, Quant, decision, fails
from tests.jobs.small import CUTS, LIVE, PAPER, workspace

HEAVY = (
    "dagster",
    "pandas",
    "mlflow",
    "great_expectations",
    "sklearn",
    "lightgbm",
    "altair",
    "exchange_calendars",
    "ccxt",
    "ib_async",
    "numba",
    "llvmlite",
    "polars_talib",
)

# Runs the command lines one after the other as a shell would, and prints the exit code of each and which libraries it
# loaded.
LOADED = """
import contextlib, io, json, sys
told = []
for argv in json.loads(sys.argv[1]):
    before, code = set(sys.modules), None
    sys.argv = ["quant", *argv]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            from jobs.cli import main
            main()
        except SystemExit as end:
            code = end.code
    told.append([argv[0], code, sorted({m.split(".")[0] for m in set(sys.modules) - before} & set(HEAVY))])
print(json.dumps(told))
"""


def loaded(heavy: Sequence[str], home: Path, *lines: Sequence[str]) -> list[list[object]]:
    """Command, exit code and libraries loaded, for each command line in turn, in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", f"HEAVY = {heavy!r}\n{LOADED}", json.dumps(lines)],
        env={**os.environ, "QUANT_HOME": str(home)},
        cwd=Path(cli.__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_help_is_light(tmp_path: Path) -> None:
    """Neither the package nor the help of a command loads a heavy library."""
    code = f"import sys, quant_assets; print(sorted({{m.split('.')[0] for m in sys.modules}} & set({HEAVY!r})))"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], cwd=Path(cli.__file__).parents[1], capture_output=True, text=True, check=True
        ).stdout
        == "[]\n"
    )
    assert loaded(HEAVY, tmp_path, ["--help"], ["run", "daily", "--help"]) == [["--help", 0, []], ["run", 0, []]]


def test_listing_feature_sets_loads_no_compiler() -> None:
    """To know all sets and the fingerprint of each, nothing is compiled, nor is what compiles loaded: that takes
    seconds.
    """
    code = """
import sys
from quant_assets.features.catalogue import find_sets
heavy = {"numba", "llvmlite", "dagster", "lightgbm", "altair"}
print(len({f.fingerprint for f in find_sets().values()}), sorted(heavy & set(sys.modules)))
"""
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(cli.__file__).parents[1], capture_output=True, text=True, check=True
    ).stdout.split(maxsplit=1)
    assert (int(said[0]) > 10, said[1]) == (True, "[]\n")


def test_a_day_loads_few_heavy_libraries(own: Path) -> None:
    """today, sql and why load none; a daily run loads Dagster, and pandas for its own copy of LightGBM."""
    quick = [["today", "--session", str(FILLED)], ["sql", "select count(*) from bars"], ["why", str(TRADED)]]
    seconds = [name for name in HEAVY if name != "polars_talib"]  # milliseconds, for the sets that are declared with it
    loaded(seconds, own, *quick)  # from here on the calendar is kept
    assert loaded(seconds, own, *quick) == [[line[0], 0, []] for line in quick]
    ((_, code, heavy),) = loaded(seconds, own, ["run", "daily"])
    assert code in {Exit.DONE, Exit.NOTHING_TO_TRADE, Exit.BLOCKED}
    assert heavy == ["dagster", "pandas"]


def test_the_operators_commands_never_load_dagster(own: Path) -> None:
    """today, sql, replay and kill-switch answer, with their exit codes, without Dagster, MLflow, Great Expectations."""
    lines = [
        ["kill-switch", "show"],
        ["kill-switch", "on", "--by", "ann", "--reason", "drill"],
        ["kill-switch", "off", "--by", "ann", "--reason", "over"],
        ["today", "--session", str(FILLED)],
        ["sql", "select count(*) from bars"],
        ["replay", decision(own)],
    ]
    assert loaded(("dagster", "mlflow", "great_expectations"), own, *lines) == [[line[0], 0, []] for line in lines]


@pytest.mark.parametrize(
    ("deliveries", "code"),
    [
        ([], Exit.DONE),
        ([{"state": "done", "orders": 8, "sent": 8}], Exit.DONE),
        ([{"state": "done", "orders": 8, "sent": 0}], Exit.DONE),  # run again
        ([{"state": "empty", "orders": 0, "sent": 0}], Exit.NOTHING_TO_TRADE),
        ([{"state": "empty", "orders": 0}, {"state": "done", "orders": 3}], Exit.DONE),
        ([{"state": "refused"}], Exit.BLOCKED),
        ([{"state": "refused"}, {"state": "done", "orders": 3}], Exit.BLOCKED),
    ],
)
def test_the_outcome_of_deliveries(deliveries: list[dict[str, object]], code: Exit) -> None:
    """Refused anywhere is blocked, no order at all is nothing to trade, and a rerun that finds its orders is done."""
    ran = [
        Step(job, TRADED, assets)
        for d in deliveries
        for job, assets in (("daily", {"decisions": {"state": "refused"}}), ("deliver", {"orders": d}), ("today", {}))
    ]
    assert outcome(ran) == code


def test_today_says_whether_somebody_has_to_act(quant: Quant) -> None:
    """0 where all is fine, 20 where it is not, with the command to give next on a line that can be copied."""
    fine, thin = quant("today"), quant("today", "--session", str(THIN))
    assert (fine.code, thin.code) == (0, 20)
    assert f"Session {FILLED}: fine" in fine.text
    assert f"  quant why {THIN}" in thin.text.splitlines()
    told = quant("today", "--session", str(THIN), "--json").json
    assert isinstance(told, dict)
    assert (told["session"], told["fine"]) == (str(THIN), False)
    assert {"blocked"} == {s["state"] for s in told["stages"] if s["name"] == "data"}


@pytest.mark.parametrize(
    "argv",
    [
        ["why", "tomorrow"],
        ["why"],
        ["today", "--session", "2024-13-01"],
        ["sql", "select 1", "--as-of", "yesterday"],
        ["backfill", "--from", "x"],
        ["kill-switch", "on", "--reason", "x"],
        ["breaks", "resolve", "b1", "--reason", "x"],
        ["dance"],
    ],
)
def test_what_is_not_understood_is_a_usage_error(argv: list[str], quant: Quant) -> None:
    """A bad date, a missing name of who acts, an unknown command: exit code 2, and what was expected."""
    answer = quant(*argv)
    assert answer.code == Exit.USAGE
    assert "--help" in answer.err
    assert answer.text == ""


def test_our_errors_are_one_line(quant: Quant) -> None:
    """What is wrong and what to do, exit code 1, no traceback."""
    fails(quant("replay", "0f"), 1, "UnknownDecision: no decision has the id '0f'", "nearest")
    fails(quant("trace", "0f"), 1, "no execution 0f")
    fails(quant("report", "--book", "nobody"), 1, "no book is named 'nobody'", "paper")
    fails(quant("sql", "select nothing\nfrom bars"), 1, "not found", "history.<table>")
    fails(quant("sql", "select 1", "--format", "pdf"), 1, "csv, json and parquet")
    fails(quant("run", "daily", "--session", "2024-05-20"), 1, "2024-05-20 lies before 2024-05-21", "quant backfill")


def test_the_kill_switch_blocks_the_day(own: Path, at: Callable[[Path], Quant]) -> None:
    """On, with who and why in the audit: status and today say blocked, with the command that releases; off again, all
    is fine.
    """
    quant = at(own)
    assert quant("kill-switch", "on", "--by", "ann", "--reason", "strange prices").code == 0
    assert quant("kill-switch", "show").code == 20
    today = quant("today")
    assert today.code == 20
    assert "blocked" in today.text
    assert "ON: strange prices" in today.text
    assert "  quant kill-switch off --by NAME --reason TEXT" in today.text.splitlines()
    assert quant("kill-switch", "off", "--by", "bob", "--reason", "understood").code == 0
    assert (quant("kill-switch", "show").code, quant("today").code) == (0, 0)
    acts = [(a["act"], a["by"], a["reason"]) for a in workspace(own).ledger.audit.acts()]
    assert acts == [("kill-switch on", "ann", "strange prices"), ("kill-switch off", "bob", "understood")]
    told = [json.loads(line)["event"] for line in (own / "notifications.jsonl").read_text().splitlines()]
    assert told[-2:] == ["The kill switch is ON, by ann", "The kill switch is off, by bob"]
    fails(quant("kill-switch", "on", "--by", " ", "--reason", "x"), 1, "say who does it")


def test_a_break_is_resolved_by_somebody(own: Path, at: Callable[[Path], Quant]) -> None:
    """It is listed and blocks until somebody puts a name to it; the act is on record, and cannot be done twice."""
    quant, ledger = at(own), workspace(own).ledger
    ledger.breaks.open(Break("b1", PAPER.name, FILLED, "position", "7", "100", "90"), now=CUTS.of(FILLED))
    (found,) = quant("breaks", "list", "--json").json  # pyright: ignore[reportGeneralTypeIssues]
    assert (found["break_id"], found["kind"], found["ours"], found["theirs"]) == ("b1", "position", "100", "90")
    assert quant("today").code == 20
    assert quant("breaks", "resolve", "b1", "--reason", "x").code == Exit.USAGE
    assert quant("breaks", "resolve", "b1", "--by", "ann", "--reason", "a late correction").code == 0
    assert [(a["act"], a["subject"], a["by"], a["reason"]) for a in ledger.audit.acts()] == [
        ("resolve break", "b1", "ann", "a late correction")
    ]  # pyright: ignore[reportAttributeAccessIssue]
    assert quant("breaks", "list", "--json").json == []
    assert len(quant("breaks", "list", "--all", "--json").json) == 1  # pyright: ignore[reportArgumentType]
    assert quant("today").code == 0
    fails(quant("breaks", "resolve", "b1", "--by", "ann", "--reason", "again"), 1, "no open break b1")


def test_a_person_books_by_hand(own: Path, at: Callable[[Path], Quant]) -> None:
    """Shares and cash by symbol, with who and why; it is listed, and what cannot be booked is one sentence."""
    quant, ws = at(own), workspace(own)
    symbol = ws.store.read(LISTINGS, as_of=None)["symbol"][0]
    about = ("ledger", "book", "--book", PAPER.name, "--session", str(FILLED), "--by", "ann", "--reason", "a letter")
    booked = quant(*about, "--symbol", symbol, "--quantity", "-3", "--cash", "100.25")
    assert (booked.code, "trades again" in booked.text) == (0, True), booked.err
    (entry,) = quant("ledger", "list", "--json").json  # pyright: ignore[reportGeneralTypeIssues]
    assert (entry["quantity"], entry["amount"], entry["by"], entry["reason"]) == (-3, "100.25", "ann", "a letter")
    fails(quant(*about), 1, "moves nothing")
    fails(quant(*about, "--symbol", "NOSUCH", "--quantity", "1"), 1, "0 names trade as 'NOSUCH'")
    fails(quant(*about, "--sid", "99", "--quantity", "1"), 1, "no listing has sid 99")
    fails(quant(*about[:3], "research", *about[4:], "--cash", "1"), 1, "research")
    assert quant(*about, "--cash", "a lot").code == Exit.USAGE
    assert len(quant("ledger", "list", "--json").json) == 1  # pyright: ignore[reportArgumentType]


def test_a_locked_home_is_an_error_that_says_so(
    own: Path, at: Callable[[Path], Quant], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another process works on the home nothing is written, and the lock goes with that process, however it
    ends.
    """
    monkeypatch.setattr(lock, "only_run", partial(lock.only_run, seconds=0.2))
    quant = at(own)
    hold = f"""
from pathlib import Path
from desk.lock import only_run
with only_run(Path({str(own)!r})):
    print(flush=True)
    input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", hold], cwd=Path(cli.__file__).parents[1], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        fails(quant("ingest", "--to", str(LIVE[4])), 1, "another run works on", "0.2 s")
        other.kill()
    done = quant("ingest", "--to", str(LIVE[4]))
    assert done.code == 0
    assert "captures 1" in done.text
