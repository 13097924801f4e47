"""Files of daily prices as people have them: names that walk at random over the sessions of a calendar."""

import random
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from quant_assets.calendars import calendar

HEAD = ("Ticker", "Date", "Open", "High", "Low", "Close", "Volume")


def sessions(count: int, code: str = "XNYS", first: date = date(2023, 1, 3)) -> list[date]:
    """So many sessions of a calendar."""
    venue = calendar(code)
    start = venue.on_or_after(first)
    return venue.between(start, venue.shift(start, count - 1))


def prices(
    path: Path,
    days: Sequence[date],
    names: int,
    *,
    form: str = "%Y-%m-%d",
    mark: str = ",",
    point: str = ".",
    head: Sequence[str] = HEAD,
    volume: int = 100_000,
) -> Path:
    """The file, written; a name's log price walks at random, 2% a day."""
    rng = random.Random(11)  # noqa: S311  # the same file each time
    lines = [mark.join(head)]
    for n in range(names):
        close = 20.0 + 5 * n
        for day in days:
            before, close = close, max(1.0, close * (1 + rng.gauss(0.0003, 0.02)))
            high, low = max(before, close) * 1.005, min(before, close) * 0.995
            cells = [
                f"N{n:03}",
                day.strftime(form),
                *(f"{p:.2f}".replace(".", point) for p in (before, high, low, close)),
            ]
            lines.append(mark.join([*cells, str(volume + rng.randrange(volume + 1))]))
    path.write_text("\n".join(lines) + "\n")
    return path
