"""The ccxt source, with the real client, against an exchange on loopback that speaks Binance's REST."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import polars as pl
import pytest

from quant_assets.calendars import calendar
from quant_assets.errors import CaptureUnreadable, ConfigurationError
from quant_assets.market_data.arrivals import arrivals
from quant_assets.market_data.datasets import dataset
from quant_assets.market_data.observations import screen
from quant_assets.records import Capture
from quant_assets.vendor_tables import INTRADAY_BARS
from resources.sources.exchange import Exchange, ExchangeFeed
from resources.sources.retry import Pause
from resources.tables.store import DeltaStore
from tests.stubs.exchange import Candle, Fault
from tests.stubs.exchange import Exchange as Venue
from tests.stubs.sources import DAY, FIRST, MIDNIGHT, candles, exchange_bars, exchange_trades, trades
from tests.stubs.wall import Wall

pytest.importorskip("ccxt")
NOON = datetime(2024, 5, 3, 12, 0, 30, tzinfo=UTC)
Make = Callable[..., Exchange]


class Silent:
    """A notifier that keeps what it was given."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def notify(self, _severity: str, subject: str, _body: str = "") -> None:
        """See the port."""
        self.said.append(subject)


@pytest.fixture
def wall() -> Wall:
    return Wall(NOON)


@pytest.fixture
def venue(wall: Wall) -> Iterator[Venue]:
    with Venue(
        {"BTCUSDT": candles(MIDNIGHT, 3600), "ETHUSDT": candles(MIDNIGHT, 3600, price=3_000.0)},
        {"BTCUSDT": trades(MIDNIGHT, 3_000)},
        now=wall.millis,
    ) as stub:
        yield stub


@pytest.fixture
def make(venue: Venue, wall: Wall, tmp_path: Path) -> Make:
    def build(symbols: tuple[str, ...] = ("BTC/USDT",), pause: Pause | None = None, **feed: object) -> Exchange:
        return Exchange(
            ExchangeFeed("binance", symbols, FIRST, api=venue.url, **feed), tmp_path, wall, pause=pause or wall.pause
        )  # type: ignore[arg-type]

    return build


def bars(capture: Capture) -> list[Candle]:
    rows = capture.others["intraday_bars"]
    return rows.select(pl.col("ts").dt.epoch("ms"), "open", "high", "low", "close", "volume").rows()


def test_a_day_is_all_its_bars_page_by_page(make: Make, venue: Venue) -> None:
    """A day of 1,440 minutes is asked for in pages of at most what the exchange gives, and comes whole, in order, with
    its origin.
    """
    capture = make(("BTC/USDT", "ETH/USDT")).fetch(FIRST)
    rows = capture.others["intraday_bars"]
    assert bars(capture) == [c for s in ("BTCUSDT", "ETHUSDT") for c in venue.candles[s][:1440]]
    assert [(int(q["startTime"]) - MIDNIGHT, q["limit"]) for q in venue.asked("klines")] == [
        (0, "1000"),
        (60_000_000, "441"),
    ] * 2
    assert rows["file"].unique(maintain_order=True).to_list() == [
        "binance/BTC-USDT/1m/2024-05-01",
        "binance/ETH-USDT/1m/2024-05-01",
    ]
    assert rows.filter(symbol="ETH/USDT")["line"].to_list() == list(range(1, 1441))
    assert (
        rows.select(
            (pl.col("known_at") == pl.col("ts") + pl.duration(seconds=60)).all(),
            (pl.col("seconds") == 60).all(),
            (pl.col("venue") == "binance").all(),
        ).row(0)
        == (True,) * 3
    )
    assert capture.known_at == datetime(2024, 5, 2, tzinfo=UTC)
    assert capture.assumed


@pytest.mark.parametrize("most", [113, 240, 999, 1440])
@pytest.mark.parametrize("repeats", [False, True])
def test_fewer_rows_than_asked_and_a_repeated_row_change_nothing(
    make: Make, venue: Venue, most: int, repeats: bool
) -> None:
    """An exchange that sends fewer rows than asked, or the boundary row again, leads to the same capture."""
    venue.most, venue.repeats = most, repeats
    assert bars(make().fetch(FIRST)) == venue.candles["BTCUSDT"][:1440]


def test_a_gap_longer_than_a_page_is_no_end(make: Make, venue: Venue) -> None:
    """Bars after an outage are found although a page in between is empty."""
    venue.candles = {"BTCUSDT": [c for n, c in enumerate(candles(MIDNIGHT, 1440)) if not 5 <= n < 1435]}
    venue.most = 3
    assert len(bars(make(page=3).fetch(FIRST))) == 10


def test_no_bar_is_delivered_before_it_is_over(make: Make, venue: Venue, wall: Wall) -> None:
    """Days that are over have a label, and the day under way once a bar of it is over; the bar still running, which the
    exchange serves already, comes when it is. A day of trades has none before it is over.
    """
    today, source = date(2024, 5, 3), make()
    assert list(source.labels()) == [FIRST, date(2024, 5, 2), today]
    assert list(source.labels(date(2024, 5, 2), date(2025, 1, 1))) == [date(2024, 5, 2), today]
    assert list(make(dataset="trades").labels()) == [FIRST, date(2024, 5, 2)]
    assert list(make(bar="1d").labels()) == [FIRST, date(2024, 5, 2)]
    for early, feed in ((date(2024, 5, 4), make()), (today, make(dataset="trades")), (today, make(bar="1d"))):
        with pytest.raises(CaptureUnreadable, match="that is over"):
            feed.fetch(early)
    assert not venue.requests
    venue.candles["BTCUSDT"] = candles(MIDNIGHT, 3601)  # the last one has begun thirty seconds ago
    assert len(bars(source.fetch(today))) == 720
    wall.start += timedelta(seconds=40)
    assert len(bars(source.fetch(today))) == 721


def test_a_day_grows_and_no_bar_is_asked_for_twice(make: Make, venue: Venue, wall: Wall) -> None:
    """What was fetched of the day under way is kept: the rest is asked for from there on, until the day is whole."""
    venue.candles["BTCUSDT"] = candles(MIDNIGHT, 4_320)
    today, source = date(2024, 5, 3), make()
    source.fetch(today)
    wall.start += timedelta(hours=2)
    assert len(bars(source.fetch(today))) == 840
    wall.start += timedelta(hours=11)
    whole = make().fetch(today)
    assert bars(whole) == venue.candles["BTCUSDT"][2_880:]
    assert [(int(q["startTime"]) - MIDNIGHT) // 60_000 - 2_880 for q in venue.asked("klines")] == [0, 720, 840]
    wall.start += timedelta(days=1)
    assert make().fetch(today).sha256 == whole.sha256
    assert len(venue.asked("klines")) == 3


@pytest.mark.parametrize("hours", [[0, 13], [0, 1, 5, 13], [0, 2, 2, 11, 12, 30]])
def test_parts_of_a_day_are_the_day(make: Make, venue: Venue, wall: Wall, tmp_path: Path, hours: list[int]) -> None:
    """A day ingested as it grows leaves the rows, with the times at which they were known, of a day ingested whole;
    decisions that were made in between read each part, and none of it counts as a correction.
    """
    venue.candles["BTCUSDT"] = candles(MIDNIGHT, 4_320)
    whole, grown, began = DeltaStore(tmp_path / "whole"), DeltaStore(tmp_path / "grown"), wall.start
    rule, cut = calendar("24/7"), None
    for passed in hours:
        wall.start = began + timedelta(hours=passed)
        now = wall.now()
        quiet = Silent()
        report = arrivals(make(), grown, quiet, cut, now, now.date(), rule)
        assert (report.state in {"done", "empty"}, quiet.said) == (True, [])
        cut = now  # what is there by now is read
        if passed < 12:
            known = grown.read(INTRADAY_BARS, as_of=now, first=date(2024, 5, 3), last=date(2024, 5, 3))
            assert known.height == (12 + passed) * 60
    arrivals(make(), whole, Silent(), None, wall.now(), wall.now().date(), rule)
    one, other = (s.read(INTRADAY_BARS, as_of=None).sort("ts").drop("line") for s in (whole, grown))
    assert one.height == 3 * 1_440
    assert one.equals(other)


def test_the_exchanges_clock_counts_too(make: Make, venue: Venue, wall: Wall) -> None:
    """Where this machine's clock runs ahead of the exchange's, its last bar may still be open: a day is refused with
    the reason, and of the day under way only what is over there comes.
    """
    venue.now = lambda: wall.millis() - DAY // 2 - 60_000
    with pytest.raises(CaptureUnreadable, match=r"2024-05-02 is not over: the exchange's clock is 2024-05-02T23:59:30"):
        make().fetch(date(2024, 5, 2))
    assert not venue.asked("klines")
    venue.now = lambda: wall.millis() - 90_000
    assert len(bars(make().fetch(date(2024, 5, 3)))) == 719  # of the day under way, what is over by both


def test_network_errors_are_asked_again_with_growing_pauses(make: Make, venue: Venue, wall: Wall) -> None:
    """Lost connections and 5xx are asked again, each time after a longer pause, and leave no trace in the capture."""
    venue.faults.extend(
        [Fault(0, at="klines"), Fault(503, at="klines"), Fault(502, at="klines"), Fault(0, at="klines")]
    )
    assert bars(make().fetch(FIRST)) == venue.candles["BTCUSDT"][:1440]
    assert [s for s in wall.slept if s >= 0.5] == [1.0, 2.0, 4.0, 8.0]


@pytest.mark.parametrize(
    ("at", "kind"),
    [
        ("exchangeInfo", "intraday_bars"),
        ("time", "intraday_bars"),
        ("klines", "intraday_bars"),
        ("aggTrades", "trades"),
    ],
)
def test_a_page_of_somebody_else_is_no_answer(make: Make, venue: Venue, at: str, kind: str) -> None:
    """The login page of a proxy, sent as 200, is asked again and never becomes an empty day."""
    venue.faults.extend([Fault(200, at=at, page="<html>Please log in</html>")] * 3)
    assert make(dataset=kind).fetch(FIRST).others[kind].height in {1440, 3000}
    venue.faults.extend([Fault(200, page="<html>Please log in</html>")] * 6)
    with pytest.raises(CaptureUnreadable, match=r"BadResponse: .*with a page"):
        make(dataset=kind).fetch(date(2024, 5, 2))


@pytest.mark.parametrize("wrong", ["one page early", "its earliest", "in seconds"])
def test_rows_of_another_window_are_no_answer(make: Make, venue: Venue, wrong: str) -> None:
    """An exchange that answers with its earliest rows, with rows one page early, or in seconds is asked again; the
    window never counts as empty.
    """
    first = {
        "one page early": MIDNIGHT - 60_000_000,
        "its earliest": MIDNIGHT - 1000 * DAY,
        "in seconds": MIDNIGHT // 1000,
    }[wrong]
    step = 60 if wrong == "in seconds" else 60_000
    rows = [
        [first + n * step, "1", "2", "0.5", "1", "3", first + n * step + step - 1, "1", 1, "1", "1", "0"]
        for n in range(1000)
    ]
    venue.faults.extend([Fault(200, at="klines", page=json.dumps(rows))] * 3)
    assert len(bars(make().fetch(FIRST))) == 1440
    venue.faults.extend([Fault(200, at="klines", page=json.dumps(rows))] * 6)
    with pytest.raises(CaptureUnreadable, match="rows of another window"):
        make().fetch(date(2024, 5, 2))


def test_attempts_are_bounded_and_the_error_says_what_to_do(make: Make, venue: Venue) -> None:
    """After the last attempt: what was asked, how often, what came, what to do."""
    venue.faults.extend([Fault(503, at="klines")] * 9)
    with pytest.raises(
        CaptureUnreadable,
        match=r"binance_1m: BTC/USDT 1m from 2024-05-01T00:00:00.000Z: ExchangeNotAvailable.*Asked 6 times.*run again",
    ):
        make().fetch(FIRST)
    assert len(venue.asked("klines")) == 6


@pytest.mark.parametrize("status", [418, 429])
def test_the_exchange_says_how_long_to_wait(make: Make, venue: Venue, wall: Wall, status: int) -> None:
    """A rate limit's Retry-After is kept to, where it is longer than the own pause."""
    venue.faults.append(Fault(status, {"Retry-After": "37"}, at="klines"))
    make().fetch(FIRST)
    assert 37.0 in wall.slept


def test_a_long_ban_is_not_waited_for(make: Make, venue: Venue, wall: Wall) -> None:
    """Who is banned for hours is told so at once."""
    venue.faults.append(Fault(418, {"Retry-After": "7200"}, at="klines"))
    with pytest.raises(CaptureUnreadable, match=r"asks to wait 7,200 s"):
        make().fetch(FIRST)
    assert wall.passed < 10


def test_a_run_that_was_interrupted_fetches_only_the_rest(make: Make, venue: Venue, tmp_path: Path) -> None:
    """Ctrl-C between two pages, then giving up: the next run starts after the last page, and delivers what one run
    would have.
    """
    venue.most = 300

    def interrupt(done: int, total: int, what: str) -> None:
        if what.endswith("page 3"):
            raise KeyboardInterrupt

    source = make()
    source.progress = interrupt
    with pytest.raises(KeyboardInterrupt):
        source.fetch(FIRST)
    venue.faults.extend([Fault(503, at="klines")] * 6)
    with pytest.raises(CaptureUnreadable, match="what was fetched so far is kept"):
        make().fetch(FIRST)
    venue.requests.clear()
    torn = tmp_path / "binance/BTC-USDT/1m/2024-05-01.pages/000002.parquet"  # as a power cut may leave a page
    torn.write_bytes(b"")
    assert bars(make().fetch(FIRST)) == venue.candles["BTCUSDT"][:1440]
    assert [int(q["startTime"]) - MIDNIGHT for q in venue.asked("klines")] == [36_000_000, 54_000_000, 72_000_000]
    assert [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()] == [
        "binance/BTC-USDT/1m/2024-05-01.parquet"
    ]


def test_a_day_that_is_whole_is_never_asked_for_again(make: Make, venue: Venue, tmp_path: Path) -> None:
    """The same capture comes from the cache, to the bit, with no request at all, and no page is left over."""
    one = make().fetch(FIRST)
    venue.requests.clear()
    two = make().fetch(FIRST)
    assert not venue.requests
    assert one.sha256 == two.sha256
    assert one.others["intraday_bars"].equals(two.others["intraday_bars"])
    assert [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()] == [
        "binance/BTC-USDT/1m/2024-05-01.parquet"
    ]


def test_the_rate_limit_is_kept(make: Make, venue: Venue, wall: Wall) -> None:
    """Requests wait for the exchange's weights, as ccxt knows them, without a second limiter."""
    make().fetch(FIRST)
    assert len(wall.slept) >= len(venue.requests) - 1
    assert max(wall.slept) < 2


def test_an_exchange_that_ignores_the_start_is_found_out(make: Make, venue: Venue) -> None:
    """Rows of today are no answer to a question about last week: an error, not an empty day."""
    venue.only_latest = True
    with pytest.raises(CaptureUnreadable, match="gives no such history"):
        make().fetch(FIRST)


def test_a_day_before_the_listing_is_empty(make: Make, venue: Venue) -> None:
    """A market without bars on a day gives no rows, and the capture is still one."""
    venue.candles = {"BTCUSDT": candles(MIDNIGHT + DAY, 700)}
    capture = make().fetch(FIRST)
    assert capture.others["intraday_bars"].is_empty()
    assert capture.others["intraday_bars"].schema == make().fetch(date(2024, 5, 2)).others["intraday_bars"].schema


def test_an_unknown_symbol_is_named_with_those_near(make: Make, venue: Venue) -> None:
    """A misspelled market is refused before anything is fetched, and not asked for six times."""
    with pytest.raises(CaptureUnreadable, match=r"no market BTC/USD; there are 2, for example \['BTC/USDT'"):
        make(("BTC/USD",)).fetch(FIRST)
    assert [p for p, _ in venue.requests] == ["exchangeInfo"]


@pytest.mark.parametrize("crowd", [2, 3])
@pytest.mark.parametrize("page", [4, 5, 1000])
def test_trades_of_one_millisecond_are_not_lost_between_pages(make: Make, venue: Venue, page: int, crowd: int) -> None:
    """Every trade comes once, with its id and side, wherever a page ends."""
    expected = [
        (n, MIDNIGHT + (n - 1000) // crowd * 300_000, price, quantity, maker)
        for n, _, price, quantity, maker in trades(0, 64)
    ]
    venue.trades = {"BTCUSDT": expected}
    rows = make(dataset="trades", page=page).fetch(FIRST).others["trades"]
    assert (
        rows.select(
            pl.col("trade_id").cast(int), pl.col("ts").dt.epoch("ms"), "price", "quantity", pl.col("side") == -1
        ).rows()
        == expected
    )


def test_the_latest_trades_of_a_busy_day_end_at_midnight(make: Make, venue: Venue) -> None:
    """A day ends before the first trade of the next one."""
    venue.trades = {"BTCUSDT": trades(MIDNIGHT + DAY - 70_000, 30)}
    assert make(dataset="trades").fetch(FIRST).others["trades"]["ts"].max() < datetime(2024, 5, 2, tzinfo=UTC)  # type: ignore[operator]


def test_a_quiet_hour_does_not_end_a_day_of_trades(make: Make, venue: Venue) -> None:
    """The exchange answers about one hour; an empty hour is followed by the next."""
    late = trades(MIDNIGHT + 20 * 3_600_000, 5)
    venue.trades = {"BTCUSDT": [*trades(MIDNIGHT, 3), *((n + 9000, *rest) for n, *rest in late)]}
    assert make(dataset="trades").fetch(FIRST).others["trades"].height == 8


def test_more_trades_in_a_millisecond_than_a_page_are_refused(make: Make, venue: Venue) -> None:
    """Where paging by time cannot reach all trades, the day is an error and not short."""
    venue.trades = {"BTCUSDT": [(n, MIDNIGHT + 5, 1.0 + n, 1.0, True) for n in range(12)]}
    with pytest.raises(CaptureUnreadable, match="Set a larger `page`"):
        make(dataset="trades", page=10).fetch(FIRST)


def test_the_contracts_take_what_comes(tmp_path: Path) -> None:
    """Screening by the dataset's contract leaves the good rows and names the broken one."""
    for make_source, reason in ((exchange_bars, "ohlc"), (exchange_trades, "price_positive")):
        with make_source(tmp_path) as (source, total):
            clean = refused = 0
            for label in source.labels():
                good, bad = screen(dataset(source.feed.dataset), source.fetch(label))
                clean, refused = clean + good.height, refused + bad.height
                assert bad["reason"].unique().to_list() in ([], [reason])
            assert (clean, refused) == (total - 1, 1)


def test_a_dry_run_asks_nothing_and_is_right(make: Make, venue: Venue) -> None:
    """The plan names labels, requests and time, and the requests are as many as then come; what is in the cache costs
    nothing.
    """
    source = make(("BTC/USDT", "ETH/USDT"))
    plan = source.plan()
    assert not venue.requests
    days = (FIRST, date(2024, 5, 2), date(2024, 5, 3))
    assert (plan.labels, plan.kept, plan.requests) == (days, 0, 2 * (2 + 2 + 1) + 3 + 1)
    assert plan.seconds == pytest.approx(plan.requests * 0.05)
    for label in plan.labels:
        source.fetch(label)
    assert len(venue.requests) == plan.requests
    assert (source.plan().kept, source.plan().requests) == (2, 2 + 1 + 1)
    assert "2024-05-01 to 2024-05-03, 3 labels (2 in the cache already)" in str(source.plan())
    assert "at least" in make(dataset="trades").plan().note


def test_progress_is_told_page_by_page(venue: Venue, wall: Wall, tmp_path: Path) -> None:
    """Each page is announced with how much of the capture is done."""
    told: list[tuple[int, int, str]] = []
    source = Exchange(
        ExchangeFeed("binance", ("BTC/USDT", "ETH/USDT"), FIRST, api=venue.url),
        tmp_path,
        wall,
        pause=wall.pause,
        progress=lambda *step: told.append(step),
    )
    source.fetch(FIRST)
    assert told == [
        (n, 2880, f"binance/{s}/1m/2024-05-01, page {p}")
        for n, s, p in [(0, "BTC-USDT", 1), (1000, "BTC-USDT", 2), (1440, "ETH-USDT", 1), (2440, "ETH-USDT", 2)]
    ]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"bar": "7m"}, "divides the day"),
        ({"bar": "45m"}, "divides the day|no bars of 45m"),
        ({"symbols": ()}, "names no symbols"),
        ({"exchange": "binnance"}, "near are .'binance"),
    ],
)
def test_a_feed_that_cannot_be_is_refused(wrong: dict[str, object], says: str, wall: Wall, tmp_path: Path) -> None:
    """A wrong bar, no symbols, an unknown exchange: said before anything is asked."""
    fields = {"exchange": "binance", "symbols": ("BTC/USDT",), "first": FIRST, **wrong}
    with pytest.raises(ConfigurationError, match=says):
        Exchange(ExchangeFeed(**fields), tmp_path, wall).plan()  # type: ignore[arg-type]


def test_a_deployment_file_says_a_feed() -> None:
    """The fields of the YAML, with dates as text or as dates; a misspelled one is named."""
    declared = {"exchange": "kraken", "symbols": ["BTC/USD"], "first": date(2024, 5, 1), "dataset": "trades"}
    assert msgspec.convert(declared, ExchangeFeed, strict=False) == ExchangeFeed(
        "kraken", ("BTC/USD",), FIRST, dataset="trades"
    )
    with pytest.raises(msgspec.ValidationError, match="exchnge"):
        msgspec.convert({**declared, "exchnge": "kraken"}, ExchangeFeed, strict=False)
