"""Two hourly books trade one account slot by slot, and have together what its venue has."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from desk.day import arrive, derive, run_day, run_slot, slots_in
from desk.deployment import Deployment
from desk.workspace import Workspace
from quant_assets.books.booking import holdings_of
from quant_assets.ports import SharesAccount
from quant_assets.tables import FILLS
from quant_assets.vendor_tables import INTRADAY_BARS
from tests.desk.live_slots import BEGINS, BOOK, SESSIONS, TRAINED
from tests.desk.test_slots import STRATEGY, Registry
from tests.signals import hourly_market as market

SECOND = msgspec.structs.replace(STRATEGY, name="second", holdings=1)
BOOKS = (BOOK, msgspec.structs.replace(BOOK, name="more", strategy="second", capital=Decimal(40_000)))


def test_slots_of_two_books_add_up_to_their_account(tmp_path: Path) -> None:
    """At every slot one order a name leaves for both; at the end of the session nothing differs."""
    source: Any = {"kind": "bars_of", "venue": market.VENUE, "frequency": "1h", "delay": 20}
    declared = Deployment(
        source=source,
        strategies=(STRATEGY, SECOND),
        books=BOOKS,
        start=BEGINS,
        clock="session",
        calendar="24/7",
        bars=(market.ON_BARS,),
    )
    ws = Workspace(tmp_path, declared, registry=Registry())
    ws.store.append(INTRADAY_BARS, market.bars())
    list(arrive(ws, TRAINED))
    list(derive(ws, [d for d in market.DAYS if d <= TRAINED], train_at=[TRAINED]))
    list(run_day(ws, TRAINED))
    for slot in slots_in(ws, SESSIONS[:1]):
        list(run_slot(ws, slot))
    list(run_day(ws, SESSIONS[0]))
    shares = ws.brokers.open(BOOK)
    assert isinstance(shares, SharesAccount)
    held = [holdings_of(ws.store, b, SESSIONS[0]) for b in BOOKS]
    assert {h.session for h in held} == {SESSIONS[0]}
    assert sum(h.cash for h in held) == shares.venue.cash()
    counts = {sid: sum(h.quantities.get(sid, 0) for h in held) for h in held for sid in h.quantities}
    assert {sid: n for sid, n in counts.items() if n} == shares.venue.positions()
    assert ws.ledger.breaks.listed(open_only=False) == []
    parts = ws.ledger.outbox.parts(BOOK.account)
    assert len({p.slot for p in parts}) > 4
    assert set(ws.store.read(FILLS, as_of=None)["book"]) == {b.name for b in BOOKS}
    assert any(p.crossed for p in parts)
