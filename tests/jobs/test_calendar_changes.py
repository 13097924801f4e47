"""A closure announced tonight, one heard of too late, one that a newer package brings: what was decided stays, the
book goes on.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from msgspec import structs

import desk.workspace as opened
from desk.day import provenance, status
from desk.workspace import Workspace
from jobs.live import due
from quant_assets.calendars import Calendar
from quant_assets.execution.outbox import send
from quant_assets.features.catalogue import find_set
from quant_assets.market_data.closures import close, reopen
from quant_assets.ports import MarketDataSource
from quant_assets.records import Act, Capture
from quant_assets.signals.replay import replay
from quant_assets.tables import CALENDAR_CHANGES, DECISIONS, NAV, QUARANTINE
from resources.clock import SessionClock
from tests.jobs.commands import Quant
from tests.jobs.small import CUTS, LIVE, PAPER, STRATEGY, deliver_at, live, workspace

EVE, CLOSED, AFTER = LIVE[3:6]  # four sessions were traded; the fifth is called off
BY: dict[str, Any] = {"act": Act(by="ops", reason="mourning", at=CUTS.of(LIVE[0]))}


class Closed:
    """The simulated vendor, who sends nothing of a day on which nobody traded."""

    name = "simulated"

    def __init__(self, source: MarketDataSource, day: date) -> None:
        self._source, self._day = source, day

    def labels(self, first: date | None = None, last: date | None = None) -> Sequence[date]:
        """See the port."""
        return [label for label in self._source.labels(first, last) if label != self._day]

    def fingerprints(self, labels: Sequence[date]) -> Mapping[date, str]:
        """See the port."""
        return self._source.fingerprints(labels)

    def fetch(self, label: date) -> Capture:
        """See the port."""
        capture = self._source.fetch(label)
        return structs.replace(capture, prices=capture.prices.filter(pl.col("session") != self._day))


def after(own: Path, closed: date) -> Workspace:
    """The home opened anew, when everybody knows of a closure."""
    listed = workspace(own.parent).source  # made with the calendar as it is listed
    return workspace(own, source=Closed(listed, closed))


def orders(ws: Workspace, decided: date) -> set[tuple[date, str]]:
    """Sessions and states of the orders decided in a session."""
    return {(w.order.session, w.state.value) for w in ws.ledger.outbox.orders(PAPER.name) if w.order.decided == decided}


def replays(ws: Workspace, session: date) -> bool:
    """Whether a decision of the session comes out as it was."""
    ids = ws.store.read(DECISIONS, as_of=None, first=session, last=session)["decision_id"]
    again = replay(ws.store, find_set, ws.deployment.strategy, ws.cuts, ids[0], provenance(ws))
    return again.equal and again.session == session


def booked(ws: Workspace) -> list[date]:
    return ws.store.read(NAV, as_of=None, where={"book": PAPER.name})["session"].to_list()[-2:]


def test_a_closure_known_before_the_decision_moves_it(own: Path) -> None:
    """Called off before the session before it was decided: that one is decided for the open after, and traded there."""
    ws = workspace(own)
    close(
        ws.store,
        ws.ledger.knowledge,
        ws.ledger.audit,
        ws.cuts.calendar,
        AFTER,
        now=CUTS.of(EVE) + timedelta(hours=9),
        **BY,
    )
    ws = after(own, AFTER)
    following = LIVE[6]
    assert ws.cuts.of(CLOSED) == CUTS.of(AFTER)
    reports = {r.stage: r for r in live(ws, [CLOSED])}
    assert reports["deliver"].state == "done"
    assert {s for s, _ in orders(ws, CLOSED)} == {following}
    assert due(ws, None) == [following]
    live(ws, [following])
    assert booked(ws) == [CLOSED, following]
    assert "FILLED" in {state for _, state in orders(ws, CLOSED)}
    assert all(a.fine for a in status(ws, following))
    assert replays(ws, CLOSED)
    assert replays(ws, EVE)


def test_a_closure_known_after_the_decision_expires_its_orders(own: Path) -> None:
    """What was not sent by then expires; what is at the venue lives as long as it was declared; the next session is
    decided.
    """
    ws = workspace(own)
    known_at = close(ws.store, ws.ledger.knowledge, ws.ledger.audit, ws.cuts.calendar, CLOSED, now=CUTS.of(EVE), **BY)
    assert known_at > CUTS.of(EVE)
    ws = after(own, CLOSED)
    assert ws.cuts.of(EVE) == CUTS.of(EVE)
    assert due(ws, None) == [AFTER]
    reports = {r.stage: r for r in live(ws, [AFTER])}
    assert reports["reconcile"].state == "done"
    assert reports["deliver"].state == "done"
    assert replays(ws, EVE)


def test_nothing_more_is_sent_for_an_open_that_does_not_come(own: Path) -> None:
    """After the closure is known a delivery is refused with the reason, and an order that still waits expires
    unsent.
    """
    ws = workspace(own)
    close(ws.store, ws.ledger.knowledge, ws.ledger.audit, ws.cuts.calendar, CLOSED, now=CUTS.of(EVE), **BY)
    ws = after(own, CLOSED)
    broker, now = ws.brokers.open(PAPER), CUTS.of(EVE)
    said = deliver_at(ws, EVE, now)
    assert (said.state, said.reason[:7]) == ("refused", "CLOSED:")
    one = next(w.order for w in ws.ledger.outbox.orders(PAPER.name) if w.order.session == CLOSED)
    waiting = structs.replace(one, client_order_id="waiting", leg="exit", decided=CLOSED)
    with ws.ledger.outbox.lease(PAPER, 60) as writer:
        writer.bind(PAPER.name, STRATEGY.name, CLOSED, "set", [waiting], now=now)
        before, clock, calendar = len(broker.events(None).orders), SessionClock(now), ws.cuts.calendar
        about = (ws.ledger.outbox, writer, broker, PAPER)
        assert send(*about, clock=clock, calendar=calendar, notifier=ws.notifier) == 0
    assert len(broker.events(None).orders) == before
    assert ws.ledger.outbox.events("waiting")[-1]["reason"] == f"CLOSED: {CLOSED} is no session any more"


class Without:
    """A newer package's calendar: a session fewer, and no word on since when."""

    def __init__(self, day: date) -> None:
        self._day = day

    def __call__(self, code: str) -> Calendar:
        """The calendar of a venue."""
        whole = CUTS.calendar
        days = [s for s in whole.between(*whole.known) if s != self._day]
        opens, closes = ([of(s) for s in days] for of in (whole.open, whole.close))
        return Calendar(code, days, opens, closes, tz=whole.tz.key, known=whole.known)


@pytest.mark.parametrize("how", ["said", "package"])
def test_a_day_that_was_booked_and_is_no_session_stays_booked(
    how: str, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the last booked session it turns out, by word or by a newer package, that it was none: the next one goes
    on from it.
    """
    ws = workspace(own)
    vendor = Closed(ws.source, EVE)
    if how == "said":
        close(ws.store, ws.ledger.knowledge, ws.ledger.audit, ws.cuts.calendar, EVE, now=CUTS.of(EVE), **BY)
    else:
        monkeypatch.setattr(opened, "calendar", Without(EVE))
    ws = workspace(own, source=vendor)
    assert not ws.cuts.calendar.is_session(EVE)
    assert (ws.cuts.of(EVE), ws.cuts.of(LIVE[2])) == (CUTS.of(EVE), CUTS.of(LIVE[2]))
    reports = {r.stage: r for r in live(ws, [CLOSED])}
    assert booked(ws) == [EVE, CLOSED]
    assert (reports["reconcile"].state, reports["deliver"].state) == ("done", "done")
    assert all(a.fine for a in status(ws, CLOSED))
    assert replays(ws, EVE)
    assert replays(ws, CLOSED)


def test_a_session_is_closed_and_opened_by_command(own: Path, at: Callable[[Path], Quant]) -> None:
    """Each is a row known from now on and an act on record; what cannot be is refused in a sentence."""
    quant = at(own)
    said = quant("calendar", "close", str(CLOSED), "--by", "ops", "--reason", "mourning")
    assert said.code == 0
    assert "does not trade" in said.text
    for argv, why in (
        (("close", str(CLOSED)), "is no session"),
        (("open", str(AFTER)), "is a session already"),
        (("open", "2024-06-01", "--hours", "09:30"), "are no hours"),
        (("open", "2024-06-01", "--hours", "16:00-09:30"), "does not lie between"),
        (("close", "2091-01-02"), "outside the known days"),
    ):
        refused = quant("calendar", *argv, "--by", "ops", "--reason", "x")
        assert refused.code != 0, argv
        assert why in " ".join((refused.text + refused.err).split()), argv
    assert quant("run", "daily", "--session", str(CLOSED)).code == 1
    assert quant("calendar", "open", "2024-06-01", "--hours", "10:00-12:00", "--by", "a", "--reason", "drill").code == 0
    ws = workspace(own)
    saturday = date(2024, 6, 1)
    assert ws.cuts.calendar.local(ws.cuts.calendar.open(saturday)).hour == 10
    listed = json.loads(quant("calendar", "list", "--json").text)
    assert [(r["session"], r["trades"], r["by"]) for r in listed] == [
        ("2024-06-01", True, "a"),
        (str(CLOSED), False, "ops"),
    ]
    acts = [a for a in ws.ledger.audit.acts() if a["act"].startswith("calendar")]
    assert [(a["act"], a["subject"]) for a in acts] == [
        ("calendar close", f"XNYS {CLOSED}"),
        ("calendar open", "XNYS 2024-06-01"),
    ]
    known = ws.store.read(CALENDAR_CHANGES, as_of=None)["known_at"]
    assert known.is_sorted()
    assert known.min() > CUTS.of(EVE)  # pyright: ignore[reportOptionalOperand]  # it has two rows


def test_a_session_heard_of_late_is_not_asked_for(own: Path) -> None:
    """A Saturday between sessions that were decided is read, and never decided; the day after goes on."""
    ws = workspace(own)
    saturday = date(2024, 5, 25)  # between EVE, a Friday, and the session after it
    reopen(ws.store, ws.ledger.knowledge, ws.ledger.audit, ws.cuts.calendar, saturday, now=CUTS.of(EVE), **BY)
    ws = workspace(own)
    assert ws.cuts.calendar.is_session(saturday)
    assert due(ws, None) == [CLOSED]
    live(ws, [CLOSED])
    assert booked(ws) == [EVE, CLOSED]


def test_bars_of_a_closed_session_are_quarantined(own: Path) -> None:
    """A vendor that sends a day on which nobody traded is not believed; its rows are kept with the reason."""
    ws = workspace(own)
    close(ws.store, ws.ledger.knowledge, ws.ledger.audit, ws.cuts.calendar, CLOSED, now=CUTS.of(EVE), **BY)
    ws = workspace(own)
    live(ws, [AFTER])
    held = ws.store.read(QUARANTINE, as_of=None, first=CLOSED, last=CLOSED).filter(pl.col("dataset") == "bars")
    assert set(held["reason"]) == {"NOT_A_SESSION"}
