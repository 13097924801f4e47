"""`quant check`: what a deployment holds and what would run when, without a trace in the home."""

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from desk.checkup import checkup, look
from desk.deployment import Deployment
from desk.workspace import Workspace
from quant_assets.assets import merged
from quant_assets.books.holdings import Holdings
from quant_assets.records import StageReport
from quant_assets.strategy import Strategy
from resources.brokers.paper import SCHEMA, VERSION
from resources.ledger.database import open_versioned
from tests.jobs.commands import answered

BASE = """clock: session
start: 2025-06-02
source: {kind: simulated, seed: 7, names: 30, first: 2025-05-01, last: 2025-06-30}
strategies: [{name: slow, universe: {size: 20}}]
books:
  - {name: paper, strategy: slow, account: A7, capital: 250000, broker: paper, armed: true}
  - {name: what_if, strategy: slow, account: B7, capital: 1000}
"""
TWELVE = """clok: session
start: 2025-06-07
source: {kind: simulated, nmaes: 30, first: 2024-06-03, last: 2025-06-30}
strategies:
  - {name: slow, holdings: 0, feature_set: alpha15, limits: {max_wieght: 0.05, min_coverage: 90}}
books:
  - {name: ../paper, strategy: slow, account: A7, capital: "1,000,000", broker: papr, armed: off}
  - {name: other, strategy: slwo, account: A7, capital: 5}
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home that is not there yet."""
    monkeypatch.setenv("QUANT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_all_mistakes_are_told_at_once(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Each with its line and key; as JSON for a script."""
    file = tmp_path / "d.yaml"
    file.write_text(TWELVE)
    said = answered(("check", str(file)), monkeypatch, capfdbinary)
    assert said.code == 1
    assert "13 faults: nothing runs with this file." in said.text
    for key in ("clok", "max_wieght", "min_coverage", "books[0].armed", "books[1].account"):
        assert key in said.text
    told = answered(("check", str(file), "--json"), monkeypatch, capfdbinary).json
    assert isinstance(told, list)
    assert [f["line"] for f in told] == [1, 2, 3, 5, 5, 5, 5, 7, 7, 7, 7, 8, 8]


def test_a_good_deployment_is_tried_on(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Captures, features, accounts and the first sessions are told, and the home is not made."""
    file = tmp_path / "d.yaml"
    file.write_text(BASE)
    said = answered(("check", str(file)), monkeypatch, capfdbinary)
    assert said.code == 0
    for words in (
        "captures, 2025-05-01 to 2025-06-30",
        "price_volume",
        "A7, not opened yet; armed",
        "nothing is ever sent",
        "first: 2025-06-02 at Tue 2025-06-03 09:15",
    ):
        assert words in said.text
    assert not home.exists()


def test_what_cannot_be_opened_is_named(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """A file that is not there is a fault, beside everything that is fine."""
    file = tmp_path / "d.yaml"
    file.write_text(
        BASE.replace(
            "source: {kind: simulated, seed: 7, names: 30, first: 2025-05-01, last: 2025-06-30}",
            f"source: {{kind: files, prices: {tmp_path}/p.csv}}",
        )
    )
    said = answered(("check", str(file)), monkeypatch, capfdbinary)
    assert said.code == 1
    assert "source files" in said.err
    assert "p.csv" in said.text


def test_the_next_moments_are_on_the_venues_clock(home: Path) -> None:
    """A live book in Tokyo decides before the open of the day after, which the weekend lies before."""
    source = {"kind": "simulated", "first": "2025-05-01", "last": "2025-06-30", "names": 30}
    declared = Deployment(
        source=source,
        strategies=(Strategy(name="slow", calendar="XTKS"),),
        books=(),
        start=datetime(2025, 6, 2, tzinfo=UTC).date(),
        calendar="XTKS",
    )  # pyright: ignore[reportArgumentType]  # as in the file
    *_, when = checkup(Workspace(home, declared), datetime(2025, 6, 5, 12, tzinfo=UTC))
    assert (
        "next: 2025-06-05 at Fri 2025-06-06 08:45, 2025-06-06 at Mon 2025-06-09 08:45, 2025-06-09 at Tue "
        "2025-06-10 08:45 (Asia/Tokyo)" in when.says
    )


def test_an_account_is_read_and_left_as_it_is(tmp_path: Path) -> None:
    """Also what its last writer has only in the log yet."""
    path = tmp_path / "brokers" / "A7.sqlite"
    assert look(path) is None
    held = Holdings(
        session=datetime(2025, 6, 3, tzinfo=UTC).date(), cash=Decimal("12.50"), quantities={5: 7}, marks={5: Decimal(3)}
    )
    database = open_versioned(path, SCHEMA, VERSION)
    with database.transaction() as tx:
        tx.execute(
            "INSERT INTO evenings (session, holdings) VALUES ('2025-06-03', ?)", (msgspec.json.encode(held).decode(),)
        )
    before = {p.name: p.read_bytes() for p in path.parent.iterdir()}
    assert look(path) == held
    assert {p.name: p.read_bytes() for p in path.parent.iterdir()} == before
    database.close()


def test_a_stage_without_books_is_empty_with_a_reason() -> None:
    """A deployment for research alone has no delivery, which is no error."""
    report = merged([])
    assert (report.state, report.rows) == ("empty", 0)
    assert "no book" in report.reason


def test_counts_add_up_and_measures_do_not() -> None:
    """The IC of two models is no sum; of one model among refused ones it is that model's."""
    day = date(2025, 6, 30)
    kept = [
        StageReport("champion", day, day, "done", rows=10, numbers={"promoted": 1.0}, measures={"ic": ic})
        for ic in (0.1, 0.2)
    ]
    refused = StageReport("champion", day, day, "refused", reason="too few sessions")
    assert merged(kept).metadata() == {"state": "done", "rows": 20, "promoted": 2.0}
    assert merged([refused, kept[1]]).metadata()["ic"] == 0.2


def test_the_kill_switch_needs_no_deployment(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """A file that is refused must not keep anybody from stopping everything."""
    home.mkdir()
    (home / "deployment.yaml").write_text(TWELVE)
    assert answered(("today",), monkeypatch, capfdbinary).code == 1
    assert answered(("kill-switch", "on", "--by", "me", "--reason", "test"), monkeypatch, capfdbinary).code == 0
    assert answered(("kill-switch", "show"), monkeypatch, capfdbinary).code == 20


@pytest.mark.parametrize(("calendar", "state"), [("24/7", "refused"), ("XNYS", "fine")])
def test_bars_that_are_known_after_their_decisions_are_told(tmp_path: Path, calendar: str, state: str) -> None:
    """An hour after the close is after the cut where the venue opens again at once: every session would be refused."""
    prices = tmp_path / "prices.csv"
    prices.write_text("symbol,date,open,high,low,close,volume\nAAA,2025-06-03,1,1,1,1,10\n")
    strategy = Strategy(name="slow", calendar=calendar)
    source = {"kind": "files", "prices": str(prices), "known_at": "close+1h", "mapping": {"session": "date"}}
    declared = Deployment(
        source=source, strategies=(strategy,), books=(), start=date(2025, 6, 2), clock="session", calendar=calendar
    )
    (found, *_) = checkup(Workspace(tmp_path / "home", declared), datetime(2025, 7, 1, tzinfo=UTC))
    assert (found.what, found.state) == ("source", state)
    assert ("NO_TRADE(DATA_MISSING)" in found.says) == (state == "refused")
