"""The Notifier port: a log, and the queue that the channels are served from. It is a local write and never raises."""

import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import structlog

from quant_assets.characters import visible
from quant_assets.ports import Notifier
from resources.notices.queue import Queue
from resources.secrets import without_secrets

_LEVELS = ("info", "warning", "critical")
_SHAPE = [
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.JSONRenderer(sort_keys=True),
]
FIRST = (("QUANT_WEBHOOK_URL", "chat"), ("QUANT_SMTP_URL", "mail"), ("QUANT_PAGER_URL", "pager"))
"""The channels by the variable that names each, in the order in which a notice uses them."""


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


class QueuedNotifier:
    """The log of a home, and its queue. Nothing is sent here: `resources.notices.drain` does that after the work.

    What the environment holds as a secret is left out, and control characters are shown as text. `channel`: where
    notices go first if the environment names no channel.
    """

    def __init__(self, home: Path, channel: str | None = None) -> None:
        self._log = LogNotifier(home / "notifications.jsonl")
        self._queue = Queue(home)
        self._channel = channel

    def notify(self, severity: str, subject: str, body: str = "") -> None:
        """See the port. An unknown severity counts as critical."""
        level = severity if severity in _LEVELS else "critical"
        subject, body = _clean(subject), _clean(body)
        self._log.notify(level, subject, body)
        try:
            self._queue.put(level, subject, body, first_channel() or self._channel, datetime.now(UTC))
        except Exception as error:  # noqa: BLE001  # a broken queue must not stop what it reports on
            self._log.notify("warning", f"the queue of notices cannot be written: {type(error).__name__}", subject)


class Several:
    """A home's own notifier, and others that are notified after it."""

    def __init__(self, own: QueuedNotifier, others: Sequence[Notifier]) -> None:
        self._own = own
        self._others = others

    def notify(self, severity: str, subject: str, body: str = "") -> None:
        """See the port. What another one raises is a notice too."""
        self._own.notify(severity, subject, body)
        for other in self._others:
            try:
                other.notify(severity, _clean(subject), _clean(body))
            except Exception as error:  # noqa: BLE001  # a broken notifier must not stop what it reports on
                self._own.notify("warning", f"the notifier {type(other).__name__} failed", type(error).__name__)


def first_channel() -> str | None:
    """The name of the first channel that the environment names."""
    return next((name for variable, name in FIRST if os.environ.get(variable)), None)
