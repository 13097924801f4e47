"""`quant today` says one next thing: in a new home history first, on a fine day until when nothing is due."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from desk.day import arrive
from jobs.next_step import nothing_until
from quant_assets.calendars import Cuts, calendar
from tests.jobs.commands import Quant, declare
from tests.jobs.small import FIRST, LIVE, SOURCE, START, deployment, workspace

At = Callable[[Path], Quant]


@pytest.mark.parametrize(
    ("venue", "now", "start", "right"),
    [
        ("XNYS", "2026-12-01T02:00", "2020-01-02", ("Tuesday 2026-12-01 09:15", "2026-12-01 14:15", "2026-11-30")),
        ("XNYS", "2026-12-04T22:00", "2020-01-02", ("Monday 2026-12-07 09:15", "2026-12-07 14:15", "2026-12-04")),
        ("XNYS", "2026-12-24T19:00", "2020-01-02", ("Monday 2026-12-28 09:15", "2026-12-28 14:15", "2026-12-24")),
        ("XLON", "2026-03-27T20:00", "2020-01-02", ("Monday 2026-03-30 07:45", "2026-03-30 06:45", "2026-03-27")),
        ("XTKS", "2026-12-30T10:00", "2020-01-06", ("Monday 2027-01-04 08:45", "2027-01-03 23:45", "2026-12-30")),
        ("24/7", "2026-12-05T23:45", "2020-01-02", ("Sunday 2026-12-06 23:45", "2026-12-06 23:45", "2026-12-06")),
        ("XNYS", "2026-12-01T02:00", "2026-12-09", ("Thursday 2026-12-10 09:15", "2026-12-10 14:15", "2026-12-09")),
    ],
    ids=["before the open", "weekend", "half day and holiday", "clocks change", "new year", "always", "start ahead"],
)
def test_until_when_nothing_is_due(venue: str, now: str, start: str, right: tuple[str, str, str]) -> None:
    """The next decision time, on the venue's clock and UTC, and its session; from the deployment's start on."""
    local, utc, session = right
    said = nothing_until(
        Cuts(calendar(venue)), date.fromisoformat(start), datetime.fromisoformat(now).replace(tzinfo=UTC)
    )
    assert said == f"nothing is due until {local} on the venue's clock ({utc} UTC), when {session} is decided"


def commands(text: str) -> list[str]:
    """The commands under "Next:"."""
    return [line.strip() for line in text.partition("Next:\n")[2].splitlines()]


def test_an_empty_home_begins_with_its_history(at: At, tmp_path: Path) -> None:
    """One command, and nothing is written by asking."""
    home = tmp_path / "new"
    answer = at(home)("today")
    assert (answer.code, commands(answer.text)) == (20, ["quant backfill"])
    assert not home.exists()
    assert at(home)("today", "--json").json["next"]["command"] == "quant backfill"  # type: ignore[index]


def test_data_without_decisions_is_history_that_was_not_computed(at: At, tmp_path: Path) -> None:
    """After `quant ingest`, or a backfill that was stopped."""
    home = tmp_path / "home"
    home.mkdir()
    declare(home, deployment())
    list(arrive(workspace(home), FIRST))
    answer = at(home)("today")
    assert (answer.code, commands(answer.text)) == (20, ["quant backfill"])


def test_after_its_history_comes_the_first_session(at: At, home: Path) -> None:
    """The daily run, and no other command."""
    declare(home, deployment())
    answer = at(home)("today")
    assert (answer.code, commands(answer.text)) == (20, ["quant run daily"])
    assert str(START) in answer.text


def test_a_fine_day_of_a_historical_run_names_the_next_session(at: At, own: Path) -> None:
    """And of a session that somebody names, only how it came out."""
    quant = at(own)
    answer = quant("today")
    assert (answer.code, commands(answer.text)) == (0, ["quant run daily"])
    assert f"{LIVE[4]} is the next session to be run." in answer.text
    assert commands(quant("today", "--session", str(LIVE[3])).text) == []


def test_at_the_end_of_its_source_a_historical_run_is_reported(at: At, own: Path) -> None:
    """No session is left, and the range can be read."""
    source = SOURCE | {"last": LIVE[3]}
    declare(own, deployment(source=source))
    answer = at(own)("today")
    assert (answer.code, commands(answer.text)) == (0, ["quant report --book paper"])
