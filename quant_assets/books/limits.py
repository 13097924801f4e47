"""Limits of a book: how much of each order may leave, with the book as it will be once all that works is filled.

One pure function over integers and decimals, called where research trades, where orders are bound and before each one
is sent. Its cases are data that other languages read: tests/books/limits_cases.json. A further limit is a further row
of `ROWS`.

An order reduces as far as it takes a position towards zero, less what is under way to do so already; that part is
never refused. The rest increases, and each row cuts it: of a row that several orders use, each gives in proportion.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from quant_assets.records import BookLimits, Frozen

_ZERO = Decimal(0)


class Line(Frozen, frozen=True):
    """A name of the book: `held` counts, counts that open orders still `buying` and `selling`, each worth `price` in
    the book's currency.

    `trades`: whether it traded when the orders were decided; what reduces one that did not is not counted on. `least`:
    what an order has to be worth for its venue to take it. `paid`: whether purchases are paid for, as those of what is
    margined are not. `margin`: the equity that a count asks for, long or short.
    """

    sid: int
    held: int
    price: Decimal
    buying: int = 0
    selling: int = 0
    trades: bool = True
    least: Decimal = _ZERO
    paid: bool = True
    margin: Decimal = _ZERO


class Exposure(Frozen, frozen=True):
    """A book before its new orders: equity, cash, and a line for each name held, at work or wanted."""

    equity: Decimal
    cash: Decimal
    lines: tuple[Line, ...]


class Wanted(Frozen, frozen=True):
    """A new order: `side` +1 or -1, `quantity` whole shares."""

    id: str
    sid: int
    side: int
    quantity: int


class Cut(Frozen, frozen=True):
    """How much of an order may leave (`quantity`), and the `row` that cut it: `value` is what it would have come to,
    `limit` what it may, both in currency.
    """

    id: str
    quantity: int
    row: str = ""
    value: Decimal = _ZERO
    limit: Decimal = _ZERO


@dataclass
class _Part:
    """An order in two parts: what reduces, and what increases (and may be cut)."""

    order: Wanted
    line: Line
    reducing: int
    increasing: int

    @property
    def shares(self) -> int:
        """Signed shares of both parts."""
        return self.order.side * (self.reducing + self.increasing)


def _price(line: Line) -> Decimal:
    return line.price


def _paid(line: Line) -> Decimal:
    return line.price if line.paid else _ZERO


def _margin(line: Line) -> Decimal:
    return line.margin


class Use(Frozen, frozen=True):
    """What a row finds: `value` against `limit`, and which orders give way, by side, so that `over` goes; a count gives
    `each`.
    """

    value: Decimal
    limit: Decimal
    over: Decimal
    sides: tuple[int, ...] = (1, -1)
    sid: int | None = None
    each: Callable[[Line], Decimal] = _price


Row = Callable[[BookLimits, Exposure, Sequence[_Part]], Sequence[Use]]


def allowed(limits: BookLimits, exposure: Exposure, wanted: Sequence[Wanted]) -> list[Cut]:
    """How much of each order may leave, in the order given. Raises KeyError where a name has no line."""
    parts = _parts(exposure, wanted)
    cuts = {p.order.id: Cut(p.order.id, p.order.quantity) for p in parts}
    for name, row in ROWS.items():
        for use in row(limits, exposure, parts):
            if use.over > 0:
                _give_way(name, use, parts, cuts)
    return [cuts[w.id] for w in wanted]


def _parts(exposure: Exposure, wanted: Sequence[Wanted]) -> list[_Part]:
    lines = {line.sid: line for line in exposure.lines}
    left = {sid: (max(0, n.held - n.selling), max(0, -n.held - n.buying)) for sid, n in lines.items()}  # long, short
    parts: list[_Part] = []
    for order in wanted:
        long, short = left[order.sid]
        reducing = min(order.quantity, long if order.side < 0 else short)
        left[order.sid] = (long - reducing, short) if order.side < 0 else (long, short - reducing)
        parts.append(_Part(order, lines[order.sid], reducing, order.quantity - reducing))
    return parts


def _give_way(name: str, use: Use, parts: Sequence[_Part], cuts: dict[str, Cut]) -> None:
    """Cut what increases, each order in proportion, in whole shares, so that the row's excess goes."""
    among = [
        p
        for p in parts
        if p.increasing
        and p.order.side in use.sides
        and (use.sid is None or p.line.sid == use.sid)
        and use.each(p.line)
    ]
    worth = sum((p.increasing * use.each(p.line) for p in among), _ZERO)
    if not worth:
        return
    kept = max(Fraction(0), 1 - Fraction(use.over) / Fraction(worth))
    for part in among:
        part.increasing = int(part.increasing * kept)
        quantity = part.reducing + part.increasing
        cuts[part.order.id] = Cut(part.order.id, quantity, name, use.value, use.limit)


def _after(exposure: Exposure, parts: Sequence[_Part], each: Callable[[Line], Decimal] = _price) -> dict[int, Decimal]:
    """The value of each position once all is filled, but for what reduces one that does not trade."""
    shares: dict[int, int] = {}
    for line in exposure.lines:
        buying = line.buying if line.trades or line.held >= 0 else 0
        selling = line.selling if line.trades or line.held <= 0 else 0
        shares[line.sid] = line.held + buying - selling
    for part in parts:
        filled = part.increasing + (part.reducing if part.line.trades else 0)
        shares[part.line.sid] += part.order.side * filled
    return {n.sid: shares[n.sid] * each(n) for n in exposure.lines}


def _name(limits: BookLimits, exposure: Exposure, parts: Sequence[_Part]) -> list[Use]:
    limit = limits.max_name * exposure.equity
    after = _after(exposure, parts)
    wanted = {p.line.sid for p in parts if p.increasing}
    return [
        Use(abs(value), limit, abs(value) - limit, (1 if value > 0 else -1,), sid)
        for sid, value in sorted(after.items())
        if sid in wanted
    ]


def _gross(limits: BookLimits, exposure: Exposure, parts: Sequence[_Part]) -> list[Use]:
    value, limit = sum(map(abs, _after(exposure, parts).values()), _ZERO), limits.max_gross * exposure.equity
    return [Use(value, limit, value - limit)]


def _net(limits: BookLimits, exposure: Exposure, parts: Sequence[_Part]) -> list[Use]:
    value, limit = sum(_after(exposure, parts).values(), _ZERO), limits.max_net * exposure.equity
    return [Use(abs(value), limit, abs(value) - limit, (1 if value > 0 else -1,))]


def _leverage(limits: BookLimits, exposure: Exposure, parts: Sequence[_Part]) -> list[Use]:
    """As though nothing that reduces were filled."""
    longs = {n.sid: n.held + n.buying for n in exposure.lines}
    shorts = {n.sid: n.held - n.selling for n in exposure.lines}
    for part in parts:
        (longs if part.order.side > 0 else shorts)[part.line.sid] += part.order.side * part.increasing
    value = sum((max(abs(longs[n.sid]), abs(shorts[n.sid]), abs(n.held)) * n.price for n in exposure.lines), _ZERO)
    limit = limits.max_leverage * exposure.equity
    return [Use(value, limit, value - limit)]


def _margins(limits: BookLimits, exposure: Exposure, parts: Sequence[_Part]) -> list[Use]:
    """What equity has to cover."""
    value = sum(map(abs, _after(exposure, parts, _margin).values()), _ZERO)
    limit = limits.max_margin * exposure.equity
    return [Use(value, limit, value - limit, each=_margin)]


def _cash(limits: BookLimits, exposure: Exposure, parts: Sequence[_Part]) -> list[Use]:
    """Purchases are paid by cash and, `with_sales`, by the sales of names that trade."""
    spent = sum((n.buying * n.price for n in exposure.lines if n.paid), _ZERO)
    brought = sum((n.selling * n.price for n in exposure.lines if n.trades and n.paid), _ZERO)
    for part in parts:
        worth = abs(part.shares) * part.line.price if part.line.paid else _ZERO
        if part.order.side > 0:
            spent += worth
        elif part.line.trades:
            brought += worth
    if limits.funding == "after_sales":
        brought = _ZERO
    value, limit = exposure.cash - spent + brought, limits.min_cash * exposure.equity
    return [Use(value, limit, limit - value, (1,), each=_paid)]


ROWS: Mapping[str, Row] = {
    "max_name": _name,
    "max_gross": _gross,
    "max_net": _net,
    "max_leverage": _leverage,
    "max_margin": _margins,
    "min_cash": _cash,
}
"""The limits in the order in which they cut."""
