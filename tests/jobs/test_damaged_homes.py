"""No command ends in a traceback on a damaged home; nothing is sent by it; after a restore the day ends as if nothing
had happened.

The suite tries a few kinds of damage, `make chaos-home` all of them (QUANT_CHAOS).
"""

import os
import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from desk.backup.make import backup
from desk.lock import LOCK
from jobs.execute import runner
from jobs.live import DAY, Exit, run_daily
from quant_assets.records import Order
from resources.brokers.paper import PaperBroker
from tests.jobs.commands import Answer, Quant
from tests.jobs.damage import KINDS
from tests.jobs.small import LIVE, outcome, workspace

At = Callable[[Path], Quant]
WHO = ("--by", "ann", "--reason", "drill")
ASKED: tuple[tuple[str, ...], ...] = (
    ("today",),
    ("why", str(LIVE[1])),
    ("sql", "select count(*) n from bars"),
    ("sql", "select book, max(session) from nav group by 1"),
    ("breaks", "list"),
    ("kill-switch", "show"),
    ("audit", "list"),
    ("storage", "stats"),
    ("quarantine", "list"),
    ("report", "--session", str(LIVE[1])),
    ("doctor", "--no-golden"),
    ("check",),
    ("run", "daily"),
)
SAMPLE = (
    "ledger garbage",
    "data file truncated",
    "log folder deleted",
    "deployment.yaml flipped",
    "dagster.yaml garbage",
)
CODES = {int(code) for code in Exit}


class Undisturbed(NamedTuple):
    """A home that nothing happened to, its backups, and how it is one session later."""

    home: Path
    backups: Path
    later: dict[str, object]


@pytest.fixture(scope="session")
def undisturbed(once: Callable[[str, Callable[[Path], None]], Path], operated: Path) -> Undisturbed:
    """Made by the jobs of the command line, so that it has a Dagster instance too."""

    def make(folder: Path) -> None:
        home, later = folder / "home", folder / "later"
        shutil.copytree(operated, home)
        one_more(home, LIVE[4])
        backup(home, folder / "backups", datetime.now(UTC))
        shutil.copytree(home, later)
        one_more(later, LIVE[5])

    folder = once("undisturbed", make)
    return Undisturbed(folder / "home", folder / "backups", outcome(workspace(folder / "later")))


def one_more(home: Path, session: date) -> None:
    """Run a session's jobs."""
    with runner(workspace(home)) as started:
        assert len(list(run_daily(started, [session]))) == len(DAY)


def tried(quant: Quant, harm: str, command: tuple[str, ...]) -> Answer:
    """An answer: a known code, a sentence where it is 1, and no traceback, whatever is damaged."""
    answer = quant(*command)
    said = answer.err + answer.text
    assert "Traceback" not in said, (harm, command, said)
    assert "panicked" not in said, (harm, command, said)
    assert answer.code in CODES, (harm, command, said)
    if answer.code == Exit.FAILED:
        sentence = answer.err.strip().splitlines()[-1]
        assert "`" in sentence or ";" in sentence, (harm, command, sentence)  # it names a way back
    return answer


@pytest.mark.parametrize("harm", KINDS if "QUANT_CHAOS" in os.environ else SAMPLE)
def test_a_damaged_home_refuses_in_sentences(
    harm: str, undisturbed: Undisturbed, tmp_path: Path, at: At, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every command answers or refuses in a sentence; after the restore the next session ends undisturbed."""
    home = Path(shutil.copytree(undisturbed.home, tmp_path / "home"))
    KINDS[harm](home)
    sent: list[str] = []
    submit = PaperBroker.submit

    def counted(self: PaperBroker, order: Order) -> str:
        sent.append(order.client_order_id)
        return submit(self, order)

    monkeypatch.setattr(PaperBroker, "submit", counted)
    answers = {command: tried(at(home), harm, command) for command in ASKED}
    assert not sent or answers["run", "daily"].code != Exit.FAILED
    if (home / LOCK).is_dir():
        (home / LOCK).rmdir()  # as the sentence asks
    restored = at(home)("restore", str(undisturbed.backups), *WHO)
    assert restored.code == 0, (harm, restored.err)
    assert at(home)("run", "daily").code == Exit.DONE
    assert outcome(workspace(home)) == undisturbed.later
