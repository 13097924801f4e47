"""The queue of notices, sent by real servers on this machine that answer well, badly, slowly or never."""

import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from smtplib import SMTPException

import pytest

from quant_assets.errors import ConfigurationError
from quant_assets.records import Notice
from resources.notices.channels import Limit, Mail, Pager, configured
from resources.notices.drain import DEAD, TRIES, drain
from resources.notices.queue import TRIGGER, Queue
from resources.notifier import QueuedNotifier

NOW = datetime.now(UTC)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
Serve = Callable[[Callable[[socket.socket], None]], int]


@pytest.fixture(autouse=True)
def just_after(monkeypatch: pytest.MonkeyPatch) -> None:
    """NOW is a minute after the test began: what it enqueues is due, and nothing is due twice."""
    monkeypatch.setattr(sys.modules[__name__], "NOW", datetime.now(UTC) + timedelta(minutes=1))


@pytest.fixture
def serve() -> Iterator[Serve]:
    """`serve(talk)`: the port of a server that talks so to whoever connects, one after another."""
    listening: list[socket.socket] = []

    def start(talk: Callable[[socket.socket], None]) -> int:
        server = socket.create_server(("127.0.0.1", 0))
        listening.append(server)

        def run() -> None:
            while True:
                try:
                    caller, _ = server.accept()
                except OSError:
                    return
                with caller:
                    try:
                        talk(caller)
                    except OSError:
                        continue

        threading.Thread(target=run, daemon=True).start()
        return server.getsockname()[1]

    yield start
    for server in listening:
        server.close()


class Web:
    """Reads requests and gives one answer to each."""

    def __init__(self, answer: bytes = OK) -> None:
        self.answer = answer
        self.heads: list[str] = []
        self.bodies: list[dict[str, object]] = []

    def __call__(self, caller: socket.socket) -> None:
        """Read a request and answer."""
        with caller.makefile("rb") as lines:
            head = b""
            while (line := lines.readline()) not in {b"\r\n", b""}:
                head += line
            length = int(head.lower().split(b"content-length:")[1].split()[0])
            self.heads.append(head.decode())
            self.bodies.append(json.loads(lines.read(length)))
        caller.sendall(self.answer)


def never(caller: socket.socket) -> None:
    """Read and say nothing."""
    while caller.recv(1024):
        pass


def drop_by_drop(caller: socket.socket) -> None:
    """Answer a byte every tenth of a second."""
    for n in range(600):
        caller.sendall(OK[n % len(OK) : n % len(OK) + 1] if n < 9 else b"x")
        time.sleep(0.1)


class Post:
    """A mail server in a few lines; it offers no encryption."""

    def __init__(self) -> None:
        self.commands: list[str] = []
        self.message = ""

    def __call__(self, caller: socket.socket) -> None:
        """Take one message."""
        with caller.makefile("rb") as lines:
            caller.sendall(b"220 stub\r\n")
            while line := lines.readline().decode():
                self.commands.append(line.split()[0].upper())
                if self.commands[-1] == "DATA":
                    caller.sendall(b"354 go on\r\n")
                    while (text := lines.readline()) != b".\r\n":
                        self.message += text.decode()
                caller.sendall(b"250 ok\r\n")


@pytest.fixture
def chat(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """`chat(port)`: the webhook is at this port."""

    def at(port: int) -> None:
        monkeypatch.setenv("QUANT_WEBHOOK_URL", f"http://127.0.0.1:{port}/s3cret")
        monkeypatch.setenv("QUANT_WEBHOOK_TOKEN", "t0ken-t0ken")

    return at


def sent(home: Path) -> list[object]:
    """Where each notice was sent, newest first."""
    return [r["sent"] for r in Queue(home).listed()]


def test_a_chat_gets_json(tmp_path: Path, serve: Serve, chat: Callable[[int], None]) -> None:
    """Severity, subject, body and a text arrive once, with the bearer from the environment."""
    web = Web()
    chat(serve(web))
    QueuedNotifier(tmp_path).notify("warning", "subject", "body")
    assert drain(tmp_path, NOW).sent == 1
    assert drain(tmp_path, NOW).sent == 0
    (body,) = web.bodies
    assert (body["severity"], body["subject"], body["body"]) == ("warning", "subject", "body")
    assert str(body["text"]).startswith("[warning] subject\nbody")
    assert "Authorization: Bearer t0ken-t0ken" in web.heads[0]
    assert sent(tmp_path) == ["chat sent"]


@pytest.mark.parametrize("talk", [never, drop_by_drop])
def test_a_slow_chat_holds_nobody_longer_than_the_deadline(
    talk: Callable[[socket.socket], None], tmp_path: Path, serve: Serve, chat: Callable[[int], None]
) -> None:
    """Twenty-one notices to a server that never answers, or byte by byte: one deadline for all of them."""
    chat(serve(talk))
    for n in range(21):
        QueuedNotifier(tmp_path).notify("warning", f"order {n} was rejected")
    started = time.monotonic()
    done = drain(tmp_path, NOW, seconds=1.0)
    assert time.monotonic() - started < 2.5
    assert (done.sent, done.waiting + done.failed) == (0, 21)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 500 no\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 no\r\nLocation: http://127.0.0.1:1/elsewhere\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 303 no\r\nLocation: file:///etc/hostname\r\nContent-Length: 0\r\n\r\n",
        b"rubbish\r\n\r\n",
    ],
)
def test_what_is_not_accepted_is_tried_again_and_then_given_up(
    answer: bytes, tmp_path: Path, serve: Serve, chat: Callable[[int], None]
) -> None:
    """An error or a redirect, which is not followed: tried with growing waits, then in the dead-letter file, without
    the address and the token.
    """
    web = Web(answer)
    chat(serve(web))
    QueuedNotifier(tmp_path).notify("warning", "subject", "body")
    assert drain(tmp_path, NOW).failed == 1
    assert drain(tmp_path, NOW + timedelta(seconds=29)).failed == 0
    dead = [drain(tmp_path, NOW + timedelta(hours=2 * n)).dead for n in range(1, TRIES)]
    assert (dead[:-1], dead[-1], len(web.heads)) == ([0] * (TRIES - 2), 1, TRIES)
    assert drain(tmp_path, NOW + timedelta(days=2)).sent == 0
    (letter,) = [json.loads(line) for line in (tmp_path / DEAD).read_text().splitlines()]
    assert (letter["subject"], letter["body"], letter["tries"]) == ("subject", "body", TRIES)
    for file in (tmp_path / DEAD, tmp_path / "notifications.jsonl"):
        assert "s3cret" not in file.read_text()
        assert "t0ken" not in file.read_text()


def test_a_critical_notice_is_repeated_escalates_and_ends_with_an_acknowledgement(
    tmp_path: Path, serve: Serve, chat: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the chat every 15 minutes; after 30 by the pager too, which is informed when somebody acknowledges."""
    room, pager = Web(), Web(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
    chat(serve(room))
    monkeypatch.setenv("QUANT_PAGER_URL", f"http://127.0.0.1:{serve(pager)}/v2/enqueue")
    monkeypatch.setenv("QUANT_PAGER_KEY", "routing-key")
    QueuedNotifier(tmp_path).notify("critical", "the venue is silent")
    QueuedNotifier(tmp_path).notify("warning", "a remark")
    for minutes in range(0, 60, 5):
        drain(tmp_path, NOW + timedelta(minutes=minutes))
    subjects = [b["subject"] for b in room.bodies]
    assert subjects.count("the venue is silent") == 4
    assert subjects.count("a remark") == 1
    assert [(b["event_action"], b["routing_key"]) for b in pager.bodies] == [("trigger", "routing-key")] * 2
    (key,) = {str(b["dedup_key"]) for b in pager.bodies}
    Queue(tmp_path).acknowledge(key, "ops", NOW + timedelta(hours=1), (Pager.name,))
    drain(tmp_path, NOW + timedelta(hours=3))
    assert [b["event_action"] for b in pager.bodies] == ["trigger", "trigger", "acknowledge"]
    assert len(room.bodies) == 5
    with pytest.raises(ConfigurationError, match="no open notice"):
        Queue(tmp_path).acknowledge(key, "ops", NOW, (Pager.name,))


def test_a_mail_is_sent(tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through a server on this machine, in the clear, with the notice's text; a line break is no header."""
    post = Post()
    monkeypatch.setenv("QUANT_SMTP_URL", f"smtp://127.0.0.1:{serve(post)}")
    monkeypatch.setenv("QUANT_MAIL_FROM", "quant@example.org")
    monkeypatch.setenv("QUANT_MAIL_TO", "a@example.org, b@example.org")
    QueuedNotifier(tmp_path).notify("warning", "two\nBcc: thief@example.org", "body")
    assert drain(tmp_path, NOW).sent == 1
    assert "Subject: [warning] two Bcc: thief@example.org" in post.message
    assert post.commands.count("RCPT") == 2
    assert "body" in post.message


def test_no_password_is_given_to_a_server_without_encryption(
    tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that offers no STARTTLS gets neither the login nor the message."""
    post = Post()
    monkeypatch.setenv("QUANT_SMTP_URL", f"smtp://ops@127.0.0.1:{serve(post)}")
    monkeypatch.setenv("QUANT_SMTP_PASSWORD", "hunter22")
    monkeypatch.setenv("QUANT_MAIL_FROM", "quant@example.org")
    monkeypatch.setenv("QUANT_MAIL_TO", "a@example.org")
    QueuedNotifier(tmp_path).notify("warning", "subject")
    assert drain(tmp_path, NOW).failed == 1
    assert not {"AUTH", "MAIL", "DATA"} & set(post.commands)


def test_a_mail_server_that_speaks_drop_by_drop_is_cut_off(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """The deadline counts for the whole, not for each byte."""
    monkeypatch.setenv("QUANT_SMTP_URL", f"smtp://127.0.0.1:{serve(drop_by_drop)}")
    monkeypatch.setenv("QUANT_MAIL_FROM", "quant@example.org")
    monkeypatch.setenv("QUANT_MAIL_TO", "a@example.org")
    started = time.monotonic()
    notice = Notice("id", NOW, NOW, "warning", "subject", "", 1)
    with pytest.raises((OSError, SMTPException)):
        Mail().send(notice, TRIGGER, Limit(0.5))
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("address", ["file:///etc/passwd", "ftp://host/x", "host/x", "http://"])
def test_only_http_addresses_are_taken(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another scheme, or none, is a configuration error that does not repeat the address; a drain logs it."""
    monkeypatch.setenv("QUANT_WEBHOOK_URL", address)
    with pytest.raises(ConfigurationError) as error:
        configured()
    assert address not in str(error.value)
    QueuedNotifier(tmp_path).notify("warning", "subject")
    assert drain(tmp_path, NOW).sent == 0
    assert "QUANT_WEBHOOK_URL" in (tmp_path / "notifications.jsonl").read_text()
