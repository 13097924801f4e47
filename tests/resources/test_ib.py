"""The IB source, with the real client, against a TWS on loopback that speaks its socket protocol."""

import gc
import os
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import polars as pl
import pytest

from quant_assets.calendars import calendar
from quant_assets.errors import CaptureUnreadable, ConfigurationError
from quant_assets.market_data.datasets import dataset
from quant_assets.market_data.derivation import derive, pairs
from quant_assets.market_data.observations import screen
from quant_assets.records import Capture
from resources.sources.ib import IbFeed, InteractiveBrokers, adjusted_then
from resources.sources.retry import Pause, Retry
from resources.sources.tws import Pacing, least
from tests.stubs.sources import SESSIONS, ib_bars, ib_minutes, listing, minutes
from tests.stubs.tws import PACING, POSITIONS, Fault, Tws
from tests.stubs.wall import Wall

pytest.importorskip("ib_async")
XNYS = calendar("XNYS")
EVENING = datetime(2024, 5, 2, 22, tzinfo=UTC)
LAST = date(2024, 5, 2)
Make = Callable[..., InteractiveBrokers]


@pytest.fixture
def wall() -> Wall:
    return Wall(EVENING)


@pytest.fixture
def tws(wall: Wall) -> Iterator[Tws]:
    listed = {
        "AAPL": [listing(1, [100.0, 101.0, 102.0, 103.0, 104.0, 105.0])],
        "MSFT": [listing(2, [50.0, 51.0, 52.0, 53.0, 54.0, 55.0])],
    }
    with Tws(listed, now=wall.now, monotonic=lambda: wall.passed) as stub:
        yield stub


@pytest.fixture
def make(tws: Tws, wall: Wall, tmp_path: Path) -> Make:
    def build(
        symbols: tuple[str, ...] = ("AAPL",), pause: Pause | None = None, attempts: int = 6, **feed: object
    ) -> InteractiveBrokers:
        fields = {"port": tws.port, "timeout": 20.0, **feed}
        return InteractiveBrokers(
            IbFeed(symbols, date(2024, 4, 29), **fields),
            XNYS,
            tmp_path,
            wall,
            retry=Retry(attempts=attempts, first=5.0),
            pause=pause or wall.pause,
        )  # type: ignore[arg-type]

    return build


def wait_for(what: Callable[[], bool]) -> bool:
    for _ in range(1000):
        if what():
            return True
        time.sleep(0.01)  # another thread's turn
    return False


def closes(capture: Capture) -> list[tuple[str, date, float, float | None]]:
    return capture.prices.select("symbol", "session", "close", "adj_close").rows()


def test_a_daily_capture_is_a_session_and_the_one_before(make: Make, tws: Tws) -> None:
    """Each symbol's bar of the session and of the session before, raw, with origin; known an hour after the close, as
    an assumption.
    """
    capture = make(("AAPL", "MSFT")).fetch(LAST)
    assert closes(capture) == [
        (s, d, p, p)
        for s, p0 in (("AAPL", 104.0), ("MSFT", 54.0))
        for d, p in ((SESSIONS[4], p0), (SESSIONS[5], p0 + 1))
    ]
    assert capture.prices.select("file", "line").rows()[:2] == [
        ("ib/AAPL/1d/2024-05-02..2024-05-02", 1),
        ("ib/AAPL/1d/2024-05-02..2024-05-02", 2),
    ]
    assert (capture.known_at, capture.assumed, capture.dataset) == (datetime(2024, 5, 2, 21, tzinfo=UTC), True, "bars")
    assert [(a.symbol, a.what, a.end, a.duration, a.regular) for a in tws.asked] == [
        (s, w, "", "3 D", True) for s in ("AAPL", "MSFT") for w in ("TRADES", "ADJUSTED_LAST")
    ]


def test_a_backfill_asks_once_for_all_its_sessions(make: Make, tws: Tws) -> None:
    """The first session's request brings those after it; then nothing is asked any more, not even a connection made."""
    source = make()
    found = [source.fetch(s) for s in source.labels()]
    assert [c.label for c in found] == SESSIONS[2:]
    assert len(tws.asked) == 2
    assert len(tws.clients) == 1
    again = [make().fetch(s) for s in source.labels()]
    assert len(tws.clients) == 1
    assert all(a.sha256 == b.sha256 and a.prices.equals(b.prices) for a, b in zip(found, again, strict=True))


def test_the_bar_of_the_running_session_is_not_delivered(make: Make, tws: Tws, wall: Wall) -> None:
    """TWS sends today's bar while it is open; today has no label before it can be known, and no earlier request keeps
    it.
    """
    wall.start = datetime(2024, 5, 2, 18, tzinfo=UTC)
    source = make()
    assert source.labels()[-1] == date(2024, 5, 1)
    with pytest.raises(CaptureUnreadable, match="once it can be known"):
        source.fetch(LAST)
    source.fetch(date(2024, 4, 29))
    tws.listings["AAPL"][0].series["TRADES", "1 day"][-1] = (LAST, 104.0, 110.0, 103.0, 109.0, 5000.0)  # type: ignore[index]
    wall.start = EVENING
    assert closes(make().fetch(LAST))[-1][2] == 109.0


def test_ibs_own_clock_counts_too(make: Make, tws: Tws, wall: Wall) -> None:
    """Where this machine's clock runs ahead, the session is not over at IB."""
    tws.now = lambda: wall.now() - timedelta(hours=3)
    with pytest.raises(CaptureUnreadable, match="IB's clock is 2024-05-02 19:00"):
        make().fetch(LAST)
    assert not tws.asked


def test_a_split_overnight_is_seen_and_changes_no_bar(make: Make, tws: Tws, wall: Wall) -> None:
    """IB restates all history on a split's day; the session before stays as it was delivered, and the two rows tell the
    split.
    """
    wall.start = datetime(2024, 5, 1, 22, tzinfo=UTC)
    assert closes(make().fetch(date(2024, 5, 1)))[-1] == ("AAPL", date(2024, 5, 1), 104.0, 104.0)
    halved = [50.0, 50.5, 51.0, 51.5, 52.0, 53.0]
    tws.listings = {"AAPL": [listing(1, halved)]}
    wall.start = EVENING
    capture = make().fetch(LAST)
    assert closes(capture) == [("AAPL", date(2024, 5, 1), 104.0, 52.0), ("AAPL", LAST, 53.0, 53.0)]
    found, unexplained, _ = derive(pairs(capture.prices.with_columns(sid=pl.lit(1, pl.Int64)), XNYS))
    assert found.select("session", "kind", "numerator", "denominator").rows() == [(LAST, "split", 2, 1)]
    assert unexplained.is_empty()


def test_a_dividend_is_seen_on_its_ex_session_only(make: Make, tws: Tws) -> None:
    """Adjusted closes of one request, brought to each session: rounding is no dividend, and a later dividend is not
    known earlier.
    """
    raw = [100.0, 101.0, 102.0, 103.0, 104.0, 105.0]
    factor = 1 - 0.76 / 103.0  # ex on the fifth session
    tws.listings = {"AAPL": [listing(1, raw, [round(p * factor, 2) for p in raw[:4]] + raw[4:])]}
    source = make()
    found = [
        derive(pairs(source.fetch(s).prices.with_columns(sid=pl.lit(1, pl.Int64)), XNYS))[0] for s in source.labels()
    ]
    rows = pl.concat(found).select("session", "kind", pl.col("cash").cast(float)).rows()
    assert [r[:2] for r in rows] == [(SESSIONS[4], "dividend")]
    assert rows[0][2] == pytest.approx(0.76, abs=0.011)


@pytest.mark.parametrize(
    ("given", "then"),
    [
        ((100.0, 100.0, 101.0, 101.0), 100.0),
        ((100.0, 50.0, 101.0, 50.5), 100.0),  # a later split
        ((100.0, 98.04, 101.0, 99.02), 100.0),  # a later dividend, rounded
        ((100.0, 49.0, 50.0, 50.0), 49.0),  # a split on the day
        ((100.0, 99.123456, 101.0, 100.114690), 100.0),
        ((100.0, None, 101.0, 101.0), None),
        ((100.0, 0.0, 101.0, 101.0), None),
    ],
)
def test_adjusted_then(given: tuple[float, float | None, float, float | None], then: float | None) -> None:
    """The adjusted close as it was said on the next session's evening."""
    assert adjusted_then(*given) == then


def test_minutes_of_a_session(make: Make, tws: Tws) -> None:
    """Every minute of the regular hours of each symbol, known at its end; early closes are the calendar's."""
    source = make(("AAPL", "MSFT"), dataset="intraday_bars")
    capture = source.fetch(LAST)
    rows = capture.others["intraday_bars"]
    expected = [("AAPL", *m) for m in minutes(LAST, price=100.0)] + [("MSFT", *m) for m in minutes(LAST, price=200.0)]
    assert rows.select("symbol", "ts", "open", "high", "low", "close", "volume").rows() == expected
    assert (
        rows.select(
            (pl.col("known_at") == pl.col("ts") + pl.duration(minutes=1)).all(),
            (pl.col("venue") == "SMART").all(),
            (pl.col("seconds") == 60).all(),
        ).row(0)
        == (True,) * 3
    )
    assert rows["file"].unique(maintain_order=True).to_list() == ["ib/AAPL/1m/2024-05-02", "ib/MSFT/1m/2024-05-02"]
    assert capture.known_at == XNYS.close(LAST) + timedelta(
        hours=1
    )  # the last minutes take a while to reach IB's history
    assert [(a.end, a.duration) for a in tws.asked] == [("20240502 20:00:00 UTC", "1 D")] * 2
    assert source.fetch(LAST).sha256 == capture.sha256
    assert len(tws.asked) == 2


def test_pacing_is_kept_over_a_long_backfill(make: Make, tws: Tws, wall: Wall) -> None:
    """130 requests, sent one after the other as fast as may be, break none of IB's limits, and take as long as the plan
    says.
    """
    names = tuple(f"S{n}" for n in range(65))
    tws.listings = {s: [listing(n + 1, [10.0, 11.0, 12.0, 13.0, 14.0, 15.0])] for n, s in enumerate(names)}
    source = make(names)
    plan = source.plan(LAST)
    source.fetch(LAST)
    assert len(tws.asked) == 130
    assert tws.violations == 0
    assert (plan.requests, plan.seconds) == (130 + 65 + 1, 1200.0)
    assert wall.passed == pytest.approx(plan.seconds, abs=30)


def test_the_pacing_rules() -> None:
    """None repeated within 15 s, at most five of a contract within 2 s, at most sixty in ten minutes."""
    pacing = Pacing()
    assert pacing.wait("A", "x", 0.0) == 0
    pacing.sent("A", "x", 0.0)
    assert pacing.wait("A", "x", 1.0) == 14.0
    for n in range(4):
        pacing.sent("A", f"y{n}", 0.5)
    assert pacing.wait("A", "z", 1.0) == 1.0
    assert pacing.wait("B", "z", 1.0) == 0
    for n in range(55):
        pacing.sent(f"C{n}", f"c{n}", 1.0)
    assert pacing.wait("D", "d", 100.0) == 500.0
    assert (least(60), least(61), least(121)) == (0.0, 600.0, 1200.0)


@pytest.mark.parametrize(
    ("faults", "slept", "connections"),
    [
        ([Fault(162, PACING)], [15.0], 1),
        (
            [Fault(366, "No historical data query found for ticker id")],
            [5.0, 10.0],
            1,
        ),  # 15 s between identical requests, whatever became of the first
        ([Fault(-1), Fault(-1)], [5.0, 10.0, 10.0, 5.0], 3),
        ([Fault(0)], [5.0, 10.0], 2),
    ],
    ids=["pacing", "lost query", "disconnect", "silence"],
)
def test_what_passes_is_asked_again(
    make: Make, tws: Tws, wall: Wall, faults: list[Fault], slept: list[float], connections: int
) -> None:
    """A pacing violation, a lost query, a lost connection and no answer at all are asked again after a pause, and the
    capture is whole.
    """
    tws.faults.extend(faults)
    assert len(closes(make(timeout=1.5).fetch(LAST))) == 2
    assert (wall.slept, tws.violations, len(tws.clients)) == (slept, 0, connections)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (
            Fault(162, "Historical Market Data Service error message:No market data permissions for NASDAQ STK"),
            "No market data permissions",
        ),
        (Fault(354, "Requested market data is not subscribed"), "354: Requested market data is not subscribed"),
    ],
)
def test_what_ib_refuses_is_not_asked_again(make: Make, tws: Tws, fault: Fault, says: str) -> None:
    """A refusal is an error with IB's own words, at once."""
    tws.faults.append(fault)
    with pytest.raises(CaptureUnreadable, match=f"{says}.*Another attempt would not help"):
        make().fetch(LAST)
    assert len(tws.asked) == 1


def test_attempts_are_bounded(make: Make, tws: Tws) -> None:
    """After the last attempt the error says what was asked and what to do."""
    tws.faults.extend([Fault(-1)] * 9)
    with pytest.raises(
        CaptureUnreadable, match=r"TRADES 1 day of AAPL, 3 D to now: ConnectionError.*Asked 6 times.*run again"
    ):
        make().fetch(LAST)
    assert len(tws.clients) == 6


def test_an_unknown_symbol_and_one_that_is_several(make: Make, tws: Tws) -> None:
    """Error 200 is passed on in words; of two contracts none is guessed, and naming the primary exchange decides."""
    with pytest.raises(CaptureUnreadable, match=r"contract AAPLE: .*200: No security definition"):
        make(("AAPLE",)).fetch(LAST)
    tws.listings = {"ABC": [listing(5, [10.0] * 6), listing(6, [20.0] * 6, primary="NYSE")]}
    with pytest.raises(CaptureUnreadable, match=r"is 2 contracts: \['ABC@NASDAQ', 'ABC@NYSE'\]"):
        make(("ABC",)).fetch(LAST)
    assert closes(make(("ABC@NYSE",)).fetch(LAST)) == [("ABC", s, 20.0, 20.0) for s in SESSIONS[4:]]


def test_a_client_id_in_use_is_said(make: Make, tws: Tws) -> None:
    """Error 326 at the door: the id of another program is never taken, and the error says so."""
    tws.taken.add(17)
    with pytest.raises(CaptureUnreadable, match=r"no connection as client 17: error 326.*its own client id"):
        make(attempts=2, timeout=1.5).fetch(LAST)
    assert tws.clients == [17, 17]


def test_half_a_connection_is_none(make: Make, tws: Tws) -> None:
    """A TWS that lets the client in and then does not answer is an error, not a client that goes on half informed."""
    tws.mute.add(POSITIONS)
    with pytest.raises(CaptureUnreadable, match="positions request timed out"):
        make(attempts=1, timeout=1.0).fetch(LAST)
    assert not tws.asked


def test_extended_hours_are_the_venues_day(make: Make, tws: Tws) -> None:
    """Bars before the open and after the close come where the feed wants them, and are kept apart from those of regular
    hours.
    """
    early = [(m[0] - timedelta(hours=3), *m[1:]) for m in minutes(LAST, 10)]
    late = [(m[0] + timedelta(hours=7), *m[1:]) for m in minutes(LAST, 10)]
    stock = tws.listings["AAPL"][0]
    stock.series = {**stock.series, ("TRADES", "1 min"): [*early, *minutes(LAST), *late]}
    tws.now = lambda: datetime(2024, 5, 3, 5, tzinfo=UTC)
    source = make(dataset="intraday_bars", extended=True)
    source.clock = Wall(datetime(2024, 5, 3, 5, tzinfo=UTC))
    capture = source.fetch(LAST)
    assert capture.others["intraday_bars"].height == 410
    assert capture.others["intraday_bars"]["file"].unique().to_list() == ["ib/AAPL/1mx/2024-05-02"]
    assert [(a.end, a.regular) for a in tws.asked] == [("20240503 04:00:00 UTC", False)]
    assert capture.known_at == datetime(2024, 5, 3, 4, tzinfo=UTC)
    assert make(dataset="intraday_bars").fetch(LAST).others["intraday_bars"].height == 390


def test_nobody_at_the_port(make: Make, wall: Wall) -> None:
    """No TWS at all: refused after the bounded attempts, with what to start."""
    with pytest.raises(CaptureUnreadable, match=r"Start TWS or IB Gateway, allow API clients"):
        make(port=1).fetch(LAST)
    assert wall.slept == [5.0, 10.0, 20.0, 40.0, 60.0]


def test_no_bar_of_anybody_is_an_error_and_is_asked_again(make: Make, tws: Tws, tmp_path: Path) -> None:
    """Where IB has no bar yet, nothing is kept: the next run finds it when it has come."""
    held = tws.listings
    tws.listings = {"AAPL": [listing(1, [100.0, 101.0, 102.0, 103.0, 104.0], sessions=SESSIONS[:5])]}
    with pytest.raises(CaptureUnreadable, match="no bar of 2024-05-02 for any of 1 symbols"):
        make().fetch(LAST)
    assert not list(tmp_path.rglob("*.parquet"))
    tws.listings = held
    assert len(closes(make().fetch(LAST))) == 2


def test_a_name_that_did_not_trade_is_left_out(make: Make, tws: Tws) -> None:
    """A halted or not yet listed symbol has no row, the others theirs; after a gap the session before is the last that
    traded.
    """
    sessions = [s for s in SESSIONS if s not in {date(2024, 4, 30), date(2024, 5, 1)}]
    tws.listings = {**tws.listings, "MSFT": [listing(2, [50.0, 51.0, 52.0, 55.0], sessions=sessions)]}
    source = make(("AAPL", "MSFT"))
    by_label = {s: closes(source.fetch(s)) for s in source.labels()}
    assert [len(rows) for rows in by_label.values()] == [4, 2, 2, 4]
    assert by_label[LAST][2:] == [("MSFT", date(2024, 4, 29), 52.0, 52.0), ("MSFT", LAST, 55.0, 55.0)]


def test_an_interrupted_capture_asks_only_for_the_rest(make: Make, tws: Tws) -> None:
    """Ctrl-C between two symbols hangs up; the next run asks only for the symbols that lack."""
    source = make(("AAPL", "MSFT"))

    def interrupt(done: int, total: int, what: str) -> None:
        if done:
            raise KeyboardInterrupt

    source.progress = interrupt
    with pytest.raises(KeyboardInterrupt):
        source.fetch(LAST)
    assert [a.symbol for a in tws.asked] == ["AAPL"] * 2
    assert len(closes(make(("AAPL", "MSFT")).fetch(LAST))) == 4
    assert [a.symbol for a in tws.asked] == ["AAPL"] * 2 + ["MSFT"] * 2


def test_ctrl_c_while_waiting_hangs_up(make: Make, tws: Tws, wall: Wall) -> None:
    """Nothing is left open where a person stops a long wait."""

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    tws.faults.append(Fault(366, "No historical data query found for ticker id"))
    with pytest.raises(KeyboardInterrupt):
        make(pause=Pause(interrupt, lambda: wall.passed, lambda: 1.0)).fetch(LAST)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A shell starts what runs in the background deaf to Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_while_ib_is_silent_hangs_up(make: Make, tws: Tws, monkeypatch: pytest.MonkeyPatch) -> None:
    """The signal itself, in the middle of a request: the call ends with KeyboardInterrupt, and TWS sees the client
    go.
    """
    tws.faults.append(Fault(0))
    monkeypatch.setattr(tws, "_too_fast", lambda _: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        make(timeout=30).fetch(LAST)
    assert wait_for(lambda: not tws.open)
    gc.collect()  # what was not closed is warned of here, and warnings are errors


def test_the_contracts_take_what_comes(tmp_path: Path) -> None:
    """Good and broken rows add up, and each broken one has its reason."""
    with ib_bars(tmp_path) as (source, total):
        captures = [source.fetch(s) for s in source.labels()]
        assert sum(c.prices.height + c.malformed.height for c in captures) == total
        assert [r for c in captures for r in c.malformed["reason"]] == ["high is below low"] * 2
    with ib_minutes(tmp_path) as (source, total):
        screened = [screen(dataset("intraday_bars"), source.fetch(s)) for s in source.labels()]
        assert [sum(f.height for f in frames) for frames in zip(*screened, strict=True)] == [total - 1, 1]


def test_a_dry_run_asks_nothing(make: Make, tws: Tws) -> None:
    """The plan names sessions and requests without a connection, and says what IB's history is not."""
    source = make(("AAPL", "MSFT"))
    plan = source.plan()
    assert (list(plan.labels), plan.kept, plan.requests, plan.seconds) == (SESSIONS[2:], 0, 2 * 2 + 2 + 1, 0.0)
    assert "adjusted for it" in str(plan)
    assert not tws.clients
    source.fetch(plan.labels[0])
    assert (source.plan().kept, source.plan().requests) == (4, 0)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [({"symbols": ()}, "names no symbols"), ({"dataset": "intraday_bars", "bar": "7m"}, "no bar 7m; there are")],
)
def test_a_feed_that_cannot_be_is_refused(wrong: dict[str, object], says: str, wall: Wall, tmp_path: Path) -> None:
    """No symbols, a bar that IB does not have: said before anything is asked."""
    with pytest.raises(ConfigurationError, match=says):
        InteractiveBrokers(IbFeed(**{"symbols": ("A",), "first": LAST, **wrong}), XNYS, tmp_path, wall)  # type: ignore[arg-type]


def test_a_deployment_file_says_a_feed() -> None:
    """The fields of the YAML, with dates as text or as dates; a misspelled one is named."""
    declared = {"symbols": ["AAPL", "BRK B"], "first": "2024-05-01", "port": 4002}
    assert msgspec.convert(declared, IbFeed, strict=False) == IbFeed(("AAPL", "BRK B"), date(2024, 5, 1), port=4002)
    with pytest.raises(msgspec.ValidationError, match="symbls"):
        msgspec.convert({**declared, "symbls": []}, IbFeed, strict=False)
