"""What a team plugs in is found by kind and name, read with its own options, and stands in the strategy's hash."""

import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import msgspec.inspect as mi
import polars as pl
import pytest

from desk.deployment import Deployment, DeploymentRefused, load
from quant_assets import plugged
from quant_assets.errors import ConfigurationError, TrainingRefused
from quant_assets.models.learners import artifact, learner_of, stored
from quant_assets.records import Artifact, Book
from quant_assets.signals.construction import construction_of
from quant_assets.strategy import LIQUID_MOMENTUM, ModelRule
from resources.brokers.open import BrokerDesk

PLUGS = """
from decimal import Decimal
from typing import Annotated
import polars as pl
from msgspec import Meta
from quant_assets.plugins import broker, construction, learner
from quant_assets.records import Artifact

@learner("fund.mean")
class Mean:
    family = "fund.mean"
    def __init__(self, shrink: Annotated[float, Meta(ge=0, le=1)] = 0.5) -> None:
        self.shrink = shrink
    def fit(self, frame, features, rule):
        return Artifact(self.family, str(frame["target"].mean() * self.shrink), "f")
    def usable(self, artifact):
        return True
    def predict(self, artifact, frame, threads):
        return pl.Series("x", [float(artifact.content)] * frame.height)
    def explain(self, artifact, frame, threads):
        return frame

@construction("fund.all")
class All:
    def __init__(self, strategy, gross: float) -> None:
        self.each = gross / strategy.holdings
    def weights(self, scores, held=None):
        return scores.with_columns(rank=pl.lit(1), target_weight=pl.lit(self.each))

@broker("fund.venue")
class Venue:
    name = "fund"
    def __init__(self, book, host: str, fee: Decimal = Decimal("0.1")) -> None:
        self.account, self.host, self.fee = book.account, host, fee
    submit = cancel = replace = find = open_orders = events = positions = cash = lambda self: None
"""
DEPLOYMENT = """clock: session
start: 2025-06-02
packages: [fund.plugs]
source: {kind: simulated, seed: 7, names: 30, first: 2024-06-03, last: 2025-06-30}
strategies:
  - name: slow
    universe: {name: liquid, size: 20}
    construction: {kind: fund.all, gross: 0.5}
    model: {learner: fund.mean}
books:
  - {name: desk, strategy: slow, account: A7, capital: "250000", broker: {kind: fund.venue, host: here, fee: 0.30}}
"""


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test plugs in is there for no other one."""
    monkeypatch.setattr(plugged, "REGISTRY", dict(plugged.REGISTRY))
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in [n for n in sys.modules if n.partition(".")[0] in {"fund", "installed"}]:
        del sys.modules[name]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A package `fund` beside a deployment that names it."""
    (tmp_path / "fund").mkdir()
    (tmp_path / "fund" / "__init__.py").touch()
    (tmp_path / "fund" / "plugs.py").write_text(PLUGS)
    (tmp_path / "deployment.yaml").write_text(DEPLOYMENT)
    return tmp_path


def test_the_deployment_names_them_with_their_options(folder: Path) -> None:
    """Learner, construction and broker are made with the options of the file; what is not said has its default."""
    deployment = load(folder / "deployment.yaml")
    (strategy,), (book,) = deployment.strategies, deployment.books
    learner = learner_of(strategy.model)
    frame = pl.DataFrame({"target": [1.0, 3.0]})
    fitted = artifact(stored(learner.fit(frame, ["f"], strategy.model), "fund.mean"))
    assert learner.predict(fitted, frame, 1).to_list() == [1.0, 1.0]
    scores = pl.DataFrame({"session": [1], "sid": [1], "score": [0.1]})
    assert construction_of(strategy).weights(scores)["target_weight"].to_list() == [0.5 / 40]
    assert (book.venue, book.broker) == ("fund.venue", {"kind": "fund.venue", "host": "here", "fee": "0.30"})
    venue = plugged.opened("broker", book.broker, book=book, clock=None)
    assert (venue.account, venue.host, venue.fee) == ("A7", "here", Decimal("0.30"))


def test_their_source_stands_in_the_strategys_hash(folder: Path) -> None:
    """Another option, or another line in the module, is another strategy; one that plugs nothing in keeps its hash."""
    (strategy,) = load(folder / "deployment.yaml").strategies
    first = strategy.config_hash
    (folder / "fund" / "plugs.py").write_text(PLUGS + "# changed\n")
    assert strategy.config_hash != first
    (folder / "fund" / "plugs.py").write_text(PLUGS)
    assert strategy.config_hash == first
    (folder / "deployment.yaml").write_text(DEPLOYMENT.replace("gross: 0.5", "gross: 0.6"))
    assert load(folder / "deployment.yaml").strategies[0].config_hash != first
    assert LIQUID_MOMENTUM.config_hash == "d8065825780127e726d4b476a496c970"


LEARNER = "strategies[0].model.learner"
REFUSED = [
    ("learner: fund.mean", "learner: fund.maen", 9, LEARNER, "did you mean fund.mean?"),
    ("kind: fund.all", "kind: fnd.all", 8, "strategies[0].construction", "did you mean fund.all?"),
    ("fee: 0.30", "fie: 0.30", 11, "books[0].broker.fie", "did you mean fee?"),
    ("{kind: fund.all, gross: 0.5}", "fund.all", 8, "strategies[0].construction.gross", "lacks it"),
    ("learner: fund.mean", "learner: {kind: fund.mean, shrink: 2}", 9, f"{LEARNER}.shrink", "0 to"),
    ("learner: fund.mean", "learner: {shrink: 2}", 9, LEARNER, "its name, or {kind"),
    ("learner: fund.mean", "learner: [a]", 9, LEARNER, "its name, or {kind"),
    ("fund.mean}", "fund.mean, params: {num_leaves: 3}}", 9, "strategies[0].model.params", "LightGBM's"),
    ("kind: fund.venue", "kind: papr", 11, "books[0].broker", "did you mean paper?"),
    ("[fund.plugs]", "[fund.plugz]", 3, "packages[0]", "no module is named"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "line", "path", "words"), REFUSED, ids=[r[1] for r in REFUSED])
def test_what_is_wrong_is_named_with_its_line(folder: Path, old, new, line, path, words) -> None:
    """An unknown plug-in or option is refused when the file is loaded, with what was meant, and nothing else is."""
    assert old in DEPLOYMENT
    (folder / "deployment.yaml").write_text(DEPLOYMENT.replace(old, new))
    with pytest.raises(DeploymentRefused) as caught:
        load(folder / "deployment.yaml")
    (fault,) = caught.value.faults
    assert (fault.line, fault.path) == (line, path)
    assert words in fault.what


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("@learner('fund.mean')\nclass Other(Mean): ...", r"named 'fund.mean': fund\.plugs\.Mean and .*Other"),
        ("@learner('lightgbm')\nclass Other(Mean): ...", r"named 'lightgbm': quant_assets.*LightGBM and .*Other"),
        ("@broker('research')\nclass Other(Venue): ...", r"named 'research': resources\.brokers.* and .*Other"),
        ("@learner('x')\nclass Other:\n    fit = 1", r"Other lacks fit, usable, predict, explain"),
        ("@learner('x')\ndef f(a):\n    return Mean()", "its option 'a' has no type"),
        ("@learner('x')\ndef f(a: int = 'y', *, b: list = []):\n    return Mean()", None),
        ("@construction('x y')\nclass Other(All): ...", "is no name of a plug-in"),
    ],
)
def test_what_cannot_be_plugged_in_is_refused_with_its_line(folder: Path, source: str, words: str | None) -> None:
    """Two of one name, a class that lacks a method, an option without a type: one sentence, with file and line."""
    (folder / "fund" / "plugs.py").write_text(f"{PLUGS}\n{source}\n")
    if words is None:
        load(folder / "deployment.yaml")
        return
    with pytest.raises(ConfigurationError, match=rf"fund\.plugs cannot be loaded \(plugs\.py, line \d+\).*{words}"):
        load(folder / "deployment.yaml")


def installed(folder: Path, entries: str) -> None:
    """A package as pip installs it, with these entry points."""
    info = folder / "installed-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: installed\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[quant_assets.plugins]\n{entries}\n")
    sys.path.append(str(folder))


def test_an_installed_package_needs_no_line_under_packages(folder: Path) -> None:
    """A name is looked for under the entry point of that name, or of what stands before a point of it; a package of
    which nothing is named is not imported.
    """
    installed(folder, "fund = fund.plugs\nother = nowhere.at_all")
    (folder / "deployment.yaml").write_text(DEPLOYMENT.replace("packages: [fund.plugs]\n", ""))
    assert learner_of(load(folder / "deployment.yaml").strategies[0].model).family == "fund.mean"
    with pytest.raises(ConfigurationError, match="entry point other of installed cannot be loaded: ModuleNotFound"):
        learner_of(ModelRule(learner="other.thing"))
    with pytest.raises(ConfigurationError, match=r"no learner is named 'thing'; there are fund\.mean, lightgbm"):
        learner_of(ModelRule(learner="thing"))


def test_a_package_may_be_named_by_its_entry_point(folder: Path) -> None:
    """`packages: [mine]` imports what the entry point `mine` names."""
    installed(folder, "mine = fund.plugs")
    (folder / "deployment.yaml").write_text(DEPLOYMENT.replace("[fund.plugs]", "[mine]"))
    assert load(folder / "deployment.yaml").strategies[0].model.learner == "fund.mean"


def test_a_model_of_another_learner_is_stored_as_text(folder: Path) -> None:
    """Text and bytes come back as they were; a model that names another family could not be read again."""
    for content in ("1.5", b"\x00\xff"):
        model = Artifact("fund.mean", content, "f")
        assert artifact(stored(model, "fund.mean")) == model
    with pytest.raises(TrainingRefused, match=r"must be 'fund\.mean'"):
        stored(Artifact("other", "x", "f"), "fund.mean")


def test_a_research_book_has_no_venue(tmp_path: Path) -> None:
    """Nor has one whose broker nobody plugged in."""
    made = BrokerDesk(tmp_path, None, None)  # pyright: ignore[reportArgumentType]  # neither is asked
    book = Book(name="b", strategy="s", account="A", capital=Decimal(1))
    with pytest.raises(ConfigurationError, match="research book"):
        made.open(book)
    with pytest.raises(ConfigurationError, match=r"no broker is named 'fund\.venue'"):
        made.open(Book(name="b", strategy="s", account="A", capital=Decimal(1), broker="fund.venue"))


def test_no_text_with_a_pattern_may_also_be_a_mapping() -> None:
    """Msgspec (0.22) frees the pattern of such a text as what it is not: the process crashes as it ends."""
    seen: set[type] = set()
    wrong: list[str] = []

    def look(wanted: mi.Type, where: str) -> None:
        if isinstance(wanted, mi.Metadata):
            look(wanted.type, where)
        elif isinstance(wanted, mi.StructType) and wanted.cls not in seen:
            seen.add(wanted.cls)
            for one in wanted.fields:
                look(one.type, f"{wanted.cls.__name__}.{one.name}")
        elif isinstance(wanted, mi.UnionType):
            plain = [t.type if isinstance(t, mi.Metadata) else t for t in wanted.types]
            if any(isinstance(t, mi.DictType) for t in plain):
                wrong.extend(where for t in plain if isinstance(t, mi.StrType) and t.pattern)
            for one in plain:
                look(one, where)
        elif isinstance(wanted, mi.VarTupleType):
            look(wanted.item_type, where)

    look(mi.type_info(Deployment), "")
    assert len(seen) > 20
    assert not wrong
