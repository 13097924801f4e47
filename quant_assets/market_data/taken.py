"""Which deliveries of a source were ingested, and whether a label has changed since."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import polars as pl

from quant_assets.market_data.datasets import dataset
from quant_assets.market_data.delivered import UNTIL, asked
from quant_assets.market_data.screening import CONTENT, REJECTED
from quant_assets.ports import NOTHING, MarketDataSource, Store
from quant_assets.records import Capture, content_id
from quant_assets.tables import BARS, CAPTURES

ABSENT = ".absent"  # likewise: the delivery was missing at the last ingest
# in a stored sha256: what follows counts deliveries of one label, where the same content came back after another
AGAIN = "."
BELIEVED = 0.05  # of a source's labels may lose their last row at once, and one always; more is a file that was cut off


@dataclass(frozen=True)
class Outstanding:
    """Labels to ingest, ascending: new ones, and those that have changed.

    `absent`: labels that were ingested and can no longer be read. `beyond`: the last of `labels`, where it is later
    than what was asked for: a delivery of another dataset than bars may have rows that are known already.
    """

    labels: Sequence[date]
    absent: Sequence[date]
    beyond: date | None = None


class Taken:
    """The latest delivery of each label, from the rows of CAPTURES of one source."""

    def __init__(self, captures: pl.DataFrame) -> None:
        self._latest: dict[date, Mapping[str, Any]] = {}
        self._said: dict[date, list[str]] = {}
        for row in captures.sort("capture", "known_at").iter_rows(named=True):
            self.note(row)

    def note(self, row: Mapping[str, Any]) -> None:
        """A row of CAPTURES more, later than those before it."""
        label = row["capture"]
        self._latest[label] = row
        self._said.setdefault(label, []).append(_plain(row["sha256"]))

    def __contains__(self, label: date) -> bool:
        """Whether a delivery of the label was ever ingested."""
        return label in self._latest

    @property
    def labels(self) -> Sequence[date]:
        """All labels of which a delivery was ingested, ascending."""
        return sorted(self._latest)

    @property
    def has_bars(self) -> bool:
        """Whether deliveries of daily bars were ingested."""
        return any(row["dataset"] == BARS.name for row in self._latest.values())

    @property
    def moment(self) -> datetime | None:
        """When the last of them became known."""
        return max((row["known_at"] for row in self._latest.values()), default=None)

    def same(self, label: date, fingerprint: str | None) -> bool:
        """Whether the label's content is unchanged since it was ingested.

        A delivery from before fingerprints were stored is compared by its sha256. A part of one is never the whole.
        """
        then = self._latest[label]
        if fingerprint is None:
            return self.part_until(label) is None
        return fingerprint == (then["fingerprint"] or _plain(then["sha256"]))

    def part_until(self, label: date) -> datetime | None:
        """Until when the rows were known of a delivery of which a part was ingested; None where it was whole."""
        then = self._latest[label]
        return then["declared_known_at"] if (then["fingerprint"] or "").startswith(UNTIL) else None

    def ahead_of(self, capture: Capture) -> bool:
        """Whether more was ingested already than this part of a delivery has: an earlier hour is run again."""
        part = (capture.fingerprint or "").startswith(UNTIL)
        return part and capture.known_at < self._latest[capture.label]["declared_known_at"]

    def has(self, capture: Capture) -> bool:
        """Whether exactly this delivery is the latest of its label."""
        return self.repeats(capture) and self.same(capture.label, capture.fingerprint)

    def repeats(self, capture: Capture) -> bool:
        """Whether the latest delivery of its label had the same content, whatever its fingerprint."""
        return capture.label in self and _plain(self._latest[capture.label]["sha256"]) == capture.sha256

    def sha256(self, capture: Capture) -> str:
        """The sha256 under which the delivery is stored: its own; with a count if the label had the same content
        before.
        """
        said = self._said.get(capture.label, [])
        return f"{capture.sha256}{AGAIN}{len(said)}" if capture.sha256 in said else capture.sha256

    def emptied(self, label: date) -> Capture:
        """An empty delivery of a label that was ingested and has lost all its rows."""
        then = self._latest[label]
        bars = then["dataset"] == BARS.name
        columns = {} if bars else dict.fromkeys(dataset(then["dataset"]).columns, pl.String)
        return Capture(
            source=then["source"],
            label=label,
            location=then["location"],
            sha256=content_id(NOTHING, then["source"], str(label), length=64),
            known_at=then["declared_known_at"],
            assumed=then["assumed"],
            prices=pl.DataFrame(schema={c: BARS.schema[c] for c in (*CONTENT, "file", "line")}),
            listings=None,
            actions=None,
            malformed=pl.DataFrame(schema=REJECTED),
            dataset=then["dataset"],
            others={}
            if bars
            else {then["dataset"]: pl.DataFrame(schema={**columns, "file": pl.String, "line": pl.Int64})},
            fingerprint=NOTHING,
        )

    def cut_off(self, said: Mapping[date, str | None]) -> int:
        """How many labels have lost their last row at once, where that is more than a vendor takes back; else 0."""
        gone = sum(
            fingerprint == NOTHING and not self.same(label, NOTHING)
            for label, fingerprint in said.items()
            if label in self
        )
        return gone if gone > max(1, BELIEVED * len(self._latest)) else 0


def taken_of(source: MarketDataSource, store: Store) -> Taken:
    """What was ingested of a source."""
    return Taken(store.read(CAPTURES, as_of=None, where={"source": source.name}))


def outstanding(source: MarketDataSource, store: Store, last: date) -> Outstanding:
    """The labels to ingest up to `last` and the one after it, and those that have disappeared.

    Raises CaptureUnreadable if the source cannot be read at all.
    """
    taken = taken_of(source, store)
    every = sorted(asked(source.name, source.labels))
    there = {label for label in every if label <= last}
    beyond = None if taken.has_bars else next((label for label in every if label > last), None)
    before = [label for label in taken.labels if label <= last or label == beyond]
    said = asked(source.name, lambda: source.fingerprints(before)) if before else {}
    changed = {label for label, fingerprint in said.items() if label in taken and not taken.same(label, fingerprint)}
    # of a delivery of which a part was ingested the rest may have come under another label
    changed -= {label for label, fingerprint in said.items() if fingerprint is None and label not in {*there, beyond}}
    new = (there | ({beyond} if beyond else set[date]())) - set(before)
    return Outstanding(sorted(new | changed), [label for label in before if label not in said], beyond)


def _plain(sha256: str) -> str:
    return sha256.partition(AGAIN)[0]
