"""The tables of a home: against their marks in the ledger, the models' texts, cited versions, files that no commit
names.
"""

from collections.abc import Iterator
from pathlib import Path

from desk.health.check import FAIL, OK, WARN, Check, way_back
from desk.ledger import TABLES
from desk.workspace import Workspace
from quant_assets.errors import QuantError
from quant_assets.ports import Progress
from quant_assets.records import Mark, content_id
from quant_assets.tables import MODELS
from resources.tables.citations import citations, history
from resources.tables.faults import faults
from resources.tables.maintenance import lost_versions

AT_MOST = 3


def tables(home: Path, marks: dict[str, Mark], progress: Progress) -> Iterator[Check]:
    """Every table that is there or that the ledger has seen; each of its files is read whole."""
    root = home / TABLES
    names = sorted({log.parent.name for log in root.glob("*/_delta_log")} | {*marks})
    bad = 0
    for done, name in enumerate(names):
        progress(done, len(names), f"table {name}")
        found = list(faults(root / name, marks.get(name)))
        bad += bool(found)
        for fault in found[:AT_MOST]:
            cure = way_back(home, f"{TABLES}/{name}") if "restore" in fault.cure else fault.cure
            yield Check(f"table {name}", FAIL, f"{fault.file} {fault.wrong}", cure)
        if len(found) > AT_MOST:
            yield Check(f"table {name}", FAIL, f"and {len(found) - AT_MOST} more faults", way_back(home))
    if names and not bad:
        marked = len(marks.keys() & {*names})
        yield Check(
            "tables", OK, f"{len(names)} tables are as they were written, {marked} of them as the ledger has seen"
        )


def models(ws: Workspace) -> Iterator[Check]:
    """Each stored model's text against its id."""
    rows = ws.tables.read(MODELS, as_of=None, columns=["model_id", "text"])
    wrong = [row["model_id"] for row in rows.iter_rows(named=True) if content_id(row["text"]) != row["model_id"]]
    if wrong:
        yield Check(
            "models",
            FAIL,
            f"the texts of {', '.join(wrong[:AT_MOST])} are not those of their ids",
            way_back(ws.home, f"{TABLES}/{MODELS.name}"),
        )
    elif rows.height:
        yield Check("models", OK, f"{rows.height} models have the text of their id")


def cited(ws: Workspace) -> Iterator[Check]:
    """Whether each version that a decision, a model or a page cites can be read."""
    found = citations(ws.tables, ws.reports.glob("*.html"))
    lost = {name: gone for name, versions in found.items() if (gone := lost_versions(ws.tables.root / name, versions))}
    for name, versions in lost.items():
        shown = ", ".join(map(str, versions[:AT_MOST]))
        yield Check(
            f"table {name}",
            FAIL,
            f"{len(versions)} cited versions can no longer be read: {shown}",
            way_back(ws.home, f"{TABLES}/{name}"),
        )
    if found and not lost:
        yield Check("citations", OK, f"{sum(map(len, found.values())):,} cited versions can be read")


def unnamed(home: Path) -> Iterator[Check]:
    """Files that no commit names: of writers that were killed. They are read by no one."""
    files: list[Path] = []
    for log in sorted((home / TABLES).glob("*/_delta_log")):
        entries = sorted(log.glob("*.json"))
        if any(not e.stat().st_size for e in entries) or int(entries[-1].stem) != len(entries) - 1:
            continue  # the files that a lost entry named are not in excess: they come back with it
        try:
            named = {name for commit in history(log.parent) for name in commit.added}
        except (QuantError, ValueError):
            continue  # reported with the table
        files += [p for p in log.parent.glob("year=*/*") if str(p.relative_to(log.parent)) not in named]
    size = sum(p.stat().st_size for p in files)
    if files:
        found = f"{len(files)} files ({size:,} bytes) belong to no commit, first {files[0].relative_to(home)}"
        yield Check("files", WARN, found, "quant storage vacuum")
