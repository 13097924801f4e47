"""A delivery as it may be used: whatever a source raises is a refusal of this delivery alone, and no bar is known
before the close of its session.
"""

from collections.abc import Callable
from datetime import date
from pathlib import PurePath
from traceback import extract_tb
from typing import TypeVar

import msgspec
import polars as pl

from quant_assets.calendars import Calendar
from quant_assets.errors import CaptureUnreadable, QuantError
from quant_assets.frames import bounds
from quant_assets.ports import MarketDataSource
from quant_assets.records import Capture

T = TypeVar("T")


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
