"""A book that traded an invented market for some sessions, written to the store by the functions that write it in
earnest.
"""

import random
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import msgspec
import polars as pl

from quant_assets.books.booking import book_session, record_fills, record_orders
from quant_assets.calendars import Cuts
from quant_assets.contract import Table
from quant_assets.post_trade.costs import write_costs
from quant_assets.records import Book, FeatureSnapshot, Fill, LookAhead, Order, OrderState, Survivorship, Working
from quant_assets.tables import BARS, CAPTURES, DECISIONS, LABELS, LISTINGS, MODELS, QUARANTINE, SCORES, VERDICTS
from resources.tables.store import DeltaStore

SECTORS = ("Energy", "Financials", "Health care", "Industrials", "Technology")


def trade(store: DeltaStore, book: Book, cuts: Cuts, sessions: Sequence[date], names: int, seed: int = 1) -> None:
    """Fill the store with `names` names over consecutive `sessions`: bars, verdicts, decisions, orders, fills,
    books, costs.
    """
    chance = random.Random(seed)  # noqa: S311  # a seeded market, no secret
    close = {sid: chance.uniform(15, 220) for sid in range(1, names + 1)}
    first = sessions[0]

    def put(table: Table, rows: list[dict[str, Any]], at: date) -> None:
        blank = (
            dict.fromkeys(table.schema)
            | {"known_at": cuts.of(at)}
            | ({"declared_known_at": cuts.of(at)} if "declared_known_at" in table.schema else {})
        )
        store.append(
            table, pl.DataFrame([blank | r for r in rows], schema=dict(table.schema), infer_schema_length=None)
        )

    put(
        LISTINGS,
        [
            {
                "session": first,
                "sid": s,
                "symbol": f"SYM{s}",
                "name": f"Name {s}",
                "sector": SECTORS[s % 5],
                "listed": True,
                "capture": first,
            }
            for s in close
        ],
        first,
    )
    put(
        MODELS,
        [
            {
                "session": first,
                "strategy": book.strategy,
                "model_id": "m1",
                "text": "tree",
                "feature_set": "price_volume",
                "feature_version": "1",
                "snapshot": "{}",
            }
        ],
        first,
    )
    due: list[Order] = []
    fills: list[Fill] = []
    held: dict[int, int] = {}
    for i, session in enumerate(sessions):
        cut, stamp = cuts.of(session), {"session": session}
        opened = {s: round(c * (1 + chance.gauss(0, 0.004)), 2) for s, c in close.items()}
        market = chance.gauss(0.0004, 0.006)
        close = {s: round(o * (1 + market + chance.gauss(0, 0.012)), 2) for s, o in opened.items()}
        origin = {"source": "invented", "capture": session, "file": f"{session}/prices.csv"}
        bars = [
            {
                "sid": s,
                "symbol": f"SYM{s}",
                "open": opened[s],
                "high": max(opened[s], c),
                "low": min(opened[s], c),
                "close": c,
                "volume": 100_000,
                "adj_close": c,
                "withdrawn": False,
                "line": s + 1,
            }
            for s, c in close.items()
        ]
        put(BARS, [stamp | origin | b for b in bars], session)
        put(
            CAPTURES,
            [
                {
                    "capture": session,
                    "dataset": "bars",
                    "source": "invented",
                    "location": "x",
                    "sha256": f"{i}",
                    "rows": names,
                    "quarantined": 1,
                    "assumed": False,
                }
            ],
            session,
        )
        put(
            QUARANTINE,
            [
                origin
                | {
                    "line": 99,
                    "symbol": "BAD",
                    "reason": "BAD_PRICE" if i % 3 else "CONFLICT",
                    "content": "-1",
                    "dataset": "bars",
                    "state": "held",
                }
            ],
            session,
        )
        rules = ("coverage", "duplicates", "jumps", "ohlc", "volume")
        put(
            VERDICTS,
            [
                stamp
                | {
                    "table": "bars",
                    "content_hash": f"h{i}",
                    "rule": r,
                    "severity": "warn" if r == "jumps" else "block",
                    "passed": not (r == "jumps" and i % 9 == 4),
                    "value": 0.5,
                    "threshold": 0.4,
                    "message": "m",
                }
                for r in rules
            ],
            session,
        )
        today: list[Fill] = []
        states = []
        for n, order in enumerate(due):
            part = order.quantity if n else order.quantity * 2 // 3
            price = Decimal(str(opened[order.sid])) * (1 + order.side * Decimal("0.0005"))
            today.append(
                Fill(
                    exec_id=f"e{session}{order.sid}",
                    client_order_id=order.client_order_id,
                    session=session,
                    sid=order.sid,
                    side=order.side,
                    quantity=part,
                    price=price.quantize(Decimal("0.0001")),
                    fee=Decimal("1.00"),
                    arrival_price=Decimal(str(opened[order.sid])),
                    ts=cuts.calendar.open(session),
                )
            )
            state = OrderState.FILLED if part == order.quantity else OrderState.EXPIRED
            states.append(Working(order=order, state=state, filled=part))
            held[order.sid] = held.get(order.sid, 0) + order.side * part
        fills += today
        record_fills(store, book, today, cut)
        record_orders(store, book, session, states, cut)
        book_session(store, book, cuts, session, fills)
        write_costs(store, book, cuts, session)
        score = {s: chance.gauss(0, 1) for s in close}
        put(
            SCORES,
            [stamp | {"strategy": book.strategy, "sid": s, "score": v, "model_id": "m1"} for s, v in score.items()],
            session,
        )
        if i >= 2:
            put(
                LABELS,
                [
                    {
                        "label_end": session,
                        "session": sessions[i - 2],
                        "sid": s,
                        "label": "open_to_open",
                        "horizon": 2,
                        "value": 0.002 * v + chance.gauss(0, 0.02),
                        "died": False,
                    }
                    for s, v in score.items()
                ],
                session,
            )
        best = sorted(score, key=lambda s: -score[s])[: max(2, names // 3)]
        snapshot = FeatureSnapshot(
            dataset_version=f"v{i}",
            feature_view="price_volume",
            feature_version="1",
            as_of=cut,
            known_at_cutoff=cut,
            universe_id="liquid:1",
            corporate_actions_policy="adjusted",
            survivorship_bias_guard=Survivorship("members as known at the cut"),
            lookahead_bias_guard=LookAhead("rows with known_at ≤ known_at_cutoff only"),
            timezone_policy="UTC",
        )
        decided = {
            "strategy": book.strategy,
            "decision_set_id": f"set-{session}",
            "detail": "{}",
            "as_of": cut,
            "valid_until": cuts.calendar.open(cuts.calendar.shift(session, 1)),
            "inputs_hash": f"i{i}",
            "model_id": "m1",
            "feature_set": "price_volume",
            "feature_version": "1",
            "strategy_hash": "s1",
            "snapshot": msgspec.json.encode(snapshot).decode(),
            "table_versions": "{}",
            "commit": "c",
            "lock_hash": "l",
            "run_id": "r",
            "recorded_at": cut,
        }
        verdicts = {
            s: ("NO_TRADE", "DATA_NO_BAR")
            if s == 1
            else ("TRADE", "SELECTED")
            if s in best
            else ("TRADE", "NOT_SELECTED")
            for s in close
        }
        put(
            DECISIONS,
            [
                stamp
                | decided
                | {
                    "sid": s,
                    "symbol": f"SYM{s}",
                    "decision_id": f"d-{session}-{s}",
                    "verdict": v,
                    "reason": r,
                    "score": score[s],
                    "rank": 1,
                    "target_weight": 0.9 / len(best) if s in best and v == "TRADE" else 0.0,
                    "reference_price": close[s],
                }
                for s, (v, r) in verdicts.items()
            ],
            session,
        )
        due = []
        for s in close:
            target = int(float(book.capital) * 0.9 / len(best) / close[s]) if s in best and s != 1 else 0
            if (change := target - held.get(s, 0)) and chance.random() < 0.35:
                following = cuts.calendar.shift(session, 1)
                due.append(
                    Order(
                        client_order_id=f"c{session:%m%d}{s}",
                        book=book.name,
                        strategy=book.strategy,
                        decided=session,
                        session=following,
                        good_till=following,
                        slot="open",
                        sid=s,
                        leg="1",
                        symbol=f"SYM{s}",
                        side=1 if change > 0 else -1,
                        quantity=abs(change),
                        reference_price=Decimal(str(close[s])),
                        decision_id=f"d-{session}-{s}",
                    )
                )
