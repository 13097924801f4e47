"""Research beside an armed book."""

from pathlib import Path

from quant_assets.contract import in_force
from quant_assets.tables import DECISIONS, NAV
from tests.jobs.small import CUTS, PAPER, RESEARCH, START, ranged, research, workspace


def test_a_backfill_over_sixty_sessions_sends_nothing(home: Path):
    """Sixty sessions decided and traded in the research book, with an armed book in the deployment: its outbox and
    its venue stay empty.
    """
    ws = workspace(home)
    sessions = CUTS.calendar.between(CUTS.calendar.shift(START, -45), CUTS.calendar.shift(START, 14))
    assert len(sessions) == 60
    ranged(ws, sessions)
    report = research(ws, RESEARCH, sessions)
    assert report.numbers["sessions"] == 60
    assert (
        in_force(ws.store.read(DECISIONS, as_of=None, first=sessions[0]), DECISIONS).filter(verdict="TRADE").height > 0
    )
    assert ws.store.read(NAV, as_of=None, where={"book": RESEARCH.name})["traded"].sum() > 0
    assert ws.ledger.outbox.orders(PAPER.name) == []
    assert ws.brokers.open(PAPER).events(None).orders == ()
    assert ws.store.read(NAV, as_of=None, where={"book": PAPER.name}).is_empty()
