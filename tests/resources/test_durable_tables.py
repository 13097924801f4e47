"""What a table was reported to hold is there, or its loss is seen: every kind of damage to its files is one sentence
that names the file and the way back.
"""

import re
import shutil
import sqlite3
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from quant_assets.errors import HomeDamaged
from quant_assets.records import Mark
from resources.ledger.open import open_ledger
from resources.tables.maintenance import compact
from resources.tables.store import DeltaStore
from tests.resources.small_table import QUOTES, day, days, sessions

COMMITS = 14  # a checkpoint at version 9, and some after it


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a table of 14 sessions."""
    home = tmp_path_factory.mktemp("written")
    store = opened(home)
    for session in sessions(COMMITS):
        store.append(QUOTES, day(session))
    return home


@pytest.fixture
def home(written: Path, tmp_path: Path) -> Path:
    """A copy of it to damage."""
    return Path(shutil.copytree(written, tmp_path / "home"))


def opened(home: Path) -> DeltaStore:
    """The store of a home, held against its ledger."""
    return DeltaStore(home / "tables", open_ledger(home).marks)


def entry(home: Path, version: int) -> Path:
    """The log entry of a commit."""
    return home / "tables" / "quotes" / "_delta_log" / f"{version:020}.json"


def data_file(home: Path, which: int = 0) -> Path:
    """One of the data files, by name."""
    return sorted(home.glob("tables/quotes/year=*/*.parquet"))[which]


def checkpoint(home: Path) -> Path:
    """The checkpoint."""
    (found,) = home.glob("tables/quotes/_delta_log/*.checkpoint.parquet")
    return found


def cut(path: Path, to: float = 0.5) -> None:
    """Leave the first part of a file."""
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * to)])


def flip(path: Path, at: float = 0.3) -> None:
    """Change one byte."""
    content = bytearray(path.read_bytes())
    content[int(len(content) * at)] ^= 0xFF
    path.write_bytes(content)


def drop_last_line(path: Path) -> None:
    """Cut an entry where its text still can be read."""
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def older(home: Path) -> None:
    """Put the table of a week ago in the place."""
    for version in range(9, COMMITS + 1):
        entry(home, version).unlink()
    checkpoint(home).unlink()
    (home / "tables/quotes/_delta_log/_last_checkpoint").unlink()


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "the table is gone": (lambda h: shutil.rmtree(h / "tables" / "quotes"), r"tables/quotes is missing.*version 14"),
    "all tables are gone": (lambda h: shutil.rmtree(h / "tables"), r"tables/quotes is missing.*version 14"),
    "the log is gone": (lambda h: shutil.rmtree(h / "tables/quotes/_delta_log"), r"has lost its log.*version 14"),
    "the last entry is gone": (lambda h: entry(h, 14).unlink(), r"0013\.json is the newest.*version 14"),
    "the last entry is empty": (lambda h: entry(h, 14).write_bytes(b""), r"0014\.json is empty.*quant restore"),
    "the last entry is cut": (lambda h: cut(entry(h, 14)), r"0014\.json cannot be read"),
    "the last entry lost a line": (lambda h: drop_last_line(entry(h, 14)), r"0014\.json is not the commit"),
    "the last entry is blank": (lambda h: entry(h, 14).write_bytes(b"\0" * 800), r"0014\.json cannot be read"),
    "an entry is gone": (lambda h: entry(h, 12).unlink(), r"0012\.json is missing"),
    "an entry is empty": (lambda h: entry(h, 12).write_bytes(b""), r"0012\.json is empty"),
    "an entry lost a line": (lambda h: drop_last_line(entry(h, 12)), r"0012\.json is not as it was written"),
    "an early entry is gone": (lambda h: entry(h, 3).unlink(), r"0003\.json is missing"),
    "the table is older": (older, r"0008\.json is the newest.*version 14"),
    "a data file is gone": (lambda h: data_file(h).unlink(), r"year=2024/part-.*\.parquet is missing"),
    "a data file is empty": (lambda h: data_file(h).write_bytes(b""), r"part-.*\.parquet is 0 bytes long and was \d"),
    "a data file is cut": (lambda h: cut(data_file(h, 5)), r"part-.*\.parquet is \d+ bytes long and was \d"),
    "a data file's end is blank": (
        lambda h: data_file(h).write_bytes(data_file(h).read_bytes()[:-64] + bytes(64)),
        r"part-.*\.parquet has other bytes",
    ),
    "the checkpoint is cut": (lambda h: cut(checkpoint(h)), r"0009\.checkpoint\.parquet cannot be read.*delete it"),
    "the checkpoint is empty": (lambda h: checkpoint(h).write_bytes(b""), r"0009\.checkpoint\.parquet cannot be read"),
}


@pytest.mark.parametrize("damage", REFUSED)
def test_damage_is_one_sentence_with_the_file_and_the_way_back(home: Path, damage: str):
    """A process that begins is refused; one that had the table open, a writer and compaction are refused or do what
    they do to a whole table. The list of faults has it too.
    """
    act, message = REFUSED[damage]
    at_work = opened(home)
    at_work.version(QUOTES)
    act(home)
    refusals = [refusal(lambda: opened(home).read(QUOTES, as_of=None))]
    assert re.search(message, refusals[0])
    assert any(re.search(message, str(f)) for f in opened(home).faults(QUOTES))
    new = day(sessions(COMMITS + 1)[-1])
    for use, right in (
        (lambda: at_work.read(QUOTES, as_of=None).equals(days(sessions(COMMITS))), True),
        (lambda: at_work.append(QUOTES, new), 40),
        (lambda: compact(opened(home), QUOTES).rows % 40, 0),
    ):
        refusals.append(refusal(use, right))
    for told in filter(None, refusals):
        assert re.search("quant restore|delete it", told)
        assert "\n" not in told


def test_a_ledger_of_an_older_release_is_marked_by_its_migration(home: Path):
    """After `quant migrate` a loss is seen too, though no row was stored since."""
    from desk.migration import KINDS

    with sqlite3.connect(home / "ledger.sqlite") as ledger:
        ledger.execute("DELETE FROM marks")
    assert opened(home).mark(QUOTES) is None
    KINDS[0].upgrade(home / "ledger.sqlite")
    assert opened(home).mark(QUOTES) == Mark(version=14, entry=sha256(entry(home, 14).read_bytes()).hexdigest())


def test_another_writer_and_a_mark_behind_are_no_damage(home: Path):
    """A table that is ahead of its mark, as after a crash between the two or a commit of another program, is read; the
    next commit marks it again. A mark is never lowered but by a restore.
    """
    one, two = sessions(COMMITS + 2)[-2:]
    DeltaStore(home / "tables").append(QUOTES, day(one))
    store = opened(home)
    assert store.read(QUOTES, as_of=None).equals(days(sessions(COMMITS + 1)))
    store.append(QUOTES, day(two))
    marks = open_ledger(home).marks
    assert marks.listed()["quotes"].version == COMMITS + 2
    marks.advance("quotes", Mark(version=3, entry="earlier"))
    assert marks.listed()["quotes"].version == COMMITS + 2
    marks.replace({"quotes": Mark(version=3, entry="earlier")})
    assert marks.listed() == {"quotes": Mark(version=3, entry="earlier")}


def test_compaction_takes_no_damaged_bytes_over(home: Path):
    """A byte that has rotted is found before the rows of its file are written elsewhere under a new hash."""
    flip(data_file(home, 4))
    assert re.search("part-.*parquet has other bytes", refusal(lambda: compact(opened(home), QUOTES)))
    assert [f.file for f in opened(home).faults(QUOTES)] == [
        str(data_file(home, 4).relative_to(home / "tables/quotes"))
    ]


def refusal(use: Callable[[], object], right: object = None) -> str:
    """What a use of a damaged table is refused with; empty where it does what it should."""
    try:
        did = use()
    except HomeDamaged as error:
        return str(error)
    assert did == right
    return ""
