"""When a strategy decides: its moments, on the clock of its own venue."""

import datetime as dt
from typing import Annotated

from msgspec import Meta

from quant_assets.records import SLOT, Frozen

Minutes = Annotated[int, Meta(ge=1, le=1440)]


class BeforeOpen(Frozen, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="before_open"):
    """So many minutes before the next open, at which its orders trade."""

    minutes: Annotated[Minutes, Meta(description="How long before the open.")] = 15


class BeforeClose(Frozen, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="before_close"):
    """So many minutes before the close of the next session, at which its orders trade."""

    minutes: Annotated[Minutes, Meta(description="How long before the close.")] = 15


class AtTime(Frozen, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="at"):
    """At a time of the venue's own clock, the first one after the session's close; its orders trade at the next open or
    close.
    """

    time: Annotated[
        str,
        Meta(
            pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$(?!\\n)",
            description="On the venue's own clock.",
            extra={"write": "a time in quotes, as in '18:30'"},
        ),
    ]

    @property
    def clock_time(self) -> dt.time:
        """The time of the venue's day."""
        return dt.time.fromisoformat(self.time)


class Every(Frozen, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="every"):
    """Every so many minutes while the venue is open; its orders trade at the open of the bar that begins then.

    `delay`: seconds after the end of a bar until it is used; the orders of that moment leave after it.
    """

    minutes: Annotated[Minutes, Meta(description="The length of its bars.")] = 60
    delay: Annotated[int, Meta(ge=0, le=3600, description="Seconds after its end until a bar is used.")] = 0

    def __post_init__(self) -> None:
        """A bar is used before the next one ends. Raises ValueError."""
        if self.delay >= self.minutes * 60:
            raise ValueError(
                f"a delay of {self.delay} seconds is no shorter than a bar of {self.minutes} minute(s): orders would "
                "leave after the bar that they trade in"
            )


Moment = BeforeOpen | BeforeClose | AtTime | Every


def slot_of(moment: Moment) -> str:
    """The slot of a session at which a moment that comes once a session decides. Raises ValueError for `Every`."""
    match moment:
        case BeforeOpen():
            return SLOT
        case BeforeClose():
            return "close"
        case AtTime():
            return moment.time
        case Every():
            raise ValueError(f"every {moment.minutes} minutes is more than one slot of a session")
