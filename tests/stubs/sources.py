"""Sources over stubs, as the conformance suite takes them: functions of a folder that yield a source and how many rows
it has, one of them broken.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from quant_assets.calendars import calendar
from resources.sources.exchange import Exchange, ExchangeFeed
from resources.sources.ib import IbFeed, InteractiveBrokers
from resources.sources.retry import Retry
from tests.stubs import exchange as venue
from tests.stubs import tws
from tests.stubs.wall import Wall

FIRST = date(2024, 5, 1)
MIDNIGHT = int(datetime(2024, 5, 1, tzinfo=UTC).timestamp() * 1000)
DAY = 86_400_000


def candles(start: int, count: int, length: int = 60_000, price: float = 60_000.0) -> list[venue.Candle]:
    """Bars one after the other; each price and volume occurs once."""
    return [(start + n * length, price + n, price + n + 2, price + n - 1, price + n + 1, 1.5 + n) for n in range(count)]


def trades(start: int, count: int, step: int = 7_000, price: float = 60_000.0) -> list[venue.Trade]:
    """Trades one after the other, every third of them in the millisecond of the one before."""
    return [(1000 + n, start + (n - (n % 3 == 2)) * step, price + n, 0.5 + n, n % 2 == 0) for n in range(count)]


@contextmanager
def exchange_bars(folder: Path) -> Iterator[tuple[Exchange, int]]:
    """Hourly bars of two symbols over two days; in one the high is below the low."""
    wall = Wall(datetime(2024, 5, 3, 0, 0, 1, tzinfo=UTC))
    served = {"BTCUSDT": candles(MIDNIGHT, 60, 3_600_000), "ETHUSDT": candles(MIDNIGHT, 60, 3_600_000, 3_000.0)}
    start, opened, high, low, close, volume = served["ETHUSDT"][3]
    served["ETHUSDT"][3] = (start, opened, low, high, close, volume)
    with venue.Exchange(served, now=wall.millis) as stub:
        feed = ExchangeFeed("binance", ("BTC/USDT", "ETH/USDT"), FIRST, bar="1h", api=stub.url)
        yield Exchange(feed, folder, wall, retry=Retry(), pause=wall.pause), 96


@contextmanager
def exchange_trades(folder: Path) -> Iterator[tuple[Exchange, int]]:
    """Trades of one symbol over two days; one has no quantity."""
    wall = Wall(datetime(2024, 5, 3, 0, 0, 1, tzinfo=UTC))
    printed = trades(MIDNIGHT, 400, 600_000)
    number, when, price, _, maker = printed[5]
    printed[5] = (number, when, price, 0.0, maker)
    expected = sum(t[1] < MIDNIGHT + 2 * DAY for t in printed)
    with venue.Exchange(trades={"BTCUSDT": printed}, now=wall.millis) as stub:
        feed = ExchangeFeed("binance", ("BTC/USDT",), FIRST, dataset="trades", page=50, api=stub.url)
        yield Exchange(feed, folder, wall, retry=Retry(), pause=wall.pause), expected


SESSIONS = calendar("XNYS").between(date(2024, 4, 25), date(2024, 5, 2))


def daily(prices: list[float], *, sessions: list[date] = SESSIONS) -> list[tws.Row]:
    """Daily bars with these closes."""
    return [(s, p - 1, p + 1, p - 2, p, 1000.0 + n) for n, (s, p) in enumerate(zip(sessions, prices, strict=True))]


def minutes(session: date, count: int = 390, price: float = 100.0) -> list[tws.Row]:
    """One-minute bars from a session's open."""
    start = calendar("XNYS").open(session)
    return [
        (start + timedelta(minutes=n), price + n, price + n + 1, price + n - 1, price + n, 10.0 + n)
        for n in range(count)
    ]


def listing(
    con_id: int,
    prices: list[float],
    adjusted: list[float] | None = None,
    primary: str = "NASDAQ",
    *,
    sessions: list[date] = SESSIONS,
) -> tws.Listing:
    """A stock with daily bars, and minutes on each of the sessions."""
    bars = daily(prices, sessions=sessions)
    intraday = [m for s in sessions for m in minutes(s, price=100.0 * con_id)]
    return tws.Listing(
        con_id,
        primary,
        {
            ("TRADES", "1 day"): bars,
            ("ADJUSTED_LAST", "1 day"): daily(adjusted or prices, sessions=sessions),
            ("TRADES", "1 min"): intraday,
        },
    )


@contextmanager
def ib_bars(folder: Path) -> Iterator[tuple[InteractiveBrokers, int]]:
    """Daily bars of two stocks over four sessions, each with the session before; of one the low is above the high once,
    in two captures.
    """
    wall = Wall(datetime(2024, 5, 2, 22, tzinfo=UTC))
    broken = listing(2, [50.0, 51.0, 52.0, 53.0, 54.0, 55.0])
    session, opened, high, low, close, volume = broken.series["TRADES", "1 day"][3]
    rows = list(broken.series["TRADES", "1 day"])
    rows[3] = (session, opened, low, high, close, volume)
    broken.series = {**broken.series, ("TRADES", "1 day"): rows}
    with tws.Tws(
        {"AAPL": [listing(1, [100.0, 101.0, 102.0, 103.0, 104.0, 105.0])], "MSFT": [broken]},
        now=wall.now,
        monotonic=lambda: wall.passed,
    ) as stub:
        feed = IbFeed(("AAPL", "MSFT"), date(2024, 4, 29), port=stub.port, timeout=20)
        yield InteractiveBrokers(feed, calendar("XNYS"), folder, wall, pause=wall.pause), 16


@contextmanager
def ib_minutes(folder: Path) -> Iterator[tuple[InteractiveBrokers, int]]:
    """Minutes of two stocks over four sessions; one has no open price at all."""
    wall = Wall(datetime(2024, 5, 2, 22, tzinfo=UTC))
    broken = listing(2, [50.0, 51.0, 52.0, 53.0, 54.0, 55.0])
    rows = list(broken.series["TRADES", "1 min"])
    at = 390 * 3 + 7
    rows[at] = (rows[at][0], -1.0, *rows[at][2:])
    broken.series = {**broken.series, ("TRADES", "1 min"): rows}
    with tws.Tws(
        {"AAPL": [listing(1, [100.0, 101.0, 102.0, 103.0, 104.0, 105.0])], "MSFT": [broken]},
        now=wall.now,
        monotonic=lambda: wall.passed,
    ) as stub:
        feed = IbFeed(("AAPL", "MSFT"), date(2024, 4, 29), dataset="intraday_bars", port=stub.port, timeout=20)
        yield InteractiveBrokers(feed, calendar("XNYS"), folder, wall, pause=wall.pause), 2 * 4 * 390
