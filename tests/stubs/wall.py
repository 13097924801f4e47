"""Time that only passes when somebody sleeps."""

from datetime import UTC, datetime, timedelta

from resources.sources.retry import Pause


class Wall:
    """The Clock port, and the `Pause` that moves it. `slept` holds each pause in seconds."""

    def __init__(self, start: datetime) -> None:
        self.start = start
        self.slept: list[float] = []

    @property
    def passed(self) -> float:
        """Seconds since the start."""
        return sum(self.slept)

    def now(self) -> datetime:
        """The time, UTC."""
        return (self.start + timedelta(seconds=self.passed)).astimezone(UTC)

    def millis(self) -> int:
        """The time in ms."""
        return int(self.now().timestamp() * 1000)

    @property
    def pause(self) -> Pause:
        """Sleeping moves the wall; chance is always the largest."""
        return Pause(sleep=self.slept.append, monotonic=lambda: self.passed, chance=lambda: 1.0)
