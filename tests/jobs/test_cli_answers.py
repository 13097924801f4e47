"""What `quant` answers, in which format, and how it reads."""

import io
from collections.abc import Callable
from pathlib import Path

import msgspec
import polars as pl
import pytest

from desk.workspace import Workspace
from quant_assets.tables import BARS, DECISIONS
from tests.jobs.commands import MISSING, THIN, TRADED, Quant, decision, declare, execution
from tests.jobs.small import STRATEGY, deployment


def test_sql_answers_in_every_format(quant: Quant) -> None:
    """JSON, CSV and Parquet hold the same rows; nothing else is on standard output."""
    query = "select session, symbol, close, volume from bars where session = date '2024-05-22' order by symbol"
    as_json, as_csv, as_parquet = (quant("sql", query, "--format", f) for f in ("json", "csv", "parquet"))
    found = pl.read_parquet(io.BytesIO(as_parquet.out))
    assert found.height == 27
    assert pl.read_csv(as_csv.out, schema_overrides=found.schema).equals(found)
    assert as_json.json == [{**r, "session": str(r["session"])} for r in found.to_dicts()]


def test_sql_shows_what_was_known_then(quant: Quant, operated: Path) -> None:
    """A restated row is the old one before its restatement and the new one from then on; an offset is part of the
    time; history has both.
    """
    bars = Workspace.open(operated).store.read(BARS, as_of=None)
    versions = bars.filter(
        pl.len().over("sid", "session") == 2, pl.col("close").n_unique().over("sid", "session") == 2
    ).head(2)
    (sid, old), (session, new), known = (
        versions.select("sid", "close").row(0),
        versions.select("session", "close").row(1),
        versions["known_at"][1],
    )
    query = f"select close from bars where sid = {sid} and session = date '{session}'"

    def close(*as_of: str) -> object:
        return quant("sql", query, "--format", "json", *as_of).json

    assert close() == close("--as-of", known.isoformat()) == [{"close": new}]
    assert close("--as-of", known.replace(tzinfo=None).isoformat()) == [{"close": new}]
    before = known.replace(microsecond=0, tzinfo=None).isoformat()
    assert close("--as-of", f"{before}+00:01") == close("--as-of", f"{before}+05:00") == [{"close": old}]
    assert quant("sql", query.replace("bars", "history.bars"), "--format", "csv").text.count("\n") == 3


@pytest.mark.parametrize(
    "query",
    [
        "select * from read_text('{file}')",
        "select * from '{file}'",
        "copy (select 1) to '{file}.csv'",
        "attach '{file}.db'",
        "select * from read_csv('http://127.0.0.1:9/x.csv')",
        "set enable_external_access = true",
        "load httpfs",
    ],
)
def test_sql_reaches_no_file(query: str, quant: Quant, operated: Path) -> None:
    """Through a query nobody reads or writes a file, attaches a database or reaches the network."""
    before = _kept(operated)
    answer = quant("sql", query.format(file=operated / "deployment.yaml"))
    assert answer.code == 1
    assert any(refusal in answer.err for refusal in ("is not available here", "is not a question", "does not exist"))
    assert _kept(operated) == before


def _kept(folder: Path) -> list[str]:
    """What is in a folder, without what SQLite keeps beside a file for as long as somebody has it open."""
    return sorted(p.name for p in folder.iterdir() if not p.name.endswith(("-wal", "-shm")))


def test_why_tells_the_reason(quant: Quant) -> None:
    """By reason, with what it means; nothing is made up for a session that was not decided."""
    thin = quant("why", str(THIN))
    assert thin.code == 0
    assert "DATA_THIN (NO_TRADE)" in thin.text
    assert "too few members have a bar of the session" in thin.text
    told = quant("why", str(MISSING), "--json").json
    assert isinstance(told, list)
    assert [(r["strategy"], r["verdict"], r["reason"], r["names"]) for r in told] == [
        ("small", "NO_TRADE", "DATA_MISSING", 24)
    ]
    assert "nothing was decided" in quant("why", "2024-06-20").text
    assert quant("why", "2024-06-20", "--json").json == []


def test_quarantine_names_file_line_and_reason(quant: Quant) -> None:
    """Every row that was not let in can be found in the vendor's file."""
    told = quant("quarantine", "list", "--json").json
    assert isinstance(told, list)
    assert len(told) > 10
    for row in told:
        assert row["file"].endswith(".csv")
        assert row["line"] > 1
        assert row["reason"]
        assert row["content"]
    assert len(quant("quarantine", "list", "--limit", "3", "--json").json) == 3  # pyright: ignore[reportArgumentType]


def test_trace_ends_at_a_line_of_a_file(quant: Quant, operated: Path) -> None:
    """From an execution over order, decision and features to the vendor's rows, none of which was known after the
    decision.
    """
    steps = quant("trace", execution(operated), "--json").json
    assert isinstance(steps, list)
    assert [s["table"] for s in steps] == [
        "fills",
        "orders",
        "decisions",
        "promotions",
        "models",
        "scores",
        "features_price_volume",
        "actions",
        "bars",
    ]
    by_table = {s["table"]: s["rows"] for s in steps}
    (decided,), bars = by_table["decisions"], by_table["bars"]
    assert bars
    assert all(b["file"] and b["line"] > 1 and b["known_at"] <= decided["as_of"] for b in bars)
    assert f"{bars[0]['file']}:{bars[0]['line']}  " in quant("trace", execution(operated)).text


def test_replay_shows_equal_values_once(quant: Quant, operated: Path) -> None:
    """Each field of the decision stands there once, ids unbroken, on 80 columns."""
    answer = quant("replay", decision(operated))
    assert answer.code == 0
    assert "Equal to the bit." in answer.text
    row = (
        Workspace.open(operated)
        .store.read(DECISIONS, as_of=None, where={"decision_id": decision(operated)})
        .row(0, named=True)
    )
    for field in ("decision_set_id", "inputs_hash", "model_id", "strategy_hash", "score"):
        assert len([line for line in answer.text.splitlines() if line.split() == [field, str(row[field])]]) == 1, field
    assert max(map(len, answer.text.splitlines()[:-2])) <= 80


def test_replay_shows_both_where_they_differ(own: Path, at: Callable[[Path], Quant]) -> None:
    """Under another declaration the replay says so: both values, and exit code 1."""
    other = deployment(strategy=msgspec.structs.replace(STRATEGY, holdings=4))
    declare(own, other)
    answer = at(own)("replay", decision(own))
    assert answer.code == 1
    assert "The replay differs." in answer.text
    assert [line.split() for line in answer.text.splitlines() if "0.125" in line or "0.2" in line][:2] == [
        ["target_weight", "stored", "0.125"],
        ["replayed", "0.2"],
    ]
    told = at(own)("replay", decision(own), "--json")
    assert told.code == 1
    assert isinstance(told.json, dict)
    assert told.json["equal"] is False


def test_no_id_is_broken_over_lines(quant: Quant, operated: Path) -> None:
    """Where a table is too wide for the terminal its rows stand below each other; a narrow one stays a table,
    however long its text.
    """
    fills = quant("sql", "select * from fills limit 2").text
    assert f"exec_id          {execution(operated)}" in [line.rstrip() for line in fills.splitlines()]
    narrow = quant("sql", "select 1 as n, repeat('words of a long text ', 20) as said").text
    assert "┃ n ┃ said" in narrow
    for text in (
        fills,
        narrow,
        quant("today").text,
        quant("why", str(TRADED)).text,
        quant("trace", execution(operated)).text,
        quant("quarantine", "list").text,
    ):
        assert max(map(len, text.splitlines())) <= 80


def test_what_others_wrote_is_no_markup(own: Path, at: Callable[[Path], Quant]) -> None:
    """A reason or a vendor's row with brackets is shown as it is."""
    said, quant = "[/x] [red]", at(own)
    assert said in quant("sql", f"select '{said}' as a").text
    assert quant("kill-switch", "on", "--by", "ann [x]", "--reason", said).code == 0
    assert said in quant("kill-switch", "show").text
    assert f"ON: {said} " in quant("today").text
    shown = {"on": True, "reason": said, "scope": "all"}
    assert quant("kill-switch", "show", "--json").json == {**shown, "switches": [shown]}


def test_a_spinner_turns_on_stderr_only(quant: Quant, operated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal one sees that it works; a script that asks for JSON gets JSON and nothing else."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    for argv in (["why", str(TRADED)], ["sql", "select 1"], ["replay", decision(operated)]):
        answer = quant(*argv)
        assert "…" in answer.err
        assert "…" not in answer.text
    for argv in (
        ["why", str(TRADED), "--json"],
        ["sql", "select 1", "--format", "json"],
        ["replay", decision(operated), "--json"],
    ):
        answer = quant(*argv)
        assert answer.err == ""
        assert answer.json
