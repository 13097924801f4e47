"""Sources over stubs, as the conformance suite takes them: functions of a folder that yield a source and how many rows it has, one of them broken."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path

from resources.sources.exchange import Exchange, ExchangeFeed
from resources.sources.retry import Retry
from tests.stubs import exchange as venue
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
