"""Sources, datasets, costs, checks, notifiers and channels that a deployment names do their part in a home."""

import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from desk.deployment import Deployment, DeploymentRefused, load
from desk.workspace import Workspace, channels_of
from quant_assets import plugged
from quant_assets.backtest.fills import costs_of
from quant_assets.errors import ConfigurationError
from quant_assets.market_data.datasets import contracts, dataset
from quant_assets.market_data.quality import RULES, verdict
from resources.notices.drain import drain
from resources.sources.open import open_source
from tests.market_data.test_quality import CUTS, partition

PLUGS = """
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
import polars as pl
from quant_assets.market_data.datasets import Dataset
from quant_assets.market_data.rules import Rule
from quant_assets.plugins import channel, check, costs, dataset, notifier, source
from quant_assets.vendor_tables import vendor_table

@source("fund.source")
class Source:
    def __init__(self, calendar, folder: str, first: date = date(2024, 6, 3)) -> None:
        self.calendar, self.folder, self.first, self.name = calendar, folder, first, f"fund {folder}"
    def labels(self, first=None, last=None): return [self.first]
    def fingerprints(self, labels): return {}
    def fetch(self, label): raise NotImplementedError

@dataset("short_interest")
def short_interest():
    columns = {"session": pl.Date, "symbol": pl.String, "shares": pl.Int64}
    return Dataset(vendor_table("short_interest", "Shares sold short.", columns, key=("symbol", "session")))

@costs("fund.flat")
class Flat:
    def __init__(self, each: Decimal = Decimal("2.00")) -> None:
        self.each = each
    def price(self, opened, side): return opened
    def fee(self, quantity): return self.each
    def capacity(self, volume): return volume

@check("fund.penny")
def penny(below: float = 1.0, severity: str = "block"):
    return Rule("penny", severity, "Does no name trade below it?", pl.col("close") < below, found=pl.col("close"))

@notifier("fund.log")
class Log:
    def __init__(self, home, file: str) -> None:
        self.path = home / file
    def notify(self, severity, subject, body=""):
        if subject == "break":
            raise OSError("disk")
        self.path.parent.mkdir(exist_ok=True)
        with self.path.open("a") as file:
            file.write(f"{severity} {subject} {body}\\\\n")

@channel("fund.chat")
class Chat:
    name = "chat"
    sent = []
    def send(self, notice, what, limit):
        self.sent.append((notice.subject, what, limit.left > 0))
""".replace("\\\\", "\\")
DEPLOYMENT = """clock: session
start: 2025-06-02
packages: [fund.plugs]
source: {kind: fund.source, folder: drops, first: 2024-06-10}
feeds:
  - {kind: tabular, dataset: short_interest, files: s, mapping: {symbol: s, session: d, shares: n}, known_at: event+1d}
  - {kind: fund.source, dataset: fx_rates, folder: rates}
checks: [{kind: fund.penny, below: 5}]
notifiers: [{kind: fund.log, file: log.txt}]
channels: [fund.chat]
strategies:
  - {name: slow, universe: {name: liquid, size: 20}}
books:
  - {name: desk, strategy: slow, account: A7, capital: "250000", costs: {kind: fund.flat, each: 1.5}}
  - {name: cheap, strategy: slow, account: A8, capital: "250000", costs: {kind: per_share, slippage_bps: 1}}
"""


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test plugs in is there for no other one."""
    monkeypatch.setattr(plugged, "REGISTRY", dict(plugged.REGISTRY))
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in [n for n in sys.modules if n.partition(".")[0] == "fund"]:
        del sys.modules[name]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A package `fund` beside a deployment that names it."""
    (tmp_path / "fund").mkdir()
    (tmp_path / "fund" / "__init__.py").touch()
    (tmp_path / "fund" / "plugs.py").write_text(PLUGS)
    (tmp_path / "deployment.yaml").write_text(DEPLOYMENT)
    return tmp_path


@pytest.fixture
def deployment(folder: Path) -> Deployment:
    """The deployment, read."""
    return load(folder / "deployment.yaml")


def test_sources_open_with_their_options_and_what_the_platform_gives(deployment: Deployment, folder: Path) -> None:
    """As the source of bars and as a feed; what the file says is typed as the plug-in declares it."""
    ws = Workspace(folder / "home", deployment)
    made = ws.source
    assert (made.name, made.folder, made.calendar.code) == ("fund drops", "drops", "XNYS")  # pyright: ignore[reportAttributeAccessIssue]
    assert made.labels() == [date(2024, 6, 10)]
    assert {name: [type(f).__name__ for f in feeds] for name, feeds in _feeds(deployment).items()} == {
        "short_interest": ["Tabular"],
        "fx_rates": ["Source"],
    }


def _feeds(deployment: Deployment) -> dict[str, list[object]]:
    found: dict[str, list[object]] = {}
    for one in deployment.feeds:
        found.setdefault(one.dataset, []).append(
            open_source(one, CUTS.calendar, cache=Path(), clock=None)  # pyright: ignore[reportArgumentType]
        )
    return found


def test_a_dataset_has_its_table_once_it_is_known(deployment: Deployment) -> None:
    """It is among all tables, and is the same one whenever it is asked for."""
    assert dataset("short_interest").table in contracts()
    assert dataset("short_interest") is dataset("short_interest")


def test_a_book_trades_at_its_own_costs(deployment: Deployment) -> None:
    """Those plugged in, and the platform's with other numbers."""
    flat, cheap = map(costs_of, deployment.books)
    assert (flat.fee(10), flat.price(Decimal(10), 1)) == (Decimal("1.5"), Decimal(10))
    assert cheap.price(Decimal(10), 1) == Decimal("10.0010")


def test_a_check_is_judged_with_the_platforms_rules(deployment: Deployment, folder: Path) -> None:
    """Its verdict is a row like any other, and one that blocks stops the session."""
    rules = Workspace(folder, deployment).rules
    assert [r.name for r in rules] == [*(r.name for r in RULES), "penny"]
    rows = partition()
    found = verdict(rows["session"][0], rows.with_columns(close=pl.lit(4.0)), CUTS, rules).filter(
        pl.col("rule") == "penny"
    )
    assert found.select("severity", "passed", "value").row(0) == ("block", False, 1.0)


def test_notices_reach_who_is_plugged_in(deployment: Deployment, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once by the notifier, whose faults are a notice and stop nothing; and from the queue by the channel."""
    for name in ("QUANT_WEBHOOK_URL", "QUANT_SMTP_URL", "QUANT_PAGER_URL"):
        monkeypatch.delenv(name, raising=False)
    home = folder / ".quant"
    home.mkdir()
    ws = Workspace(home, deployment)
    ws.notifier.notify("warning", "late", "by an hour")
    ws.notifier.notify("warning", "break")
    assert (home / "log.txt").read_text() == "warning late by an hour\n"
    assert "the notifier Log failed" in (home / "notifications.jsonl").read_text()
    assert [c.name for c in channels_of(home)] == ["fund.chat"]
    assert drain(home, datetime.now(UTC), channels=lambda: channels_of(home)).sent == 3
    assert ("late", "trigger", True) in sys.modules["fund.plugs"].Chat.sent


REFUSED = [
    ("kind: fund.source, folder: drops", "kind: fund.sauce, folder: d", 4, "source.kind", "did you mean fund.source?"),
    ("first: 2024-06-10", "frist: 2024-06-10", 4, "source.frist", "did you mean first?"),
    ("folder: drops, first", "first", 4, "source.folder", "lacks it"),
    ("dataset: short_interest", "dataset: short_intrest", 6, "feeds[0].dataset", "did you mean short_interest?"),
    ("[fund.chat]", "[fund.chatt]", 10, "channels[0]", "did you mean fund.chat?"),
    ("fund.flat, each", "fund.flat, eech", 14, "books[0].costs.eech", "did you mean each?"),
    ("below: 5", "below: 5, severity: refuse", 8, "checks[0]", "may be block or warn"),
    ("{kind: fund.penny, below: 5}", "fund.penny, fund.penny", 8, "checks[1]", "is another rule's"),
]


@pytest.mark.parametrize(("old", "new", "line", "path", "words"), REFUSED, ids=[r[1] for r in REFUSED])
def test_what_is_wrong_is_named_with_its_line(folder: Path, old, new, line, path, words) -> None:
    """One fault, at its line, with what was meant."""
    assert old in DEPLOYMENT
    (folder / "deployment.yaml").write_text(DEPLOYMENT.replace(old, new))
    with pytest.raises(DeploymentRefused) as caught:
        load(folder / "deployment.yaml")
    (fault,) = caught.value.faults
    assert (fault.line, fault.path) == (line, path)
    assert words in fault.what


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('vendor_table("short_interest"', 'vendor_table("other"', "its table is named 'other'"),
        ('@dataset("short_interest")', '@dataset("fx_rates")', "its table is named 'short_interest'"),
    ],
)
def test_a_dataset_has_the_name_of_its_table(folder: Path, old: str, new: str, words: str) -> None:
    """Else a feed would bring rows of one into the table of another."""
    (folder / "fund" / "plugs.py").write_text(PLUGS.replace(old, new))
    with pytest.raises(ConfigurationError, match=words):
        load(folder / "deployment.yaml")
