"""Somebody is told, and telling never breaks or delays the run."""

import json
import sqlite3
import time
from pathlib import Path

import pytest

from resources.notices.queue import FILE, Queue
from resources.notifier import LogNotifier, QueuedNotifier


def read(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_log_holds_one_json_line_each(tmp_path: Path) -> None:
    """Messages are appended with level, UTC time, subject and body; line breaks do not break lines."""
    log = LogNotifier(tmp_path / "deep" / "n.jsonl")
    log.notify("info", "started")
    log.notify("critical", "DIVERGED", "two\nlines")
    log.notify("loud", "unknown severity")
    lines = read(tmp_path / "deep" / "n.jsonl")
    assert [(line["level"], line["event"], line["body"]) for line in lines] == [
        ("info", "started", ""),
        ("critical", "DIVERGED", "two\nlines"),
        ("critical", "unknown severity", ""),
    ]
    assert all(line["timestamp"].endswith("Z") for line in lines)


def test_a_log_that_cannot_be_written_goes_to_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A path that is a folder loses no message and raises nothing."""
    LogNotifier(tmp_path).notify("warning", "still told")
    LogNotifier().notify("info", "plainly")
    events = [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()]
    assert events == ["still told", "the notification log cannot be written", "plainly"]


def test_a_notice_is_logged_and_queued_and_nothing_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty-one notices to a webhook that nobody listens to take no longer than local writes."""
    monkeypatch.setenv("QUANT_WEBHOOK_URL", "http://10.255.255.1/hook")
    notifier, started = QueuedNotifier(tmp_path), time.monotonic()
    for n in range(21):
        notifier.notify("warning", f"order {n} was rejected")
    assert time.monotonic() - started < 5
    assert len(read(tmp_path / "notifications.jsonl")) == 21
    assert [r["sent"] for r in Queue(tmp_path).listed()] == ["chat waiting"] * 21


def test_the_same_cause_is_one_notice(tmp_path: Path) -> None:
    """What comes again is counted on the first one; each is in the log."""
    notifier = QueuedNotifier(tmp_path)
    for body in ("first", "second"):
        notifier.notify("warning", "nothing delivered", body)
    (row,) = Queue(tmp_path).listed()
    assert (row["times"], row["body"]) == (2, "second")
    assert len(read(tmp_path / "notifications.jsonl")) == 2


def test_no_secret_and_no_control_character_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment holds as a secret is left out, and an escape sequence is text."""
    monkeypatch.setenv("QUANT_SMTP_PASSWORD", "hunter22")
    QueuedNotifier(tmp_path).notify("warning", "login hunter22 failed", "\x1b[2Jbody")
    (row,) = Queue(tmp_path).listed()
    assert (row["subject"], row["body"]) == ("login [QUANT_SMTP_PASSWORD] failed", "\\x1b[2Jbody")
    assert "hunter22" not in (tmp_path / "notifications.jsonl").read_text()


def test_a_broken_queue_is_no_reason_to_fail(tmp_path: Path) -> None:
    """A queue that is no database, or that another process holds, raises nothing: the log has the notice."""
    (tmp_path / FILE).write_text("no database, and longer than a header: " + "x" * 4096)
    QueuedNotifier(tmp_path).notify("critical", "still told")
    (tmp_path / FILE).unlink()
    QueuedNotifier(tmp_path).notify("info", "begun")
    holder = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    QueuedNotifier(tmp_path).notify("critical", "told too")
    holder.close()
    events = [line["event"] for line in read(tmp_path / "notifications.jsonl")]
    assert [e for e in events if e.endswith(("told", "too"))] == ["still told", "told too"]
