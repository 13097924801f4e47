"""The Notifier port: a log, a webhook, several at once. None of them ever raises."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

import msgspec
import structlog

from quant_assets.characters import visible
from quant_assets.errors import ConfigurationError
from quant_assets.ports import Notifier
from resources.secrets import without_secrets

_LEVELS = ("info", "warning", "critical")
_SHAPE = [
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.JSONRenderer(sort_keys=True),
]


class LogNotifier:
    """One JSON line per message (event, body, level, timestamp), appended to `path`, or on stderr where that is None or
    cannot be written.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path

    def notify(self, severity: str, subject: str, body: str = "") -> None:
        """See the port. An unknown severity counts as critical."""
        level, subject, body = severity if severity in _LEVELS else "critical", _clean(subject), _clean(body)
        line = _line(level, subject, body)
        if self.path is not None:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(line)
            except OSError as error:
                line += _line("warning", "the notification log cannot be written", str(error))
            else:
                return
        sys.stderr.write(line)


def _clean(text: str) -> str:
    """The text as it may leave: no secret of the environment, no hidden character."""
    return visible(without_secrets(text))


class _Line:
    """A logger that gives the line back instead of writing it."""

    def msg(self, message: str) -> str:
        return message + "\n"

    info = warning = critical = msg


def _line(level: str, subject: str, body: str) -> str:
    return getattr(structlog.wrap_logger(_Line(), processors=_SHAPE), level)(subject, body=body)


class WebhookNotifier:
    """Posts JSON (severity, subject, body, and text for chat rooms) to the address in QUANT_WEBHOOK_URL, with
    QUANT_WEBHOOK_TOKEN as bearer where set.

    The address is a secret: it comes from the environment only and is never logged. Only http and https are spoken
    and no redirect is followed. What cannot be sent goes to `fallback`.
    """

    def __init__(self, fallback: Notifier | None = None, *, timeout: float = 5.0) -> None:
        address = os.environ.get("QUANT_WEBHOOK_URL", "")
        parts = urlsplit(address)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ConfigurationError(
                "QUANT_WEBHOOK_URL is not an http or https address; set it, or leave the webhook out"
            )
        self._address = address
        self._host = parts.hostname
        self._fallback = fallback or LogNotifier()
        self._timeout = timeout

    def notify(self, severity: str, subject: str, body: str = "") -> None:
        """See the port."""
        subject, body = _clean(subject), _clean(body)
        payload = msgspec.json.encode(
            {"severity": severity, "subject": subject, "body": body, "text": f"[{severity}] {subject}\n{body}".rstrip()}
        )
        headers = {"Content-Type": "application/json"}
        if token := os.environ.get("QUANT_WEBHOOK_TOKEN"):
            headers["Authorization"] = f"Bearer {token}"
        try:
            # the scheme was checked, and the opener speaks no other
            request = Request(self._address, data=payload, headers=headers, method="POST")  # noqa: S310
            with _opener().open(request, timeout=self._timeout) as answer:
                answer.read(1024)
        except Exception as error:  # noqa: BLE001  # a broken channel must not stop what it reports on
            if isinstance(error, HTTPError):
                error.close()
            # the error's own text may hold the address
            why = f"HTTP {error.code}" if isinstance(error, HTTPError) else type(error).__name__
            self._fallback.notify("warning", f"webhook at {self._host} failed: {why}")
            self._fallback.notify(severity, subject, body)


def _opener() -> OpenerDirector:
    """HTTP and HTTPS, proxies of the environment, errors raised; nothing that follows redirects or opens files."""
    opener = OpenerDirector()
    for handler in (ProxyHandler(), HTTPHandler(), HTTPSHandler(), HTTPDefaultErrorHandler(), HTTPErrorProcessor()):
        opener.add_handler(handler)
    return opener


class Fanout:
    """Tells all of `channels`, each whatever becomes of the others."""

    def __init__(self, channels: Sequence[Notifier]) -> None:
        self.channels = tuple(channels)

    def notify(self, severity: str, subject: str, body: str = "") -> None:
        """See the port."""
        for channel in self.channels:
            try:
                channel.notify(severity, subject, body)
            except Exception as error:  # noqa: BLE001  # the next channel must still be told
                LogNotifier().notify("warning", f"{type(channel).__name__} failed: {type(error).__name__}", subject)
