"""Compaction and vacuum: the tables get small and stay whole, and no version that somebody cites is lost."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from html import escape
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from quant_assets.errors import ConfigurationError, DataError, HomeDamaged
from quant_assets.records import frame_hash
from quant_assets.tables import DECISIONS, MODELS
from resources.tables.citations import citations, history
from resources.tables.export import Manifest, export
from resources.tables.maintenance import FANOUT, TOGETHER, Retention, compact, maintain, small_runs, statistics, vacuum
from resources.tables.store import DeltaStore
from tests.resources.small_table import NAMES, QUOTES, day, days, sessions

SESSIONS = 20


@pytest.fixture
def store(tmp_path: Path) -> DeltaStore:
    """A store in which each of twenty sessions is a version of its own."""
    store = DeltaStore(tmp_path / "tables")
    for session in sessions(SESSIONS):
        store.append(QUOTES, day(session))
    return store


def after(days: float = 31) -> datetime:
    """A time so many days from now."""
    return datetime.now(UTC) + timedelta(days=days)


def decide(store: DeltaStore, versions: str, session: int = 0) -> None:
    """Store a decision that cites these versions."""
    blank: dict[str, Any] = dict.fromkeys(DECISIONS.schema)
    row = {
        **blank,
        "session": sessions(30)[session],
        "strategy": "s",
        "sid": 1,
        "decision_set_id": "d",
        "known_at": datetime(2025, 1, 1, tzinfo=UTC),
        "table_versions": versions,
    }
    store.append(DECISIONS, pl.DataFrame([row], schema=dict(DECISIONS.schema)))


def train(store: DeltaStore, snapshot: str, model_id: str = "m") -> None:
    """Store a model with this snapshot."""
    blank: dict[str, Any] = dict.fromkeys(MODELS.schema)
    row = {
        **blank,
        "session": sessions(1)[0],
        "strategy": "s",
        "model_id": model_id,
        "snapshot": snapshot,
        "known_at": datetime(2025, 1, 1, tzinfo=UTC),
    }
    store.append(MODELS, pl.DataFrame([row], schema=dict(MODELS.schema)))


def a_decision(store: DeltaStore, reports: Path) -> None:
    """Version 7 is cited by a decision; the table that was not there yet is not."""
    decide(store, '{"quotes": 7, "decisions": -1}')


def a_model_that_names_it(store: DeltaStore, reports: Path) -> None:
    """Version 7 is cited by a model's snapshot."""
    train(store, '{"dataset_version": "x", "table_versions": {"quotes": 7}}')


def a_page_that_names_it(store: DeltaStore, reports: Path) -> None:
    """Version 7 is cited by a page."""
    told = escape(msgspec.json.encode({"quotes": 7}).decode(), quote=True)
    (reports / "paper-2025.html").write_text(f'<html><head><meta name="table-versions" content="{told}"></head></html>')


def a_page_without_versions(store: DeltaStore, reports: Path) -> None:
    """Version 7 stood when the page was written."""
    page = reports / "paper-2025.html"
    page.write_text("<html></html>")
    at = [c.at.timestamp() for c in history(store.path(QUOTES))]
    between = (at[7] + at[8]) / 2
    os.utime(page, (between, between))


CITED: list[Callable[[DeltaStore, Path], None]] = [
    a_decision,
    a_model_that_names_it,
    a_page_that_names_it,
    a_page_without_versions,
]


@pytest.mark.parametrize("cite", [*CITED, None], ids=lambda c: c.__name__ if c else "nobody")
def test_a_cited_version_outlives_vacuum(
    store: DeltaStore, tmp_path: Path, cite: Callable[[DeltaStore, Path], None] | None
):
    """What a decision, a model or a page cites reads after compaction and vacuum as on the day; the version that nobody
    cites is gone, and so are its files.
    """
    if cite:
        cite(store, tmp_path)
    (did, gone), *_ = maintain(store, [QUOTES], tmp_path.glob("*.html"), Retention(), after())
    assert (did.before, did.after) == (SESSIONS, 1)
    assert len(gone.files) == (SESSIONS - 7 if cite else SESSIONS)
    assert store.read(QUOTES, as_of=None).equals(days(sessions(SESSIONS)))
    if cite:
        assert store.read(QUOTES, as_of=None, version=7).equals(days(sessions(7)))
    for version in (7, 8)[bool(cite) :]:
        with pytest.raises(HomeDamaged, match="lost data files"):
            store.read(QUOTES, as_of=None, version=version)


def test_a_model_without_versions_cites_what_stood_when_it_was_stored(tmp_path: Path):
    """A model of which only the dataset's hash is known keeps, of every table, the version that stood at its commit,
    before and after later ones.
    """
    store = DeltaStore(tmp_path / "tables")
    of = sessions(SESSIONS)
    for session in of[:9]:
        store.append(QUOTES, day(session))
    train(store, '{"dataset_version": "x"}')
    stood = store.version(QUOTES)
    for session in of[9:]:
        store.append(QUOTES, day(session))
    assert citations(store, [])["quotes"] == {stood}
    maintain(store, [QUOTES, MODELS], [], Retention(), after())
    assert store.read(QUOTES, as_of=None, version=stood).equals(days(of[:9]))
    for n in range(FANOUT):
        train(store, "{}", f"m{n}")
    before = citations(store, [])["quotes"]
    store.append(QUOTES, day(sessions(SESSIONS + 1)[-1]))
    assert compact(store, MODELS).after == 1
    assert citations(store, [])["quotes"] == before  # compaction of the models is no new model


@pytest.mark.parametrize("broken", ["not json", '{"quotes": "seven"}', '["quotes"]'])
def test_an_unreadable_citation_stops_the_vacuum(store: DeltaStore, broken: str):
    """Where it is unknown what somebody cites, nothing is deleted, and the error says whose citation it is."""
    decide(store, broken)
    with pytest.raises(DataError, match="decisions: a citation cannot be read"):
        maintain(store, [QUOTES], [], Retention(), after())
    assert len(list(store.path(QUOTES).glob("year=*/*.parquet"))) == SESSIONS


@pytest.mark.parametrize("cited", [set(), {0}, {1}, {5, 12}, {20}, set(range(3, 22)), {21}])
def test_vacuum_deletes_what_delta_itself_would(store: DeltaStore, cited: set[int]):
    """Of tombstoned files exactly those go that Delta's own vacuum names for the same versions; the dry run names them
    and deletes nothing.
    """
    compact(store, QUOTES)
    theirs = store.open(QUOTES).vacuum(
        retention_hours=0, dry_run=True, enforce_retention_duration=False, full=True, keep_versions=sorted(cited)
    )
    named = vacuum(store, QUOTES, cited, Retention(), after(), dry_run=True)
    on_disk = set(store.path(QUOTES).glob("year=*/*.parquet"))
    assert set(named.files) == set(theirs)
    assert named.bytes == sum((store.path(QUOTES) / f).stat().st_size for f in named.files)
    assert vacuum(store, QUOTES, cited, Retention(), after(), dry_run=False) == named
    assert on_disk - set(store.path(QUOTES).glob("year=*/*.parquet")) == {store.path(QUOTES) / f for f in named.files}
    for version in cited:
        assert store.read(QUOTES, as_of=None, version=version).equals(days(sessions(min(version, SESSIONS))))
    assert statistics(store, QUOTES, cited).lost == ()


def test_recent_versions_stay_for_the_days_of_the_policy(store: DeltaStore):
    """A version that nobody cites is readable for as long as the policy says after it was superseded, and no longer."""
    compact(store, QUOTES)
    assert vacuum(store, QUOTES, set(), Retention(keep_days=30), after(29.9), dry_run=False).files == ()
    assert store.read(QUOTES, as_of=None, version=3).equals(days(sessions(3)))
    assert len(vacuum(store, QUOTES, set(), Retention(keep_days=30), after(30.1), dry_run=False).files) == SESSIONS
    with pytest.raises(ConfigurationError, match="one at least"):
        Retention(keep_days=0)


def test_a_version_that_was_vacuumed_is_one_sentence(store: DeltaStore):
    """It cannot be read any longer, and the error says who deleted what."""
    compact(store, QUOTES)
    vacuum(store, QUOTES, set(), Retention(), after(), dry_run=False)
    with pytest.raises(HomeDamaged, match=r"quotes: the version asked for has lost data files .*quant storage vacuum"):
        store.read(QUOTES, as_of=None, version=5)
    assert list(store.faults(QUOTES)) == []


def test_what_a_killed_writer_left_is_cleared(store: DeltaStore):
    """A data file that came to no commit, and half a commit, go when they are older than the policy's days, whoever
    cites what.
    """
    folder = store.path(QUOTES)
    torn = [next(folder.glob("year=*")) / "part-torn.parquet", folder / "_delta_log" / "_commit_1.json.tmp"]
    for path in torn:
        path.write_bytes(b"PAR1")
    everything = set(range(SESSIONS + 1))
    assert vacuum(store, QUOTES, everything, Retention(), after(29), dry_run=False).files == ()
    assert {folder / f for f in vacuum(store, QUOTES, everything, Retention(), after(), dry_run=False).files} == set(
        torn
    )
    assert store.read(QUOTES, as_of=None).equals(days(sessions(SESSIONS)))


def test_compaction_changes_no_bit_and_orders_files_by_event(tmp_path: Path):
    """Over a new year, with a column gained on the way: the same rows and hash from few files, each year its own, and
    every version before as it was; once more does nothing.
    """
    from dataclasses import replace

    store = DeltaStore(tmp_path)
    added = replace(QUOTES, schema={**QUOTES.schema, "currency": pl.String})
    of = sessions(80)
    for session in of[:70]:
        store.append(QUOTES, day(session))
    before = store.version(QUOTES)
    for session in of[70:]:
        store.append(added, day(session).with_columns(currency=pl.lit("USD")))
    whole, then = frame_hash(store.read(added, as_of=None)), frame_hash(store.read(added, as_of=None, version=before))
    did = compact(store, added)
    assert (did.before, did.after, did.rows) == (80, 2, 80 * NAMES)
    assert frame_hash(store.read(added, as_of=None)) == whole
    assert frame_hash(store.read(added, as_of=None, version=before)) == then
    for path in store.path(added).glob("year=*/*.parquet"):
        if (stored := pl.read_parquet(path, hive_partitioning=False)).height > NAMES:
            assert stored["session"].is_sorted()
    version = store.version(added)
    assert compact(store, added).rows == 0
    assert store.version(added) == version
    assert store.append(added, day(of[-1]).with_columns(currency=pl.lit("USD"))) == 0


def test_a_table_of_an_earlier_release_gets_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Compaction sets what an older table lacks: its log is no longer dropped by whoever writes next."""
    from resources.tables import log as delta

    store = DeltaStore(tmp_path)
    with monkeypatch.context() as older:
        older.setattr(delta, "CONFIGURATION", {})
        store.append(QUOTES, day(sessions(1)[0]))
    assert store.open(QUOTES).metadata().configuration == {}
    compact(store, QUOTES)
    assert store.open(QUOTES).metadata().configuration == delta.CONFIGURATION


def sized(*rows: int, year: int = 2024, each: int = 30) -> list[dict[str, Any]]:
    """Files of so many rows, in order."""
    return [{"year": year, "path": f"{year}-{n}", "rows": r, "bytes": r * each} for n, r in enumerate(rows)]


@pytest.mark.parametrize(
    ("files", "runs"),
    [
        (sized(*[3_000] * (FANOUT - 1)), []),
        (sized(*[3_000] * FANOUT), [FANOUT]),
        (sized(*[3_000] * 250), [250]),
        (sized(24_000, 24_000, *[3_000] * 5), []),  # two written together already wait for their like
        (sized(24_000, *[3_000] * 9, 24_000), [9, 11]),  # the first run is written, then it is looked again
        (sized(*[24_000] * 7, *[3_000] * 8), [8, 15]),
        (sized(*[3_000] * 5) + sized(*[3_000] * 5, year=2025), []),
        (
            sized(*[195_000] * 20, each=45),
            [],
        ),  # an intraday day is a file that may stay, and is read at once only with few others
        (sized(*[195_000] * 20, each=20), [8, 8]),
    ],
)
def test_only_neighbours_of_one_size_are_written_together(files: list[dict[str, Any]], runs: list[int]):
    """At least FANOUT neighbours of a partition and of one order of magnitude make a run, and no run is larger than
    what may be read at once.
    """
    found = small_runs(files)
    assert [len(run) for run in found] == runs
    assert all(sum(f["bytes"] for f in run) <= TOGETHER for run in found)


def test_rewriting_a_year_week_by_week_stays_cheap(tmp_path: Path):
    """Compacted every week of a long time, a row is rewritten a few times, not every week, and files stay few."""
    store, rewritten, of = DeltaStore(tmp_path), 0, sessions(120)
    for n, session in enumerate(of, 1):
        store.append(QUOTES, day(session, 3))
        if n % 5 == 0:
            rewritten += compact(store, QUOTES).rows
    assert rewritten <= 3 * 3 * len(of)
    assert statistics(store, QUOTES, set()).files <= 3 * FANOUT
    assert store.read(QUOTES, as_of=None).equals(days(of, 3))


def test_statistics_tell_what_is_there_and_what_is_lost(store: DeltaStore):
    """Files, rows, bytes and small files of the current version, of all versions on disk; a cited version whose file or
    log is missing is named.
    """
    compact(store, QUOTES)
    store.append(QUOTES, day(sessions(SESSIONS + 1)[-1]))
    found = statistics(store, QUOTES, {4, 9})
    assert (found.files, found.rows, found.small, found.disk_files, found.cited, found.oldest_cited, found.lost) == (
        2,
        (SESSIONS + 1) * NAMES,
        0,
        SESSIONS + 2,
        2,
        4,
        (),
    )
    assert found.bytes < found.disk_bytes
    sixth = pl.DataFrame(store.open(QUOTES, 6).get_add_actions(flatten=True)).sort("min.session")["path"][-1]
    (store.path(QUOTES) / sixth).unlink()
    assert statistics(store, QUOTES, {4, 6, 9, 22, 99}).lost == (6, 9, 99)


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_an_export_is_what_its_manifest_says(store: DeltaStore, tmp_path: Path, ending: str):
    """The rows known by the time, to the bit, beside the version and the hash of what was read."""
    as_of = datetime(2024, 11, 10, tzinfo=UTC)
    to = tmp_path / "out" / f"quotes.{ending}"
    manifest = export(store, QUOTES, as_of, to)
    found = (
        pl.read_parquet(to)
        if ending == "parquet"
        else pl.read_csv(to, try_parse_dates=True).with_columns(pl.col("known_at").cast(QUOTES.schema["known_at"]))
    )
    assert frame_hash(found) == manifest.frame_hash == frame_hash(days(sessions(6)))
    assert (manifest.rows, manifest.version, manifest.as_of) == (6 * NAMES, SESSIONS, as_of)
    assert msgspec.json.decode(to.with_name(f"quotes.{ending}.manifest.json").read_bytes(), type=Manifest) == manifest
    assert len(list(to.parent.iterdir())) == 2
    with pytest.raises(ConfigurationError, match="neither"):
        export(store, QUOTES, as_of, to.with_suffix(".xlsx"))


def test_every_table_contract_survives_compaction(tmp_path: Path):
    """Money, booleans, integers, texts and times of real contracts are the same after compaction: decisions with their
    nulls, read back and compared.
    """
    store = DeltaStore(tmp_path)
    for n in range(FANOUT):
        decide(store, "{}", n)
    before = store.read(DECISIONS, as_of=None)
    assert compact(store, DECISIONS).after == 1
    assert store.read(DECISIONS, as_of=None).equals(before)
