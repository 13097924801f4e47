"""What trading cost a book in each session, order by order: see `shortfall` for the terms.

An order that works over several sessions has a row in each: delay, trading and fees of that session's fills, and the
opportunity cost in the session in which it ended, to that session's close. What the venue reports or corrects after
that has a row in the session that booked it, whose opportunity is the change of what was missed. The rows add up to
Perold's figure of the order, and their fees to those of P&L and NAV, to the smallest unit.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import Any

import polars as pl

from quant_assets.books.apart import apart, waits
from quant_assets.books.booking import booked
from quant_assets.books.holdings import TICK, exact
from quant_assets.books.terms import Terms
from quant_assets.books.valued import terms_of
from quant_assets.calendars import Cuts
from quant_assets.contract import in_force
from quant_assets.frames import span
from quant_assets.market_data.adjustment import SPLITS
from quant_assets.ports import Notifier, Store
from quant_assets.post_trade.shortfall import session_costs
from quant_assets.records import Book, OrderState, StageReport
from quant_assets.tables import ACTIONS, BARS, COSTS, FILLS, JOURNAL, ORDERS

CARRIED = timedelta(days=10)  # how long the last close stands for a name without one


def write_costs(store: Store, book: Book, cuts: Cuts, session: date) -> StageReport:
    """Write the COSTS rows of `session`; a stored row stays. See `costs`."""
    rows = costs(store, book, cuts, session)
    stored = store.read(COSTS, as_of=None, first=session, last=session, where={"book": book.name})
    written = store.append(COSTS, rows.join(stored, on="client_order_id", how="anti"))
    numbers = {c: float(rows[c].sum()) for c in ("delay", "trading", "opportunity", "fees", "shortfall")}
    return StageReport(
        stage="costs",
        first=session,
        last=session,
        state="done" if rows.height else "empty",
        rows=written,
        numbers=numbers,
    )


def costs(store: Store, book: Book, cuts: Cuts, session: date) -> pl.DataFrame:
    """The COSTS rows of `session`, from its ORDERS rows and the fills and fees that it booked.

    A fill, fee or correction that came late counts in the session that booked it, so that COSTS adds up to the fees of
    NAV. The end price is the last close known at the cut, restated to the shares of the order where a split went by
    since. Names are worth, and fees converted, as the session was booked.
    """
    where = {"book": book.name}
    orders = store.read(ORDERS, as_of=None, first=session, last=session, where=where)
    journal = store.read(JOURNAL, as_of=None, first=session, last=session, where=where)
    moved = journal.filter(pl.col("kind").is_in(["trade", "fee"]))
    sids = {*orders["sid"], *moved["sid"]}
    terms = terms_of(store, book, sids, cuts.of(session), moved["currency"].drop_nulls())
    fills = _booked(store, where, session, moved, terms)
    ended = _ended_before(store, where, session, orders, fills)
    current = orders.join(ended, on="client_order_id", how="anti")
    missed = current.filter(pl.col("filled") < pl.col("quantity"))
    rows = session_costs(current, fills, _end_prices(store, missed, session, cuts.of(session)), terms=terms)
    late = [_amended(store, where, session, cuts, group, fills, terms) for group in ended.partition_by("session")]
    return pl.concat([rows, *late])


def _booked(
    store: Store, where: Mapping[str, str | int], session: date, moved: pl.DataFrame, terms: Terms
) -> pl.DataFrame:
    """The FILLS rows of which `session` booked something: `moved`, its JOURNAL rows of trades and fees.

    `fee`: the fee that it booked, `fee_value` in the book's currency. `quantity`: 0 where an earlier session booked the
    trade.
    """
    traded, fees = (moved.filter(pl.col("kind") == kind).rename({"reference": "exec_id"}) for kind in ("trade", "fee"))
    values = [terms.converted(c or "", a) for c, a in fees.select("currency", "amount").iter_rows()]
    paid = (
        fees.with_columns(
            pl.col("exec_id").str.replace(r"~fee\d+$", ""),  # one restated has the execution's id and a number
            fee_value=pl.Series(values, dtype=JOURNAL.schema["amount"]),
        )
        .group_by("exec_id")
        .agg(paid=-pl.col("amount").sum(), fee_value=-pl.col("fee_value").sum())
    )
    booked = pl.concat([traded.select("exec_id"), paid.select("exec_id")]).unique()
    fills = store.read(FILLS, as_of=None, first=session, last=session, where=where)
    if booked.join(fills, on="exec_id", how="anti").height:
        fills = store.read(FILLS, as_of=None, last=session, where=where)
    found = fills.join(booked, on="exec_id", how="semi").join(paid, on="exec_id", how="left", maintain_order="left")
    nothing, quantity = Decimal(0), pl.when(pl.col("exec_id").is_in(traded["exec_id"].implode())).then("quantity")
    return found.with_columns(
        fee=pl.col("paid").fill_null(nothing),
        fee_value=pl.col("fee_value").fill_null(nothing),
        quantity=quantity.otherwise(0),
    ).drop("paid")


def _ended_before(
    store: Store, where: Mapping[str, str | int], session: date, orders: pl.DataFrame, fills: pl.DataFrame
) -> pl.DataFrame:
    """The ORDERS rows with which orders ended before `session`, where it booked something of them or has rows of them
    again.
    """
    unlisted = fills.join(orders, on="client_order_id", how="anti")
    older = orders.filter(pl.col("decided") < session - timedelta(days=1))
    if unlisted.is_empty() and older.is_empty():
        return orders.clear()
    first = None if unlisted.height else min(older["decided"])
    history = store.read(ORDERS, as_of=None, first=first, last=session - timedelta(days=1), where=where)
    asked = pl.concat([unlisted.select("client_order_id"), older.select("client_order_id")]).unique()
    terminal = history.filter(pl.col("state").is_in([s.value for s in OrderState if s.terminal]))
    found = terminal.join(asked, on="client_order_id", how="semi").sort("session", "client_order_id")
    return found.unique("client_order_id", keep="first", maintain_order=True)


def _amended(
    store: Store,
    where: Mapping[str, str | int],
    session: date,
    cuts: Cuts,
    ended: pl.DataFrame,
    fills: pl.DataFrame,
    terms: Terms,
) -> pl.DataFrame:
    """The COSTS rows of `session` for orders that had `ended` in one session before, and of which it booked something.

    What was missed is now what their executions leave, at the end price of the session in which they ended.
    """
    end: date = ended["session"][0]
    counted: dict[str, Decimal] = {}
    rows: list[dict[str, Any]] = []
    for order in ended.iter_rows(named=True):
        key, quantity = order["client_order_id"], order["quantity"]
        today = fills.filter(pl.col("client_order_id") == key)
        filled = quantity  # nothing changed of what was missed where a fee came alone
        if (today["quantity"] != 0).any():
            earlier = store.read(
                COSTS, as_of=None, last=session - timedelta(days=1), where={**where, "client_order_id": key}
            )
            signed = today.select((pl.col("side") * pl.col("quantity")).sum()).item() * order["side"]
            filled = min(max(earlier["filled"].sum() + signed, 0), quantity)
            counted[key] = sum(earlier.select(pl.coalesce("local_opportunity", "opportunity")).to_series(), Decimal(0))
        if today.height:
            rows.append(order | {"filled": filled, "session": session, "known_at": cuts.of(session)})
    orders = pl.DataFrame(rows, schema=dict(ORDERS.schema))
    return session_costs(orders, fills, _end_prices(store, orders, end, cuts.of(end)), counted, terms)


def _end_prices(store: Store, orders: pl.DataFrame, session: date, cut: datetime) -> dict[int, Decimal]:
    """The last close by sid within `CARRIED` of the session, in the shares in which the order was written."""
    if orders.is_empty():
        return {}
    sids = orders["sid"].implode()
    bars = in_force(
        store.read(BARS, as_of=cut, first=session - CARRIED, last=session).filter(pl.col("sid").is_in(sids)), BARS
    )
    earliest, _ = span(orders["decided"], date)
    known = store.read(ACTIONS, as_of=cut, first=earliest, last=session)
    actions = in_force(known.filter(pl.col("kind").is_in(SPLITS)), ACTIONS)
    closes = {
        sid: (at, exact(close))
        for sid, at, close in bars.filter(pl.col("close").is_finite()).select("sid", "session", "close").iter_rows()
    }
    decided = dict(orders.select("sid", "decided").iter_rows())
    ratio = dict.fromkeys(closes, Fraction(1))
    for sid, ex, numerator, denominator in actions.select("sid", "session", "numerator", "denominator").iter_rows():
        if sid in closes and decided[sid] < ex <= closes[sid][0]:
            ratio[sid] *= Fraction(numerator, denominator)
    return {
        sid: (close * ratio[sid].numerator / ratio[sid].denominator).quantize(TICK)
        for sid, (_, close) in closes.items()
    }


def cost_books(
    store: Store, books: Sequence[Book], cuts: Cuts, notifier: Notifier, sessions: Sequence[date]
) -> Iterator[StageReport]:
    """Measure what trading cost each book in each session; not before it is booked."""
    for session in sessions:
        for book in books:
            if booked(store, book, session):
                yield apart("costs", book, session, notifier, partial(write_costs, store, book, cuts, session))
            else:
                yield waits("costs", book, session, f"NOT_BOOKED: {session} is not booked")
