"""The laws of notifiers and channels."""

import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from threading import Thread, Timer
from typing import Any

from quant_assets.ports import Channel, Notifier
from quant_assets.records import Notice
from quant_assets.testing.holding import is_a, must

AT = datetime(2024, 1, 3, 12, tzinfo=UTC)
AT_ONCE = 1.0  # seconds that a notifier may take
LIMIT, LATE = 0.3, 1.0  # seconds given to a channel, and after which it is late
ODD = ("late", "", "ünïcode \u2028 and\nlines", "x" * 10_000)


class Seconds:
    """The Deadline port: so many seconds from now."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """See the port."""
        return max(0.05, self._until - time.monotonic())

    @property
    def over(self) -> bool:
        """See the port."""
        return time.monotonic() >= self._until

    def watch(self, connection: Any) -> Timer:
        """See the port. What is open is closed."""
        timer = Timer(self.left, connection.close)
        timer.daemon = True
        timer.start()
        return timer


def notice(subject: str = "late", severity: str = "critical") -> Notice:
    """A notice as a channel is given it."""
    return Notice("id1", AT, AT, severity, subject, "by an hour", 1)


def never_raises(make: Callable[[], Notifier], **_: object) -> None:
    """It never raises, whatever it is asked to report and how urgent, and returns at once."""
    one = make()
    for severity in ("info", "warning", "critical", "unknown"):
        for subject in ODD:
            begun = time.monotonic()
            one.notify(severity, subject, subject)
            one.notify(severity, subject)
            must(time.monotonic() - begun < AT_ONCE, f"{time.monotonic() - begun:.1f} s for one notice")


def does_not_block(make: Callable[[], Channel], **_: object) -> None:
    """It has a name, and returns or raises within the limit, also where that is over."""
    one = make()
    must(is_a(one.name, str) and one.name, "no name")
    for seconds in (LIMIT, 0.0):
        for what in ("trigger", "acknowledge"):
            thread = Thread(target=_tried, args=(one, what, Seconds(seconds)), daemon=True)
            thread.start()
            thread.join(LATE)
            must(not thread.is_alive(), f"still busy {LATE} s after {what}, with a limit of {seconds} s")


def _tried(one: Channel, what: str, limit: Seconds) -> None:
    with suppress(Exception):  # it may refuse; the law is that it comes back
        one.send(notice(), what, limit)


def sends_or_raises(
    make: Callable[[], Channel], *, received: Callable[[], Collection[str]] | None = None, **_: object
) -> None:
    """What it accepted without raising has arrived: `received` gives the subjects that the other side has."""
    if received is None:
        return
    make().send(notice("arrives"), "trigger", Seconds(5.0))
    must("arrives" in received(), list(received()))


LAWS: Mapping[str, Mapping[str, Callable[..., Any]]] = {
    "notifier": {f.__name__: f for f in (never_raises,)},
    "channel": {f.__name__: f for f in (does_not_block, sends_or_raises)},
}
