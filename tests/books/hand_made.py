"""A market of a few names written by hand, traded twice: in a research book, and live against the paper venue."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
from msgspec import structs

from quant_assets.backtest.loop import run
from quant_assets.books.booking import book_session
from quant_assets.contract import Table, in_force
from quant_assets.execution.drop_copy import collect
from quant_assets.execution.session_delivery import deliver
from quant_assets.market_data.quality import session_hash
from quant_assets.post_trade.costs import write_costs
from quant_assets.post_trade.reconciliation import reconcile_session
from quant_assets.records import Book
from quant_assets.signals.decide import identified
from quant_assets.strategy import Strategy
from quant_assets.tables import ACTIONS, BARS, CASH, COSTS, DECISIONS, JOURNAL, NAV, ORDERS, PNL, POSITIONS, VERDICTS
from resources.clock import SessionClock
from resources.ledger.open import open_ledger
from resources.tables.store import DeltaStore
from tests.execution.small_market import CUTS, PAPER, STRATEGY, Told, actions, desk

S = CUTS.calendar.between(date(2024, 1, 2), date(2024, 1, 31))
Rows = Sequence[dict[str, object]]
Beside = Sequence[tuple[Table, pl.DataFrame]]  # what is stored beside bars and actions
NOTHING: Beside = ()
Desired = Mapping[int, float]  # by name: a weight, or shares where it is an int
FREE = structs.replace(STRATEGY, limits=structs.replace(STRATEGY.limits, min_trade=0.0))


def bar(session: date, sid: int, opened: float, close: float | None = None, volume: int = 1_000_000) -> dict[str, Any]:
    """A bar known at its session's cut."""
    close = opened if close is None else close
    at = CUTS.of(session)
    return {
        "session": session, "sid": sid, "symbol": f"S{sid}", "open": float(opened), "high": float(max(opened, close)),
        "low": float(min(opened, close)), "close": float(close), "volume": volume, "adj_close": None,
        "withdrawn": False, "source": "hand", "capture": session, "file": "p.csv", "line": sid, "known_at": at,
        "declared_known_at": at,
    }  # fmt: skip


class Market:
    """Bars and actions in a store of their own, and what is decided on them."""

    def __init__(self, root: Path, bars: Rows, acted: Rows, beside: Beside = NOTHING) -> None:
        self.store = DeltaStore(root / "tables")
        for table, frame in beside:
            self.store.append(table, frame)
        self.bars = pl.DataFrame(list(bars), schema=dict(BARS.schema))
        self.store.append(BARS, self.bars)
        if acted:
            self.store.append(ACTIONS, actions(*acted))

    def judge(self, session: date) -> None:
        """A good verdict on the bars of a session."""
        content = session_hash(in_force(self.bars.filter(pl.col("session") == session), BARS))
        verdict = {
            "session": session, "table": "bars", "content_hash": content, "rule": "hand", "severity": "block",
            "passed": True, "value": 1.0, "threshold": 1.0, "message": "", "known_at": CUTS.of(session),
        }  # fmt: skip
        self.store.append(VERDICTS, pl.DataFrame([verdict], schema=dict(VERDICTS.schema)))

    def decide(self, session: date, desired: Desired) -> None:
        """One decision set: of each name that ever traded by then."""
        known = self.bars.filter(pl.col("session") <= session).sort("session").unique("sid", keep="last").sort("sid")
        equity = float(self.read(NAV)["equity"][-1])
        empty = {c: "" for c, t in DECISIONS.schema.items() if t == pl.String}
        rows = [
            empty
            | {
                "session": session, "strategy": STRATEGY.name, "sid": sid, "symbol": symbol,
                "verdict": "TRADE" if sid in desired else "NO_TRADE", "score": 0.0, "rank": 1,
                "target_weight": weight(desired.get(sid, 0.0), close, equity), "reference_price": close,
                "as_of": CUTS.of(session), "valid_until": CUTS.trades_at(session), "known_at": CUTS.of(session),
                "recorded_at": CUTS.of(session),
            }
            for sid, symbol, close in known.select("sid", "symbol", "close").iter_rows()
        ]  # fmt: skip
        self.store.append(DECISIONS, identified(pl.DataFrame(rows, schema=dict(DECISIONS.schema)).sort("sid")))

    def read(self, table: Any) -> pl.DataFrame:
        """All rows of a table."""
        return self.store.read(table, as_of=None)

    def held(self, session: date) -> dict[int, int]:
        """Shares by name at the end of a session."""
        rows = self.read(POSITIONS).filter(pl.col("session") == session)
        return dict(rows.select("sid", "quantity").iter_rows())

    def evening(self, session: date) -> tuple[Decimal, Decimal]:
        """Cash and equity at the end of a session."""
        return self.read(NAV).filter(pl.col("session") == session).select("cash", "equity").row(0)

    def orders(self) -> list[tuple[int, int, str, int]]:
        """Name, signed quantity, last state and filled shares of each order, in the order of decision."""
        rows = self.read(ORDERS).sort("session").unique("client_order_id", keep="last").sort("decided", "sid", "leg")
        return [(r["sid"], r["side"] * r["quantity"], r["state"], r["filled"]) for r in rows.iter_rows(named=True)]

    def check(self) -> None:
        """Cash and positions are equity in each session, and cash is what the journal says."""
        values = dict(self.read(POSITIONS).group_by("session").agg(pl.col("value").sum()).iter_rows())
        moved = self.read(JOURNAL).filter(pl.col("currency").is_null())
        own = dict(self.read(CASH).filter(currency=PAPER.currency).select("session", "amount").iter_rows())
        for row in self.read(NAV).iter_rows(named=True):
            assert row["equity"] == row["cash"] + values.get(row["session"], Decimal(0)), row["session"]
            cash = own.get(row["session"], row["cash"])
            assert cash == sum(moved.filter(pl.col("session") <= row["session"])["amount"], Decimal(0))


def weight(wanted: float, close: float, equity: float) -> float:
    """A weight as it is; of shares (an int), the one that rounds to them."""
    if not isinstance(wanted, int):
        return wanted
    return (wanted + (0.5 if wanted > 0 else -0.5) * (wanted != 0)) * close / equity


class Live(Market):
    """The same, day by day through outbox, paper venue and drop copy."""

    def __init__(
        self, root: Path, bars: Rows, acted: Rows, book: Book, strategy: Strategy, beside: Beside = NOTHING
    ) -> None:
        super().__init__(root, bars, acted, beside)
        self.strategy, self.book, self.ledger, self.told = strategy, book, open_ledger(root), Told()
        self.broker = desk(self.store, root / "brokers").open(book)

    def day(self, session: date, desired: Desired) -> None:
        """Collect, book, reconcile, decide, deliver, measure."""
        ledger, book, now = self.ledger, self.book, CUTS.of(session)
        collect(self.store, ledger.outbox, ledger.executions, self.broker, book, CUTS, session, now)
        book_session(self.store, book, CUTS, session, ledger.executions.fills(book.name))
        found = reconcile_session(
            ledger.outbox, ledger.executions, ledger.breaks, self.broker, self.store, book, CUTS, session, self.told,
            now=now,
        )  # fmt: skip
        assert found.numbers["breaks_found"] == 0, (session, found.notes)
        self.judge(session)
        self.decide(session, desired)
        deliver(
            self.store, ledger.outbox, ledger.kill_switch, ledger.breaks, self.broker, book, self.strategy, CUTS,
            session, SessionClock(now), self.told,
        )  # fmt: skip
        write_costs(self.store, book, CUTS, session)


def traded(
    root: Path,
    bars: Iterable[dict[str, object]],
    acted: Rows,
    wanted: Mapping[date, Desired],
    capital: Decimal = PAPER.capital,
    strategy: Strategy = FREE,
    beside: Beside = NOTHING,
    book: Book = PAPER,
) -> Live:
    """The live book after all sessions of `wanted`; a research book on the same market has the same rows throughout,
    and nothing differs from the venue.
    """
    rows, sessions = list(bars), list(wanted)
    live, research = (
        Live(root / "live", rows, acted, structs.replace(book, capital=capital), strategy, beside),
        Market(root / "research", rows, acted, beside),
    )
    for session in sessions:
        live.day(session, wanted[session])
    research.store.append(DECISIONS, live.read(DECISIONS))
    simulated = structs.replace(book, broker="research", armed=False, capital=capital)
    run(research.store, strategy, simulated, CUTS, sessions)
    live.check()
    for table in (ORDERS, POSITIONS, JOURNAL, CASH, NAV, PNL, COSTS):
        assert live.read(table).equals(research.read(table)), table.name
    return live
