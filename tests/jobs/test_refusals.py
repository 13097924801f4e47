"""What may not be traded is not, in this run or a later one, and the record says why."""

import shutil
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path

import msgspec
import polars as pl
import pytest

from desk.day import clock_of, ports
from desk.workspace import Workspace
from quant_assets import chain
from quant_assets.errors import ExecutionError
from quant_assets.market_data import quality
from quant_assets.ports import MarketDataSource
from quant_assets.records import Capture, Order, StageReport
from quant_assets.signals.why import why
from quant_assets.tables import DECISIONS
from tests.jobs.small import CUTS, LIVE, PAPER, STRATEGY, deliver_at, live, workspace

GOOD = LIVE[4]  # a session in which nothing is wrong with the data
Before = Callable[[date], Workspace]


@pytest.fixture
def before(by_day: Path, tmp_path: Path) -> Before:
    """`before(session)`: a home in which everything up to the session before was run."""
    return lambda session: workspace(
        Path(shutil.copytree(by_day.with_name(f"{by_day.name}-{session}"), tmp_path / "home"))
    )


def sent(ws: Workspace, session: date) -> int:
    """Orders decided in `session` that are in the outbox or at the venue."""
    ours = {w.order.client_order_id for w in ws.ledger.outbox.orders(PAPER.name) if w.order.decided == session}
    theirs = [o for o in ws.brokers.open(PAPER).events(None).orders if o.client_order_id in ours]
    return max(len(ours), len(theirs))


def refused(reports: list[StageReport], reason: str) -> bool:
    """Whether delivery was refused for `reason`."""
    (delivery,) = (r for r in reports if r.stage == "deliver")
    return (delivery.state, delivery.reason.split(":")[0]) == ("refused", reason)


def said(ws: Workspace, session: date) -> tuple[set[str], str]:
    """The reasons that `why` gives for a session, and its texts."""
    rows = why(ws.store, STRATEGY.name, session)
    return set(rows["reason"]), " ".join(rows["text"])


def run_stages(ws: Workspace, first: str, last: str) -> list[StageReport]:
    """A part of the day `GOOD`."""
    given = {**ports(ws, clock_of(ws, GOOD)), "sessions": [GOOD], "run_id": ""}
    return list(chain.run(chain.between(first, last), given))


@pytest.mark.parametrize(
    ("kind", "reason", "text"),
    [
        ("missing", "DATA_MISSING", "not arrived since"),
        ("late", "DATA_MISSING", "too late"),
        ("thin", "DATA_THIN", "too few members"),
    ],
)
def test_bad_captures_are_no_trade(by_day: Path, kind: str, reason: str, text: str):
    """A session whose capture the vendor lost, sent late or sent thin is NO_TRADE for every name, with that reason,
    and nothing of it was ordered.
    """
    ws = workspace(by_day)
    plan = ws.source.truth.captures.filter(pl.col("label").is_between(LIVE[0], LIVE[-1]), pl.col("kind") == kind)
    assert plan.height == 1
    session = plan["label"][0]
    rows = ws.store.read(DECISIONS, as_of=None, first=session, last=session)
    assert set(rows["verdict"]) == {"NO_TRADE"}
    reasons, texts = said(ws, session)
    assert reasons == {reason}
    assert text in texts
    assert sent(ws, session) == 0
    assert sent(ws, CUTS.calendar.shift(session, 1)) > 0


class Stale:
    """The source, but a capture in which every price repeats the session before."""

    def __init__(self, source: MarketDataSource, session: date) -> None:
        self._source = source
        self._session = session
        self.name = source.name
        self.labels = source.labels
        self.fingerprints = source.fingerprints

    def fetch(self, label: date) -> Capture:
        """See the port."""
        capture = self._source.fetch(label)
        if label != self._session:
            return capture
        yesterday = capture.prices.filter(pl.col("session") < self._session)
        today = yesterday.with_columns(
            pl.lit(self._session).alias("session"), pl.col("volume") + 1, pl.col("line") + 1000
        )
        return msgspec.structs.replace(capture, prices=pl.concat([yesterday, today]))


def test_failed_verdict(before: Before):
    """Prices that repeat the session before fail a blocking rule: NO_TRADE, nothing is delivered, now or when the
    day is run again, and `why` names the rule.
    """
    good = before(GOOD)
    ws = workspace(good.home, source=Stale(good.source, GOOD))
    for _ in range(2):
        assert refused(live(ws, [GOOD]), "DATA")
    reasons, texts = said(ws, GOOD)
    assert reasons == {"DATA_VERDICT_FAILED"}
    assert "repeat the session before" in texts
    assert sent(ws, GOOD) == 0


def test_missing_verdict(before: Before, monkeypatch: pytest.MonkeyPatch):
    """Rows that nobody judged are not traded; judged later, they are not traded either, for the set that was
    decided first binds.
    """
    ws = before(GOOD)
    with monkeypatch.context() as patch:
        patch.setattr(
            quality,
            "write_verdicts",
            lambda *_, **__: StageReport(stage="quality", first=GOOD, last=GOOD, state="done"),
        )
        assert refused(live(ws, [GOOD]), "DATA")
    later = live(ws, [GOOD])
    assert next(r for r in later if r.stage == "quality").rows > 0
    assert next(r for r in later if r.stage == "deliver").state != "done"
    reasons, texts = said(ws, GOOD)
    assert reasons == {"DATA_NO_VERDICT"}
    assert "no quality verdict" in texts
    assert sent(ws, GOOD) == 0


def test_kill_switch_before_the_day(before: Before):
    """With the switch on nothing leaves and every decision says so; off again, the session stays as it was decided."""
    ws = before(GOOD)
    ws.ledger.kill_switch.set(on=True, by="ops", reason="drill", now=CUTS.of(GOOD))
    assert refused(live(ws, [GOOD]), "KILL_SWITCH")
    assert said(ws, GOOD)[0] == {"KILL_SWITCH"}
    assert "drill" in ws.store.read(DECISIONS, as_of=None, first=GOOD, last=GOOD)["detail"][0]
    ws.ledger.kill_switch.set(on=False, by="ops", reason="over", now=CUTS.of(GOOD))
    live(ws, [GOOD])
    assert sent(ws, GOOD) == 0
    recorded = (
        ws.store.read(DECISIONS, as_of=None, first=GOOD, last=GOOD)
        .select("recorded_at", "reason")
        .unique()
        .sort("recorded_at")
    )
    assert recorded["reason"][0] == "KILL_SWITCH"
    assert recorded["recorded_at"].n_unique() == 2


def test_kill_switch_after_the_decisions(before: Before):
    """Switched on between decisions and delivery, nothing leaves; off again before the open, the same decisions are
    delivered.
    """
    ws = before(GOOD)
    run_stages(ws, "market_data", "decisions")
    ws.ledger.kill_switch.set(on=True, by="ops", reason="drill", now=CUTS.of(GOOD))
    assert refused(run_stages(ws, "orders", "report"), "KILL_SWITCH")
    assert "SELECTED" in said(ws, GOOD)[0]
    assert sent(ws, GOOD) == 0
    ws.ledger.kill_switch.set(on=False, by="ops", reason="over", now=CUTS.of(GOOD))
    assert deliver_at(ws, GOOD, CUTS.of(GOOD)).state == "done"
    assert sent(ws, GOOD) > 0


def test_expired(before: Before):
    """Decisions whose open has come are not delivered."""
    ws = before(GOOD)
    run_stages(ws, "market_data", "decisions")
    at_the_open = CUTS.calendar.open(CUTS.calendar.shift(GOOD, 1))
    report = deliver_at(ws, GOOD, at_the_open)
    assert refused([report], "EXPIRED")
    assert sent(ws, GOOD) == 0


def test_open_break_blocks_until_a_person_resolves_it(before: Before):
    """An order at the venue that we never sent is a break: the book sends nothing until somebody, by name, has
    resolved it.
    """
    ws = before(GOOD)
    stray = Order(
        client_order_id="stray",
        book=PAPER.name,
        strategy=STRATEGY.name,
        decided=GOOD,
        session=GOOD,
        good_till=GOOD,
        slot="open",
        sid=1,
        leg="rebalance",
        symbol="STRAY",
        side=1,
        quantity=1,
        reference_price=Decimal(1),
        decision_id="",
    )
    ws.brokers.open(PAPER).submit(stray)
    for _ in range(2):
        assert refused(live(ws, [GOOD]), "OPEN_BREAKS")
    (found,) = ws.ledger.breaks.listed(PAPER.name)
    assert (found["kind"], found["subject"]) == ("order", "stray")
    assert "new break" in (ws.home / "notifications.jsonl").read_text()
    with pytest.raises(ExecutionError, match="say who"):
        ws.ledger.breaks.resolve(found["break_id"], by=" ", reason="typed by hand", now=CUTS.of(GOOD))
    assert refused(live(ws, [GOOD]), "OPEN_BREAKS")
    ws.ledger.breaks.resolve(found["break_id"], by="ops", reason="typed by hand at the venue", now=CUTS.of(GOOD))
    assert not refused(live(ws, [GOOD]), "OPEN_BREAKS")
    assert sent(ws, GOOD) > 0
