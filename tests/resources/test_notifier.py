"""Somebody is told, and telling never breaks the run."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from quant_assets.errors import ConfigurationError
from resources.notifier import Fanout, LogNotifier, WebhookNotifier


class Hook(BaseHTTPRequestHandler):
    """Records what it is sent; answers with what the path says."""

    def do_POST(self) -> None:
        """Record and answer."""
        self.server.seen.append(
            (
                self.path,
                dict(self.headers),
                json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"null"),
            )
        )
        self.send_response(int(self.path.rsplit("/", 1)[1]))
        if self.path.endswith("302"):
            self.send_header("Location", self.path.replace("302", "200"))
        if self.path.endswith("303"):
            self.send_header("Location", "file:///etc/hostname")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST  # noqa: N815  # what a followed redirect would ask with; the base class names it so

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class names it so
        """Nothing on stderr."""


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[HTTPServer]:
    """A webhook on this machine that is up for the test; QUANT_WEBHOOK_URL points to it."""
    with HTTPServer(("127.0.0.1", 0), Hook) as server:
        server.seen = []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.setenv("QUANT_WEBHOOK_URL", f"http://127.0.0.1:{server.server_port}/s3cret/200")
        yield server
        server.shutdown()
        thread.join()


def read(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_log_holds_one_json_line_each(tmp_path: Path) -> None:
    """Messages are appended with level, UTC time, subject and body; line breaks do not break lines."""
    log = LogNotifier(tmp_path / "deep" / "n.jsonl")
    log.notify("info", "started")
    log.notify("critical", "DIVERGED", "two\nlines")
    log.notify("loud", "unknown severity")
    lines = read(tmp_path / "deep" / "n.jsonl")
    assert [(line["level"], line["event"], line["body"]) for line in lines] == [
        ("info", "started", ""),
        ("critical", "DIVERGED", "two\nlines"),
        ("critical", "unknown severity", ""),
    ]
    assert all(line["timestamp"].endswith("Z") for line in lines)


def test_a_log_that_cannot_be_written_goes_to_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A path that is a folder loses no message and raises nothing."""
    LogNotifier(tmp_path).notify("warning", "still told")
    LogNotifier().notify("info", "plainly")
    events = [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()]
    assert events == ["still told", "the notification log cannot be written", "plainly"]


def test_a_webhook_is_posted_json(hook: HTTPServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Severity, subject, body and a text arrive, with the bearer from the environment; nothing falls back."""
    monkeypatch.setenv("QUANT_WEBHOOK_TOKEN", "t0ken")
    WebhookNotifier(LogNotifier(tmp_path / "n.jsonl")).notify("critical", "subject", "body")
    [(path, headers, payload)] = hook.seen
    assert path == "/s3cret/200"
    assert headers["Authorization"] == "Bearer t0ken"
    assert payload == {"severity": "critical", "subject": "subject", "body": "body", "text": "[critical] subject\nbody"}
    assert not (tmp_path / "n.jsonl").exists()


@pytest.mark.parametrize(
    ("answer", "why"), [("500", "HTTP 500"), ("404", "HTTP 404"), ("302", "HTTP 302"), ("303", "HTTP 303")]
)
def test_a_webhook_that_refuses_falls_back_without_telling_the_secret(
    hook: HTTPServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: str, why: str
) -> None:
    """An error or a redirect raises nothing and is not followed; the message is logged, the address is not."""
    monkeypatch.setenv("QUANT_WEBHOOK_URL", f"http://127.0.0.1:{hook.server_port}/s3cret/{answer}")
    WebhookNotifier(LogNotifier(tmp_path / "n.jsonl")).notify("critical", "subject", "body")
    lines = read(tmp_path / "n.jsonl")
    assert [line["event"] for line in lines] == [f"webhook at 127.0.0.1 failed: {why}", "subject"]
    assert "s3cret" not in (tmp_path / "n.jsonl").read_text()
    assert len(hook.seen) == 1


def test_a_webhook_that_is_down_or_hangs_falls_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody listens, or somebody does and never answers: after the timeout the message is in the log."""
    import socket

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as mute:
        monkeypatch.setenv("QUANT_WEBHOOK_URL", f"http://127.0.0.1:{mute.getsockname()[1]}/s3cret")
        notifier = WebhookNotifier(LogNotifier(tmp_path / "n.jsonl"), timeout=0.2)
        notifier.notify("warning", "hangs")
    notifier.notify("warning", "down")
    assert [line["event"] for line in read(tmp_path / "n.jsonl")][1::2] == ["hangs", "down"]


@pytest.mark.parametrize("address", ["", "file:///etc/passwd", "ftp://host/x", "host/x", "http://"])
def test_only_http_addresses_are_taken(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Another scheme, or none, is a configuration error that does not repeat the address."""
    monkeypatch.setenv("QUANT_WEBHOOK_URL", address)
    with pytest.raises(ConfigurationError) as error:
        WebhookNotifier()
    assert not address or address not in str(error.value)


def test_all_channels_are_told_whatever_becomes_of_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A channel that raises does not keep the message from the next."""

    class Broken(LogNotifier):
        def notify(self, *_: str) -> None:
            raise RuntimeError

    Fanout((Broken(), LogNotifier(tmp_path / "n.jsonl"))).notify("info", "told")
    assert [line["event"] for line in read(tmp_path / "n.jsonl")] == ["told"]
    assert "Broken failed: RuntimeError" in capsys.readouterr().err
