"""A session is done when stored rows say so: never because a file is there."""

import shutil
import sqlite3
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from desk.day import clock_of, ports, status, what_is_done
from desk.workspace import Workspace
from jobs.left import left
from jobs.live import Exit, Step, due, outcome
from quant_assets import chain
from quant_assets.errors import OrderRejected
from quant_assets.post_trade.report import page_name, range_report
from quant_assets.records import Book, Order, OrderState
from resources.brokers.paper import PaperBroker
from resources.clock import SessionClock
from tests.jobs.small import CUTS, LIVE, PAPER, RESEARCH, STRATEGY, deployment, live, workspace

DAY = LIVE[4]
"""A session in which nothing is wrong with the data."""


@pytest.fixture
def ws(by_day: Path, tmp_path: Path) -> Workspace:
    """A home in which everything up to the session before `DAY` was run."""
    return workspace(Path(shutil.copytree(by_day.with_name(f"{by_day.name}-{DAY}"), tmp_path / "home")))


def stages(ws: Workspace, first: str, last: str) -> None:
    """A part of `DAY`."""
    given = {**ports(ws, clock_of(ws, DAY)), "sessions": [DAY], "run_id": ""}
    list(chain.run(chain.between(first, last), given))


def by_the_wall(ws: Workspace, after: timedelta) -> Workspace:
    """The same home on the system's clock, so long after the cut of `DAY`."""
    wall = workspace(ws.home, msgspec.structs.replace(deployment(), clock="system"))
    wall.clock = SessionClock(CUTS.of(DAY) + after)
    return wall


def sends_nothing(*_: object, **__: object) -> int:
    """A process that is killed between the commit and the send."""
    return 0


def forget(ws: Workspace, where: str = "") -> None:
    """Delete facts from the ledger."""
    with sqlite3.connect(ws.home / "ledger.sqlite") as ledger:
        ledger.execute(f"DELETE FROM facts {where}")


def answer(ws: Workspace, name: str, after: timedelta = timedelta(0)) -> tuple[str, bool, str]:
    """State, whether it is fine, and the answer to one question on `DAY`."""
    (found,) = (s for s in status(ws, DAY, CUTS.of(DAY) + after) if s.name == name)
    return found.state, found.fine, found.answer


def test_the_jobs_of_a_day_become_done_one_after_another(ws: Workspace) -> None:
    """Each job is due until its rows are stored, and the session no more once all are."""
    assert left(ws, [DAY]) == {DAY: "daily"}
    stages(ws, "market_data", "decisions")
    assert left(ws, [DAY]) == {DAY: "deliver"}
    stages(ws, "orders", "orders")
    assert left(ws, [DAY]) == {DAY: "post_trade"}
    stages(ws, "costs", "report")
    assert left(ws, [DAY]) == {}
    assert due(ws, None) == [LIVE[5]]


def test_no_file_makes_a_day_done(ws: Workspace) -> None:
    """Pages of another book, of a range, of a model's drift, and one of the right name that nothing published: the
    session is still to be delivered, and `today` finds no page.
    """
    stages(ws, "market_data", "decisions")
    other = Book(name="paper_eu", strategy="small", account="P2", capital=Decimal(1000), broker="paper")
    for name in (page_name(PAPER, DAY), page_name(other, DAY), f"drift_{STRATEGY.name}_{DAY}.html"):
        (ws.reports / name).write_text("x")
    range_report(ws.store, PAPER, LIVE[0], DAY, folder=ws.reports)
    assert left(ws, [DAY]) == {DAY: "deliver"}
    assert answer(ws, "report_paper")[:2] == ("due", False)
    assert answer(ws, "orders_paper")[:2] == ("due", False)


def test_a_page_that_is_deleted_is_published_again(ws: Workspace) -> None:
    """Only the report is left; publishing it sends nothing and writes the same page."""
    live(ws, [DAY])
    page = ws.reports / page_name(PAPER, DAY)
    content, sent = page.read_bytes(), ws.ledger.outbox.orders(PAPER.name)
    page.unlink()
    assert left(ws, LIVE[:5]) == {DAY: "post_trade"}
    assert answer(ws, "report_paper")[:2] == ("due", False)
    stages(ws, "costs", "report")
    assert (page.read_bytes(), ws.ledger.outbox.orders(PAPER.name)) == (content, sent)
    assert left(ws, LIVE[:5]) == {}


def test_another_book_is_another_question(ws: Workspace) -> None:
    """A book that was added is not done because one whose name begins like its own is."""
    live(ws, [DAY])
    other = Book(name="paper_eu", strategy="small", account="P2", capital=Decimal(1000), broker="paper")
    both = workspace(ws.home, msgspec.structs.replace(deployment(), books=(PAPER, other)))
    assert left(both, [DAY]) == {DAY: "daily"}
    assert what_is_done(both, [DAY])["paper"][DAY].next_job is None


def test_a_refusal_before_the_open_is_tried_again(ws: Workspace) -> None:
    """While the switch is on the session stays due; off again, the next run delivers what was decided."""
    stages(ws, "market_data", "decisions")
    ws.ledger.kill_switch.set(on=True, by="ops", reason="drill", now=CUTS.of(DAY))
    stages(ws, "orders", "report")
    assert left(ws, [DAY]) == {DAY: "deliver"}
    state, fine, text = answer(ws, "orders_paper")
    assert (state, fine) == ("blocked", False)
    assert "KILL_SWITCH: drill" in text
    ws.ledger.kill_switch.set(on=False, by="ops", reason="over", now=CUTS.of(DAY))
    stages(ws, "orders", "report")
    assert left(ws, [DAY]) == {}
    assert {w.state for w in ws.ledger.outbox.orders(PAPER.name, since=DAY)} == {OrderState.ACKED}


def test_what_was_not_delivered_before_its_open_expires_and_says_so(ws: Workspace) -> None:
    """Nobody ran the delivery in time: the next run sends nothing, records why, and the day is not fine."""
    wall = by_the_wall(ws, timedelta(0))
    stages(wall, "market_data", "decisions")
    late = by_the_wall(ws, timedelta(hours=1))
    assert left(late, [DAY]) == {DAY: "deliver"}
    stages(late, "orders", "report")
    assert left(late, [DAY]) == {}
    assert ws.ledger.outbox.orders(PAPER.name, since=DAY) == []
    state, fine, text = answer(late, "orders_paper", timedelta(hours=1))
    assert (state, fine) == ("blocked", False)
    assert "nothing was delivered, and the open has passed: EXPIRED" in text


def test_orders_that_wait_expire_at_their_open(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the commit and the send: after the open the orders expire unsent, counted and not fine, with
    one notice.
    """
    wall = by_the_wall(ws, timedelta(0))
    stages(wall, "market_data", "decisions")
    with monkeypatch.context() as patch:
        patch.setattr("quant_assets.execution.delivery.send", sends_nothing)
        stages(wall, "orders", "orders")
    assert left(wall, [DAY]) == {DAY: "deliver"}
    late = by_the_wall(ws, timedelta(hours=1))
    stages(late, "orders", "report")
    orders = ws.ledger.outbox.orders(PAPER.name, since=DAY)
    assert {w.state for w in orders} == {OrderState.EXPIRED}
    assert left(late, [DAY]) == {}
    state, fine, text = answer(late, "orders_paper", timedelta(hours=1))
    assert (state, fine) == ("blocked", False)
    assert f"of {len(orders)} order(s) {len(orders)} expired" in text
    assert (ws.home / "notifications.jsonl").read_text().count("expired unsent") == 1


def test_a_day_whose_orders_are_rejected_is_not_fine(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The venue rejects every order: the delivery says how many, the exit code is 20, and one notice lists them. What
    a rejected sale was to make room for is not sent, and counted too.
    """

    def reject(_: PaperBroker, order: Order) -> str:
        raise OrderRejected(f"no {order.symbol} today")

    monkeypatch.setattr(PaperBroker, "submit", reject)
    reports = {r.stage: r for r in live(ws, [DAY])}
    report = reports["deliver"]
    rejected, unsent = int(report.numbers["rejected"]), int(report.numbers["canceled"])
    assert (report.rows, report.state) == (rejected + unsent, "refused")
    assert min(rejected, unsent) > 0
    assert report.reason == f"of {report.rows} order(s) {rejected} rejected, {unsent} canceled"
    assert outcome([Step("deliver", DAY, {"orders": report.metadata()})]) is Exit.BLOCKED
    assert answer(ws, "orders_paper")[:2] == ("blocked", False)
    assert left(ws, [DAY]) == {}
    (line,) = [n for n in (ws.home / "notifications.jsonl").read_text().splitlines() if "rejected" in n]
    assert f"{rejected} order(s) were rejected" in line
    assert line.count(" today") == rejected


@pytest.mark.parametrize("failed", ["rejected", "expired", "canceled", "held", "unsure"])
def test_one_order_that_came_to_nothing_is_enough(failed: str) -> None:
    """Of a delivery that is done otherwise."""
    metadata = {"state": "done", "orders": 21, failed: 1}
    assert outcome([Step("deliver", DAY, {"orders": metadata})]) is Exit.BLOCKED
    assert outcome([Step("deliver", DAY, {"orders": metadata | {failed: 0}})]) is Exit.DONE


def test_nothing_beyond_the_clock_is_due(ws: Workspace) -> None:
    """On the system's clock a source may declare a last session in the future: what is due ends with the clock."""
    wall = by_the_wall(ws, timedelta(minutes=1))
    assert wall.span[1] is not None
    assert wall.span[1] > DAY
    assert due(wall, None) == [DAY]
    live(wall, [DAY])
    assert due(wall, None) == []


def test_research_books_alone_are_done_when_decided(ws: Workspace) -> None:
    """Nothing is traded, so what is decided is done."""
    alone = workspace(ws.home, msgspec.structs.replace(deployment(), books=(RESEARCH,)))
    assert due(alone, None) == [DAY]
    live(alone, [DAY])
    assert due(alone, None) == [LIVE[5]]


def test_a_home_of_an_earlier_release_is_not_run_again(ws: Workspace) -> None:
    """Where no facts are recorded, a session that another was booked after is done; the last one is looked at."""
    forget(ws)  # as the migration leaves it
    assert list(left(ws, LIVE[:4])) == [LIVE[3]]


def test_the_first_session_without_facts_is_no_earlier_release(ws: Workspace) -> None:
    """A session whose facts are missing while one before it has some is looked at, however much was booked since."""
    forget(ws, f"WHERE session = '{LIVE[1]}'")
    assert list(left(ws, LIVE[:4])) == [LIVE[1]]
