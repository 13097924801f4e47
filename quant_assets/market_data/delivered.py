"""A delivery as it may be used: whatever a source raises is a refusal of this delivery alone, and no bar is known
before the close of its session. Of a delivery that is not over yet, what was known so far is one already.
"""

from collections.abc import Callable
from datetime import date, datetime
from pathlib import PurePath
from traceback import extract_tb
from typing import TypeVar

import msgspec
import polars as pl

from quant_assets.calendars import Calendar
from quant_assets.errors import CaptureUnreadable, QuantError
from quant_assets.frames import bounds
from quant_assets.ports import MarketDataSource
from quant_assets.records import Capture, content_id, frame_hash
from quant_assets.tables import BARS

T = TypeVar("T")
UNTIL = "until "  # in the fingerprint of a delivery that was not over: when its last row was known


def delivered(source: MarketDataSource, label: date, calendar: Calendar) -> Capture:
    """The source's delivery of the label. Raises CaptureUnreadable, or another QuantError, if it cannot be used."""
    return possible(asked(source.name, lambda: source.fetch(label)), calendar)


def asked(name: str, question: Callable[[], T]) -> T:
    """What a source answers. Raises CaptureUnreadable for whatever else than a QuantError it raises: with the kind of
    the error and its place in the code, never its text, which may hold what was declared.
    """
    try:
        return question()
    except QuantError:
        raise
    except (Exception, pl.exceptions.PanicException) as error:
        last = extract_tb(error.__traceback__)[-1]
        raise CaptureUnreadable(
            f"{name}: {type(error).__name__} at {PurePath(last.filename).name}:{last.lineno} while it was read; "
            "have it sent again, or report this place"
        ) from error


def possible(capture: Capture, calendar: Calendar) -> Capture:
    """The delivery without bars of sessions that had not closed at its own knowledge time: these are among the
    malformed rows, so that they are quarantined and nothing reads them too early.

    An archive may have lost its times (1970), or hold a session that is not over yet.
    """
    early = _unclosed(capture, calendar)
    if not early:
        return capture
    wrong = pl.col("session").is_in(early)
    reason = pl.format(
        "known at {} UTC, before the close of {}: impossible",
        pl.lit(f"{capture.known_at:%Y-%m-%d %H:%M}"),
        "session",
    )
    cells = [pl.col(c).cast(pl.String).fill_null("") for c in capture.prices.columns if c not in {"file", "line"}]
    moved = capture.prices.filter(wrong).select(
        "file", "line", "symbol", reason=reason, content=pl.concat_str(cells, separator=",")
    )
    return msgspec.structs.replace(
        capture,
        prices=capture.prices.filter(~wrong),
        malformed=pl.concat(
            [capture.malformed, moved.select(pl.col(c).cast(t) for c, t in capture.malformed.schema.items())]
        ),
    )


def _unclosed(capture: Capture, calendar: Calendar) -> list[date]:
    """The sessions up to the label that close after the delivery was known. Later ones, and days that are no sessions,
    are judged elsewhere.
    """
    known_at = capture.known_at
    found = capture.prices["session"] if capture.prices.height else pl.Series(dtype=pl.Date)
    first, last = bounds(found.filter(found <= capture.label), date) or (None, None)
    if first is None or last is None:
        return []
    begin, end = calendar.known
    if begin <= last <= end and calendar.is_session(last) and calendar.close(last) <= known_at:
        return []  # the usual case: sessions close in order
    days = (d for d in found.unique().sort().to_list() if begin <= d <= min(end, last) and calendar.is_session(d))
    return [d for d in days if calendar.close(d) > known_at]


def so_far(capture: Capture, now: datetime) -> Capture | None:
    """The delivery, if it has arrived by `now`; else the part of it that has: rows of other datasets than bars, each
    with its own knowledge time, as a day of hourly bars has them; None where there are none.

    A later part, or the whole, has another fingerprint: so the label counts as changed until it is whole.
    """
    if capture.known_at <= now:
        return capture
    if capture.dataset == BARS.name:
        return None
    parts = {n: f.filter(pl.col("known_at") <= now) for n, f in capture.others.items() if "known_at" in f.columns}
    latest = max((at for f in parts.values() if (at := f["known_at"].max()) is not None), default=None)
    if not isinstance(latest, datetime):
        return None
    return msgspec.structs.replace(
        capture,
        others=parts,
        known_at=latest,
        sha256=content_id(UNTIL, *(frame_hash(parts[n]) for n in sorted(parts)), length=64),
        fingerprint=f"{UNTIL}{latest.isoformat()}",
    )


def known_after(capture: Capture, moment: datetime) -> Capture:
    """The rows of other datasets that were known after the moment, by what they declare."""
    parts = {
        n: f.filter(pl.col("known_at") > moment) if "known_at" in f.columns else f.clear()
        for n, f in capture.others.items()
    }
    return msgspec.structs.replace(capture, others=parts)
