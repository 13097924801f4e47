"""The record of what people did: nothing in it can be altered without a trace."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from desk.ledger import make_anew
from quant_assets.acts import BEGINNING, Head, head, holds, keep_head, kept_heads, verify
from quant_assets.calendars import Cuts, calendar
from quant_assets.errors import ExecutionError
from resources.ledger.open import FILE, open_ledger
from resources.tables.store import DeltaStore
from tests.execution.small_market import Told

AT = datetime(2024, 1, 2, 14, tzinfo=UTC)
DAY = date(2024, 1, 2)
CUTS = Cuts(calendar("XNYS"))


def recorded(home: Path, count: int = 5) -> list[dict[str, str]]:
    """So many acts, with text of every kind."""
    audit = open_ledger(home).audit
    for n in range(count):
        reason = f'because {n} é \x1f "quoted" \\ {"🙂" * n}'
        audit.record("drill", f"subject {n}", by="ops", reason=reason, now=AT + timedelta(hours=n))
    return [dict(a) for a in audit.acts()]


def test_what_was_recorded_is_whole(tmp_path: Path) -> None:
    """Acts as they were written have no fault, and the head is the last one's hash."""
    acts = recorded(tmp_path)
    assert verify(acts, [head(acts[:2]), head(acts), head([])]) == []
    assert head(acts) == Head(5, acts[-1]["hash"])
    assert holds(acts, acts[3]["hash"])
    assert not holds(acts, "0f" * 32)
    assert (head([]), verify([])) == (Head(0, BEGINNING), [])


SPOILED: dict[str, tuple[str, int]] = {
    "deleted in the middle": ("DELETE FROM audit WHERE seq = 3", 3),
    "the first deleted": ("DELETE FROM audit WHERE seq = 1", 1),
    "changed in who": ("UPDATE audit SET by = 'somebody' WHERE seq = 4", 4),
    "changed in why": ("UPDATE audit SET reason = 'another' WHERE seq = 2", 2),
    "changed in when": ("UPDATE audit SET at = '2024-01-02T15:00:01.000000+00:00' WHERE seq = 2", 2),
    "moved": ("UPDATE audit SET seq = CASE seq WHEN 2 THEN 30 ELSE seq END", 2),
    "put in between": (
        """UPDATE audit SET seq = 40 WHERE seq = 4; UPDATE audit SET seq = 50 WHERE seq = 5;
        INSERT INTO audit (seq, at, act, subject, by, reason, hash)
        SELECT 4, at, act, 'forged', by, reason, hash FROM audit WHERE seq = 3""",
        4,
    ),
    "without a hash": ("UPDATE audit SET hash = '' WHERE seq = 5", 5),
}


@pytest.mark.parametrize("how", SPOILED)
def test_what_was_altered_is_found(tmp_path: Path, how: str) -> None:
    """Deleted, changed, moved or put in: the first place where the chain breaks is named, once."""
    recorded(tmp_path)
    statements, place = SPOILED[how]
    with closing(sqlite3.connect(tmp_path / FILE)) as db:
        db.executescript(statements)
    (fault,) = verify(open_ledger(tmp_path).audit.acts())
    assert (fault.place, f"act {place} " in fault.sentence) == (place, True)


def rewritten(home: Path, keep: Callable[[dict[str, str]], bool]) -> None:
    """The ledger by a hand that knows how the chain is made: acts left out, and all hashes made anew."""
    acts = [a for a in open_ledger(home).audit.acts() if keep(dict(a))]
    with closing(sqlite3.connect(home / FILE)) as db, db:
        db.execute("DELETE FROM audit")
    audit = open_ledger(home).audit
    for a in acts:
        audit.record(a["act"], a["subject"], by=a["by"], reason=a["reason"], now=datetime.fromisoformat(a["at"]))


@pytest.mark.parametrize(("left_out", "sentence"), [("subject 4", "cut off"), ("subject 1", "rewritten")])
def test_a_chain_made_anew_contradicts_the_heads_kept_elsewhere(tmp_path: Path, left_out: str, sentence: str) -> None:
    """Acts cut off at the end, and a whole chain forged, are found by a session's head in the tables."""
    store, told = DeltaStore(tmp_path / "tables"), Told()
    recorded(tmp_path)
    kept = keep_head(store, open_ledger(tmp_path).audit, CUTS, DAY, told)
    rewritten(tmp_path, lambda a: a["subject"] != left_out)
    recorded(tmp_path, 1)
    recorded(tmp_path, 1 if left_out == "subject 1" else 0)
    if left_out == "subject 4":
        rewritten(tmp_path, lambda a: a["subject"] not in {"subject 4", "subject 0"})
    acts = open_ledger(tmp_path).audit.acts()
    assert verify(acts) == []
    (fault,) = verify(acts, kept_heads(store))
    assert sentence in fault.sentence
    assert not holds(acts, kept.hash)
    assert told.subjects == []
    keep_head(store, open_ledger(tmp_path).audit, CUTS, date(2024, 1, 3), told)
    assert [t.split(":")[0] for t in told.subjects] == ["critical"]
    assert len(kept_heads(store)) == 1


def test_a_head_is_kept_once_a_session_and_once_more_after_another_act(tmp_path: Path) -> None:
    """The same session again with the same acts is nothing new."""
    store, audit = DeltaStore(tmp_path / "tables"), open_ledger(tmp_path).audit
    first = keep_head(store, audit, CUTS, DAY, Told())
    assert keep_head(store, audit, CUTS, DAY, Told()) == first == Head(0, BEGINNING)
    recorded(tmp_path, 2)
    second = keep_head(store, audit, CUTS, DAY, Told())
    assert kept_heads(store) == [msgspec.structs.replace(h, session=DAY) for h in (first, second)]


def test_an_act_without_a_name_is_refused(tmp_path: Path) -> None:
    """It breaks no chain either."""
    with pytest.raises(ExecutionError, match="say who"):
        open_ledger(tmp_path).audit.record("x", "y", by=" ", reason="z", now=AT)
    assert open_ledger(tmp_path).audit.acts() == []


def test_a_ledger_that_a_person_replaced_begins_another_record(tmp_path: Path) -> None:
    """Heads of the record before are passed over from then on, and only those: what is cut off later is seen."""
    store = DeltaStore(tmp_path / "tables")
    recorded(tmp_path)
    keep_head(store, open_ledger(tmp_path).audit, CUTS, DAY, Told())
    (tmp_path / FILE).unlink()
    for file in tmp_path.glob(f"{FILE}-*"):
        file.unlink()
    ledger, told = make_anew(tmp_path, by="ops", reason="lost", now=AT), Told()
    following = CUTS.calendar.after(DAY)
    for session in (DAY, following):
        keep_head(store, ledger.audit, CUTS, session, told)
    assert told.subjects == []
    assert [h.session for h in kept_heads(store)] == [DAY, DAY, following]
    assert verify(ledger.audit.acts()[:-1], kept_heads(store)) != []
