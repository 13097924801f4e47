"""Labels that were ingested before are ingested again: their bars, with what follows from them, and their rows of other
datasets.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime

import polars as pl

from quant_assets.calendars import Calendar
from quant_assets.errors import CaptureUnreadable
from quant_assets.market_data.datasets import dataset
from quant_assets.market_data.delivered import delivered, known_after, so_far
from quant_assets.market_data.evidence import Evidence
from quant_assets.market_data.observations import Observations, Stamp, turned_away
from quant_assets.market_data.proposals import opened
from quant_assets.market_data.redelivery import Redeliveries
from quant_assets.market_data.taken import Taken
from quant_assets.ports import NOTHING, MarketDataSource, Store
from quant_assets.records import Capture
from quant_assets.tables import BARS, DATA_FINDINGS, PROPOSED_ACTIONS, QUARANTINE


@dataclass(frozen=True)
class Retaken:
    """A delivery whose label was ingested before: what it adds by table, known at `moment`, and in numbers."""

    capture: Capture
    moment: datetime
    frames: Mapping[str, pl.DataFrame]
    counts: Mapping[str, int]

    @property
    def refused(self) -> int:
        """How many of its rows are in quarantine."""
        held = self.frames.get(QUARANTINE.name)
        return 0 if held is None else held.filter(dataset=self.capture.dataset).height


class Retaking:
    """The labels of a source that were ingested before, one after the other."""

    def __init__(
        self,
        source: MarketDataSource,
        store: Store,
        taken: Taken,
        others: Observations,
        calendar: Calendar,
        evidence: Evidence,
    ) -> None:
        self._source, self._taken, self._others, self._calendar = source, taken, others, calendar
        self._bars = Redeliveries(store, source.name, calendar, evidence)

    def take(self, label: date, moment: datetime, now: datetime, stamp: Stamp) -> Retaken | None:
        """What has changed in the label, known at `moment`; None if it is unchanged, or has not arrived by `now`.
        What has come since a part of it was ingested is known as declared, by `stamp`.

        Raises CaptureUnreadable.
        """
        capture, since = so_far(self._delivery(label), now), self._taken.part_until(label)
        if capture is None or self._taken.has(capture) or self._taken.ahead_of(capture):
            return None
        if self._taken.repeats(capture):
            return Retaken(capture, moment, {}, {})
        grown = [
            self._others.take(dataset(name), known_after(capture, since), stamp)
            for name in sorted(capture.others)
            if since
        ]
        others = [
            self._others.again(dataset(name), capture, moment, self._following(label))
            for name in sorted(capture.others)
        ]
        frames: dict[str, pl.DataFrame] = {}
        counts = {"observed": 0, "repeated": 0}
        if capture.dataset == BARS.name:
            bars = self._bars.take(capture, moment, self._following(label))
            self._bars.learn(bars)
            frames = {**bars.frames, DATA_FINDINGS.name: turned_away(bars.frames[QUARANTINE.name])}
            counts |= {
                "bars": bars.frames[BARS.name].height,
                "actions": bars.frames["actions"].height,
                "proposed": opened(bars.frames[PROPOSED_ACTIONS.name]).height,
                "restated": bars.restated,
                "withdrawn": bars.withdrawn,
            }
        for observed in others:
            self._others.learn(observed)
            counts["repeated"] += observed.repeated
        for observed in (*grown, *others):
            counts["observed"] += sum(f.height for name, f in observed.frames.items() if name in capture.others)
            frames |= {t: pl.concat([frames[t], f]) if t in frames else f for t, f in observed.frames.items()}
        return Retaken(capture, moment, frames, counts)

    def committed(self) -> None:
        """All that was learnt is stored."""
        self._bars.committed()

    def _delivery(self, label: date) -> Capture:
        """What the source has of the label: its delivery, or an empty one if all its rows are gone."""
        try:
            return delivered(self._source, label, self._calendar)
        except CaptureUnreadable:
            said = self._source.fingerprints(self._taken.labels)
            if said.get(label) != NOTHING:
                raise
            if lost := self._taken.cut_off(said):
                raise CaptureUnreadable(
                    f"{lost} of {len(said)} ingested labels have lost all their rows. This is no correction: the file "
                    "was cut off. The stored rows stay in force. Ask the vendor to send the file again"
                ) from None
            return self._taken.emptied(label)

    def _following(self, label: date) -> Iterator[Capture]:
        """The deliveries after the label's that were ingested and can be read."""
        for later in (other for other in self._taken.labels if other > label):
            try:
                yield delivered(self._source, later, self._calendar)
            except CaptureUnreadable:
                continue  # reported when that label is itself ingested
