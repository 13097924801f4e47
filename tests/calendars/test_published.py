"""What is kept of exchange_calendars is what it computes, and no file is ever needed or believed blindly."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path

import pytest

from quant_assets.calendars import published
from quant_assets.calendars.published import AHEAD, DIGEST, EDGE, Venue, venue

TODAY = date(2026, 3, 2)


@pytest.fixture
def computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The codes that were computed, in order; the cache is empty, and today is `TODAY`."""
    codes: list[str] = []
    real = published._computed

    def counted(code: str, last: date) -> Venue:
        codes.append(code)
        return real(code, last)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(published, "_today", lambda: TODAY)
    monkeypatch.setattr(published, "_computed", counted)
    return codes


@pytest.mark.parametrize("code", ["XNYS", "XTKS", "XTAE", "XSHG", "XKRX"])
def test_what_is_kept_is_what_was_computed(code: str, computed: list[str]) -> None:
    """Every session has the hours that it was computed with: on weeks, breaks and bounds of all kinds."""
    first, again = venue(code), venue(code)
    assert (first, computed) == (again, [code])
    last = date(2027, 3, 2)
    assert again.until == min(last, again.bound or last)
    short = published._computed(code, again.until)
    assert (short.sessions[:-1], short.opens[:-1], short.closes[:-1], short.pauses[:-1]) == (
        (again.sessions[:-1], again.opens[:-1], again.closes[:-1], again.pauses[:-1])
    )
    assert short.sessions == again.sessions
    assert set(short.early) ^ set(again.early) <= {again.sessions[-1]}


def test_the_end_moves_with_the_day(computed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A year from today is known every day; it is computed again before the kept days run out."""
    venue("XNYS")
    for days, again in ((1, 1), ((AHEAD - EDGE).days, 1), ((AHEAD - EDGE).days + 1, 2)):
        monkeypatch.setattr(published, "_today", lambda days=days: TODAY + timedelta(days=days))
        assert venue("XNYS").until == date(2027, 3, 2) + timedelta(days=days)
        assert len(computed) == again


@pytest.mark.parametrize(
    "harm",
    [
        lambda content: content[:0],
        lambda content: content[:-1],
        lambda content: content[:9000] + bytes([content[9000] ^ 1]) + content[9001:],
        lambda content: content[:DIGEST] + b"\x90",
    ],
    ids=["empty", "cut off", "one bit", "another content"],
)
def test_a_broken_file_is_computed_again(harm, computed: list[str], tmp_path: Path) -> None:
    """Whatever became of the file, the answer is the same, and the file is whole afterwards."""
    first = venue("XNYS")
    (file,) = tmp_path.rglob("XNYS-*.msgpack")
    content = file.read_bytes()
    file.write_bytes(harm(content))
    assert venue("XNYS") == first
    assert file.read_bytes() == content
    assert computed == ["XNYS", "XNYS"]


@pytest.mark.parametrize("what", ["version", "_rules"])
def test_another_version_or_another_clock_is_computed_again(
    what: str, computed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of other packages or of other rules of the time zone is not read."""
    venue("XNYS")
    published._made_by.cache_clear()
    monkeypatch.setattr(published, what, lambda _: "another")
    venue("XNYS")
    published._made_by.cache_clear()
    assert computed == ["XNYS", "XNYS"]


def test_it_works_where_nothing_can_be_written(
    computed: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No folder for the cache: each process computes."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert venue("XNYS") == venue("XNYS")
    assert computed == ["XNYS", "XNYS"]


def test_many_at_once_read_whole_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads while another writes has the old content or the new one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    content = list(range(50_000))

    def ask(n: int) -> bool:
        return published._kept("numbers", list[int], lambda: content, lambda _: n % 2 == 0) == content

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(64)))
    assert len(list(tmp_path.rglob("*.*"))) == 1


def test_a_kept_calendar_imports_no_heavy_library(tmp_path: Path) -> None:
    """The second process asks neither exchange_calendars nor pandas."""
    code = """
import sys
from quant_assets.calendars.venues import calendar, codes
codes()
calendar("XNYS")
print(bool({"exchange_calendars", "pandas"} & set(sys.modules)))
"""
    run = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for _ in range(2)
    ]
    assert run == ["True", "False"]
