"""An older ledger becomes a current one, whole or not at all."""

import json
import multiprocessing
import re
import signal
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from desk import migration
from quant_assets.acts import verify
from quant_assets.errors import ConfigurationError
from quant_assets.records import Book, OrderState, Switch
from resources.ledger import migrate
from resources.ledger.open import FILE, REVISION, open_ledger
from tests.execution.killed import around
from tests.resources.old_ledger import dump, make_old

REPOSITORY = Path(__file__).parents[2]
BOOK = Book(name="desk", strategy="s", account="A1", capital=Decimal(1), broker="paper", armed=True)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return make_old(tmp_path / FILE)


def schema(path: Path) -> dict[str, object]:
    """What a database declares, table by table: columns, keys, indexes, checks, strictness; however it was written."""
    found: dict[str, object] = {}
    with closing(sqlite3.connect(path)) as db:
        strict = {name: s for _, name, _, _, _, s in db.execute("PRAGMA table_list")}
        for name, sql in db.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'table' ORDER BY name"
        ).fetchall():
            indexes = [
                (unique, origin, [c for (c,) in db.execute(f"SELECT name FROM pragma_index_info('{index}')")])
                for _, index, unique, origin, _ in db.execute(f"PRAGMA index_list({name})")
            ]
            columns = [
                (c, kind, bool(null or key), default, key)
                for _, c, kind, null, default, key in db.execute(f"PRAGMA table_info({name})")
            ]
            keys = sorted(row[2:] for row in db.execute(f"PRAGMA foreign_key_list({name})"))
            checks = sorted(re.sub(r"\s+", " ", c) for c in re.findall(r"CHECK \(((?:[^()]|\([^()]*\))*)\)", sql))
            found[name] = (columns, sorted(indexes, key=str), keys, checks, strict[name])
    return found


def test_made_or_migrated_it_is_the_same_schema(old, tmp_path: Path):
    """A new ledger, one migrated from nothing and one from an old file declare the same."""
    made, grown = tmp_path / "made", tmp_path / "grown.sqlite"
    open_ledger(made)
    migrate.upgrade(grown)
    migrate.upgrade(old)
    assert schema(made / FILE) == schema(grown) == schema(old)
    assert len(schema(old)) > 10
    with closing(sqlite3.connect(grown)) as db:
        assert db.execute("SELECT * FROM kill_switch").fetchall() == [("all", 0, "")]


def test_the_revision_is_the_newest_migration():
    """The constant that is read without Alembic is the one that Alembic finds."""
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(migrate.MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == REVISION


def test_an_older_ledger_is_refused(old):
    """With the command that migrates it, and untouched."""
    before = dump(old)
    with pytest.raises(ConfigurationError, match="quant migrate"):
        open_ledger(old.parent)
    assert dump(old) == before


@pytest.mark.parametrize(
    "statement",
    ["UPDATE schema_version SET version = 99", "CREATE TABLE alembic_version AS SELECT '0099' AS version_num"],
)
def test_a_newer_ledger_is_refused(old, statement):
    """A later release wrote it: nothing here can migrate it."""
    with closing(sqlite3.connect(old)) as db, db:
        db.execute(statement)
    before = dump(old)
    with pytest.raises(ConfigurationError, match=r"0099.*use the release that wrote it"):
        open_ledger(old.parent)
    assert migrate.outdated(old) is None
    assert dump(old) == before


def test_every_row_is_kept(old):
    """Orders, fills, cuts, breaks and acts read as they were; the switch stays on; the lease is free."""
    migrate.upgrade(old)
    ledger = open_ledger(old.parent)
    (order,) = ledger.outbox.orders("desk")
    assert (order.order.client_order_id, order.state, order.filled) == ("c1", OrderState.PARTIAL, 40)
    assert [e["filled"] for e in ledger.outbox.events("c1")] == [0, 40]
    assert [d["decision_set_id"] for d in ledger.outbox.divergences("desk")] == ["other"]
    assert [(f.exec_id, f.price) for f in ledger.executions.fills("desk")] == [("e1", Decimal("10.1234"))]
    assert ledger.knowledge.latest_cut() is not None
    assert ledger.kill_switch.state(BOOK) == Switch(on=True, reason="drill", scope="all")
    assert ([b["break_id"] for b in ledger.breaks.listed()], len(ledger.audit.acts())) == (["b1"], 1)
    with ledger.outbox.lease(BOOK, 60), closing(sqlite3.connect(old)) as db:
        assert db.execute("SELECT token FROM leases").fetchall() == [(8,)]


def test_acts_of_an_older_ledger_are_chained(old: Path) -> None:
    """Whatever a person wrote: the hashes are those that this release would have given."""
    odd = 'é "q" \\\\ \u2028 \x1f \x7f / 🙂'
    with closing(sqlite3.connect(old)) as db, db:
        for n in range(3):
            db.execute("INSERT INTO audit (at, act, subject, by, reason) VALUES ('t', 'a', 's', 'b', ?)", (odd * n,))
    migrate.upgrade(old)
    acts = open_ledger(old.parent).audit.acts()
    assert (len(acts), verify(acts)) == (4, [])


def test_a_missing_switch_stays_missing(old):
    """What counted as on counts as on."""
    with closing(sqlite3.connect(old)) as db, db:
        db.execute("DELETE FROM kill_switch")
    migrate.upgrade(old)
    assert open_ledger(old.parent).kill_switch.state().on


def test_again_is_nothing(old):
    """The copy is the old file; a second time there is nothing to do."""
    before, home = dump(old), old.parent
    ((one, copy),) = migration.migrated(home)
    assert (one.path, one.revision, copy.name, dump(copy)) == (old, "0001", f"{FILE}.bak-0001", before)
    after = dump(old)
    assert list(migration.migrated(home)) == migration.outdated(home) == []
    assert dump(old) == after


def test_a_home_inside_the_home(tmp_path: Path):
    """Both ledgers are migrated."""
    paths = [make_old(tmp_path / FILE), make_old(tmp_path / "twin" / FILE)]
    assert [one.path for one, _ in migration.migrated(tmp_path)] == paths


def _alembic(name: str, hit: int, *, before: bool) -> Callable[[], None]:
    def patch() -> None:
        from alembic import op

        around(op, name, before=before, hit=hit)

    return patch


def _at_commit() -> None:
    from sqlalchemy.engine.default import DefaultDialect

    around(DefaultDialect, "do_commit", before=True)


POINTS: dict[str, Callable[[], None]] = {
    "before the copy": lambda: around(migrate, "back_up", before=True),
    "before the copy has its name": lambda: around(Path, "replace", before=True),
    "between the copy and the migration": lambda: around(migrate, "back_up", before=False),
    "after the first statement": _alembic("execute", 1, before=False),
    "in the middle of the statements": _alembic("execute", 7, before=False),
    "before the commit": _at_commit,
}


def _killed(home: Path, point: str) -> None:
    POINTS[point]()
    list(migration.migrated(home))


@pytest.mark.parametrize("point", POINTS)
def test_killed_it_is_the_old_file(old, point):
    """Wherever the process dies the ledger is the old one, whole; the same command goes on to its end."""
    before, home = dump(old), old.parent
    process = multiprocessing.get_context("forkserver").Process(target=_killed, args=(home, point))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert dump(old) == before
    assert migrate.outdated(old) == "0001"
    ((_, copy),) = migration.migrated(home)
    assert (dump(copy), migrate.outdated(old)) == (before, None)
    assert open_ledger(home).outbox.orders("desk")
    assert sorted(p.name for p in home.iterdir() if "bak" in p.name) == [f"{FILE}.bak-0001"]


def test_opening_a_ledger_imports_no_migrations(tmp_path: Path):
    """SQLAlchemy and Alembic cost a second: an existing ledger is opened, written and read without them."""
    code = (
        "import sys; from pathlib import Path; from datetime import datetime, UTC;"
        "from resources.ledger.open import open_ledger; ledger = open_ledger(Path(sys.argv[1]));"
        "ledger.knowledge.note_cut(datetime.now(UTC)); import json;"
        "print(json.dumps(sorted({'sqlalchemy', 'alembic'} & set(sys.modules))))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY) for _ in range(2)]
    assert [json.loads(r.stdout) for r in runs] == [["sqlalchemy"], []]  # made, then opened


def test_the_wheel_has_the_migrations(tmp_path: Path):
    """An installed package can migrate."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, capture_output=True, check=True, cwd=REPOSITORY)
    (wheel,) = tmp_path.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    floors = "quant_assets/platform/"
    files = {floors + p.relative_to(REPOSITORY).as_posix() for p in migrate.MIGRATIONS.rglob("*.py")}
    assert {f"{floors}resources/ledger/migrations/env.py"} < files <= packed
