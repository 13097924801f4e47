"""The databases of a home: the ledger, the venues' records, and those that hold no money."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from desk.health.check import FAIL, OK, Check, way_back
from desk.ledger import VENUES, has_traded, held_without_ledger, ledger_of
from quant_assets import acts
from quant_assets.records import Book
from resources.brokers import paper
from resources.ledger.open import FILE, REVISION, TABLES, Ledger, revision

AT_MOST = 3  # faults of one file that are named


def ledger(home: Path) -> Iterator[Check]:
    """Whether the ledger is there, whole, of this release's schema; and the chain of acts."""
    path = home / FILE
    if path.exists() and (wrong := damage(path)):
        yield Check("ledger", FAIL, wrong, way_back(home, FILE))
        return
    if held := held_without_ledger(home):
        found = f"{FILE} is missing or empty, and {held} exists"
        yield Check("ledger", FAIL, found, way_back(home, FILE))
        return
    if not path.exists():
        yield Check("ledger", OK, "not made yet: nothing has run here")
        return
    with closing(_reading(path)) as db:
        found = revision(db)
        lost = TABLES - {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if found != REVISION:
        found = f"has schema {found}, this release writes {REVISION}"
        yield Check("ledger", FAIL, found, "quant migrate")
    elif lost:
        yield Check("ledger", FAIL, f"has lost its tables {', '.join(sorted(lost))}", way_back(home, FILE))
    else:
        yield Check("ledger", OK, f"whole, schema {REVISION}")
        yield _acts(home)


def _acts(home: Path) -> Check:
    recorded = ledger_of(home).audit.acts()
    if faults := acts.verify(recorded):
        return Check("acts", FAIL, faults[0].sentence, "quant audit verify")
    return Check("acts", OK, f"{len(recorded):,} acts of people, each follows from the one before it")


def venues(home: Path, ledger: Ledger | None, books: list[Book]) -> Iterator[Check]:
    """The paper venues' records: whole, and there for every account that our ledger has traded on."""
    records = sorted((home / VENUES).glob("*.sqlite"))
    for path in records:
        name = f"venue {path.stem}"
        if wrong := damage(path):
            yield Check(name, FAIL, wrong, way_back(home, f"{VENUES}/{path.name}"))
        elif not paper.is_opened(path):
            yield Check(name, FAIL, "holds no account", way_back(home, f"{VENUES}/{path.name}"))
        elif found := paper.outdated(path):
            yield Check(name, FAIL, f"has schema {found}", "quant migrate")
        else:
            yield Check(name, OK, "whole")
    for book in books:
        missing = book.venue == "paper" and book.account not in {p.stem for p in records}
        if missing and ledger and has_traded(ledger, book):
            only = f"{VENUES}/{book.account}.sqlite"
            yield Check(
                f"venue {book.account}",
                FAIL,
                "our ledger has traded there, the record is missing",
                way_back(home, only),
            )


def others(home: Path) -> Iterator[Check]:
    """Dagster's history and MLflow's tracking: no decision and no order reads them."""
    files = [p for folder in ("dagster", "mlflow") for p in sorted((home / folder).rglob("*.db"))]
    broken = {p: wrong for p in files if (wrong := damage(p))}
    for path, wrong in broken.items():
        name = path.relative_to(home)
        yield Check(str(name), FAIL, f"{wrong}; it holds history alone", f"mv {path} {path}.damaged")
    if files and not broken:
        yield Check("histories", OK, f"{len(files)} databases of Dagster and MLflow are whole")


def damage(path: Path) -> str:
    """What is wrong with a SQLite file; empty where it is whole."""
    try:
        with closing(_reading(path)) as db:
            answers = [row[0] for row in db.execute(f"PRAGMA integrity_check({AT_MOST})")]
            if answers != ["ok"]:
                return f"is damaged: {'; '.join(map(str, answers))}"
            orphans = db.execute("PRAGMA foreign_key_check").fetchmany(AT_MOST)
            return f"has rows that belong to nothing: {[tuple(o) for o in orphans]}" if orphans else ""
    except (sqlite3.DatabaseError, OSError) as error:
        return f"cannot be read ({error})"


def _reading(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)
