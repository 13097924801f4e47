"""Runs days of the small market and kills its own process, without a word, at a named point."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from quant_assets.tables import NAV
from resources.brokers import paper
from resources.ledger.executions import SqliteExecutions
from resources.ledger.outbox import SqliteWriter
from resources.tables.store import DeltaStore
from tests.execution.small_market import PAPER, SESSIONS, Home

DAYS = SESSIONS[:3]


def die(*_: object) -> None:
    """End this process as a power cut would."""
    os.kill(os.getpid(), signal.SIGKILL)


def around(
    owner: Any, name: str, *, before: bool, hit: int = 1, only: Callable[..., bool] = lambda *_a, **_k: True
) -> None:
    """Make the `hit`-th call of `owner.name` die, before or after it did its work."""
    real, count = getattr(owner, name), iter(range(1, 1_000_000))

    def call(*args: Any, **kwargs: Any) -> Any:
        fatal = only(*args, **kwargs) and next(count) == hit
        if fatal and before:
            die()
        answer = real(*args, **kwargs)
        if fatal:
            die()
        return answer

    setattr(owner, name, call)


POINTS: dict[str, Callable[[Home], None]] = {
    "before bind": lambda _: around(SqliteWriter, "bind", before=True, hit=2),
    "inside bind's transaction": lambda _: around(SqliteWriter, "_event", before=False, hit=2),
    "after bind": lambda _: around(SqliteWriter, "bind", before=False, hit=2),
    "inside the transaction that takes an order": lambda _: around(SqliteWriter, "_change", before=False, hit=3),
    "between the commit and the send": lambda h: around(h.broker, "submit", before=True, hit=3),
    "between the venue's accept and our ack": lambda h: around(h.broker, "submit", before=False, hit=2),
    "after the ack": lambda _: around(SqliteWriter, "transition", before=False, hit=2),
    "in the middle of the venue's session": lambda _: around(paper, "live", before=True, hit=2),
    "after the venue's session": lambda h: around(h.broker, "advance", before=False, hit=2),
    "between two executions of the drop copy": lambda _: around(SqliteExecutions, "book_fill", before=False, hit=2),
    "between two order states of the drop copy": lambda _: around(
        SqliteWriter, "transition", before=False, hit=1, only=lambda *_a, **k: k.get("filled") is not None
    ),
    "before the cursor of the drop copy": lambda _: around(SqliteExecutions, "advance", before=True, hit=2),
    "after the cursor of the drop copy": lambda _: around(SqliteExecutions, "advance", before=False, hit=2),
    "before the session counts as booked": lambda h: around(
        h.store, "append", before=True, hit=2, only=lambda table, _: table is NAV
    ),
    "after the session counts as booked": lambda h: around(
        h.store, "append", before=False, hit=2, only=lambda table, _: table is NAV
    ),
    "inside a commit of a table": lambda _: around(DeltaStore, "_unwritten", before=False, hit=12),
}


def live(home: Home) -> None:
    """The days in order, going on from the first that is not booked; the last one booked is delivered again."""
    for session in DAYS:
        booked = home.store.read(NAV, as_of=None, where={"book": PAPER.name})["session"]
        if session not in booked:
            home.settle(session)
        if session not in booked or session == booked[-1]:
            home.deliver(session)


def run(root: Path, point: str) -> None:
    """The days in `root`, until `point`."""
    home = Home(root)
    POINTS[point](home)
    live(home)
