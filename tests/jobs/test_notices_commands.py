"""`quant notices`, `quant ack`, and what a command sends when its work is done."""

import json
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs import cli
from resources.ledger.open import open_ledger
from tests.jobs.commands import Quant, fails

ON = ("kill-switch", "on", "--by", "ann", "--reason", "drill")


def test_a_critical_notice_is_listed_and_acknowledged(tmp_path: Path, at: Callable[[Path], Quant]) -> None:
    """It is there with its id; acknowledging needs a name, is on record, and cannot be done twice."""
    quant = at(tmp_path)
    assert quant(*ON).code == 0
    (notice,) = json.loads(quant("notices", "--json").text)
    assert (notice["severity"], notice["subject"], notice["by"]) == ("critical", "The kill switch is ON, by ann", "")
    fails(quant("ack", notice["id"], "--by", " "), 1, "--by NAME")
    assert quant("ack", notice["id"], "--by", "bob").code == 0
    assert json.loads(quant("notices", "--json").text)[0]["by"] == "bob"
    fails(quant("ack", notice["id"], "--by", "bob"), 1, "no open notice", "quant notices")
    act = open_ledger(tmp_path).audit.acts()[-1]
    assert (act["act"], act["by"]) == ("acknowledge", "bob")
    assert notice["id"] in act["subject"]


def test_a_command_ends_within_the_deadline(
    tmp_path: Path, at: Callable[[Path], Quant], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The webhook never answers: the command has done its work, waits for one deadline, and the notice stays queued."""
    monkeypatch.setattr(cli, "DEADLINE", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        monkeypatch.setenv("QUANT_WEBHOOK_URL", f"http://127.0.0.1:{mute.getsockname()[1]}/hook")
        started = time.monotonic()
        quant = at(tmp_path)
        assert quant(*ON).code == 0
        assert time.monotonic() - started < 8
    assert json.loads(quant("notices", "--json").text)[0]["sent"] == "chat waiting"
