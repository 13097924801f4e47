"""From a file of one's own to a report: two commands, no account, no edit."""

from collections.abc import Callable
from pathlib import Path

import pytest

from desk.workspace import Workspace
from quant_assets.tables import DECISIONS, PROMOTIONS
from tests.desk.own_files import prices, sessions
from tests.jobs.commands import Quant

At = Callable[[Path], Quant]


@pytest.mark.filterwarnings("ignore")  # the registry is the real one, and its libraries warn
def test_two_commands_lead_from_a_file_to_the_report_of_a_strategy(at: At, tmp_path: Path) -> None:
    """Six names over half a year, with days of the vendor's notation: a model is judged, and the page is there."""
    file = prices(tmp_path / "p.csv", sessions(140), 6, form="%d.%m.%Y", mark=";", point=",")
    home = tmp_path / "home"
    quant = at(home)
    assert quant("init", "--csv", str(file)).code == 0
    report = quant("backtest")
    assert report.code == 0, report.err
    page = Path(report.text.split()[-1])
    assert page.is_file()
    assert page.is_relative_to(home)
    ws = Workspace.open(home)
    assert ws.store.read(PROMOTIONS, as_of=None).height >= 1
    assert len(set(ws.store.read(DECISIONS, as_of=None)["sid"]) - {0}) == 6  # 0: a session without members
    assert "quant run daily" in quant("today").text


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_file_too_short_for_a_model_still_comes_to_a_page(at: At, tmp_path: Path) -> None:
    """The first command says how much is needed; the second reports the data, with no trade and the reason."""
    file = prices(tmp_path / "p.csv", sessions(40), 3)
    quant = at(tmp_path / "home")
    assert "40 sessions are too few" in " ".join(quant("init", "--csv", str(file)).text.split())
    report = quant("backtest")
    assert (report.code, Path(report.text.split()[-1]).is_file()) == (0, True)
    assert "sessions before the" in " ".join(report.text.split())


def test_nothing_of_another_deployment_is_overwritten_or_mixed(at: At, own: Path, tmp_path: Path) -> None:
    """Neither a deployment that is there, nor tables that another one filled."""
    file = prices(tmp_path / "p.csv", sessions(140), 3)
    quant = at(own)
    before = (own / "deployment.yaml").read_bytes()
    refused = quant("init", "--csv", str(file))
    assert (refused.code, "is not overwritten" in refused.err) == (1, True)
    assert (own / "deployment.yaml").read_bytes() == before
    (own / "deployment.yaml").unlink()
    assert "holds the data of another deployment" in quant("init", "--csv", str(file)).err
    assert not (own / "deployment.yaml").exists()


@pytest.mark.parametrize("argv", [(), ("mine", "--csv", "p.csv"), ("mine", "--set", "calendar=XNYS")])
def test_init_writes_a_package_or_a_deployment_and_not_both(at: At, tmp_path: Path, argv: tuple[str, ...]) -> None:
    """A usage error, and nothing is written."""
    assert at(tmp_path / "home")("init", *argv).code == 2
    assert not (tmp_path / "home").exists()
