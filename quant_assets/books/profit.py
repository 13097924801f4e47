"""What a session made of a book: P&L by name and by currency, and its equity; sums are exact to the sixth decimal.

A name gains in its own currency, converted at the rate of the evening. What the change of a rate made of all that the
book had in that currency the evening before, in cash and positions, is the gain of the currency; it is the rest, so
that it has what conversions were rounded by as well.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from quant_assets.books.entries import KIND, gained
from quant_assets.books.holdings import Holdings, Movement, currency_of
from quant_assets.records import Entry, Fill

_ZERO = Decimal(0)
_NO_INCOME = {"fee", "trade", "transfer", "variation", KIND}
_TERMS = ("holding", "trading", "income", "fees", "total")
Row = dict[str, Any]


def profit(
    before: Holdings,
    after: Holdings,
    moved: Sequence[Movement],
    fills: Sequence[Fill],
    entries: Sequence[Entry],
    last: Mapping[int, Decimal],
) -> list[Row]:
    """Values of PNL rows, in the book's currency: by name the total from values and cash, trading from the fills (and
    what people booked), income, fees, and holding as what is left; for sid 0 also what the currencies gained.

    `last`: the price of each name at the end. `moved`: without what was paid into the book.
    """
    names = sorted({*before.quantities, *after.quantities, *(m.sid for m in moved)})
    found = [_name(sid, before, after, moved, fills, entries, last) for sid in names]
    if currencies(before, after):
        rest = after.equity - before.equity - sum((row["total"] for row in found), _ZERO)
        if 0 not in names:
            found.insert(0, {"sid": 0} | dict.fromkeys(_TERMS, _ZERO))
        own = next(row for row in found if row["sid"] == 0)
        own |= {"currencies": rest, "total": own["total"] + rest}
    return found


def _name(
    sid: int,
    before: Holdings,
    after: Holdings,
    moved: Sequence[Movement],
    fills: Sequence[Fill],
    entries: Sequence[Entry],
    last: Mapping[int, Decimal],
) -> Row:
    terms, currency = after.terms, after.terms.currency(sid)
    cash = [(m.kind, terms.converted(currency_of(m, terms), m.amount)) for m in moved if m.sid == sid]
    fees, adjusted = (sum((amount for kind, amount in cash if kind == k), _ZERO) for k in ("fee", KIND))
    income = sum((amount for kind, amount in cash if kind not in _NO_INCOME), _ZERO)
    made = sum((terms.worth(sid, f.side * f.quantity, last[sid] - f.price) for f in fills if f.sid == sid), _ZERO)
    trading = terms.converted(currency, made + gained(entries, sid, last, terms)) if sid else adjusted
    gain = local(after, sid) - local(before, sid)
    total = terms.converted(currency, gain) + sum((amount for _, amount in cash), _ZERO)
    return {
        "sid": sid,
        "holding": total - trading - income - fees,
        "trading": trading,
        "income": income,
        "fees": fees,
        "total": total,
    }


def local(holdings: Holdings, sid: int) -> Decimal:
    """What a position counts, in the name's own currency."""
    if sid not in holdings.quantities or holdings.terms.margined(sid):
        return _ZERO
    return holdings.terms.worth(sid, holdings.quantities[sid], holdings.marks[sid])


def currencies(before: Holdings, after: Holdings) -> list[str]:
    """The currencies other than its own in which the book has, or had the evening before, cash or positions."""
    sids = {*before.quantities, *after.quantities}
    return sorted({*before.others, *after.others, *(after.terms.currency(sid) for sid in sids)} - {""})


def balances(before: Holdings, after: Holdings, moved: Sequence[Movement], own: str) -> list[Row]:
    """Values of CASH rows: of a book that has other currencies, its own (`own`) and each of them. The gains add up to
    that of the currencies in P&L.
    """
    found = currencies(before, after)
    return [_balance(c, own, before, after, moved) for c in ("", *found)] if found else []


def _balance(currency: str, own: str, before: Holdings, after: Holdings, moved: Sequence[Movement]) -> Row:
    terms = after.terms
    had, has = (h.others.get(currency, _ZERO) if currency else h.cash for h in (before, after))
    value = terms.converted(currency, has)
    gain = value - before.terms.converted(currency, had)
    gain -= sum((terms.converted(currency, m.amount) for m in moved if currency_of(m, terms) == currency), _ZERO)
    then, now = before.values, after.values
    for sid in sorted({*then, *now}):
        if terms.currency(sid) == currency:
            gain += now.get(sid, _ZERO) - then.get(sid, _ZERO)
            gain -= terms.converted(currency, local(after, sid) - local(before, sid))
    rate = terms.rates[currency] if currency else Decimal(1)
    return {"currency": currency or own, "amount": has, "rate": rate, "value": value, "gain": gain}


def nav(before: Holdings, after: Holdings, moved: Sequence[Movement], fills: Sequence[Fill]) -> Row:
    """Values of the NAV row, in the book's currency: `short_value` is ≤ 0, `fees` what was paid, `traded` what all
    fills were worth, less those which were reversed.
    """
    terms, values = after.terms, list(after.values.values())
    fees = (terms.converted(currency_of(m, terms), m.amount) for m in moved if m.kind == "fee")
    traded = (terms.notional(f.sid, -f.quantity if f.reverses else f.quantity, f.price) for f in fills)
    return {
        "cash": after.balance,
        "long_value": sum((v for v in values if v > 0), _ZERO),
        "short_value": sum((v for v in values if v < 0), _ZERO),
        "equity": after.equity,
        "pnl": after.equity - before.equity,
        "fees": -sum(fees, _ZERO),
        "traded": sum(traded, _ZERO),
        "names": len(values),
    }
