"""Sends what waits in the queue, within one deadline for all of it; and repeats and escalates critical notices until
they are acknowledged.
"""

import json
import os
import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from quant_assets.errors import ConfigurationError
from quant_assets.ports import Channel
from quant_assets.records import Frozen
from resources.notices.channels import Limit, NotAccepted, configured
from resources.notices.queue import Queue, Sending
from resources.notifier import LogNotifier

DEADLINE = 10.0  # seconds for all that waits
TRIES = 8
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=30), timedelta(hours=1)
DEAD = "notices-dead.jsonl"
REPEAT, ESCALATE = 15, 30  # minutes


class Drained(Frozen, frozen=True):
    """What became of what was due."""

    sent: int = 0
    failed: int = 0
    dead: int = 0
    waiting: int = 0


def drain(
    home: Path, now: datetime, seconds: float = DEADLINE, channels: Callable[[], Sequence[Channel]] = configured
) -> Drained:
    """Send what is due. It returns within the deadline, whatever a channel does, and never raises.

    What was not accepted is tried again later, with growing waits; after `TRIES` it goes to the dead-letter file. A
    channel that failed is not asked again before the next drain. `channels`: opens those that there are, in the order
    in which a critical notice escalates.
    """
    log = LogNotifier(home / "notifications.jsonl")
    queue = Queue(home)
    try:
        known = {c.name: c for c in channels()}
        _repeat(queue, list(known), now)
        due = queue.waiting(now)
    except Exception as error:  # noqa: BLE001  # a broken queue must not stop what it reports on
        why = str(error) if isinstance(error, ConfigurationError) else type(error).__name__
        log.notify("warning", f"notices are not sent: {why}")
        return Drained()
    counts = dict.fromkeys(("sent", "failed", "dead"), 0)
    limit = Limit(seconds)
    thread = threading.Thread(target=_send, args=(home, queue, known, due, now, limit, counts), daemon=True)
    thread.start()
    thread.join(limit.left + 0.5)
    return Drained(**counts, waiting=len(due) - sum(counts.values()))


def _send(
    home: Path,
    queue: Queue,
    known: dict[str, Channel],
    due: Sequence[Sending],
    now: datetime,
    limit: Limit,
    counts: dict[str, int],
) -> None:
    broken = set[str]()
    for one in due:
        channel = known.get(one.channel)
        if limit.over or channel is None or one.channel in broken:
            continue
        tries = one.tries + 1
        again = now + min(FIRST_WAIT * 2 ** (tries - 1), LONGEST_WAIT)
        try:
            # recorded first: what hangs until the process ends was tried
            queue.mark(one, "waiting", tries=tries, due=again, error="no answer in time")
            channel.send(one.notice, one.what, limit)
            queue.mark(one, "sent", tries=tries, due=now, error="")
            counts["sent"] += 1
        except Exception as error:  # noqa: BLE001  # the error's own text may hold an address or a secret
            broken.add(one.channel)
            why = str(error) if isinstance(error, NotAccepted) else type(error).__name__
            _failed(home, queue, one, tries, again, why, counts)


def _failed(
    home: Path, queue: Queue, one: Sending, tries: int, again: datetime, why: str, counts: dict[str, int]
) -> None:
    dead = tries >= TRIES
    counts["dead" if dead else "failed"] += 1
    log = LogNotifier(home / "notifications.jsonl")
    try:
        if dead:
            letter = {"id": one.notice.id, "channel": one.channel, "severity": one.notice.severity}
            letter |= {"subject": one.notice.subject, "body": one.notice.body, "error": why, "tries": tries}
            with (home / DEAD).open("a", encoding="utf-8") as letters:
                letters.write(json.dumps(letter) + "\n")
        queue.mark(one, "dead" if dead else "waiting", tries=tries, due=again, error=why)
    except Exception as error:  # noqa: BLE001
        why = f"{why}; {type(error).__name__}"
    ends = f"given up after {tries} tries, see {DEAD}" if dead else f"tried again after {again:%Y-%m-%d %H:%M} UTC"
    log.notify("warning", f"notice {one.notice.id} was not sent by {one.channel}: {why}; {ends}")


def _repeat(queue: Queue, names: Sequence[str], now: datetime) -> None:
    """Put critical notices that are not acknowledged in again: by the first channel every `REPEAT` minutes, by one more
    for each `ESCALATE` minutes that passed.
    """
    repeat, escalate = (timedelta(minutes=_minutes(n, d)) for n, d in (("REPEAT", REPEAT), ("ESCALATE", ESCALATE)))
    for notice in queue.unanswered():
        for place, name in enumerate(names):
            if now < notice.at + place * escalate:
                break
            queue.again(notice.id, name, before=now - repeat, now=now)


def _minutes(name: str, default: float) -> float:
    """A positive number of minutes from the environment. Raises ConfigurationError."""
    text = os.environ.get(f"QUANT_NOTICE_{name}_MINUTES", str(default))
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes < 100_000:
        raise ConfigurationError(f"QUANT_NOTICE_{name}_MINUTES is {text!r}; write a number of minutes above 0")
    return minutes
