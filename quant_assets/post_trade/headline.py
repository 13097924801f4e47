"""Is today fine? Each question has one answer: ok, warn (somebody looks) or bad (something is broken), with its
numbers.
"""

import polars as pl

from quant_assets.post_trade.sections import BreakRows, Facts
from quant_assets.records import Frozen, OrderState
from quant_assets.signals.guardrails import REASONS, TRADE

_UNSETTLED = [s.value for s in (OrderState.PENDING, OrderState.SUBMITTING, OrderState.UNKNOWN, OrderState.HELD)]


class Answer(Frozen, frozen=True):
    """What one question came to."""

    question: str
    level: str  # ok | warn | bad
    text: str


def answers(facts: Facts, breaks: BreakRows) -> list[Answer]:
    """The questions of a session or range, in the order of the flow."""
    return [_data(facts), _decisions(facts), _orders(facts), _booked(facts), _matches(facts, breaks)]


def overall(found: list[Answer]) -> Answer:
    """The worst answer, in a sentence."""
    bad, warn = ([a.question for a in found if a.level == level] for level in ("bad", "warn"))
    if bad:
        return Answer(
            question="Not fine",
            level="bad",
            text=f"{_joined(bad)} {'needs' if len(bad) == 1 else 'need'} somebody now.",
        )
    if warn:
        return Answer(
            question="Fine, with a remark",
            level="warn",
            text=f"Nothing is broken; {_joined(warn)} should be looked at.",
        )
    return Answer(
        question="All is fine",
        level="ok",
        text="Data judged, decisions made, orders settled, the books add up and match.",
    )


def _joined(words: list[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def _data(facts: Facts) -> Answer:
    judged = facts.verdicts["session"].unique()
    failed = facts.verdicts.filter(~pl.col("passed"))
    errors = failed.filter(pl.col("severity") == "block")
    missing = facts.nav.filter(~pl.col("session").is_in(judged.implode()))["session"]
    if judged.is_empty() or missing.len():
        absent = (
            f"{missing[0]}" if missing.len() == 1 else f"{missing.len()} sessions" if missing.len() else f"{facts.last}"
        )
        return Answer(question="Data", level="bad", text=f"No quality verdict is stored for {absent}.")
    rules = f"{facts.verdicts.height - failed.height} of {facts.verdicts.height} rules passed"
    held_back = (
        f", {facts.quarantine.height:,} row{'' if facts.quarantine.height == 1 else 's'} in quarantine"
        if facts.quarantine.height
        else ""
    )
    level = "bad" if errors.height else "warn" if failed.height else "ok"
    return Answer(question="Data", level=level, text=f"{rules}{held_back}.")


def _decisions(facts: Facts) -> Answer:
    if facts.decisions.is_empty():
        return Answer(question="Decisions", level="bad", text="None was made.")
    trading = facts.decisions.filter(pl.col("verdict") == TRADE)
    idle = facts.decisions.filter(~pl.col("session").is_in(trading["session"].unique().implode()))
    refused = facts.decisions.height - trading.height
    others = f"; {facts.other_sets} other set(s) computed since, not traded" if facts.other_sets else ""
    if trading.is_empty():
        reason = str(idle["reason"].mode().sort()[0])
        return Answer(
            question="Decisions", level="bad", text=f"Nothing may be traded: {REASONS.get(reason, reason)}{others}."
        )
    gone = f"; {idle['session'].n_unique()} session(s) without trading" if idle.height else ""
    return Answer(
        question="Decisions",
        level="warn" if idle.height or facts.other_sets else "ok",
        text=f"{trading.height:,} of {facts.decisions.height:,} may trade, {refused:,} refused with a "
        f"reason{gone}{others}.",
    )


def _orders(facts: Facts) -> Answer:
    last = facts.orders.sort("session").unique("client_order_id", keep="last", maintain_order=True)
    if last.is_empty():
        return Answer(question="Orders", level="ok", text="None was due.")
    unsettled = last.filter(pl.col("state").is_in(_UNSETTLED))
    whole = last.filter(pl.col("filled") == pl.col("quantity")).height
    working = last.filter(pl.col("state").is_in([OrderState.ACKED.value, OrderState.PARTIAL.value])).height
    text = f"{whole:,} of {last.height:,} filled whole" + (f", {working:,} still working" if working else "")
    if unsettled.height:
        return Answer(
            question="Orders",
            level="bad",
            text=f"{text}; of {unsettled.height:,} nobody knows what the venue holds, or they never left.",
        )
    refused = last.filter(pl.col("state") == OrderState.REJECTED.value).height
    return Answer(
        question="Orders",
        level="warn" if refused else "ok",
        text=f"{text}, {refused:,} rejected." if refused else f"{text}.",
    )


def _booked(facts: Facts) -> Answer:
    if facts.cut is None:
        return Answer(question="Books", level="bad", text=f"{facts.last} is not booked.")
    by_name = dict(facts.pnl.group_by("session").agg(pl.col("total").sum()).iter_rows())
    wrong = [s for s, pnl in facts.nav.select("session", "pnl").iter_rows() if by_name.get(s, 0) != pnl]
    if wrong:
        return Answer(
            question="Books", level="bad", text=f"P&L by name does not add up to the change of equity on {wrong[0]}."
        )
    return Answer(question="Books", level="ok", text="P&L by name adds up to the change of equity, to the last digit.")


def _matches(facts: Facts, breaks: BreakRows) -> Answer:
    if facts.book.research:
        return Answer(question="Reconciliation", level="ok", text="A research book: there is no venue to compare with.")
    if facts.cut is None and not breaks:
        return Answer(question="Reconciliation", level="warn", text="Not compared: the session is not booked.")
    if breaks:
        return Answer(
            question="Reconciliation",
            level="bad",
            text=f"{len(breaks)} open break{'' if len(breaks) == 1 else 's'}; the book trades no more until "
            "they are resolved.",
        )
    return Answer(
        question="Reconciliation",
        level="ok",
        text="No open break: positions, cash, orders and fills match the venue's record.",
    )
