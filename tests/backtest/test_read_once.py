from datetime import date, timedelta
from pathlib import Path

import pytest

from quant_assets.read_once import ReadOnce
from quant_assets.tables import BARS
from tests.execution.small_market import CUTS, SESSIONS, stored

FIRST, LAST = SESSIONS[2], SESSIONS[-3]


@pytest.mark.parametrize(
    ("first", "last"),
    [
        (FIRST, LAST),
        (FIRST, FIRST),
        (SESSIONS[4], SESSIONS[6]),
        (FIRST - timedelta(days=1), LAST),
        (FIRST, SESSIONS[-1]),
        (None, LAST),
        (FIRST, None),
    ],
)
@pytest.mark.parametrize("as_of", [None, CUTS.of(SESSIONS[5])])
@pytest.mark.parametrize("where", [None, {"sid": 1}])
@pytest.mark.parametrize("columns", [None, ["close"]])
def test_reads_what_is_stored(first: date | None, last: date | None, as_of, where, columns, tmp_path: Path):
    """Whatever is asked, inside the days that are read once or beyond them, the rows are those of the store below."""
    below = stored(tmp_path)
    once = ReadOnce(below, (BARS,), FIRST, LAST)
    for _ in range(2):
        asked = {"as_of": as_of, "first": first, "last": last, "where": where, "columns": columns}
        expected = below.read(BARS, **asked)
        assert expected.height
        assert once.read(BARS, **asked).equals(expected)


def test_a_table_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Session after session of one table is one read of the store below."""
    below, reads = stored(tmp_path), []
    read = below.read
    monkeypatch.setattr(below, "read", lambda table, **asked: reads.append(table.name) or read(table, **asked))
    once = ReadOnce(below, (BARS,), FIRST, LAST)
    for session in SESSIONS[2:-2]:
        once.read(BARS, as_of=CUTS.of(session), first=session, last=session)
    assert reads == [BARS.name]
