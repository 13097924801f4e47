"""A market made by hand, and decisions on it.

It has what happens to holdings: splits (one known late), dividends, a halt, a delisting, thin volume.
"""

from collections.abc import Collection, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl

from quant_assets.books.accruals import Valuation
from quant_assets.books.booking import book_session
from quant_assets.books.holdings import Holdings
from quant_assets.books.valued import valuation
from quant_assets.calendars import Cuts, calendar
from quant_assets.contract import in_force
from quant_assets.execution.drop_copy import collect
from quant_assets.execution.session_delivery import deliver
from quant_assets.market_data.quality import session_hash
from quant_assets.ports import Broker, Outbox
from quant_assets.post_trade.costs import write_costs
from quant_assets.post_trade.reconciliation import reconcile_session
from quant_assets.records import Book, StageReport
from quant_assets.signals.decide import identified
from quant_assets.strategy import Limits, Strategy
from quant_assets.tables import ACTIONS, BARS, DECISIONS, VERDICTS
from resources.brokers.open import BrokerDesk
from resources.clock import SessionClock
from resources.ledger.open import open_ledger
from resources.tables.store import DeltaStore

CUTS = Cuts(calendar("XNYS"))
SESSIONS = CUTS.calendar.between(date(2024, 1, 2), date(2024, 1, 19))
STRATEGY = Strategy(name="hand", limits=Limits(max_weight=1.0))
PAPER = Book(name="desk", strategy="hand", account="A1", capital=Decimal(100_000), broker="paper", armed=True)
RESEARCH = Book(name="desk", strategy="hand", account="A1", capital=Decimal(100_000))
SIDS = range(1, 9)


class Told:
    """A notifier that remembers."""

    def __init__(self) -> None:
        self.subjects: list[str] = []

    def notify(self, severity: str, subject: str, body: str = "") -> None:
        """Remember it as one text."""
        self.subjects.append(f"{severity}: {subject} {body}")


def bars() -> pl.DataFrame:
    """Prices walk by a fixed rule; sid 3 is halted on two sessions, sid 6 ends, sid 5 is thin; sids 1, 2 split."""
    rows = []
    for i, session in enumerate(SESSIONS):
        for sid in SIDS:
            if (sid == 3 and i in {5, 6}) or (sid == 6 and i >= 9):
                continue
            price = 20 + 7 * sid + (i * (sid + 3) * 37 % 23) / 10
            price /= {1: 4 / 3 if i >= 8 else 1, 2: 2 if i >= 6 else 1}.get(sid, 1)
            opened, close = round(price, 2), round(price * (1 + (i * sid % 5 - 2) / 100), 2)
            rows.append(
                {
                    "session": session, "sid": sid, "symbol": f"S{sid}", "open": opened, "high": max(opened, close),
                    "low": min(opened, close), "close": close,
                    "volume": 2_000 if sid == 5 else 90_000, "adj_close": None, "withdrawn": False,
                    "source": "hand", "capture": session, "file": "prices.csv", "line": sid,
                    "known_at": CUTS.of(session), "declared_known_at": CUTS.of(session),
                }
            )  # fmt: skip
    return pl.DataFrame(rows, schema=dict(BARS.schema))


def action(
    sid: int, ex: date, kind: str, known: date | None = None, *, withdrawn: bool = False, **values: object
) -> dict[str, object]:
    """One row of ACTIONS, known at the cut of `known` (default: the session before ex)."""
    at = CUTS.of(known or CUTS.calendar.shift(ex, -1))
    return {
        "session": ex, "sid": sid, "kind": kind, "numerator": None, "denominator": None, "cash": None, "value": None,
        "origin": "declared", "confidence": 1.0, "withdrawn": withdrawn,
        "source": "hand", "capture": ex, "file": "actions.csv", "line": 1, "known_at": at, "declared_known_at": at,
    } | values  # fmt: skip


def actions(*rows: dict[str, object]) -> pl.DataFrame:
    """ACTIONS rows as a frame."""
    return pl.DataFrame(rows, schema=dict(ACTIONS.schema))


ACTED = actions(
    action(1, SESSIONS[8], "split", numerator=4, denominator=3),
    action(2, SESSIONS[6], "split", SESSIONS[8], numerator=2, denominator=1),  # known two sessions late
    action(4, SESSIONS[5], "dividend", cash=Decimal("0.337")),
    action(7, SESSIONS[4], "dividend", SESSIONS[7], cash=Decimal("1.1")),
    action(6, SESSIONS[9], "delisting", SESSIONS[10], value=-0.3),
)


def decisions(
    session: date,
    weights: dict[int, float],
    verdict: dict[int, str] | None = None,
    variant: str = "",
    strategy: str = STRATEGY.name,
) -> pl.DataFrame:
    """One decision set. Reference prices are the session's closes, or the last ones before."""
    known = bars().filter(pl.col("session") <= session).sort("session").unique("sid", keep="last")
    closes = dict(known.select("sid", "close").iter_rows())
    rows = [
        {c: "" for c, t in DECISIONS.schema.items() if t == pl.String}
        | {
            "session": session, "slot": "open", "strategy": strategy, "sid": sid, "symbol": f"S{sid}",
            "inputs_hash": variant, "strategy_hash": STRATEGY.config_hash,
            "verdict": (verdict or {}).get(sid, "TRADE"), "score": 0.0, "rank": 1, "target_weight": weight,
            "reference_price": closes[sid],
            "as_of": CUTS.of(session), "valid_until": CUTS.calendar.open(CUTS.calendar.shift(session, 1)),
            "known_at": CUTS.of(session), "recorded_at": CUTS.of(session),
        }
        for sid, weight in weights.items()
    ]  # fmt: skip
    return identified(pl.DataFrame(rows, schema=dict(DECISIONS.schema)).sort("sid"))


def weights(i: int) -> dict[int, float]:
    """Who is wanted in the i-th session: the choice wanders, so that all is bought and sold again."""
    return {
        sid: 0.24 if (sid + i // 2) % 4 < 2 and sid != (i % 8) + 1 else 0.0
        for sid in SIDS
        if not (sid == 6 and i >= 9) and not (sid == 8 and i in {7, 8})
    }


def stored(root: Path, sessions: Sequence[date] = SESSIONS) -> DeltaStore:
    """A store with the market, a good verdict on each session, and the decisions of `sessions`.

    The fourth set is refused whole.
    """
    store = DeltaStore(root)
    store.append(BARS, bars())
    store.append(ACTIONS, ACTED)
    sets = [
        decisions(s, weights(i), {sid: "NO_TRADE" for sid in SIDS if i == 3 or (sid == 2 and i == 9)})
        for i, s in enumerate(SESSIONS)
        if s in sessions
    ]
    store.append(DECISIONS, pl.concat(sets))
    store.append(VERDICTS, pl.concat([verdict(s) for s in sessions]))
    return store


def verdict(session: date, *, passed: bool = True) -> pl.DataFrame:
    """One verdict on the bars of a session."""
    content = session_hash(in_force(bars().filter(pl.col("session") == session), BARS))
    row = {
        "session": session,
        "table": "bars",
        "content_hash": content,
        "rule": "hand",
        "severity": "block",
        "passed": passed,
        "value": 1.0,
        "threshold": 1.0,
        "message": "by hand",
        "known_at": CUTS.of(session),
    }
    return pl.DataFrame([row], schema=dict(VERDICTS.schema))


def desk(store: DeltaStore, root: Path, books: Sequence[Book] = (), outbox: Outbox | None = None) -> BrokerDesk:
    """Paper venues on the store's market; those of `books` that name one account share it."""

    def market(session: date) -> tuple[pl.DataFrame, pl.DataFrame]:
        as_of = CUTS.of(session)
        return in_force(store.read(BARS, as_of=as_of, first=session, last=session), BARS), store.read(
            ACTIONS, as_of=as_of, last=session
        )

    def valued(book: Book, session: date, held: Holdings, sids: Collection[int]) -> Valuation:
        return valuation(store, book, CUTS, session, held, sids)

    return BrokerDesk(root, market, CUTS, valued=valued, books=books, outbox=outbox)


class Home:
    """A store, a ledger and a venue in one folder."""

    def __init__(self, root: Path, sessions: Sequence[date] = SESSIONS) -> None:
        self.root = root
        fresh = not (root / "tables").exists()
        self.store = stored(root / "tables", sessions) if fresh else DeltaStore(root / "tables")
        self.ledger = open_ledger(root)
        self.broker: Broker = desk(self.store, root / "brokers").open(PAPER)
        self.told = Told()

    def settle(self, session: date) -> StageReport:
        """The venue's session comes home, is booked and reconciled."""
        outbox, executions, now = self.ledger.outbox, self.ledger.executions, CUTS.of(session)
        collect(self.store, outbox, executions, self.broker, PAPER, CUTS, session, now)
        book_session(self.store, PAPER, CUTS, session, executions.fills(PAPER.name))
        return self.reconcile(session)

    def reconcile(self, session: date) -> StageReport:
        """The comparison with the venue after a session."""
        outbox, executions, breaks = self.ledger.outbox, self.ledger.executions, self.ledger.breaks
        return reconcile_session(
            outbox, executions, breaks, self.broker, self.store, PAPER, CUTS, session, self.told, now=CUTS.of(session)
        )

    def deliver(self, session: date, book: Book = PAPER, now: datetime | None = None) -> StageReport:
        """Delivery at the session's cut, or at another time."""
        ledger, clock = self.ledger, SessionClock(now or CUTS.of(session))
        return deliver(
            self.store,
            ledger.outbox,
            ledger.kill_switch,
            ledger.breaks,
            self.broker,
            book,
            STRATEGY,
            CUTS,
            session,
            clock,
            self.told,
        )

    def day(self, session: date) -> StageReport:
        """A live day; returns the delivery's report."""
        self.settle(session)
        report = self.deliver(session)
        write_costs(self.store, PAPER, CUTS, session)
        return report
