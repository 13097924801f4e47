from datetime import UTC, datetime, timedelta, timezone

import pytest

from resources.clock import SessionClock, SystemClock

NOON = datetime(2024, 1, 2, 12, tzinfo=UTC)


def test_the_wall_is_utc_and_goes_on() -> None:
    """The system clock gives aware UTC times in order."""
    one, two = SystemClock().now(), SystemClock().now()
    assert one.tzinfo is UTC
    assert one <= two


def test_a_session_clock_stands_until_moved() -> None:
    """A historical run reads the time it was given, in UTC whatever the zone it was given in."""
    clock = SessionClock(NOON)
    assert clock.now() == clock.now() == NOON
    clock.advance(timedelta(hours=2))
    assert clock.now() == NOON + timedelta(hours=2)
    clock.set(NOON.astimezone(timezone(timedelta(hours=-5))))
    assert clock.now() == NOON
    assert clock.now().tzinfo is UTC


def test_a_time_without_a_zone_is_refused() -> None:
    """Naive times are never taken for UTC."""
    with pytest.raises(ValueError, match="zone"):
        SessionClock(NOON.replace(tzinfo=None))
    with pytest.raises(ValueError, match="zone"):
        SessionClock(NOON).set(NOON.replace(tzinfo=None))
