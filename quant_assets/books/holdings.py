"""What a book holds, and how corporate actions and executions change it: exact, and every movement of cash is written down.

Actions are booked before the session's fills. An action that becomes known late is booked at the first session
whose cut knows it, on the shares that were held before its ex-session. What was booked once is never unbooked, but for a
delisting that was not true: it is put right by an entry of the session whose cut knows that (see `corrections`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import polars as pl

from quant_assets.calendars import Cuts
from quant_assets.contract import in_force, known_by
from quant_assets.market_data.adjustment import SPLITS
from quant_assets.records import Fill, Frozen
from quant_assets.tables import ACTIONS

CENT = Decimal("0.01")
TICK = Decimal("0.000001")  # the scale of MONEY: what is in memory is what is stored
Action = Mapping[str, Any]  # a row of ACTIONS


class Movement(Frozen, frozen=True):
    """A movement of cash, a row of the journal: kind is trade | fee | dividend | spin_off | merger | delisting |
    cash_in_lieu | deposit | withdrawal; or transfer, of worth from name to name.
    """

    sid: int
    kind: str
    reference: str
    amount: Decimal


class Holdings(Frozen, frozen=True):
    """Shares by sid (no zeros), the cash, and a mark for each name held, after everything that happened in `session`."""

    session: date
    cash: Decimal
    quantities: Mapping[int, int]
    marks: Mapping[int, Decimal]

    @property
    def equity(self) -> Decimal:
        """Cash and the marked positions."""
        return self.cash + sum((q * self.marks[sid] for sid, q in self.quantities.items()), Decimal(0))


def exact(price: float) -> Decimal:
    """A vendor's float as the decimal it was printed as, at the scale at which money is stored."""
    return Decimal(str(price)).quantize(TICK)


def due_actions(actions: pl.DataFrame, cuts: Cuts, session: date, since: date | None = None) -> pl.DataFrame:
    """The ACTIONS rows that are booked in `session`: ex not after it, in force at its cut, and in force at no earlier cut since ex.

    `actions` may hold any versions; sorted by ex-session, sid, kind. `since`: the session booked last, by default the one
    before; it differs where a day was booked that is no session any more.
    """
    yesterday = since or cuts.booked_before(session)
    standing = in_force(known_by(actions.filter(pl.col("session") <= session), cuts.of(session)), ACTIONS)
    new = standing.filter((pl.col("session") > yesterday) | (pl.col("known_at") > cuts.of(yesterday)))
    keep = [
        row["session"] > yesterday or not _booked(_versions(actions, row), cuts, session)
        for row in new.iter_rows(named=True)
    ]
    return new.filter(pl.Series(keep, dtype=pl.Boolean)).sort("session", "sid", "kind")


def splits_ex(actions: pl.DataFrame, cuts: Cuts, session: date) -> set[int]:
    """The sids with a split or stock dividend ex `session`, as known at its cut: orders on them count old shares."""
    of_session = actions.filter(pl.col("session") == session, pl.col("kind").is_in(SPLITS))
    return set(in_force(known_by(of_session, cuts.of(session)), ACTIONS)["sid"])


def late_changes(actions: pl.DataFrame, cuts: Cuts, session: date, since: date | None = None) -> list[str]:
    """One sentence for each action that was booked before `session` and that its cut newly knows to be withdrawn or different: nothing is unbooked, somebody looks."""
    now, before = cuts.of(session), cuts.of(since or cuts.booked_before(session))
    fresh = actions.filter(pl.col("session") < session, pl.col("known_at") > before, pl.col("known_at") <= now)
    return [
        f"{row['kind']} of sid {row['sid']} ex {row['session']} was {'withdrawn' if row['withdrawn'] else 'restated'} after it was booked"
        for row in fresh.sort(ACTIONS.key).iter_rows(named=True)
        if _booked(_versions(actions, row), cuts, session)
    ]


class Correction(Frozen, frozen=True):
    """What a delisting that was booked turned out not to be: `shares` that are held again, at `mark` until there is a price, and what was `paid` for them too much."""

    sid: int
    ex: date
    shares: int
    mark: Decimal
    paid: Decimal


def corrections(actions: pl.DataFrame, cuts: Cuts, session: date, held: Callable[[date], Holdings]) -> list[Correction]:
    """For each delisting that was booked before `session` and that its cut newly knows to be withdrawn, or to have paid otherwise, what puts the books right.

    A name that absence had ended and that trades again is held again, as before it was paid out, in the shares of today;
    what was paid goes back. `held`: session to what was held at its end.
    """
    now, before = cuts.of(session), cuts.of(cuts.booked_before(session))
    fresh = actions.filter(
        pl.col("kind") == "delisting",
        pl.col("session") < session,
        pl.col("known_at") > before,
        pl.col("known_at") <= now,
    )
    out = list[Correction]()
    for row in _latest(fresh).iter_rows(named=True):
        versions = _versions(actions, row)
        booked = _booked_in(versions, cuts, session)
        if booked is None:
            continue
        evening = held(cuts.booked_before(booked))
        shares, mark = evening.quantities.get(row["sid"], 0), evening.marks.get(row["sid"], Decimal(0))
        was = in_force(known_by(versions, cuts.of(booked)), ACTIONS).row(0, named=True)
        paid = _cents(shares * mark * (1 + Decimal(str(was["value"] or 0.0))))
        owed = Decimal(0) if row["withdrawn"] else _cents(shares * mark * (1 + Decimal(str(row["value"] or 0.0))))
        if shares and paid != owed:
            again = _in_shares_of(actions, cuts, row["sid"], booked, session, shares) if row["withdrawn"] else 0
            price = (mark * shares / again).quantize(TICK) if again else mark
            out.append(Correction(sid=row["sid"], ex=row["session"], shares=again, mark=price, paid=paid - owed))
    return out


def _latest(actions: pl.DataFrame) -> pl.DataFrame:
    """The latest version of each action, also where it says that there is none."""
    return actions.sort(*ACTIONS.subject, "known_at").unique(ACTIONS.subject, keep="last", maintain_order=True)


def _in_shares_of(actions: pl.DataFrame, cuts: Cuts, sid: int, booked: date, session: date, shares: int) -> int:
    """`shares` through the splits that went ex while none were held; what is left of a share is lost with the halt."""
    missed = actions.filter(
        pl.col("sid") == sid, pl.col("kind").is_in(SPLITS), pl.col("session") >= booked, pl.col("session") < session
    )
    standing = in_force(known_by(missed, cuts.of(cuts.booked_before(session))), ACTIONS)
    for split in standing.sort("session", "kind").iter_rows(named=True):
        shares = _ratio(shares, split)[0]
    return shares


def _versions(actions: pl.DataFrame, row: Mapping[str, object]) -> pl.DataFrame:
    return actions.filter(*(pl.col(c) == pl.lit(row[c]) for c in ACTIONS.subject)).sort("known_at")


def _booked(versions: pl.DataFrame, cuts: Cuts, session: date) -> bool:
    """Whether one action was in force at the cut of a session from its ex-session to the one before `session`."""
    return _booked_in(versions, cuts, session) is not None


def _booked_in(versions: pl.DataFrame, cuts: Cuts, session: date) -> date | None:
    """The first session before `session`, from the ex-session on, at whose cut one action was in force."""
    known, ends = versions["known_at"].to_list(), [*versions["known_at"].to_list()[1:], None]
    for at, end, withdrawn, ex in zip(known, ends, versions["withdrawn"], versions["session"], strict=True):
        if withdrawn:
            continue
        first = cuts.due(at)
        first = first if cuts.of(first) >= at else cuts.calendar.after(first)
        first = max(first, cuts.calendar.on_or_after(ex))
        if first < session and (end is None or cuts.of(first) < end):
            return first
    return None


def entitlements(
    due: pl.DataFrame, cuts: Cuts, held: Callable[[date], Mapping[int, int]]
) -> dict[tuple[int, date], int]:
    """Shares by (sid, ex-session), from `held`: session to the quantities at its end."""
    dates = {ex: held(cuts.booked_before(cuts.calendar.on_or_after(ex))) for ex in due["session"].unique().sort()}
    return {(sid, ex): dates[ex].get(sid, 0) for sid, ex in due.select("sid", "session").iter_rows()}


def apply_actions(
    holdings: Holdings,
    actions: pl.DataFrame,
    entitled: Mapping[tuple[int, date], int],
    sids: Mapping[str, int] | None = None,
    corrected: Sequence[Correction] = (),
) -> tuple[Holdings, list[Movement]]:
    """The holdings after `actions` (ACTIONS rows in force, as `due_actions` returns them) and the cash they moved.

    `entitled`: shares by (sid, ex-session) at the end of the session before ex; missing counts as 0. `sids`: who trades under a
    symbol, for what a spin-off or merger hands out. `corrected`: delistings that were not true, as `corrections` returns them; they
    come first. By kind:

    - split, stock_dividend: shares become numerator/denominator as many; the part of a share that is left is paid at the mark.
    - dividend: paid (by shorts: charged) to the cent.
    - spin_off: numerator/denominator shares of the counterpart, at its mark or else what the terms say it is worth, the part
      of a share in cash; all of `value` in cash where nobody trades under that symbol or the terms name no shares.
    - merger: all shares left become cash and shares of the counterpart in the same way, valued so that the last mark holds.
    - delisting: all shares left are paid at the last mark × (1 + value).

    A mark older than a split or spin-off is restated with it, so that neither makes P&L. Shares that come from another name
    are journalled as a `transfer` of their worth, out of the one name and into the other, which sums to zero.
    """
    account = _Account(holdings.session, dict(holdings.quantities), dict(holdings.marks), entitled, sids or {})
    for correction in corrected:
        account.take_back(correction)
    for action in sorted(actions.iter_rows(named=True), key=lambda a: (a["session"], _ORDER[a["kind"]], a["sid"])):
        if book := _BOOKED[action["kind"]]:
            book(account, action)
    moved = [m for m in account.moved if m.amount]
    return _held(holdings.session, holdings.cash + _total(moved), account.quantities, account.marks), moved


@dataclass
class _Account:
    """Shares and marks while actions change them. `gained`: shares that an action of this call brought, by name, which no evening's record has yet."""

    session: date
    quantities: dict[int, int]
    marks: dict[int, Decimal]
    entitled: Mapping[tuple[int, date], int]
    sids: Mapping[str, int]
    gained: dict[int, list[tuple[date, int]]] = field(default_factory=dict[int, list[tuple[date, int]]])
    moved: list[Movement] = field(default_factory=list[Movement])

    def before(self, action: Action, *, with_ex: bool = False) -> int:
        """The shares that the action is about; with those gained on the ex-session itself where ratios multiply."""
        sid, ex = action["sid"], action["session"]
        return self.entitled.get((sid, ex), 0) + sum(
            n for at, n in self.gained.get(sid, []) if at < ex or (with_ex and at == ex)
        )

    def add(self, sid: int, ex: date, shares: int) -> None:
        """Shares that came (or went: negative) with an action."""
        self.quantities[sid] = self.quantities.get(sid, 0) + shares
        self.gained.setdefault(sid, []).append((ex, shares))

    def take_back(self, correction: Correction) -> None:
        """Hold again what a delisting had paid out, and give back what it paid."""
        if correction.shares:
            self.add(correction.sid, correction.ex, correction.shares)
            self.marks.setdefault(correction.sid, correction.mark)
        self.moved.append(
            Movement(
                sid=correction.sid,
                kind="delisting",
                reference=f"{correction.ex} put right",
                amount=-correction.paid,
            )
        )

    def pay(self, action: Action, amount: Decimal, kind: str = "") -> None:
        """Cash to the cent, under the action's own kind or another."""
        ex = action["session"]
        self.moved.append(
            Movement(
                sid=action["sid"],
                kind=kind or action["kind"],
                reference=f"{action['kind']} {ex}" if kind else str(ex),
                amount=_cents(amount),
            )
        )

    def hand_out(self, action: Action, shares: int, implied: Decimal) -> Decimal:
        """numerator/denominator of the counterpart's shares for each of `shares`, at its mark or else the price implied, which is returned; the part of a share in cash."""
        sid, ex, child = action["sid"], action["session"], self.sids[action["counterpart"]]
        whole, left = _ratio(shares, action)
        price = self.marks.setdefault(child, implied.quantize(TICK))
        self.add(child, ex, whole)
        self.pay(action, left * price, "cash_in_lieu")
        reference = f"{action['kind']} {ex} {sid} to {child}"
        self.moved += [
            Movement(sid=s, kind="transfer", reference=reference, amount=sign * whole * price)
            for s, sign in ((sid, 1), (child, -1))
        ]
        return price

    def receivable(self, action: Action) -> bool:
        """Whether the action hands out shares of a name that we know."""
        return bool(action["numerator"] and action["denominator"]) and action["counterpart"] in self.sids

    def restate(self, action: Action, mark: Decimal) -> None:
        """A mark from before the ex-session, in the terms after it."""
        if action["session"] > self.session and action["sid"] in self.marks:
            self.marks[action["sid"]] = mark.quantize(TICK)


def _dividend(account: _Account, action: Action) -> None:
    account.pay(action, (action["cash"] or 0) * Decimal(account.before(action)))


def _split(account: _Account, action: Action) -> None:
    shares = account.before(action, with_ex=True)
    whole, left = _ratio(shares, action)
    account.restate(action, account.marks.get(action["sid"], Decimal(0)) * action["denominator"] / action["numerator"])
    account.pay(action, left * account.marks.get(action["sid"], Decimal(0)), "cash_in_lieu")
    account.add(action["sid"], action["session"], whole - shares)


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
    worth = account.marks.get(action["sid"], Decimal(0)) * (1 + exact(action["value"] or 0.0))
    if account.receivable(action):
        account.pay(action, shares * cash)
        account.hand_out(action, shares, max(worth - cash, Decimal(0)) * action["denominator"] / action["numerator"])
    else:
        account.pay(action, shares * (worth if action["counterpart"] or action["cash"] is None else cash))


def _delisting(account: _Account, action: Action) -> None:
    shares = account.quantities.pop(action["sid"], 0)
    account.pay(
        action, shares * account.marks.get(action["sid"], Decimal(0)) * (1 + Decimal(str(action["value"] or 0.0)))
    )


# Of one ex-session: what is paid is per old share, then the shares change, then they end.
_BOOKED: dict[str, Callable[[_Account, Action], None] | None] = {
    "dividend": _dividend, "spin_off": _spin_off, "split": _split, "stock_dividend": _split, "symbol_change": None, "merger": _merger, "delisting": _delisting,
}  # fmt: skip
_ORDER = {kind: place for place, kind in enumerate(_BOOKED)}


def _ratio(shares: int, action: Action) -> tuple[int, Decimal]:
    """`shares` × numerator/denominator: the whole ones, towards zero, and what is left."""
    numerator, denominator = action["numerator"], action["denominator"]
    whole = abs(shares) * numerator // denominator * (1 if shares > 0 else -1)
    return whole, Decimal(shares * numerator - whole * denominator) / denominator


def apply_fills(holdings: Holdings, fills: Sequence[Fill]) -> tuple[Holdings, list[Movement]]:
    """The holdings after `fills` and the cash they moved: per execution what the shares cost or brought (`trade`) and the `fee`, under its exec_id."""
    quantities, marks = dict(holdings.quantities), dict(holdings.marks)
    moved: list[Movement] = []
    for fill in sorted(fills, key=lambda f: f.exec_id):
        quantities[fill.sid] = quantities.get(fill.sid, 0) + fill.side * fill.quantity
        marks.setdefault(fill.sid, fill.price)
        moved.append(
            Movement(sid=fill.sid, kind="trade", reference=fill.exec_id, amount=-fill.side * fill.quantity * fill.price)
        )
        moved.append(Movement(sid=fill.sid, kind="fee", reference=fill.exec_id, amount=-fill.fee))
    moved = [m for m in moved if m.amount]
    return _held(holdings.session, holdings.cash + _total(moved), quantities, marks), moved


def fund(holdings: Holdings, capital: Decimal, paid: Decimal | None) -> tuple[Holdings, list[Movement]]:
    """The holdings before a session with what was paid in or out since, and its movement.

    `capital`: what the book declares; `paid`: what was paid in so far, None where the book begins (its holdings are the
    capital then). A capital that was edited is money that moves, never a gain or a loss.
    """
    amount = capital - (paid or Decimal(0))
    if not amount:
        return holdings, []
    kind = "deposit" if amount > 0 else "withdrawal"
    moved = [Movement(sid=0, kind=kind, reference="capital", amount=amount)]
    if paid is None:
        return holdings, moved
    return _held(holdings.session, holdings.cash + amount, holdings.quantities, holdings.marks), moved


def mark(holdings: Holdings, session: date, closes: Mapping[int, float]) -> Holdings:
    """The holdings at the end of `session`, marked at its closes; a name without one keeps its mark."""
    marks = {sid: exact(closes[sid]) if sid in closes else old for sid, old in holdings.marks.items()}
    return _held(session, holdings.cash, holdings.quantities, marks)


def _held(session: date, cash: Decimal, quantities: Mapping[int, int], marks: Mapping[int, Decimal]) -> Holdings:
    kept = {sid: q for sid, q in sorted(quantities.items()) if q}
    return Holdings(
        session=session, cash=cash, quantities=kept, marks={sid: marks.get(sid, Decimal(0)) for sid in kept}
    )


def _cents(amount: Decimal) -> Decimal:
    return amount.quantize(CENT, ROUND_HALF_UP)


def _total(moved: Iterable[Movement]) -> Decimal:
    return sum((m.amount for m in moved), Decimal(0))
