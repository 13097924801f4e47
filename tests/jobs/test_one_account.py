"""Two books of a deployment on one account, through the whole day: loaded, traded, compared, reported."""

import shutil
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from desk.checkup import checkup
from desk.day import status, what_is_done
from desk.workspace import Workspace
from quant_assets.books.booking import holdings_of
from quant_assets.execution import together
from quant_assets.ports import SharesAccount
from quant_assets.tables import FILLS, NAV
from tests.jobs.small import CUTS, FIRST, LIVE, PAPER, START, STRATEGY, deployment, live, ranged, workspace

LIMITS = msgspec.structs.replace(STRATEGY.limits, max_weight=0.3)
FEW = msgspec.structs.replace(STRATEGY, name="few", holdings=3, limits=LIMITS)
SECOND = msgspec.structs.replace(PAPER, name="second", strategy="few", capital=Decimal(100_000))
SESSIONS = LIVE[:5]


@pytest.fixture(scope="module")
def ws(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Sessions of two books on one account."""
    declared = msgspec.structs.replace(deployment(), strategies=(STRATEGY, FEW), books=(PAPER, SECOND))
    found = workspace(tmp_path_factory.mktemp("home"), declared)
    ranged(found, CUTS.calendar.between(FIRST, CUTS.calendar.shift(START, -1)))
    live(found, SESSIONS)
    return found


def test_sessions_are_traded_and_nothing_differs(ws: Workspace) -> None:
    """Both books trade, their cash and positions are the account's, and no break was ever opened."""
    broker = ws.brokers.open(PAPER)
    assert isinstance(broker, SharesAccount)
    held = [holdings_of(ws.store, b, SESSIONS[-1]) for b in (PAPER, SECOND)]
    assert sum(h.cash for h in held) == broker.venue.cash()
    counts = {sid: sum(h.quantities.get(sid, 0) for h in held) for h in held for sid in h.quantities}
    assert {sid: n for sid, n in counts.items() if n} == broker.venue.positions()
    assert ws.ledger.breaks.listed(open_only=False) == []
    assert set(ws.store.read(FILLS, as_of=None)["book"]) == {PAPER.name, SECOND.name}
    assert set(ws.store.read(NAV, as_of=None)["session"]) == set(SESSIONS)


def test_each_day_is_done(ws: Workspace) -> None:
    """Every question of the day has a fine answer, and the file's check opens the account."""
    done = what_is_done(ws, SESSIONS)
    assert {d.next_job for of_book in done.values() for d in of_book.values()} == {None}
    assert [s for s in status(ws, SESSIONS[-1]) if not s.fine] == []
    assert [c.says for c in checkup(ws, CUTS.of(SESSIONS[-1])) if c.state != "fine"] == []


def test_what_waits_at_the_account_is_not_done(ws: Workspace, tmp_path: Path) -> None:
    """Killed once the books have delivered, before the account's orders are committed: the session is still to be
    delivered, and the next run sends them once.
    """
    home = tmp_path / "home"
    shutil.copytree(ws.home, home)
    again, session = workspace(home, ws.deployment), CUTS.calendar.after(SESSIONS[-1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(together, "_bind", _die)
        reports = live(again, [session])
    assert [r.reason for r in reports if r.book == PAPER.account] == [f"{PAPER.account}: RuntimeError: killed"]
    assert {d[session].next_job for d in what_is_done(again, [session]).values()} == {"deliver"}
    live(again, [session])
    assert {d[session].next_job for d in what_is_done(again, [session]).values()} == {None}
    orders = again.ledger.outbox.orders(PAPER.account, since=session)
    venue = again.brokers.open(PAPER)
    assert isinstance(venue, SharesAccount)
    there = sorted(o.client_order_id for o in venue.venue.open_orders())
    assert there == [w.order.client_order_id for w in orders]


def _die(*_: object) -> None:
    raise RuntimeError("killed")
