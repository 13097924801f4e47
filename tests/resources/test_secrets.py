"""Errors name fields and never values; what is printed or sent has no secret of the environment."""

import io
import json
import traceback
from pathlib import Path
from typing import Any

import pytest

from jobs import cli, console
from quant_assets.errors import ConfigurationError
from resources.notifier import LogNotifier
from resources.secrets import without_secrets
from resources.sources.open import declared

PLANTED = "planted-value-4711"
CCXT = {"kind": "ccxt", "exchange": "b", "symbols": ["A"], "first": "2024-01-01"}
FILES = {"kind": "files", "prices": "x"}
WRONG: list[dict[str, Any]] = [
    {"kind": PLANTED},
    {"kind": {"a": PLANTED}},
    CCXT | {"first": PLANTED},
    CCXT | {"exchange": f"{PLANTED}/x"},
    CCXT | {"dataset": PLANTED},
    CCXT | {"dataset": f"a' - at {PLANTED}"},
    CCXT | {"bar": PLANTED, "options": {"secret": PLANTED}},
    CCXT | {"page": PLANTED},
    CCXT | {"tokn": PLANTED},
    FILES | {"decimal": PLANTED},
    FILES | {"known_at": PLANTED, "delimiter": ","},
    FILES | {"mapping": {"symbol": {"column": "a", "decimal": PLANTED}}},
    FILES | {"mapping": PLANTED},
    {"kind": "ib", "symbols": ["A"], "first": "2024-01-01", "port": PLANTED},
    {"kind": "simulated", "seed": PLANTED},
    {"kind": "tabular", "dataset": "fx_rates", "files": "x", "decimal": PLANTED, "constants": {"key": PLANTED}},
]


@pytest.mark.parametrize("values", WRONG, ids=lambda v: "-".join(map(str, v))[:40])
def test_a_wrong_declaration_is_named_by_its_fields(values: dict[str, Any]) -> None:
    """Neither its message nor a traceback has a value of it."""
    with pytest.raises(ConfigurationError) as refused:
        declared(values)
    whole = "".join(traceback.format_exception(refused.value))
    assert PLANTED not in whole.replace(repr(values), "")


@pytest.mark.parametrize(
    "name",
    [
        "QUANT_WEBHOOK_URL",
        "QUANT_WEBHOOK_TOKEN",
        "QUANT_UI_PASSWORD",
        "BINANCE_API_KEY",
        "DB_DSN",
        "AWS_SECRET_ACCESS_KEY",
    ],
)
def test_no_secret_of_the_environment_leaves(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """On the terminal, in errors, JSON and notices its name is there instead."""
    monkeypatch.setenv(name, PLANTED)
    monkeypatch.setenv("SHORT_TOKEN", "abc")
    assert without_secrets(f"a {PLANTED} abc") == f"a [{name}] abc"
    console.say(f"at {PLANTED}")
    console.table([{"a": PLANTED}])
    console.console.print({"x": PLANTED})
    console._json({"x": PLANTED})  # pyright: ignore[reportPrivateUsage]  # what every --json prints with

    def fails() -> None:
        raise ConfigurationError(f"no answer from {PLANTED}")

    monkeypatch.setattr(cli, "app", fails)
    with pytest.raises(SystemExit):
        cli.main()
    LogNotifier(tmp_path / "log.jsonl").notify("warning", f"s {PLANTED}", f"b {PLANTED}")
    out = capsys.readouterr()
    for text in (out.out, out.err, (tmp_path / "log.jsonl").read_text()):
        assert PLANTED not in text
        assert name in text


def test_a_notice_shows_hidden_characters(tmp_path: Path) -> None:
    """A chat room obeys some of them."""
    LogNotifier(tmp_path / "log.jsonl").notify("warning", "a\u202eb", "c\x1bd")
    line = json.loads(io.StringIO((tmp_path / "log.jsonl").read_text()).readline())
    assert (line["event"], line["body"]) == ("a\\u202eb", "c\\x1bd")
