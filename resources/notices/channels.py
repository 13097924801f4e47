"""The channels by which notices reach people: a chat's webhook, e-mail, a pager. What they need is in the environment.

Each sends one notice and raises where it was not accepted. A Limit closes the connection when the time is up, however
slowly the other side answers.
"""

import os
import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from email.message import EmailMessage
from http.client import HTTPConnection, HTTPSConnection
from urllib.parse import SplitResult, urlsplit

import msgspec

from quant_assets.errors import ConfigurationError
from quant_assets.ports import Channel, Deadline
from quant_assets.records import Notice
from resources.notices.queue import ACKNOWLEDGE

ACCEPTED = range(200, 300)


class Limit:
    """A deadline of the monotonic clock, shared by all that is sent in one go."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds until then, never quite none: a timeout of 0 means something else."""
        return max(0.05, self._until - time.monotonic())

    @property
    def over(self) -> bool:
        """Whether it has passed."""
        return time.monotonic() >= self._until

    def watch(self, connection: HTTPConnection | smtplib.SMTP) -> threading.Timer:
        """A running timer that cuts the connection off at the deadline; cancel it when the answer is there."""

        def cut() -> None:
            if isinstance(sock := getattr(connection, "sock", None), socket.socket):
                with suppress(OSError):  # it is closed already
                    sock.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(self.left, cut)
        timer.daemon = True
        timer.start()
        return timer


class NotAccepted(Exception):
    """The other side answered, and did not accept; the text has no address and no secret."""


def _text(notice: Notice) -> str:
    times = f" ({notice.times} times)" if notice.times > 1 else ""
    return f"[{notice.severity}] {notice.subject}{times}\n{notice.body}\nid {notice.id}".replace("\n\n", "\n")


def _address(variable: str) -> SplitResult:
    """The http or https address in a variable. Raises ConfigurationError, which does not repeat it."""
    parts = urlsplit(os.environ.get(variable, ""))
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigurationError(f"{variable} is not an http or https address; set it, or leave it out")
    return parts


def _post(to: SplitResult, payload: Mapping[str, object], token: str | None, limit: Deadline) -> None:
    """Post JSON. No redirect is followed and no body is read: the status is the answer."""
    kind = HTTPSConnection if to.scheme == "https" else HTTPConnection
    connection = kind(to.hostname or "", to.port, timeout=limit.left)
    timer = limit.watch(connection)
    try:
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
        path = (to.path or "/") + (f"?{to.query}" if to.query else "")
        connection.request("POST", path, msgspec.json.encode(payload), headers)
        status = connection.getresponse().status
    finally:
        timer.cancel()
        connection.close()
    if status not in ACCEPTED:
        raise NotAccepted(f"HTTP {status}")


class Chat:
    """JSON (severity, subject, body, and text for chat rooms) to QUANT_WEBHOOK_URL, with QUANT_WEBHOOK_TOKEN as bearer
    where set.
    """

    name = "chat"

    def __init__(self) -> None:
        self._to = _address("QUANT_WEBHOOK_URL")

    def send(self, notice: Notice, what: str, limit: Deadline) -> None:
        """See the protocol."""
        if what == ACKNOWLEDGE:
            return
        payload = {"id": notice.id, "severity": notice.severity, "subject": notice.subject, "body": notice.body}
        _post(self._to, payload | {"text": _text(notice)}, os.environ.get("QUANT_WEBHOOK_TOKEN"), limit)


class Pager:
    """Events to QUANT_PAGER_URL as pagers take them: event_action, dedup_key and payload, with QUANT_PAGER_KEY as
    routing_key.
    """

    name = "pager"

    def __init__(self) -> None:
        self._to = _address("QUANT_PAGER_URL")

    def send(self, notice: Notice, what: str, limit: Deadline) -> None:
        """See the protocol."""
        payload = {
            "summary": notice.subject,
            "severity": notice.severity,
            "source": "quant-assets",
            "timestamp": notice.at.isoformat(),
            "custom_details": {"body": notice.body, "times": notice.times},
        }
        event = {"event_action": what, "dedup_key": notice.id, "payload": payload}
        key = os.environ.get("QUANT_PAGER_KEY")
        _post(self._to, event | ({"routing_key": key} if key else {}), None, limit)


class _Plain(smtplib.SMTP):
    """A connection that is still to be made, so that it can be watched from the start; certificates are checked
    against `host`.
    """

    def __init__(self, host: str, timeout: float) -> None:
        super().__init__(timeout=timeout)
        self._host = host


class _Wrapped(smtplib.SMTP_SSL):
    """The same, wrapped in TLS from the first byte."""

    def __init__(self, host: str, timeout: float) -> None:
        super().__init__(timeout=timeout, context=ssl.create_default_context())
        self._host = host


class Mail:
    """E-mail from QUANT_MAIL_FROM to QUANT_MAIL_TO (by commas) through QUANT_SMTP_URL: smtp://user@host:587, which must
    speak STARTTLS, or smtps://user@host:465. The password is in QUANT_SMTP_PASSWORD. Without a user, to a server on
    this machine alone, it goes in the clear.
    """

    name = "mail"

    def __init__(self) -> None:
        parts = urlsplit(os.environ.get("QUANT_SMTP_URL", ""))
        sender, to = os.environ.get("QUANT_MAIL_FROM", ""), os.environ.get("QUANT_MAIL_TO", "")
        if parts.scheme not in {"smtp", "smtps"} or not parts.hostname or not sender or not to:
            raise ConfigurationError(
                "e-mail needs QUANT_SMTP_URL (smtp://user@host:587), QUANT_MAIL_FROM and QUANT_MAIL_TO"
            )
        self._host, self._port, self._user = parts.hostname, parts.port, parts.username
        self._wrapped = parts.scheme == "smtps"
        self._clear = self._user is None and parts.hostname in {"localhost", "127.0.0.1", "::1"}
        self._from, self._to = sender, [one.strip() for one in to.split(",")]

    def send(self, notice: Notice, what: str, limit: Deadline) -> None:
        """See the protocol."""
        if what == ACKNOWLEDGE:
            return
        message = EmailMessage()
        message["From"], message["To"] = self._from, ", ".join(self._to)
        message["Subject"] = " ".join(f"[{notice.severity}] {notice.subject}".split())
        message["Message-ID"] = f"<{notice.id}.{notice.times}@quant-assets>"
        message.set_content(_text(notice))
        secure = ssl.create_default_context()
        server = (_Wrapped if self._wrapped else _Plain)(self._host, limit.left)
        timer = limit.watch(server)
        try:
            server.connect(self._host, self._port or (465 if self._wrapped else 587))
            if not self._wrapped and not self._clear:
                server.starttls(context=secure)
            if self._user:
                server.login(self._user, os.environ.get("QUANT_SMTP_PASSWORD", ""))
            server.send_message(message)
        finally:
            timer.cancel()
            server.close()


def configured() -> Sequence[Channel]:
    """The channels that the environment names, in the order in which a critical notice escalates: chat, mail, pager.

    Raises ConfigurationError where one cannot be used as it is named.
    """
    named = (("QUANT_WEBHOOK_URL", Chat), ("QUANT_SMTP_URL", Mail), ("QUANT_PAGER_URL", Pager))
    return [kind() for variable, kind in named if os.environ.get(variable)]


class _Named:
    """A channel under the name by which the deployment calls it."""

    def __init__(self, name: str, channel: Channel) -> None:
        self.name = name
        self.send = channel.send


def named(name: str, channel: Channel) -> Channel:
    """The channel under that name: the queue finds it by the name in the deployment."""
    return _Named(name, channel)
