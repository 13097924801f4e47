"""A home that has lost its ledger, or the record of its paper venue, refuses until a person restores it."""

import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from desk.ledger import ledger_of
from jobs.live import Exit
from quant_assets.errors import HomeDamaged
from resources.ledger.open import FILE, TABLES
from resources.ledger.schema import METADATA
from tests.jobs.commands import Quant, fails
from tests.jobs.small import LIVE, PAPER, workspace

At = Callable[[Path], Quant]
COMMANDS = (
    ("run", "daily"),
    ("today",),
    ("kill-switch", "show"),
    ("kill-switch", "on", "--by", "ann", "--reason", "drill"),
    ("kill-switch", "off", "--by", "ann", "--reason", "drill"),
    ("breaks", "list"),
    ("audit",),
)


def deleted(path: Path) -> None:
    """The file is gone, with what SQLite keeps beside it."""
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()


def emptied(path: Path) -> None:
    """A file without a byte."""
    deleted(path)
    path.touch()


def without_a_table(path: Path) -> None:
    """The switches are gone, the rest is there."""
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DROP TABLE kill_switch")


def garbage(path: Path) -> None:
    """Bytes that are no database."""
    deleted(path)
    path.write_bytes(b"not a database at all" * 300)


@pytest.mark.parametrize("harm", [deleted, emptied, without_a_table, garbage])
def test_a_home_that_lost_its_ledger_refuses(own: Path, at: At, harm: Callable[[Path], None]) -> None:
    """Every command that would make one anew says so in one line, and makes none; no kill switch is off by it."""
    harm(own / FILE)
    size = (own / FILE).stat().st_size if (own / FILE).exists() else None
    for command in COMMANDS:
        fails(at(own)(*command), 1, FILE, "quant restore")
    assert ((own / FILE).stat().st_size if (own / FILE).exists() else None) == size or harm is without_a_table


def test_a_home_of_venue_records_alone_has_lost_its_ledger_too(own: Path) -> None:
    """The venue knows of orders: who sent them?"""
    deleted(own / FILE)
    shutil.rmtree(own / "tables")
    with pytest.raises(HomeDamaged, match=PAPER.account):
        ledger_of(own)


def test_a_new_home_gets_a_ledger(tmp_path: Path) -> None:
    """Nothing was there, so nothing is lost."""
    assert not ledger_of(tmp_path / "new").kill_switch.state().on


@pytest.mark.parametrize("harm", [deleted, garbage])
def test_a_person_may_make_an_empty_ledger(own: Path, at: At, harm: Callable[[Path], None]) -> None:
    """It is on record, nothing leaves until a person turns the switch off, and what was there is kept."""
    harm(own / FILE)
    quant = at(own)
    answer = quant("restore", "--ledger-anew", "--by", "ann", "--reason", "the disk died")
    assert answer.code == 0, answer.err
    assert quant("kill-switch", "show").code == Exit.BLOCKED
    acts = [(a["act"], a["by"]) for a in ledger_of(own).audit.acts()]
    assert acts == [("kill-switch on", "ann"), ("ledger anew", "ann")]
    assert bool(list(own.glob(f"{FILE}.lost-*"))) is (harm is garbage)
    fails(quant("restore", "--ledger-anew", "--by", "ann", "--reason", "again"), 1, "whole")


@pytest.mark.parametrize("harm", [deleted, emptied, garbage])
def test_a_paper_account_is_not_opened_twice(own: Path, at: At, harm: Callable[[Path], None]) -> None:
    """Our ledger has traded on it: a fresh account would hold capital that was spent."""
    harm(own / "brokers" / f"{PAPER.account}.sqlite")
    answer = at(own)("run", "daily")
    fails(answer, 1, f"{PAPER.account}.sqlite", "quant restore")
    assert not ledger_of(own).outbox.bound(PAPER.name, PAPER.strategy, LIVE[4])


def test_the_tables_that_must_be_there_are_those_of_the_schema() -> None:
    """The list that is read without SQLAlchemy."""
    assert set(METADATA.tables) == TABLES


def test_a_home_is_for_its_owner_alone(tmp_path: Path, at: At, operated: Path) -> None:
    """Folder 0700 and databases 0600, also of a home that an older release left open to all."""
    home = Path(shutil.copytree(operated, tmp_path / "open"))
    for path in (home, home / FILE, home / "brokers" / f"{PAPER.account}.sqlite"):
        path.chmod(0o755)
    assert at(home)("run", "daily").code in {Exit.DONE, Exit.NOTHING_TO_TRADE}
    modes = {p: stat.S_IMODE(p.stat().st_mode) for p in (home, *home.glob("*.sqlite*"), *home.glob("brokers/*"))}
    assert {m for p, m in modes.items() if p.is_dir()} == {0o700}
    assert {m for p, m in modes.items() if p.is_file()} == {0o600}


def test_what_a_command_writes_is_private(tmp_path: Path, at: At) -> None:
    """Every file and folder of a home that one command has made."""
    home = tmp_path / "fresh"
    at(home)("kill-switch", "on", "--by", "ann", "--reason", "drill")
    workspace(home).notifier.notify("info", "hello")
    found = {p: stat.S_IMODE(p.stat().st_mode) for p in (home, *home.rglob("*"))}
    assert len(found) > 2
    assert {p: oct(m) for p, m in found.items() if m & 0o077} == {}
