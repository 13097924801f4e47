"""What the venue changed its mind about: executions that it busts or corrects, and fees that it restates.

A trade is an execution with everything that corrects it, by its own exec_id or restated under the same one. Of its
versions one is in force: the last link of the chain of corrections, of several the latest. What is booked of a trade
and is no longer in force is reversed by an entry, and the version in force is booked under an id of its own. One that
was corrected before it was booked moves nothing, and is kept all the same: it says which trade its correction is of. So
the order in which reports arrive makes no difference to what the entries add up to.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple

import msgspec

from quant_assets.records import REVERSAL, VERSION, Commission, Execution, Fill, Frozen

TERMS = ("client_order_id", "sid", "side", "quantity", "price")  # another one of these is another version


class Step(Frozen, frozen=True):
    """What to book of a trade: the fills to reverse, and the version in force, under `exec_id`.

    `version` is None where the one in force is booked already. `passed`: the corrections that were corrected before
    they were booked, first links first, to be kept without a quantity.
    """

    reverse: tuple[Fill, ...]
    version: Execution | None
    exec_id: str = ""
    corrects: str = ""
    passed: tuple[Execution, ...] = ()


class _Rank(NamedTuple):
    depth: int
    ts: datetime
    exec_id: str


def effective(booked: Iterable[Fill]) -> dict[str, Fill]:
    """The fills that no entry reversed, by the exec_id under which the venue reports them."""
    fills = [f for f in booked if f.quantity]
    reversed_ids = {f.corrects for f in fills if f.reverses}
    return {f.reported_as: f for f in fills if not f.reverses and f.exec_id not in reversed_ids}


def in_force(reported: Iterable[Execution]) -> dict[str, Execution]:
    """The executions that the venue holds to be true, by exec_id: neither corrected by another one, nor a bust."""
    latest = {e.exec_id: e for e in reported}
    trades = _trades({e.exec_id: e.corrects for e in latest.values()})
    chosen = [max(_ranked(latest, depths), default=None) for depths in trades.values()]
    return {rank.exec_id: latest[rank.exec_id] for rank in chosen if rank and latest[rank.exec_id].quantity}


def steps(reported: Sequence[Execution], booked: Sequence[Fill]) -> list[Step]:
    """What is to be booked of the trades that were reported; nothing where the books have them as they are.

    `booked`: all that is booked of these trades.
    """
    latest = {e.exec_id: e for e in reported}  # of repetitions the last
    versions = _versions(booked)
    current = effective(booked)
    first = {f.exec_id: f.corrects for f in booked if f.exec_id == f.reported_as and not f.reverses}
    parents = first | {e.exec_id: e.corrects or first.get(e.exec_id, "") for e in latest.values()}
    found: list[Step] = []
    for depths in _trades(parents).values():
        known = {name: versions[name] for name in depths if name in versions}
        new = {n: latest[n] for n in depths if n in latest and not (n in known and same(known[n], latest[n]))}
        ranks = _ranked({**known, **new}, depths)
        if ranks:
            name = max(ranks).exec_id
            step = _step(name, known, new, latest, [current[n] for n in depths if n in current])
            unseen = sorted((n for n in new if n not in known and n != name), key=lambda n: (depths[n], n))
            passed = tuple(latest[n] for n in unseen if latest[n].corrects)
            found.append(msgspec.structs.replace(step, passed=passed))
    return [s for s in found if s.reverse or s.version or s.passed]


def same(fill: Fill, execution: Execution) -> bool:
    """Whether a booked fill is what the venue reports, fees apart."""
    return all(getattr(fill, term) == getattr(execution, term) for term in TERMS)


def _step(
    name: str,
    known: Mapping[str, Fill],
    new: Mapping[str, Execution],
    latest: Mapping[str, Execution],
    held: list[Fill],
) -> Step:
    """The step to the version of the trade that the venue calls `name`. `held`: the fills in force in our books."""
    booked = known.get(name)
    if name not in new and booked is not None and (booked in held or not booked.quantity or name not in latest):
        return Step(reverse=tuple(f for f in held if f != booked), version=None)
    exec_id = name if booked is None else f"{name}{VERSION}{_number(booked) + 1}"
    corrects = latest[name].corrects if booked is None else booked.exec_id
    return Step(reverse=tuple(held), version=latest[name], exec_id=exec_id, corrects=corrects)


def _versions(booked: Iterable[Fill]) -> dict[str, Fill]:
    """Of each execution the version that was booked last, by the exec_id under which the venue reports it."""
    ordered = sorted((f for f in booked if not f.reverses), key=_number)
    return {f.reported_as: f for f in ordered}


def _number(fill: Fill) -> int:
    return 1 if fill.exec_id == fill.reported_as else int(fill.exec_id.rpartition(VERSION)[2])


def _trades(parents: Mapping[str, str]) -> dict[str, dict[str, int]]:
    """The trades by their first execution: the executions of each, with how many others each one corrects."""
    trades: dict[str, dict[str, int]] = defaultdict(dict)
    for name in sorted(parents):
        line = [name]
        while (parent := parents.get(line[-1], "")) and parent not in line:
            line.append(parent)
        closed = parents.get(line[-1], "") in line  # executions that correct each other in a circle
        trades[min(line) if closed else line[-1]][name] = len(line) - 1
    return trades


def _ranked(known: Mapping[str, Execution | Fill], depths: Mapping[str, int]) -> list[_Rank]:
    return [_Rank(depth, known[name].ts, name) for name, depth in depths.items() if name in known]


def reversal(fill: Fill, charged: Decimal, session: date) -> Fill:
    """The entry of `session` that takes a booked fill back, with the fee that was charged on it."""
    return msgspec.structs.replace(
        fill, exec_id=fill.exec_id + REVERSAL, corrects=fill.exec_id, side=-fill.side, fee=-charged, session=session
    )


def charged_on(fills: Iterable[Fill], fees: Iterable[Commission]) -> dict[str, Decimal]:
    """The fee of each booked fill by exec_id: what came with it and what came apart."""
    charged = {f.exec_id: f.fee for f in fills}
    for fee in fees:
        charged[fee.execution] = charged.get(fee.execution, Decimal(0)) + fee.fee
    return charged


def fee_entries(stated: Mapping[str, Decimal], booked: Sequence[Fill], fees: Sequence[Commission]) -> list[Commission]:
    """What is to be booked so that each execution is charged what the venue states, by its exec_id.

    A fee that comes before its execution is booked as it is; one on an execution that is not in force is none.
    """
    current, charged = effective(booked), charged_on(booked, fees)
    known = {f.reported_as for f in booked}
    found: list[Commission] = []
    for name in sorted(stated):
        if name in known and name not in current:
            continue
        fill = current.get(name)
        exec_id = name if fill is None else fill.exec_id
        difference = stated[name] - charged.get(exec_id, Decimal(0))
        earlier = sum(c.execution == exec_id for c in fees) + bool(fill and fill.fee)
        if difference and earlier:
            found.append(Commission(exec_id=f"{exec_id}~fee{earlier + 1}", fee=difference, corrects=exec_id))
        elif difference:
            found.append(Commission(exec_id=exec_id, fee=difference))
    return found
