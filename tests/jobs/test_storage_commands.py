"""`quant storage …` and the weekly job, on a home with a few tables."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobs.commands.storage import storage_app
from quant_assets.errors import ConfigurationError
from quant_assets.tables import JOURNAL, NAV
from resources.ledger.open import open_ledger
from resources.tables.store import DeltaStore
from tests.resources.small_table import sessions

run = CliRunner()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose journal lies in ten files."""
    monkeypatch.setenv("QUANT_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    fill(DeltaStore(tmp_path / "tables", open_ledger(tmp_path).marks))
    return tmp_path


def fill(store: DeltaStore) -> None:
    """Ten sessions of cash movements, each a version."""
    from datetime import UTC, datetime

    import polars as pl

    for n, session in enumerate(sessions(10)):
        row = {
            "session": session,
            "book": "paper",
            "sid": n,
            "kind": "fee",
            "reference": "",
            "amount": None,
            "known_at": datetime(2025, 1, 1, tzinfo=UTC),
        }
        store.append(JOURNAL, pl.DataFrame([row], schema=dict(JOURNAL.schema)))


def test_statistics_count_files_and_find_what_is_lost(home: Path):
    """One row per table that exists; exit code 0 where every cited version can be read."""
    answer = run.invoke(storage_app, ["stats", "--json"])
    (row,) = json.loads(answer.stdout)
    assert (row["table"], row["files"], row["small"], row["rows"], row["lost"]) == ("journal", 10, 10, 10, 0)
    assert answer.exit_code == 0
    (home / "reports").mkdir()
    (home / "reports" / "page.html").write_text('<meta name="table-versions" content="{&quot;journal&quot;: 99}">')
    assert run.invoke(storage_app, ["stats"]).exit_code == 20


def test_every_act_of_a_person_is_on_record(home: Path):
    """Compaction and deletion say who and why in the audit; a look at what would go needs no name and leaves no
    trace; deleting without one is refused.
    """
    assert run.invoke(storage_app, ["compact"]).exit_code == 2
    assert "10 files are 1" in run.invoke(storage_app, ["compact", "--by", "ann", "--reason", "slow"]).stdout
    looked = run.invoke(storage_app, ["vacuum"])
    assert looked.exit_code == 0
    assert "--delete" in looked.stdout
    assert run.invoke(storage_app, ["vacuum", "--delete"]).exit_code == 2
    assert run.invoke(storage_app, ["vacuum", "--delete", "--by", "ann", "--reason", "full disk"]).exit_code == 0
    audited = open_ledger(home).audit.acts()
    assert [(a["act"], a["subject"], a["by"], a["reason"]) for a in audited] == [
        ("compact", "journal: 10 files to 1", "ann", "slow")
    ]  # nothing was old enough to be deleted
    assert DeltaStore(home / "tables").read(JOURNAL, as_of=None).height == 10


def test_an_export_is_written_and_a_table_that_is_not_there_is_named(home: Path):
    """The file and its manifest; the error lists the tables that exist."""
    to = home / "journal.csv"
    assert "10 rows of journal" in run.invoke(storage_app, ["export", "journal", str(to)]).stdout
    assert json.loads((home / "journal.csv.manifest.json").read_text())["rows"] == 10
    wrong = run.invoke(storage_app, ["export", NAV.name, str(to)])
    assert isinstance(wrong.exception, ConfigurationError)
    assert "there are journal" in str(wrong.exception)


def test_the_weekly_job_compacts_every_table(home: Path):
    """The job runs in one process, says what it did, and lets nothing go that is recent."""
    from jobs.maintenance import build, schedule
    from resources.tables.maintenance import Retention

    store = DeltaStore(home / "tables")
    job = build(store, lambda: open_ledger(home).audit, lambda: [JOURNAL, NAV], home / "reports", Retention())
    ran = job.execute_in_process()
    told = next(e for e in ran.all_node_events if e.is_successful_output).step_output_data.metadata
    assert {k: v.value for k, v in told.items()} == {
        "tables": 1,
        "files_before": 10,
        "files_after": 1,
        "files_deleted": 0,
        "bytes_deleted": 0,
    }
    assert schedule(job).cron_schedule == "0 6 * * 6"
    assert store.read(JOURNAL, as_of=None, version=5).height == 5
