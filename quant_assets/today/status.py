"""Whether today is fine: for each stage of a session what is due, done or blocked, why, and the next command."""

from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta

import polars as pl

from quant_assets.acts import head, kept_heads, verify
from quant_assets.calendars import Cuts
from quant_assets.contract import in_force
from quant_assets.errors import NoChampion
from quant_assets.execution.outcome import came_to_nothing, in_words
from quant_assets.market_data.quality import released, session_hash
from quant_assets.models.promotion import champion
from quant_assets.ports import Audit, Breaks, KillSwitch, Store
from quant_assets.records import Book, Frozen, OrderState
from quant_assets.strategy import Strategy
from quant_assets.tables import BARS, CAPTURES, DECISIONS, NAV, VERDICTS
from quant_assets.today.done import Done

HEARTBEAT_AGE = timedelta(hours=26)


class Status(Frozen, frozen=True):
    """The answer to one question.

    `state`: done | due | waiting | blocked; `fine` is false where somebody has to act.
    """

    name: str
    question: str
    state: str
    fine: bool
    answer: str
    next_command: str = ""


class Day(Frozen, frozen=True):
    """What is asked about: a session, seen at `now`."""

    session: date
    now: datetime
    cut: datetime
    deadline: datetime

    @property
    def due(self) -> bool:
        """Whether the session's decision time has come."""
        return self.now >= self.cut


def day_status(
    store: Store,
    kill_switch: KillSwitch,
    breaks: Breaks,
    audit: Audit,
    cuts: Cuts,
    strategies: Sequence[Strategy],
    books: Sequence[tuple[Book, Done]],
    session: date,
    *,
    now: datetime,
    heartbeat: datetime | None,
) -> list[Status]:
    """The questions of `session` with their answers, in flow order.

    `books`: those that are traded, with what is done of the session; `heartbeat`: the last run's.
    """
    day = Day(session, now, cuts.of(session), cuts.trades_at(session))
    return [
        _data(store, day),
        *(_model(store, day, s, cuts) for s in strategies),
        *(_decided(store, day, s) for s in strategies),
        *(_orders(day, book, done) for book, done in books),
        *(_booked(store, day, book) for book, _ in books),
        _breaks(breaks, day, books),
        _switch(kill_switch, [book for book, _ in books]),
        _acts(store, audit),
        *(_report(day, book, done) for book, done in books),
        _heartbeat(day, heartbeat),
    ]


def _run(day: Day) -> str:
    return f"quant run daily --session {day.session}"


def _answer(
    name: str, question: str, day: Day, *, done: bool, answer: str, missing: str, command: Callable[[Day], str] = _run
) -> Status:
    """done, or else due (with the command) once the decision time has come, and waiting before."""
    if done:
        return Status(name, question, "done", fine=True, answer=answer)
    if not day.due:
        return Status(name, question, "waiting", fine=True, answer=f"due at {day.cut:%Y-%m-%d %H:%M} UTC")
    return Status(name, question, "due", fine=False, answer=missing, next_command=command(day))


def _data(store: Store, day: Day) -> Status:
    question = "Is the session's data complete and released?"
    bars = in_force(store.read(BARS, as_of=day.cut, first=day.session, last=day.session), BARS)
    captured = store.read(
        CAPTURES, as_of=day.cut, first=day.session, last=day.session, where={"dataset": "bars"}
    ).height
    ok, reason = released(
        store.read(VERDICTS, as_of=None, first=day.session, last=day.session), day.session, session_hash(bars)
    )
    if bars.height and not ok:
        return Status(
            "data",
            question,
            "blocked",
            fine=False,
            answer=f"{bars.height:,} bars, refused: {reason}",
            next_command=f"quant why {day.session}",
        )
    if day.due and not captured and _decisions(store, day).height:
        return Status(
            "data",
            question,
            "blocked",
            fine=False,
            answer="no capture was known at the decision time: nothing may trade",
            next_command=f"quant why {day.session}",
        )
    return _answer(
        "data",
        question,
        day,
        done=bool(bars.height and captured),
        answer=f"{bars.height:,} bars, released",
        missing="no capture was known at the decision time",
    )


def _decisions(store: Store, day: Day, **where: str) -> pl.DataFrame:
    return store.read(DECISIONS, as_of=None, first=day.session, last=day.session, where=where)


def _model(store: Store, day: Day, strategy: Strategy, cuts: Cuts) -> Status:
    question = f"Is {strategy.name}'s model current?"
    try:
        model = champion(store, strategy.name, day.session, day.cut)
    except NoChampion as error:
        return Status(
            f"model_{strategy.name}",
            question,
            "due",
            fine=False,
            answer=str(error),
            next_command=f"quant backfill --to {cuts.calendar.before(day.session)}",
        )
    age = cuts.calendar.age(model.session, day.session)
    fine = age <= strategy.limits.max_model_age
    return Status(
        f"model_{strategy.name}",
        question,
        "done" if fine else "due",
        fine=fine,
        answer=f"cut {model.session}, {age} sessions old, validation IC {model.metrics.ic:+.3f}",
        next_command="" if fine else "quant backfill",
    )


def _decided(store: Store, day: Day, strategy: Strategy) -> Status:
    rows = _decisions(store, day, strategy=strategy.name)
    counts = ", ".join(
        f"{r['reason'] or r['verdict']} {r['n']:,}"
        for r in rows.group_by("verdict", "reason")
        .agg(n=pl.len())
        .sort("verdict", "reason", descending=True)
        .iter_rows(named=True)
    )
    return _answer(
        f"decisions_{strategy.name}",
        f"Did {strategy.name} decide by {day.deadline:%H:%M} UTC?",
        day,
        done=rows.height > 0,
        answer=counts,
        missing="not decided",
    )


def _orders(day: Day, book: Book, done: Done) -> Status:
    name, question = f"orders_{book.name}", f"Did {book.name}'s orders reach the venue, and none fail?"
    if not book.armed:
        return Status(name, question, "done", fine=True, answer="the book is not armed")
    held = [w.order.client_order_id for w in done.orders if w.state in {OrderState.HELD, OrderState.UNKNOWN}]
    if held:
        return Status(
            name,
            question,
            "blocked",
            fine=False,
            answer=f"{len(held)} order(s) of unknown fate: {', '.join(held[:3])}",
            next_command="ask the venue, then see docs/operations.md, 'An order is HELD'",
        )
    if failed := in_words(done.failed, len(done.orders)):
        which = [w.order.client_order_id for w in done.orders if came_to_nothing(w)]
        return Status(
            name,
            question,
            "blocked",
            fine=False,
            answer=f"{failed}: {', '.join(which[:3])}",
            next_command="see docs/operations.md, 'Orders that came to nothing'",
        )
    return _delivered(name, question, day, done)


def _delivered(name: str, question: str, day: Day, done: Done) -> Status:
    """Of a book of whose orders none failed."""
    if done.decided and not done.trades:
        return Status(name, question, "done", fine=True, answer="nothing may trade, so nothing was ordered")
    if done.refused and not done.bound:
        late = day.now >= day.deadline
        return Status(
            name,
            question,
            "blocked",
            fine=False,
            answer=f"nothing was delivered{', and the open has passed' if late else ''}: {done.refused}",
            next_command=f"quant why {day.session}" if late else _run(day),
        )
    over = done.not_sent.splitlines()
    if over and not done.orders:
        return Status(
            name,
            question,
            "blocked",
            fine=False,
            answer=f"all {len(over)} order(s) were beyond the book's limits: {over[0]}",
            next_command=f"quant why {day.session}",
        )
    return _answer(
        name,
        question,
        day,
        done=done.bound and not done.waiting,
        answer=f"{len(done.orders)} orders delivered"
        + (f", {len(over)} beyond the book's limits in whole or part" if over else ""),
        missing=f"{done.waiting} order(s) wait to be sent" if done.bound else "no decision set is bound",
    )


def _booked(store: Store, day: Day, book: Book) -> Status:
    nav = store.read(NAV, as_of=None, first=day.session, last=day.session, where={"book": book.name})
    answer = f"equity {float(nav['equity'][0]):,.2f}, P&L {float(nav['pnl'][0]):+,.2f}" if nav.height else ""
    return _answer(
        f"booked_{book.name}",
        f"Are {book.name}'s positions and cash booked?",
        day,
        done=nav.height > 0,
        answer=answer,
        missing="the session is not booked",
    )


def _breaks(breaks: Breaks, day: Day, books: Sequence[tuple[Book, Done]]) -> Status:
    found = [b for book, _ in books for b in breaks.listed(book.name)]
    question = "Do our ledger and the venue agree?"
    if not found:
        compared = all(done.reconciled for _, done in books)
        return _answer(
            "breaks", question, day, done=compared, answer="no open breaks", missing="the session was not compared yet"
        )
    return Status(
        "breaks",
        question,
        "blocked",
        fine=False,
        answer=f"{len(found)} open break(s); their books trade no more",
        next_command="quant breaks list",
    )


def _switch(kill_switch: KillSwitch, books: Sequence[Book]) -> Status:
    switches = [kill_switch.state(), *(kill_switch.state(b) for b in books)]
    switch = next((s for s in switches if s.on), switches[0])
    scope = "" if switch.scope == "all" else f"--{switch.scope} "  # --account NAME, --book NAME
    question = "Is the kill switch off?"
    return Status(
        "kill_switch",
        question,
        "blocked" if switch.on else "done",
        fine=not switch.on,
        answer=f"ON{f' for {switch.scope}' if scope else ''}: {switch.reason}" if switch.on else "off",
        next_command=f"quant kill-switch off {scope}--by NAME --reason TEXT" if switch.on else "",
    )


def _acts(store: Store, audit: Audit) -> Status:
    question = "Is the record of what people did whole?"
    acts = audit.acts()
    if faults := verify(acts, kept_heads(store)):
        answer = f"{len(faults)} fault(s), the first: {faults[0].sentence}"
        return Status("acts", question, "blocked", fine=False, answer=answer, next_command="quant audit verify")
    end = head(acts)
    return Status("acts", question, "done", fine=True, answer=f"{end.acts} act(s), head {end.hash}")


def _report(day: Day, book: Book, done: Done) -> Status:
    return _answer(
        f"report_{book.name}",
        f"Is {book.name}'s morning page published?",
        day,
        done=done.published,
        answer="published",
        missing="no page",
        command=_run,
    )


def _heartbeat(day: Day, beat: datetime | None) -> Status:
    question = "Did a run finish lately?"
    if beat is None:
        return Status(
            "heartbeat",
            question,
            "waiting",
            fine=not day.due,
            answer="no run has finished yet",
            next_command="quant run daily",
        )
    fine = day.now - beat <= HEARTBEAT_AGE or beat >= day.cut
    return Status(
        "heartbeat",
        question,
        "done" if fine else "due",
        fine=fine,
        answer=f"last at {beat:%Y-%m-%d %H:%M} UTC",
        next_command="" if fine else "quant run daily",
    )
