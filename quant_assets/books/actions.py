"""How corporate actions change what a book holds: shares, marks and cash, each kind by its own rule.

Which ones a session books: `quant_assets.books.due`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

import polars as pl

from quant_assets.books.holdings import Action, Holdings, Movement, cents, changed, exact
from quant_assets.books.terms import TICK, Terms
from quant_assets.records import Frozen


class Correction(Frozen, frozen=True):
    """The entry that corrects the action `kind` of `sid` ex `ex`.

    `shares`: the change by name; `owner`: the shares that the action met, whose sign is the side; `moved`: the cash,
    each movement naming that of the first entry; `marks`: of names that are held again, or marked before the action.
    """

    sid: int
    ex: date
    kind: str
    owner: int
    shares: Mapping[int, int]
    moved: tuple[Movement, ...]
    marks: Mapping[int, Decimal]


@dataclass(frozen=True)
class Between:
    """What happened between the ex-session of late actions and today.

    `unmarked`: the actions (sid, ex-session) that the mark of their name is older than. `ratios`: sid and ex-session to
    the splits after it that are booked already. `price`: of a name that is not held. `mark_before`: sid and ex-session
    to the mark on the evening before.
    """

    unmarked: Collection[tuple[int, date]] = ()
    ratios: Callable[[int, date], Sequence[Action]] = lambda _sid, _ex: ()
    price: Callable[[int], Decimal] = lambda _sid: Decimal(0)
    mark_before: Callable[[int, date], Decimal | None] = lambda _sid, _ex: None


NOTHING = Between()


def apply_actions(
    holdings: Holdings,
    actions: pl.DataFrame,
    entitled: Mapping[tuple[int, date], int],
    sids: Mapping[str, int] | None = None,
    corrected: Sequence[Correction] = (),
    between: Between = NOTHING,
) -> tuple[Holdings, list[Movement]]:
    """The holdings after `actions` (ACTIONS rows in force, as `due_actions` returns them) and the cash they moved.

    `entitled`: shares by (sid, ex-session) at the end of the session before ex; missing counts as 0. `sids`: who
    trades under a symbol, for what a spin-off or merger hands out. `corrected`: what puts wrong actions right, as
    `corrections` returns it, comes first. `between`: for actions that come late. By kind:

    - split, stock_dividend: shares become numerator/denominator as many; the part of a share that is left is paid at
      the mark.
    - dividend: paid (by shorts: charged) to the cent.
    - spin_off: numerator/denominator shares of the counterpart, at its mark or else what the terms say it is worth,
      the part of a share in cash; all of `value` in cash where nobody trades under that symbol or the terms name no
      shares.
    - merger: all shares left become cash and shares of the counterpart in the same way, valued so that the last mark
      holds.
    - delisting: all shares left are paid at the last mark before it × (1 + value).

    Where fewer shares are left than an action takes, the rest is settled in cash at the mark: a long position never
    becomes a short one, nor a short one long.

    A mark older than a split or spin-off is restated with it, so that neither makes P&L. Shares that come from
    another name are journalled as a `transfer` of their worth, out of the one name and into the other, which sums to
    zero.
    """
    account = _Account(
        holdings.session,
        dict(holdings.quantities),
        dict(holdings.marks),
        entitled,
        sids or {},
        between,
        holdings.terms,
    )
    for correction in corrected:
        account.take_back(correction)
    for action in sorted(actions.iter_rows(named=True), key=lambda a: (a["session"], _ORDER[a["kind"]], a["sid"])):
        if book := _BOOKED[action["kind"]]:
            book(account, action)
    moved = _merged(account.moved)
    return changed(holdings, moved, account.quantities, account.marks), moved


@dataclass
class _Account:
    """Shares and marks while actions change them.

    `gained`: shares that an action of this call brought, by name, which no evening's record has yet.
    """

    session: date
    quantities: dict[int, int]
    marks: dict[int, Decimal]
    entitled: Mapping[tuple[int, date], int]
    sids: Mapping[str, int]
    between: Between
    terms: Terms
    gained: dict[int, list[tuple[date, int]]] = field(default_factory=dict[int, list[tuple[date, int]]])
    moved: list[Movement] = field(default_factory=list[Movement])

    def before(self, action: Action, *, with_ex: bool = False) -> int:
        """The shares that the action is about; with those gained on the ex-session itself where ratios multiply."""
        sid, ex = action["sid"], action["session"]
        return self.entitled.get((sid, ex), 0) + sum(
            n for at, n in self.gained.get(sid, []) if at < ex or (with_ex and at == ex)
        )

    def add(self, sid: int, ex: date, shares: int, owner: int, why: str) -> None:
        """Shares that came (or went: negative) with an action, in today's; `owner`: the shares that it met."""
        left = self.quantities.get(sid, 0) + shares
        if shares * owner < 0 and (left - shares) * owner >= 0 and left * owner < 0:
            settled = cents(self.terms.worth(sid, left, self.price(sid)))
            self.moved.append(Movement(sid=sid, kind="cash_in_lieu", reference=why, amount=settled))
            shares, left = shares - left, 0
        self.quantities[sid] = left
        self.gained.setdefault(sid, []).append((ex, shares))

    def gain(self, action: Action, sid: int, shares: int, owner: int) -> None:
        """Shares of the ex-session's day that an action brings or takes, through the splits booked since."""
        ex = action["session"]
        for split in self.between.ratios(sid, ex) if ex <= self.session else ():
            shares = whole_shares(shares, split)[0]
        self.add(sid, ex, shares, owner, f"{action['kind']} {ex}")

    def price(self, sid: int) -> Decimal:
        """The mark of a name, or its last price where it is not held."""
        return self.marks[sid] if sid in self.marks else self.between.price(sid)

    def final(self, action: Action) -> Decimal:
        """The last mark before the name ended, where it was marked at prices printed since."""
        sid, ex = action["sid"], action["session"]
        late = ex <= self.session and (sid, ex) not in self.between.unmarked
        before = self.between.mark_before(sid, ex) if late else None
        return self.marks.get(sid, Decimal(0)) if before is None else before

    def take_back(self, correction: Correction) -> None:
        """Put right what an action did."""
        self.marks |= correction.marks
        for sid, shares in correction.shares.items():
            why = f"{correction.kind} {correction.ex} put right"
            self.add(sid, correction.ex, shares, correction.owner, why)
        self.moved += correction.moved

    def pay(self, action: Action, amount: Decimal, kind: str = "") -> None:
        """Cash to the cent, under the action's own kind or another; `amount`: of counts times a price."""
        ex, sid = action["session"], action["sid"]
        if self.terms.margined(sid) and (kind or action["kind"] != "delisting"):
            return  # a contract owns nothing that pays; what it gains is settled each session
        self.moved.append(
            Movement(
                sid=sid,
                kind=kind or action["kind"],
                reference=f"{action['kind']} {ex}" if kind else str(ex),
                amount=cents(amount * self.terms.unit(sid)),
            )
        )

    def hand_out(self, action: Action, shares: int, implied: Decimal) -> Decimal:
        """numerator/denominator of the counterpart's shares for each of `shares`, at its mark or else the price
        implied, which is returned; the part of a share in cash.
        """
        sid, ex, child = action["sid"], action["session"], self.sids[action["counterpart"]]
        whole, left = whole_shares(shares, action)
        price = self.marks.setdefault(child, implied.quantize(TICK))
        self.gain(action, child, whole, shares)
        self.pay(action, left * price, "cash_in_lieu")
        reference = f"{action['kind']} {ex} {sid} to {child}"
        self.moved += [
            Movement(sid=s, kind="transfer", reference=reference, amount=sign * self.terms.worth(sid, whole, price))
            for s, sign in ((sid, 1), (child, -1))
        ]
        return price

    def receivable(self, action: Action) -> bool:
        """Whether the action hands out shares of a name that we know and that counts and is priced as this one."""
        if not (action["numerator"] and action["denominator"]) or action["counterpart"] not in self.sids:
            return False
        names = (action["sid"], self.sids[action["counterpart"]])
        return len({(self.terms.unit(sid), self.terms.currency(sid)) for sid in names}) == 1

    def restate(self, action: Action, mark: Decimal) -> None:
        """A mark from before the ex-session, in the terms after it."""
        sid, ex = action["sid"], action["session"]
        if sid in self.marks and (ex > self.session or (sid, ex) in self.between.unmarked):
            self.marks[sid] = mark.quantize(TICK)


def _dividend(account: _Account, action: Action) -> None:
    account.pay(action, (action["cash"] or 0) * Decimal(account.before(action)))


def _split(account: _Account, action: Action) -> None:
    shares, sid = account.before(action, with_ex=True), action["sid"]
    whole, left = whole_shares(shares, action)
    account.restate(action, account.marks.get(sid, Decimal(0)) * action["denominator"] / action["numerator"])
    account.pay(action, left * account.price(sid), "cash_in_lieu")
    account.gain(action, sid, whole - shares, shares)


def _spin_off(account: _Account, action: Action) -> None:
    shares, worth = account.before(action), exact(action["value"] or 0.0)
    if account.receivable(action):
        numerator, denominator = action["numerator"], action["denominator"]
        price = account.hand_out(action, shares, worth * denominator / numerator)
        worth = worth or price * numerator / denominator
    else:
        account.pay(action, shares * worth)
    account.restate(action, max(account.marks.get(action["sid"], Decimal(0)) - worth, Decimal(0)))


def _merger(account: _Account, action: Action) -> None:
    cash = action["cash"] or Decimal(0)
    shares = account.quantities.pop(action["sid"], 0)
    worth = account.final(action) * (1 + exact(action["value"] or 0.0))
    if account.receivable(action):
        account.pay(action, shares * cash)
        account.hand_out(action, shares, max(worth - cash, Decimal(0)) * action["denominator"] / action["numerator"])
    else:
        account.pay(action, shares * (worth if action["counterpart"] or action["cash"] is None else cash))


def _delisting(account: _Account, action: Action) -> None:
    shares, sid = account.quantities.pop(action["sid"], 0), action["sid"]
    last = account.final(action) * (1 + Decimal(str(action["value"] or 0.0)))
    settled = account.marks.get(sid, Decimal(0)) if account.terms.margined(sid) else Decimal(0)
    account.pay(action, shares * (last - settled))


# Of one ex-session: what is paid is per old share, then the shares change, then they end.
_BOOKED: dict[str, Callable[[_Account, Action], None] | None] = {
    "dividend": _dividend,
    "spin_off": _spin_off,
    "split": _split,
    "stock_dividend": _split,
    "symbol_change": None,
    "roll": None,  # of a series: what is held is a contract, and orders roll it
    "merger": _merger,
    "delisting": _delisting,
}
_ORDER = {kind: place for place, kind in enumerate(_BOOKED)}


def _merged(moved: Sequence[Movement]) -> list[Movement]:
    """The movements that are not zero, one for each name, kind and reference."""
    amounts: dict[tuple[int, str, str], Decimal] = {}
    for m in moved:
        key = (m.sid, m.kind, m.reference)
        amounts[key] = amounts.get(key, Decimal(0)) + m.amount
    return [Movement(sid=s, kind=k, reference=r, amount=amount) for (s, k, r), amount in amounts.items() if amount]


def whole_shares(shares: int, action: Action) -> tuple[int, Decimal]:
    """`shares` × numerator/denominator of a split or a distribution: the whole ones, towards zero, and the fraction
    left.
    """
    numerator, denominator = action["numerator"], action["denominator"]
    whole = abs(shares) * numerator // denominator * (1 if shares > 0 else -1)
    return whole, Decimal(shares * numerator - whole * denominator) / denominator
