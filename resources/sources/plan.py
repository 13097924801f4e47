"""What a source would fetch, before it fetches anything."""

from datetime import date
from typing import Protocol, runtime_checkable

from quant_assets.records import Frozen


class Plan(Frozen, frozen=True):
    """A dry run: the labels to fetch, the number of requests and about how long the vendor's limits make them last.

    `kept`: of the labels, those that are complete in the cache and cost nothing. `seconds`: by the vendor's rate limit
    alone, without the time of its answers. `note`: what the numbers leave out.
    """

    source: str
    labels: tuple[date, ...]
    kept: int
    requests: int
    seconds: float
    note: str = ""

    def __str__(self) -> str:
        """One line for a person."""
        span = (
            f"{self.labels[0]} to {self.labels[-1]}, {len(self.labels)} labels ({self.kept} in the cache already)"
            if self.labels
            else "nothing"
        )
        return (
            f"{self.source}: {span}; {self.requests} requests, about {self.seconds:,.0f} "
            f"s{'; ' + self.note if self.note else ''}"
        )


@runtime_checkable
class Planned(Protocol):
    """A source that sends requests to a vendor over the network, and can count them beforehand."""

    def plan(self, first: date | None = None, last: date | None = None) -> Plan:
        """What fetching the labels in [first, last] takes."""
        ...
