"""`quant backup` and `quant restore`: whole, in part, to a point in time, killed anywhere."""

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from desk.backup import restoring, swap
from desk.backup.make import backup
from desk.backup.manifest import load, names, object_path
from desk.backup.restoring import restore
from desk.ledger import ledger_of
from quant_assets import durable
from quant_assets.errors import ConfigurationError, HomeDamaged
from quant_assets.records import Act
from quant_assets.tables import BARS
from resources.ledger.open import FILE
from tests.jobs.commands import Quant, fails
from tests.jobs.small import LIVE, live, outcome, workspace

At = Callable[[Path], Quant]
NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
ACT = Act(by="ann", reason="drill", at=NOON + timedelta(days=1))


def contents(home: Path) -> dict[str, bytes]:
    """The files of a home, without locks and databases, whose bytes change when they are opened."""
    passing = (".lock", ".sqlite", "-wal", "-shm")
    return {
        str(p.relative_to(home)): p.read_bytes()
        for p in home.rglob("*")
        if p.is_file() and not p.name.endswith(passing) and not p.relative_to(home).parts[0].startswith(".")
    }


@pytest.fixture(scope="session")
def backed_up(once: Callable[[str, Callable[[Path], None]], Path], operated: Path) -> Path:
    """A folder with `home` after its fifth live session, and `backups` made after the fourth and the fifth."""

    def make(folder: Path) -> None:
        home = folder / "home"
        shutil.copytree(operated, home)
        backup(home, folder / "backups", NOON)
        live(workspace(home), LIVE[4:5])
        backup(home, folder / "backups", NOON + timedelta(hours=6))

    return once("backed_up", make)


@pytest.fixture
def folder(backed_up: Path, tmp_path: Path) -> Path:
    """A copy of `backed_up` of one's own."""
    return Path(shutil.copytree(backed_up, tmp_path / "own"))


def test_nothing_is_copied_twice(folder: Path) -> None:
    """The second backup copied what a session adds; a third one, nothing but the databases that changed."""
    first, second = (load(folder / "backups", n) for n in names(folder / "backups"))
    shared = {e.sha256 for e in first.entries} & {e.sha256 for e in second.entries}
    assert len(shared) > len(first.entries) * 0.6
    third = backup(folder / "home", folder / "backups", NOON + timedelta(hours=7))
    assert third.copied <= 1  # the pages of a database may be written otherwise
    tables = {e.sha256 for e in third.manifest.entries if e.path.startswith("tables/")}
    assert tables == {e.sha256 for e in second.entries if e.path.startswith("tables/")}


@pytest.mark.parametrize(
    ("at", "index"), [(None, 1), ("2024-05-01T17:59", 0), ("2024-05-01T18:00", 1), ("20240501T120000Z", 0)]
)
def test_a_restored_home_is_the_backup(folder: Path, operated: Path, at: str | None, index: int) -> None:
    """Every row of tables, ledger and venue is that of the point in time; the old home is kept; it goes on from there
    to the end state of a home that nothing happened to.
    """
    home = folder / "home"
    undisturbed = outcome(workspace(home))
    shutil.rmtree(home / "tables" / "bars")
    done = restore(home, folder / "backups", at, (), ACT)
    assert done.backup == names(folder / "backups")[index]
    assert outcome(workspace(home)) == (undisturbed if index else outcome(workspace(operated)))
    assert not (home / done.aside / "tables" / "bars").exists()
    assert (home / done.aside / FILE).exists()
    assert [(a["act"], a["by"]) for a in ledger_of(home).audit.acts()] == [("restore", "ann")]
    if not index:
        live(workspace(home), LIVE[4:5])
        assert outcome(workspace(home)) == undisturbed


def test_a_table_is_mended_and_keeps_what_is_newer(folder: Path) -> None:
    """From a backup before the last session: a damaged file comes back, later commits stay."""
    home = folder / "home"
    undisturbed = outcome(workspace(home))
    old = next(
        e for e in load(folder / "backups", names(folder / "backups")[0]).entries if "tables/bars/year" in e.path
    )
    (home / old.path).write_bytes(b"")
    done = restore(home, folder / "backups", "20240501T120000Z", ["tables/bars"], ACT)
    assert done.files >= 1
    assert (home / old.path).stat().st_size == old.size
    assert outcome(workspace(home)) == undisturbed
    assert workspace(home).store.read(BARS, as_of=None, first=LIVE[4]).height


class KilledError(Exception):
    """The process ends here."""


def dying(monkeypatch: pytest.MonkeyPatch, target: object, name: str, after: int) -> None:
    """The function works `after` times, then the process is killed in front of it."""
    works, left = getattr(target, name), iter(range(after))

    def step(*args: object) -> object:
        if next(left, None) is None:
            raise KilledError
        return works(*args)

    monkeypatch.setattr(target, name, step)


POINTS: tuple[tuple[object, str, int], ...] = (
    *((restoring, "_copy", n) for n in (0, 7)),
    *((swap, "_rename", n) for n in ((0, 1, 3, 6, 8, 10, 12) if "QUANT_CHAOS" in os.environ else (0, 3, 10))),
    (durable, "write", 0),
)
"""Where a restore is killed: while it copies, before each rename, before its plan is written."""


@pytest.mark.parametrize(("target", "name", "after"), POINTS)
def test_a_restore_that_is_killed_is_finished_by_the_next(
    folder: Path, monkeypatch: pytest.MonkeyPatch, target: object, name: str, after: int
) -> None:
    """Before the first rename the home is as it was; after it every command refuses, until the restore is run again."""
    home = folder / "home"
    before, undisturbed, earlier = contents(home), outcome(workspace(home)), "20240501T120000Z"
    with monkeypatch.context() as patch:
        dying(patch, target, name, after)
        with pytest.raises(KilledError):
            restore(home, folder / "backups", earlier, (), ACT)
    if (home / swap.STAGE / "plan.json").exists():
        with pytest.raises(HomeDamaged, match="same `quant restore` again"):
            ledger_of(home)
    else:
        assert contents(home) == before
        assert outcome(workspace(home)) == undisturbed
    restore(home, folder / "backups", earlier, (), ACT)
    whole = folder / "whole"
    restore(whole, folder / "backups", earlier, (), ACT)
    assert outcome(workspace(home)) == outcome(workspace(whole))
    assert not (home / swap.STAGE).exists()
    kept = next(home.glob(f"{swap.ASIDE}*"))
    assert {k: v for k, v in contents(kept).items() if k.startswith("tables")} == {
        k: v for k, v in before.items() if k.startswith("tables")
    }


def test_a_damaged_backup_touches_nothing(folder: Path) -> None:
    """A flipped byte in a file, a missing one, a manifest that was edited: refused, the home as it was."""
    home, backups = folder / "home", folder / "backups"
    before, last = contents(home), names(backups)[-1]
    entry = load(backups, last).entries[5]
    path = object_path(backups, entry.sha256)
    content = path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    with pytest.raises(HomeDamaged, match=path.name):
        restore(home, backups, None, (), ACT)
    path.unlink()
    with pytest.raises(HomeDamaged, match=path.name):
        restore(home, backups, None, (), ACT)
    manifest = backups / f"{last}.json"
    manifest.write_bytes(manifest.read_bytes().replace(b"ledger", b"ledges"))
    with pytest.raises(HomeDamaged, match=manifest.name):
        restore(home, backups, None, (), ACT)
    assert contents(home) == before


def test_a_kill_switch_stays_on(folder: Path, at: At) -> None:
    """What a person stopped after the backup is stopped after the restore."""
    home = folder / "home"
    ledger_of(home).kill_switch.set(True, scope="book paper", by="bo", reason="odd fills", now=NOON)
    done = restore(home, folder / "backups", None, (), ACT)
    assert [(s.scope, s.reason) for s in done.on] == [("book paper", "odd fills")]
    assert at(home)("kill-switch", "show").code == 20


def test_the_commands(own: Path, at: At, tmp_path: Path) -> None:
    """Made, listed, refused without a name, restored; every act is on record."""
    quant, backups = at(own), tmp_path / "elsewhere"
    assert "new (" in quant("backup", "--to", str(backups)).text
    assert quant("backup", "--list", "--json").json == [{"backup": names(backups)[0]}]
    (own / FILE).unlink()
    fails(quant("backup"), 1, FILE, "quant restore")
    who = ("--by", "ann", "--reason", "drill")
    assert quant("restore", *who).code == 2
    fails(quant("restore", str(tmp_path), *who), 1, "no backup")
    fails(quant("restore", str(backups), "--only", "tables/nowhere", *who), 1, "nowhere")
    answer = quant("restore", str(backups), "--only", FILE, *who)
    assert answer.code == 0, answer.err
    assert quant("today").code in {0, 20}
    assert ledger_of(own).audit.acts()[-1]["act"] == "restore"


def test_a_backup_is_outside_the_home(own: Path, tmp_path: Path) -> None:
    """What deletes the home must not delete its backups; and a home that is not there is none."""
    with pytest.raises(ConfigurationError, match="outside"):
        backup(own, own / "backups", NOON)
    with pytest.raises(ConfigurationError, match="does not exist"):
        backup(tmp_path / "nowhere", tmp_path / "b", NOON)
    assert msgspec.json.encode(names(tmp_path / "b")) == b"[]"
