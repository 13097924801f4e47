"""Ask a vendor again: a bounded number of times, with longer and longer waits, and at least as long as it asks for."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from quant_assets.errors import CaptureUnreadable

T = TypeVar("T")


@dataclass(frozen=True)
class Pause:
    """How a source waits: seconds to sleep, a clock for intervals, and chance in [0, 1) for the jitter.

    Tests put their own in.
    """

    sleep: Callable[[float], None] = time.sleep
    monotonic: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = random.random


@dataclass(frozen=True)
class Retry:
    """Up to `attempts`; before attempt n+1 between half and all of `first` × 2ⁿ⁻¹ seconds, at most `longest`, and never
    less than the vendor asks.

    A vendor that asks for more than `patience` seconds is not waited for.
    """

    attempts: int = 6
    first: float = 1.0
    longest: float = 60.0
    patience: float = 300.0

    def wait(self, attempt: int, chance: float) -> float:
        """Seconds after failed attempt `attempt` (from 1), without what the vendor asks."""
        return min(self.longest, self.first * 2.0 ** (attempt - 1)) * (0.5 + chance / 2)


def persist(
    ask: Callable[[], T],
    what: str,
    retry: Retry,
    pause: Pause,
    errors: tuple[type[Exception], ...],
    again: Callable[[Exception], float | None],
) -> T:
    """The answer to `ask`.

    `again`: for one of `errors`, the seconds to wait at least before the next attempt; None if another attempt cannot
    help.

    Raises CaptureUnreadable: the request, the number of attempts, the answer, and what to do.
    """
    began = pause.monotonic()
    for attempt in range(1, retry.attempts + 1):
        try:
            return ask()
        except errors as error:
            said = f"{what}: {type(error).__name__}: {str(error) or 'no answer'}"
            asked = again(error)
            if asked is None:
                raise CaptureUnreadable(
                    f"{said}. Another attempt would not help; correct the feed or the vendor's side, then run again"
                ) from error
            if asked > retry.patience:
                raise CaptureUnreadable(
                    f"{said}. The vendor asks to wait {asked:,.0f} s. Run again after that; what was "
                    f"fetched so far is kept"
                ) from error
            if attempt == retry.attempts:
                raise CaptureUnreadable(
                    f"{said}. Asked {attempt} times over {pause.monotonic() - began:,.0f} s. Check that the vendor "
                    f"is up and that this machine may reach it, then run again; what was fetched so far is kept"
                ) from error
            pause.sleep(max(asked, retry.wait(attempt, pause.chance())))
    raise ValueError(f"{what}: {retry.attempts} attempts are none")
