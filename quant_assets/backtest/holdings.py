"""What a book holds, and how corporate actions and executions change it: exact, and every movement of cash is written down.

Actions are booked before the session's fills. An action that becomes known late is booked at the first session
whose cut knows it, on the shares that were held before its ex-session; what was booked once is never unbooked.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from decimal import ROUND_HALF_UP, Decimal

import polars as pl

from quant_assets.contract import in_force, known_by
from quant_assets.market_data.calendars import Cuts
from quant_assets.records import Fill, Frozen
from quant_assets.tables import ACTIONS

CENT = Decimal("0.01")
TICK = Decimal("0.000001")  # the scale of MONEY: what is in memory is what is stored
# Of one ex-session: income is per old share, then the shares change, then they end.
_ORDER = {"dividend": 0, "split": 1, "symbol_change": 2, "delisting": 3}


class Movement(Frozen, frozen=True):
    """A movement of cash, a row of the journal: kind is trade | fee | dividend | delisting | cash_in_lieu | deposit."""

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


def due_actions(actions: pl.DataFrame, cuts: Cuts, session: date) -> pl.DataFrame:
    """The ACTIONS rows that are booked in `session`: ex not after it, in force at its cut, and in force at no earlier cut since ex.

    `actions` may hold any versions; sorted by ex-session, sid, kind.
    """
    yesterday = cuts.calendar.shift(session, -1)
    standing = in_force(known_by(actions.filter(pl.col("session") <= session), cuts.of(session)), ACTIONS)
    new = standing.filter((pl.col("session") > yesterday) | (pl.col("known_at") > cuts.of(yesterday)))
    keep = [row["session"] > yesterday or not _booked(_versions(actions, row), cuts, session) for row in new.iter_rows(named=True)]
    return new.filter(pl.Series(keep, dtype=pl.Boolean)).sort("session", "sid", "kind")


def splits_ex(actions: pl.DataFrame, cuts: Cuts, session: date) -> set[int]:
    """The sids with a split ex `session`, as known at its cut: orders on them count old shares."""
    of_session = actions.filter(pl.col("session") == session, pl.col("kind") == "split")
    return set(in_force(known_by(of_session, cuts.of(session)), ACTIONS)["sid"])


def late_changes(actions: pl.DataFrame, cuts: Cuts, session: date) -> list[str]:
    """One sentence for each action that was booked before `session` and that its cut newly knows to be withdrawn or different: nothing is unbooked, somebody looks."""
    now, before = cuts.of(session), cuts.of(cuts.calendar.shift(session, -1))
    fresh = actions.filter(pl.col("session") < session, pl.col("known_at") > before, pl.col("known_at") <= now)
    return [
        f"{row['kind']} of sid {row['sid']} ex {row['session']} was {'withdrawn' if row['withdrawn'] else 'restated'} after it was booked"
        for row in fresh.sort(ACTIONS.key).iter_rows(named=True)
        if _booked(_versions(actions, row), cuts, session)
    ]


def _versions(actions: pl.DataFrame, row: Mapping[str, object]) -> pl.DataFrame:
    return actions.filter(*(pl.col(c) == pl.lit(row[c]) for c in ACTIONS.subject)).sort("known_at")


def _booked(versions: pl.DataFrame, cuts: Cuts, session: date) -> bool:
    """Whether one action was in force at the cut of a session from its ex-session to the one before `session`."""
    known, ends = versions["known_at"].to_list(), [*versions["known_at"].to_list()[1:], None]
    for at, end, withdrawn, ex in zip(known, ends, versions["withdrawn"], versions["session"], strict=True):
        if withdrawn:
            continue
        first = cuts.due(at)
        first = first if cuts.of(first) >= at else cuts.calendar.shift(first, 1)
        first = max(first, cuts.calendar.on_or_after(ex))
        if first < session and (end is None or cuts.of(first) < end):
            return True
    return False


def entitlements(due: pl.DataFrame, cuts: Cuts, held: Callable[[date], Mapping[int, int]]) -> dict[tuple[int, date], int]:
    """Shares by (sid, ex-session), from `held`: session to the quantities at its end."""
    dates = {ex: held(cuts.calendar.shift(cuts.calendar.on_or_after(ex), -1)) for ex in due["session"].unique().sort()}
    return {(sid, ex): dates[ex].get(sid, 0) for sid, ex in due.select("sid", "session").iter_rows()}


def apply_actions(holdings: Holdings, actions: pl.DataFrame, entitled: Mapping[tuple[int, date], int]) -> tuple[Holdings, list[Movement]]:
    """The holdings after `actions` (ACTIONS rows in force, as `due_actions` returns them) and the cash they moved.

    `entitled`: shares by (sid, ex-session) at the end of the session before ex; missing counts as 0. A split turns them into
    numerator/denominator as many, the part of a share that is left is paid at the mark in new shares. Dividends are paid
    (by shorts: charged) to the cent. A delisting pays all shares left at the last mark × (1 + value). A mark that is older
    than a split is restated with it, so that a split alone makes no P&L.
    """
    quantities, marks, cash = dict(holdings.quantities), dict(holdings.marks), holdings.cash
    gained: dict[int, list[tuple[date, int]]] = {}
    moved: list[Movement] = []
    rows = sorted(actions.iter_rows(named=True), key=lambda a: (a["session"], _ORDER[a["kind"]], a["sid"]))
    for action in rows:
        sid, ex, kind = action["sid"], action["session"], action["kind"]
        # shares that an earlier split brought, booked in this same call, are not in the record of that evening
        shares = entitled.get((sid, ex), 0) + sum(n for at, n in gained.get(sid, []) if at < ex)
        mark = marks.get(sid, Decimal(0))
        if kind == "dividend":
            moved.append(Movement(sid=sid, kind=kind, reference=str(ex), amount=_cents(action["cash"] * shares)))
        elif kind == "split":
            numerator, denominator = action["numerator"], action["denominator"]
            if ex > holdings.session and sid in marks:
                mark = marks[sid] = (mark * denominator / numerator).quantize(TICK)
            whole = abs(shares) * numerator // denominator * (1 if shares > 0 else -1)
            left = Decimal(shares * numerator - whole * denominator) / denominator
            moved.append(Movement(sid=sid, kind="cash_in_lieu", reference=str(ex), amount=_cents(left * mark)))
            quantities[sid] = quantities.get(sid, 0) + whole - shares
            gained.setdefault(sid, []).append((ex, whole - shares))
        elif kind == "delisting":
            proceeds = quantities.pop(sid, 0) * mark * (1 + Decimal(str(action["value"] or 0.0)))
            moved.append(Movement(sid=sid, kind=kind, reference=str(ex), amount=_cents(proceeds)))
    moved = [m for m in moved if m.amount]
    return _held(holdings.session, cash + _total(moved), quantities, marks), moved


def apply_fills(holdings: Holdings, fills: Sequence[Fill]) -> tuple[Holdings, list[Movement]]:
    """The holdings after `fills` and the cash they moved: per execution what the shares cost or brought (`trade`) and the `fee`, under its exec_id."""
    quantities, marks = dict(holdings.quantities), dict(holdings.marks)
    moved: list[Movement] = []
    for fill in sorted(fills, key=lambda f: f.exec_id):
        quantities[fill.sid] = quantities.get(fill.sid, 0) + fill.side * fill.quantity
        marks.setdefault(fill.sid, fill.price)
        moved.append(Movement(sid=fill.sid, kind="trade", reference=fill.exec_id, amount=-fill.side * fill.quantity * fill.price))
        moved.append(Movement(sid=fill.sid, kind="fee", reference=fill.exec_id, amount=-fill.fee))
    moved = [m for m in moved if m.amount]
    return _held(holdings.session, holdings.cash + _total(moved), quantities, marks), moved


def mark(holdings: Holdings, session: date, closes: Mapping[int, float]) -> Holdings:
    """The holdings at the end of `session`, marked at its closes; a name without one keeps its mark."""
    marks = {sid: exact(closes[sid]) if sid in closes else old for sid, old in holdings.marks.items()}
    return _held(session, holdings.cash, holdings.quantities, marks)


def _held(session: date, cash: Decimal, quantities: Mapping[int, int], marks: Mapping[int, Decimal]) -> Holdings:
    kept = {sid: q for sid, q in sorted(quantities.items()) if q}
    return Holdings(session=session, cash=cash, quantities=kept, marks={sid: marks.get(sid, Decimal(0)) for sid in kept})


def _cents(amount: Decimal) -> Decimal:
    return amount.quantize(CENT, ROUND_HALF_UP)


def _total(moved: Iterable[Movement]) -> Decimal:
    return sum((m.amount for m in moved), Decimal(0))
