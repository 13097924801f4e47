"""What each case of the table of actions ends with, worked out by plain arithmetic on one name at a time.

Every name begins as 5,000 shares bought or sold short at the open of the second session, at 10 and five basis points
against us, with half a cent a share of commission. The action goes ex in the fifth session (`EX`). An order is decided
in the third session and works (no volume in the fourth) or is filled for 1,000 shares there (`partly filled`), or is
decided in the fourth and meets the ex-session as its first (`pending`). From EX on the price is what the action makes
of 10, except where the action is withdrawn, for then it never was.
"""

import csv
from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any, NamedTuple

TABLE = Path(__file__).with_name("actions_cases.csv")
HELD, CHILD = 5_000, Decimal(8)
EX, LATE_1, LATE_3, CHANGED, END = 4, 5, 7, 6, 9
KNOWN = {"before ex": 3, "at ex": 4, "late 1": LATE_1, "late 3": LATE_3, "withdrawn": 3, "restated": 3}
STATES = (
    ("none", ""), ("pending", "exit"), ("pending", "more"), ("working", "exit"), ("partly filled", "exit"),
)  # fmt: skip
# the terms of each action, the price from its ex-session on, and the terms after it was restated
ACTIONS: dict[str, tuple[str, dict[str, Any], str, dict[str, Any]]] = {
    "split 2:1": ("split", {"numerator": 2, "denominator": 1}, "5", {}),
    "split 1:10": ("split", {"numerator": 1, "denominator": 10}, "100", {}),
    "split 4:5": ("split", {"numerator": 4, "denominator": 5}, "12.5", {"numerator": 9, "denominator": 10}),
    "stock dividend 21:20": (
        "stock_dividend", {"numerator": 21, "denominator": 20}, "9.5", {"numerator": 11, "denominator": 10},
    ),
    "dividend 0.5": ("dividend", {"cash": "0.5"}, "9.5", {"cash": "0.6"}),
    "spin-off 4": ("spin_off", {"value": 4.0}, "6", {"value": 3.0}),
    "spin-off 1:2": (
        "spin_off", {"value": 4.0, "numerator": 1, "denominator": 2}, "6",
        {"value": 4.0, "numerator": 1, "denominator": 4},
    ),
    "merger 11": ("merger", {"cash": "11"}, "10", {"cash": "12"}),
    "merger 6 and 1:2": (
        "merger", {"cash": "6", "numerator": 1, "denominator": 2}, "10",
        {"cash": "5", "numerator": 1, "denominator": 2},
    ),
    "delisting -20%": ("delisting", {"value": -0.2}, "10", {"value": -0.5}),
}  # fmt: skip


class Case(NamedTuple):
    """A row of the table: what happens, and the shares, the other name's shares and the cash at the end."""

    action: str
    known: str
    order: str
    side: str
    trade: str
    shares: int = 0
    other: int = 0
    cash: Decimal = Decimal(0)


def cases() -> Iterator[Case]:
    """All cases, with what they end with."""
    for name, (_, _, _, again) in ACTIONS.items():
        for known in KNOWN:
            for side in ("long", "short"):
                for order, trade in STATES:
                    if known != "restated" or again:
                        yield worked_out(Case(name, known, order, side, trade))


def price_at(case: Case, session: int) -> Decimal | None:
    """The one price of a session; None where the name does not trade any more."""
    kind, _, after, _ = ACTIONS[case.action]
    if session < EX or case.known == "withdrawn":
        return Decimal(10)
    return None if kind in {"merger", "delisting"} and session > EX else Decimal(after)


def traded(quantity: int, price: Decimal) -> Decimal:
    """The cash of buying (negative: selling) shares at the open."""
    side = 1 if quantity > 0 else -1
    paid = (price * (1 + side * Decimal("0.0005"))).quantize(Decimal("0.0001"))
    fee = max(Decimal(1), Decimal("0.005") * abs(quantity)).quantize(Decimal("0.01"), ROUND_HALF_UP)
    return -quantity * paid - fee


def worked_out(case: Case) -> Case:
    """The case with its figures: what is held is traded, then acted on, in the order in which it is known."""
    kind, terms, _, again = ACTIONS[case.action]
    sign = 1 if case.side == "long" else -1
    held, other, cash = sign * HELD, 0, traded(sign * HELD, Decimal(10))
    asked = {"": 0, "exit": -held, "more": held // 2}[case.trade]
    if case.order == "partly filled":
        part = asked // 5
        held, asked, cash = held + part, asked - part, cash + traded(part, Decimal(10))
    entitled, late = held, KNOWN[case.known] > EX
    ratio = kind in {"split", "stock_dividend"}
    jumps = case.action in {"split 2:1", "split 1:10"}
    stops = (ratio or kind in {"merger", "delisting"}) if not late else jumps
    if asked and not stops:
        opened = price_at(case, EX)
        assert opened is not None
        held, cash = held + asked, cash + traded(asked, opened)
    for became in (
        [None if case.known == "withdrawn" else again] if case.known in {"withdrawn", "restated"} else [terms]
    ):
        if became is None:
            continue  # whatever was booked went back
        held, other, paid = _acted(case, kind, became, held, entitled)
        cash += paid
    return case._replace(shares=held, other=other, cash=cash)


def _acted(case: Case, kind: str, terms: dict[str, Any], held: int, entitled: int) -> tuple[int, int, Decimal]:
    """Shares, the other name's shares and cash after the action alone."""
    ratio = Decimal(terms.get("numerator", 1)) / Decimal(terms.get("denominator", 1))
    paid = Decimal(terms.get("cash", 0))
    if kind == "dividend":
        return held, 0, entitled * paid
    if kind == "spin_off":
        return (
            (held, int(entitled * ratio), Decimal(0))
            if "numerator" in terms
            else (held, 0, entitled * Decimal(terms["value"]))
        )
    if kind == "delisting":
        return 0, 0, held * Decimal(10) * (1 + Decimal(str(terms["value"])))
    if kind == "merger":
        return 0, int(held * ratio) if "numerator" in terms else 0, held * paid
    after = held + int(entitled * ratio) - entitled
    if after * entitled >= 0:
        return after, 0, Decimal(0)
    price = price_at(case, EX)  # sold in new shares before anybody knew: what was never there is settled
    assert price is not None
    return 0, 0, after * price


def written() -> list[Case]:
    """The table as it is stored."""
    with TABLE.open() as file:
        return [
            Case(*row[:5], shares=int(row[5]), other=int(row[6]), cash=Decimal(row[7]))
            for row in list(csv.reader(file))[1:]
        ]


if __name__ == "__main__":
    with TABLE.open("w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(Case._fields)
        out.writerows(cases())
