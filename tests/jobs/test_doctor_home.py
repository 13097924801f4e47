"""`quant doctor` on whole and on damaged homes: what is wrong, and the next command."""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from desk.backup.make import backup
from desk.health.check import Check
from desk.health.examine import examine
from desk.ledger import ledger_of
from desk.lock import only_run
from resources.ledger.open import FILE
from tests.jobs.commands import Quant, decision
from tests.jobs.small import PAPER

At = Callable[[Path], Quant]
VENUE = f"brokers/{PAPER.account}.sqlite"
NOW = datetime.now(UTC) + timedelta(hours=1)  # later than everything that is stored


@pytest.fixture
def whole(own: Path, tmp_path: Path) -> Path:
    """A home that is backed up and its owner's alone."""
    own.chmod(0o700)
    for n in range(3):
        ledger_of(own).audit.record("drill", str(n), by="ann", reason="practice", now=NOW - timedelta(hours=n + 1))
    for path in (own / "tables", own / FILE, own / VENUE):
        path.chmod(path.stat().st_mode & 0o700)
    backup(own, tmp_path / "backups", NOW - timedelta(days=1))
    return own


def flipped(path: Path, at: float = 0.5, width: int = 64) -> None:
    """Bytes in the middle of a file are others."""
    content = bytearray(path.read_bytes())
    begin = int(len(content) * at)
    for n in range(begin, min(begin + width, len(content))):
        content[n] ^= 0xFF
    path.write_bytes(content)


def first(home: Path, pattern: str) -> Path:
    """The first file of the home that matches."""
    return min(home.glob(pattern))


def last(home: Path, pattern: str) -> Path:
    """The last file of the home that matches."""
    return max(home.glob(pattern))


def executed(path: Path, statement: str) -> None:
    """A statement carried out on a database behind everybody's back."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(statement)


RESTORE = "quant restore"
BARS, NAV = "tables/bars", "tables/nav"
HARMS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "ledger deleted": (lambda h: [p.unlink() for p in h.glob(f"{FILE}*")], "ledger", RESTORE),
    "ledger flipped": (lambda h: flipped(h / FILE, 0.0), "ledger", RESTORE),
    "a ledger table dropped": (lambda h: executed(h / FILE, "DROP TABLE fees"), "ledger", RESTORE),
    "an act deleted": (lambda h: executed(h / FILE, "UPDATE audit SET by = 'eve'"), "acts", "quant audit verify"),
    "venue deleted": (lambda h: (h / VENUE).unlink(), "venue P", RESTORE),
    "venue cut off": (lambda h: os.truncate(h / VENUE, 5000), "venue P", RESTORE),
    "table deleted": (lambda h: shutil.rmtree(h / "tables/bars"), "table bars", RESTORE),
    "data file flipped": (lambda h: flipped(first(h, f"{BARS}/year=*/*.parquet")), "table bars", RESTORE),
    "data file empty": (
        lambda h: os.truncate(first(h, f"{NAV}/year=*/*.parquet"), 0),
        "table nav",
        RESTORE,
    ),
    "last log entry empty": (
        lambda h: os.truncate(last(h, "tables/nav/_delta_log/*.json"), 0),
        "table nav",
        RESTORE,
    ),
    "a log entry missing": (
        lambda h: last(h, f"{BARS}/_delta_log/*3.json").unlink(),
        "table bars",
        RESTORE,
    ),
    "heartbeat garbage": (lambda h: (h / "heartbeat.json").write_text("{"), "heartbeat", "rm "),
    "deployment garbage": (lambda h: (h / "deployment.yaml").write_text("books: [\n"), "deployment", "quant check"),
}


@pytest.mark.parametrize("harm", HARMS)
def test_each_damage_is_found_with_the_way_back(whole: Path, harm: str) -> None:
    """One check fails, the one of the damaged part, and names the next command."""
    act, name, command = HARMS[harm]
    act(whole)
    found = list(examine(whole, NOW))
    failed = [c for c in found if c.state == "fail"]
    assert {c.name for c in failed} == {name}, failed
    assert "files" not in {c.name for c in found}  # what a lost entry named is not in excess
    assert all(c.next_command.startswith(command) for c in failed)
    assert str(whole.parent / "backups") in failed[0].next_command or command != RESTORE


def test_a_whole_home_has_no_fault(whole: Path) -> None:
    """Nothing fails, nothing is to be looked at; and nothing is changed by looking."""
    before = {p: p.read_bytes() for p in whole.rglob("*") if p.is_file() and "sqlite" not in p.name}
    found = list(examine(whole, NOW))
    assert [c for c in found if c.state != "ok"] == []
    assert {"ledger", "acts", "venue P", "tables", "clock", "permissions", "disk", "backup"} <= {c.name for c in found}
    assert {p: p.read_bytes() for p in whole.rglob("*") if p.is_file() and "sqlite" not in p.name} == before


def states(home: Path, now: datetime = NOW) -> dict[str, Check]:
    """The checks by name."""
    return {c.name: c for c in examine(home, now)}


def test_what_is_only_to_be_looked_at(whole: Path) -> None:
    """Open modes, files of no commit, a run at work, an old backup: a warning each."""
    (first(whole, "tables/bars/year=*") / "part-of-nothing.parquet").write_bytes(b"x")
    with only_run(whole):
        found = states(whole, NOW + timedelta(days=9))
    warned = {n: c.next_command for n, c in found.items() if c.state == "warn"}
    assert set(warned) == {"files", "backup", "locks"}
    whole.chmod(0o755)
    assert states(whole)["permissions"].next_command == f"chmod -R go= {whole}"


def test_a_clock_behind_what_is_stored(whole: Path) -> None:
    """Set back: every knowledge time that it would give is wrong."""
    assert states(whole, datetime(2001, 1, 1, tzinfo=UTC))["clock"].state == "fail"


def test_the_command_and_its_exit_codes(whole: Path, at: At, tmp_path: Path) -> None:
    """0 on a whole home and on one that does not exist yet, 20 where something fails; JSON for a script."""
    quant = at(whole)
    assert quant("doctor", "--no-golden").code == 0
    assert at(tmp_path / "nowhere")("doctor", "--no-golden").code == 0
    assert decision(whole)
    (whole / "heartbeat.json").write_text("{")
    answer = at(whole)("doctor", "--no-golden", "--json")
    assert answer.code == 20
    checks = json.loads(answer.text)["checks"]
    assert [c["name"] for c in checks if c["state"] == "fail"] == ["heartbeat"]
    assert "next: rm" in " ".join(at(whole)("doctor", "--no-golden").text.split())
