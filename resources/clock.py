"""The Clock port: the wall, or the time of a historical run."""

from datetime import UTC, datetime, timedelta


class SystemClock:
    """The wall."""

    def now(self) -> datetime:
        """The time, UTC."""
        return datetime.now(UTC)


class SessionClock:
    """A clock that stands until it is moved: a historical run sets it to each session's decision time."""

    def __init__(self, now: datetime) -> None:
        self._now = _utc(now)

    def now(self) -> datetime:
        """The time it was set to, UTC."""
        return self._now

    def set(self, now: datetime) -> None:
        """Move it to a time. Raises ValueError where that has no zone."""
        self._now = _utc(now)

    def advance(self, by: timedelta) -> None:
        """Move it on."""
        self.set(self._now + by)


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no zone; times are UTC")
    return moment.astimezone(UTC)
