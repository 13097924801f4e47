"""Histories of daily bars whose vendor has no captures, relived session by session: each session is one, known by an
assumption.

kind: histories
layout: wiki
files: /data/QUANDL_ARCHIVE.zip
known_at: close+1h
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Annotated

import polars as pl
from msgspec import Meta

from quant_assets.calendars import Calendar
from quant_assets.errors import CaptureUnreadable, ConfigurationError
from quant_assets.ports import NOTHING
from quant_assets.records import Capture, Currency, Declared, Name, frame_hash
from resources.sources.arrival import last_known
from resources.sources.layouts.daily import DAILY
from resources.sources.reading.opening import found_by
from resources.sources.rows import parted, remarks

_RULE = re.compile(r"close\+(\d+)([hm])")


class HistoryFiles(Declared, frozen=True, kw_only=True, tag="histories"):
    """Histories of daily bars, in the layout of their vendor."""

    layout: Annotated[str, Meta(description="How the vendor lays its files out.")]
    files: Annotated[str, Meta(min_length=1, description="A path or a glob.")]
    known_at: Annotated[
        str,
        Meta(
            pattern=r"^close\+\d+[hm]$",
            description="When a row could first be known.",
            extra={"write": "a rule like close+1h or close+30m"},
        ),
    ] = "close+1h"
    name: Annotated[Name | None, Meta(description="What the source is called; by default the layout.")] = None
    currency: Annotated[Currency, Meta(description="In what its prices are.")] = "USD"


class Histories:
    """The MarketDataSource port on such files: a path or a glob, and a layout of `layouts.daily`.

    All of them are read once, when first needed, and kept.
    """

    def __init__(
        self, layout: str, files: str, calendar: Calendar, *, known_at: str = "close+1h", name: str | None = None
    ) -> None:
        if layout not in DAILY:
            raise ConfigurationError(f"no layout of daily bars is named {layout!r}; there are {sorted(DAILY)}")
        if not (rule := _RULE.fullmatch(known_at)):
            raise ConfigurationError(f"known_at {known_at!r} is not like close+1h or close+30m")
        self.name = name or layout
        self.files = files
        self.calendar = calendar
        self._read = DAILY[layout]
        self._delay = timedelta(**{"hours" if rule[2] == "h" else "minutes": int(rule[1])})

    def labels(self, first: date | None = None, last: date | None = None) -> Sequence[date]:
        """See the port. Raises CaptureUnreadable where a file cannot be read."""
        return [d for d in self._rows if (first is None or d >= first) and (last is None or d <= last)]

    def fingerprints(self, labels: Sequence[date]) -> Mapping[date, str | None]:
        """See the port.

        If several files have rows of a session, it is not known which of them had rows that none has now: such a label
        is left out.
        """
        said: dict[date, str | None] = {d: self._sha256(d) for d in labels if d in self._rows}
        return said if len(found_by(self.files)[0]) > 1 else {d: said.get(d, NOTHING) for d in labels}

    def fetch(self, label: date) -> Capture:
        """See the port.

        On a day that is no session of the calendar, the rule counts from the next close. Raises CaptureUnreadable where
        no row is of that day.
        """
        if label not in self._rows:
            raise CaptureUnreadable(f"{self.files}: no rows of {label}; the files have {len(self._rows)} sessions")
        prices, malformed = parted(self._rows[label])
        actions = self._actions
        mine = actions.filter(pl.col("session") == label) if actions is not None else None
        sha256 = self._sha256(label)
        return Capture(
            source=self.name,
            label=label,
            location=self.files,
            sha256=sha256,
            known_at=self._known_at(label),
            assumed=True,
            prices=prices,
            listings=None,
            actions=mine,
            malformed=malformed,
            remarks=remarks(self._rows[label]),
            fingerprint=sha256,
            files=self._named,
        )

    def _known_at(self, label: date) -> datetime:
        return (self.calendar.close(self.calendar.on_or_after(label)) + self._delay).astimezone(UTC)

    def _sha256(self, label: date) -> str:
        actions = self._actions
        mine = [] if actions is None else [actions.filter(pl.col("session") == label).cast(pl.String)]
        return frame_hash(pl.concat([self._rows[label].drop("line"), *mine], how="diagonal_relaxed"))

    @cached_property
    def _named(self) -> frozenset[str]:
        """The files, as rows name them."""
        files, root = found_by(self.files)
        return frozenset(path.relative_to(root).as_posix() for path in files)

    @cached_property
    def _parts(self) -> list[tuple[pl.DataFrame, pl.DataFrame | None]]:
        files, root = found_by(self.files)
        if not files:
            raise CaptureUnreadable(f"{self.files}: there is no such file")
        try:
            return [self._read(path, root) for path in files]
        except (pl.exceptions.PolarsError, ConfigurationError) as error:
            raise CaptureUnreadable(
                f"{self.files}: the vendor's columns are not those of the layout ({error})"
            ) from error

    @cached_property
    def _rows(self) -> dict[date, pl.DataFrame]:
        """Rows by the session that brings them; one whose day cannot be read goes with its neighbour's, where it is
        reported as malformed.
        """
        told = pl.concat(
            prices.with_columns(pl.col("label").forward_fill().backward_fill()) for prices, _ in self._parts
        )
        if told["label"].null_count() == told.height:
            told = told.with_columns(label=pl.lit(last_known(found_by(self.files)[0], self.calendar, self._known_at)))
        told = told.with_columns(pl.col("label").forward_fill().backward_fill())
        parts = told.sort("label", "symbol", "session", "file", "line").partition_by(
            "label", as_dict=True, include_key=False, maintain_order=True
        )
        return {key[0]: rows for key, rows in parts.items()}

    @cached_property
    def _actions(self) -> pl.DataFrame | None:
        declared = [actions for _, actions in self._parts if actions is not None]
        return pl.concat(declared) if declared else None
