"""The label of a file none of whose rows has one."""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

from quant_assets.calendars import Calendar


def last_known(files: Sequence[Path], calendar: Calendar, known_at: Callable[[date], datetime]) -> date:
    """The last session whose rows were known when the files were last changed: their rows, right or wrong, have
    arrived.
    """
    changed = datetime.fromtimestamp(max(f.stat().st_mtime for f in files), UTC)
    day = calendar.on_or_before(min(max(changed.date(), calendar.first), calendar.last))
    while known_at(day) > changed and calendar.shift(day, -1) < day:
        day = calendar.shift(day, -1)
    return day
