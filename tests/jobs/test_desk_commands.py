"""`quant kill-switch` by scope, `quant audit` and `quant migrate`."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from quant_assets.records import Book
from resources.ledger.open import FILE, open_ledger
from tests.jobs.commands import Quant
from tests.jobs.small import PAPER, workspace
from tests.resources.old_ledger import dump, make_old

BY = ("--by", "ann", "--reason", "drill")


@pytest.mark.parametrize(("option", "scope"), [("--book", "book paper"), ("--account", "account P")])
def test_a_switch_for_one_book(own: Path, at: Callable[[Path], Quant], option: str, scope: str) -> None:
    """It stops that book alone, is shown and blocks the day with the command that releases it."""
    quant, name = at(own), scope.split()[1]
    assert quant("kill-switch", "on", option, name, *BY).code == 0
    switch, other = workspace(own).ledger.kill_switch, Book("other", "small", "O", PAPER.capital)
    assert (switch.state(PAPER).scope, switch.state(other).on, switch.state().on) == (scope, False, False)
    shown = quant("kill-switch", "show")
    assert (shown.code, f"for {scope} is ON: drill" in shown.text) == (20, True)
    assert quant("kill-switch", "show", option, "nobody").code == 0
    today = quant("today")
    assert (today.code, f"ON for {scope}: drill" in " ".join(today.text.split())) == (20, True)
    assert f"  quant kill-switch off {option} {name} --by NAME --reason TEXT" in today.text.splitlines()
    assert quant("kill-switch", "off", option, name, *BY).code == 0
    assert (quant("kill-switch", "show").code, quant("today").code) == (0, 0)


def test_a_switch_for_nobody_is_refused(own: Path, at: Callable[[Path], Quant]) -> None:
    """A name that the deployment does not have would stop nothing; two scopes at once are not understood."""
    quant = at(own)
    answer = quant("kill-switch", "on", "--book", "papr", *BY)
    assert (answer.code, "no book is named 'papr'" in answer.err, "paper" in answer.err) == (1, True, True)
    assert quant("kill-switch", "on", "--book", "paper", "--account", "P", *BY).code == 2
    assert [s.on for s in workspace(own).ledger.kill_switch.listed()] == [False]


def test_the_acts_of_people(own: Path, at: Callable[[Path], Quant]) -> None:
    """None at first; then each with who and why, oldest first."""
    quant = at(own)
    assert quant("audit", "--json").json == []
    for state in ("on", "off"):
        assert quant("kill-switch", state, *BY).code == 0
    acts = quant("audit", "--json").json
    assert isinstance(acts, list)
    assert [(a["act"], a["subject"], a["by"], a["reason"]) for a in acts] == [
        (f"kill-switch {state}", "all books", "ann", "drill") for state in ("on", "off")
    ]
    assert "kill-switch off" in quant("audit").text


def test_the_record_of_acts_is_verified(own: Path, at: Callable[[Path], Quant]) -> None:
    """Whole: its head, as `today` has it. An act deleted: which place, exit code 20, and the day is blocked."""
    quant = at(own)
    for state in ("on", "off", "on", "off"):
        assert quant("kill-switch", state, *BY).code == 0
    whole = quant("audit", "verify", "--json")
    assert isinstance(whole.json, dict)
    assert (whole.code, whole.json["acts"], whole.json["faults"]) == (0, 4, [])
    head = str(whole.json["head"])
    assert head in quant("today", "--json").text
    assert (quant("audit", "verify", "--head", head).code, quant("audit", "verify", "--head", "0f").code) == (0, 20)
    with closing(sqlite3.connect(own / FILE)) as db, db:
        db.execute("DELETE FROM audit WHERE seq = 2")
    broken = quant("audit", "verify", "--head", head)
    assert (broken.code, "act 2 " in " ".join(broken.text.split())) == (20, True)
    today = quant("today")
    assert (today.code, "  quant audit verify" in today.text.splitlines()) == (20, True)


def test_an_old_home_is_migrated(tmp_path: Path, at: Callable[[Path], Quant]) -> None:
    """Until then its ledger is refused with the command; a plan writes nothing; again there is nothing to do."""
    old = make_old(tmp_path / "home" / FILE)
    quant, before = at(old.parent), dump(old)
    refused = quant("kill-switch", "show")
    assert (refused.code, "quant migrate" in refused.err) == (1, True)
    assert f"ledger {FILE}: schema 0001 would be migrated" in quant("migrate", "--plan").text
    assert ([p.name for p in old.parent.glob("*.bak*")], dump(old)) == ([], before)
    done = " ".join(quant("migrate").text.split())
    assert f"migrated from schema 0001; the file before is {FILE}.bak-0001" in done
    assert dump(old.with_name(f"{FILE}.bak-0001")) == before
    assert "Nothing to do" in quant("migrate").text
    assert open_ledger(old.parent).kill_switch.state().reason == "drill"
