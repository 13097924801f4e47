"""A file without knowledge times is loaded under a stated assumption, and everything made from it says so."""

from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from desk.workspace import Workspace
from jobs import cli
from quant_assets.models.training_set import training_set
from quant_assets.post_trade.report import range_report
from quant_assets.tables import CAPTURES
from tests.jobs.small import CUTS, FEATURES, RESEARCH, STRATEGY, deployment, ranged, research, workspace

SESSIONS = CUTS.calendar.between(date(2024, 1, 2), date(2024, 3, 28))
DEPLOYMENT = """
clock: session
start: 2024-03-28
source: {kind: files, prices: PRICES, known_at: "label+1d@13:00"}
strategies: [{name: small}]
books: [{name: research, strategy: small, account: R, capital: "250000"}]
"""


@pytest.fixture
def prices(tmp_path: Path) -> Path:
    """Twenty names that walk about, in a CSV file that says nothing of when it was known."""
    rows = [
        {
            "symbol": f"N{n:02}",
            "session": s,
            "open": p,
            "high": p + 1,
            "low": p - 1,
            "close": p + ((i * 7 + n) % 5 - 2) / 10,
            "volume": 10_000 + 100 * n,
        }
        for i, s in enumerate(SESSIONS)
        for n in range(20)
        for p in [20.0 + n + (i * (n + 3)) % 11 / 10]
    ]
    path = tmp_path / "prices.csv"
    pl.DataFrame(rows).write_csv(path)
    return path


def test_the_command_assumes_and_stamps(prices: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`quant ingest --known-at close+1h` takes the file in, each session known an hour after its close, and marks
    each capture as assumed.
    """
    (tmp_path / "deployment.yaml").write_text(DEPLOYMENT.replace("PRICES", str(prices)))
    monkeypatch.setenv("QUANT_HOME", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["quant", "ingest", "--known-at", "close+1h"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    taken = Workspace.open().store.read(CAPTURES, as_of=None)
    assert taken["capture"].to_list() == SESSIONS
    assert taken["assumed"].all()
    assert taken["known_at"].to_list() == [CUTS.calendar.close(s) + timedelta(hours=1) for s in SESSIONS]


def test_what_is_made_from_it_says_assumed(prices: Path, tmp_path: Path):
    """The snapshot of the training set and the report carry the assumption."""
    source = {"kind": "files", "prices": str(prices), "known_at": "close+1h"}
    ws = workspace(tmp_path / "home", deployment(source=source, start=SESSIONS[-1]))
    ranged(ws, SESSIONS[:-1])
    _, snapshot = training_set(
        ws.store, FEATURES, STRATEGY.horizon, CUTS.of(SESSIONS[-2]), universe=STRATEGY.universe.name
    )
    assert snapshot.assumed_known_at
    research(ws, RESEARCH, SESSIONS[-9:-1])
    page = range_report(ws.store, RESEARCH, SESSIONS[-9], SESSIONS[-2], folder=tmp_path / "reports")
    assert "ASSUMED" in page.read_text()
