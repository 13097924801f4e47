"""Moments that people write and moments of the wall: a naive one is UTC, and nothing is due beyond the clock."""

from datetime import UTC, date, datetime
from pathlib import Path

import msgspec
import polars as pl

from desk.deployment import DEFAULT, load
from desk.notebook import Notebook
from desk.workspace import Workspace
from jobs.live import due
from quant_assets.tables import BARS, CAPTURES


class Wall:
    """A clock that stands."""

    def now(self) -> datetime:
        """See the port."""
        return datetime(2025, 6, 5, 14, 0, tzinfo=UTC)


def test_a_naive_moment_is_utc(tmp_path: Path) -> None:
    """Rows known at noon are there for a naive noon as for noon UTC, and not a minute before, in frames and in SQL."""
    ws, noon = Notebook(tmp_path, load(DEFAULT)), datetime(2025, 6, 3, 12, 0)  # noqa: DTZ001  # what is tried
    row = {c: "x" for c, t in CAPTURES.schema.items() if t == pl.String} | {
        "capture": date(2025, 6, 2), "rows": 1, "quarantined": 0, "assumed": False,
        **dict.fromkeys(("known_at", "declared_known_at"), noon.replace(tzinfo=UTC)),
    }  # fmt: skip
    ws.store.append(CAPTURES, pl.DataFrame([row], schema=dict(CAPTURES.schema)))
    told = [
        ws.sql("select count(*) n from captures", as_of=moment).item()
        for moment in (noon, noon.replace(tzinfo=UTC), noon.replace(hour=11, minute=59))
    ]
    assert told == [1, 1, 0]
    one = {c: 1 if u.is_numeric() else "x" if u == pl.String else None for c, u in BARS.schema.items()} | {
        "session": date(2025, 6, 2), "capture": date(2025, 6, 2), "withdrawn": False,
        **dict.fromkeys(("known_at", "declared_known_at"), noon.replace(tzinfo=UTC)),
    }  # fmt: skip
    ws.store.append(BARS, pl.DataFrame([one], schema=dict(BARS.schema)))
    days = date(2025, 6, 2), date(2025, 6, 3)
    assert [ws.bars(*days, as_of=m).height for m in (noon, noon.replace(hour=11, minute=59))] == [1, 0]


def test_nothing_is_due_beyond_the_clock(tmp_path: Path) -> None:
    """A source that declares a later end brings no session whose decision time has not come."""
    deployment = msgspec.structs.replace(load(DEFAULT), clock="system")
    ws = Workspace(tmp_path, deployment, clock=Wall())
    assert ws.span[1] > date(2025, 6, 5)
    asked = due(ws, None)
    assert (asked[0], asked[-1]) == (deployment.start, date(2025, 6, 4))
    assert all(ws.cuts.of(s) <= Wall().now() for s in asked)
