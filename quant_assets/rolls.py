"""When a chain of futures goes from one contract to the next: a rule that a strategy declares."""

from typing import Annotated, Literal

from msgspec import Meta

from quant_assets.records import Frozen


class Roll(Frozen, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The next contract is held from the session after the cut at which the rule asks for it, and never a former one
    again.

    `volume`, `open_interest`: once the next contract has more of it, as known at the cut. In any case the contract is
    left `days` sessions before its first notice (of one that is settled in cash: its expiry), or with
    `before_expiry`, before its expiry, whatever its first notice.
    """

    when: Annotated[
        Literal["before_first_notice", "before_expiry", "volume", "open_interest"],
        Meta(description="What decides."),
    ] = "before_first_notice"
    days: Annotated[
        int, Meta(ge=1, le=250, description="Sessions before its end at which a contract is left at the latest.")
    ] = 5

    @property
    def name(self) -> str:
        """The rule in the name of a series."""
        return f"{self.when} {self.days}"


FIRST_NOTICE = Roll()
