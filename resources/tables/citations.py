"""Which versions of which tables somebody cites: a decision, a model, a report. None of them is ever dropped.

Who names versions cites those. A model or a page that names none cites, of every table, the version that stood
when it was stored: nobody can have read a later one.
"""

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from html import unescape
from itertools import accumulate
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote

import msgspec
import polars as pl

from quant_assets.contract import Table
from quant_assets.errors import DataError
from quant_assets.records import Frozen
from quant_assets.tables import DECISIONS, MODELS
from resources.tables.store import DeltaStore

T = TypeVar("T")
NAMED = re.compile(r'<meta name="table-versions" content="([^"]*)"')


class Commit(Frozen, frozen=True):
    """One commit of a table: the data files that it brought and those that it took out of the current version,
    relative to the table's folder.
    """

    version: int
    at: datetime
    added: frozenset[str]
    removed: frozenset[str]
    brings_rows: bool


class _File(msgspec.Struct):
    path: str
    dataChange: bool = True  # noqa: N815  # the protocol's name


class _Info(msgspec.Struct):
    timestamp: int | None = None


class _Action(msgspec.Struct):
    add: _File | None = None
    remove: _File | None = None
    commitInfo: _Info | None = None  # noqa: N815  # the protocol's name


class _Versions(msgspec.Struct):
    table_versions: dict[str, int] | None = None


def history(folder: Path) -> list[Commit]:
    """The commits of the table in `folder` that are still on record, oldest first."""
    actions = msgspec.json.Decoder(_Action)
    return [
        _commit(p, actions.decode_lines(p.read_bytes()))
        for p in sorted((folder / "_delta_log").glob("*.json"))
        if p.stem.isdecimal()
    ]


def _commit(path: Path, actions: list[_Action]) -> Commit:
    added, removed = [a.add for a in actions if a.add], [a.remove for a in actions if a.remove]
    told = [a.commitInfo.timestamp for a in actions if a.commitInfo and a.commitInfo.timestamp]
    return Commit(
        version=int(path.stem),
        at=datetime.fromtimestamp(told[0] / 1_000 if told else path.stat().st_mtime, UTC),
        added=frozenset(unquote(f.path) for f in added),
        removed=frozenset(unquote(f.path) for f in removed),
        brings_rows=any(f.dataChange for f in added),
    )


def citations(store: DeltaStore, pages: Iterable[Path]) -> dict[str, set[int]]:
    """The versions cited, by name of the table. Raises DataError where somebody's citation cannot be read: then
    nothing may be dropped.
    """
    cited: dict[str, set[int]] = defaultdict(set)
    moments: list[datetime] = []
    for named in _named(store, DECISIONS, "table_versions", wrapped=False):
        _add(cited, named or {})
    models = _named(store, MODELS, "snapshot", wrapped=True)
    for named in models:
        _add(cited, named or {})
    if None in models:
        moments += [c.at for c in history(store.path(MODELS)) if c.brings_rows]
    for page in pages:
        found = NAMED.search(page.read_text(errors="replace"))
        if found:
            _add(cited, _decoded(unescape(found[1]), dict[str, int], str(page)))
        else:
            moments.append(datetime.fromtimestamp(page.stat().st_mtime, UTC))
    if moments:
        for log in store.root.glob("*/_delta_log"):
            cited[log.parent.name] |= _standing(history(log.parent), moments)
    return dict(cited)


def _add(cited: dict[str, set[int]], named: Mapping[str, int]) -> None:
    for table, version in named.items():
        if version >= 0 and "/" not in table:  # -1: a table that was not there yet; a path: another home's
            cited[table].add(version)


def _named(store: DeltaStore, table: Table, column: str, *, wrapped: bool) -> list[dict[str, int] | None]:
    """What each distinct text in `column` names: a JSON object of versions by table, or one that has it under
    `table_versions`; None where it has not.
    """
    if not store.exists(table):
        return []
    texts: list[str] = (
        pl.scan_delta(store.open(table))
        .select(column)
        .collect(engine="in-memory")[column]
        .drop_nulls()
        .unique()
        .sort()
        .to_list()
    )
    if wrapped:
        return [_decoded(t, _Versions, table.name).table_versions for t in texts]
    return [_decoded(t, dict[str, int], table.name) for t in texts]


def _decoded(text: str, kind: type[T], where: str) -> T:
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.DecodeError as error:
        raise DataError(
            f"{where}: a citation cannot be read ({error}), it says {text[:200]!r}; as long as it is unknown "
            "what it cites, no version may be dropped"
        ) from error


def _standing(commits: list[Commit], moments: Iterable[datetime]) -> set[int]:
    """The versions that stood at the moments."""
    times = list(accumulate((c.at for c in commits), max))  # a clock may have been set back
    return {commits[i - 1].version for m in moments if (i := bisect_right(times, m))}
