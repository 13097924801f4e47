import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from quant_assets.errors import DataError
from resources.telemetry import heartbeat, read_heartbeat

NOW = datetime(2024, 1, 3, 14, 15, tzinfo=UTC)


def test_a_beat_is_read_back_with_its_age(tmp_path: Path) -> None:
    """What was written is read; staleness counts seconds."""
    path = tmp_path / "deep" / "heartbeat.json"
    assert read_heartbeat(path) is None
    heartbeat(path, now=NOW, session=date(2024, 1, 2), state="started")
    heartbeat(path, now=NOW + timedelta(minutes=1), session=date(2024, 1, 2), state="done")
    beat = read_heartbeat(path)
    assert beat is not None
    assert (beat.session, beat.state) == (date(2024, 1, 2), "done")
    assert beat.staleness(NOW + timedelta(minutes=3)) == 120.0
    assert [p.name for p in path.parent.iterdir()] == ["heartbeat.json"]


def test_any_watcher_can_read_it(tmp_path: Path) -> None:
    """The file is plain JSON with a UTC time, readable by others."""
    path = tmp_path / "heartbeat.json"
    heartbeat(path, now=NOW, session=date(2024, 1, 2), state="done")
    assert json.loads(path.read_text()) == {"ts": "2024-01-03T14:15:00Z", "session": "2024-01-02", "state": "done"}
    assert path.stat().st_mode & 0o044 == 0o044


def test_a_crash_while_writing_leaves_the_old_beat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is replaced as a whole, and nothing is left lying about."""
    path = tmp_path / "heartbeat.json"
    heartbeat(path, now=NOW, session=date(2024, 1, 2), state="done")

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", crash)
    with pytest.raises(KeyboardInterrupt):
        heartbeat(path, now=NOW, session=date(2024, 1, 3), state="started")
    beat = read_heartbeat(path)
    assert beat is not None
    assert beat.session == date(2024, 1, 2)
    assert len(list(tmp_path.iterdir())) == 1


def test_something_else_is_no_heartbeat(tmp_path: Path) -> None:
    """A file that is not a beat is an error, not a silence."""
    (tmp_path / "heartbeat.json").write_text("{}")
    with pytest.raises(DataError, match="not a heartbeat"):
        read_heartbeat(tmp_path / "heartbeat.json")
