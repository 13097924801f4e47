"""The command line as a function, and what tests of it ask again and again."""

import json
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

import msgspec
import pytest

from desk.deployment import Deployment
from desk.workspace import Workspace
from jobs import cli
from quant_assets.tables import DECISIONS, FILLS
from tests.jobs.small import LIVE

THIN, TRADED, MISSING, FILLED = LIVE[:4]
"""Of the first live sessions one has a thin capture, one is traded, one has no capture, one has the fills."""


class Answer(msgspec.Struct):
    """What a command said."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        """Standard output."""
        return self.out.decode()

    @property
    def json(self) -> object:
        """The one document on standard output."""
        (line,) = self.text.splitlines()
        return json.loads(line)


Quant = Callable[..., Answer]


def answered(argv: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[bytes]) -> Answer:
    """Run `quant` with these arguments, in this process."""
    monkeypatch.setattr(sys, "argv", ["quant", *argv])
    capture.readouterr()
    with pytest.raises(SystemExit) as ended:
        cli.main()
    sys.stdout.flush()
    out, err = capture.readouterr()
    return Answer(ended.value.code if isinstance(ended.value.code, int) else 0, out, err.decode())


def declare(home: Path, declared: Deployment) -> None:
    """Put the deployment's file into its home, where the command line finds it."""
    (home / "deployment.yaml").write_bytes(msgspec.yaml.encode(msgspec.to_builtins(declared, builtin_types=(date,))))


def decision(home: Path, session: date = TRADED, rank: int = 1) -> str:
    """The id of the best decision of a session."""
    return (
        Workspace.open(home)
        .store.read(DECISIONS, as_of=None, first=session, last=session)
        .filter(rank=rank)["decision_id"]
        .item()
    )


def execution(home: Path) -> str:
    """The id of an execution."""
    return Workspace.open(home).store.read(FILLS, as_of=None)["exec_id"][0]


def fails(answer: Answer, code: int, *words: str) -> None:
    """One line on stderr with the words, nothing on stdout, the exit code."""
    assert (answer.code, answer.text) == (code, "")
    (line,) = answer.err.splitlines()
    for word in words:
        assert word in line
