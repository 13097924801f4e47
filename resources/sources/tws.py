"""One connection to TWS or IB Gateway that asks for history, within the limits that IB sets.

What `whatToShow` means at IB: TRADES are adjusted for splits as of the request, not for dividends; ADJUSTED_LAST for
both, and it can only be asked for up to now. Historical requests are paced: at most 60 in ten minutes, none repeated
within 15 seconds, fewer than six for one contract within two seconds (https://ibkrcampus.com, Historical Data
Limitations). Messages of any kind, 45 in a second: ib_async holds that, and as requests go one by one its queue stays
empty.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import date, datetime
from types import TracebackType
from typing import Any, Self, TypeVar

from quant_assets.errors import CaptureUnreadable, ConfigurationError
from resources.sources.retry import Pause, Retry, persist

T = TypeVar("T")
Row = tuple[
    date | datetime, float, float, float, float, float
]  # session, or start in UTC; open, high, low, close, volume

NO_DATA = 162  # among other things
WINDOW, MOST = 600.0, 60
REPEATED = 15.0
BURST, IN_BURST = 2.0, 5
LOST = frozenset(
    {366, 100, 504, 10197}
)  # these pass: the query was lost, too many messages, not connected, another session has the data


class Pacing:
    """When the next historical request may go. Seconds are of one monotonic clock."""

    def __init__(self) -> None:
        self._sent: deque[tuple[float, str, str]] = deque(maxlen=MOST)

    def wait(self, contract: str, request: str, at: float) -> float:
        """Seconds from `at` until this request of this contract may go."""
        until = [self._sent[0][0] + WINDOW] if len(self._sent) == MOST else []
        until += [t + REPEATED for t, _, r in self._sent if r == request]
        same = [t for t, c, _ in self._sent if c == contract][-IN_BURST:]
        until += [same[0] + BURST] if len(same) == IN_BURST else []
        return max(0.0, max(until, default=at) - at)

    def sent(self, contract: str, request: str, at: float) -> None:
        """It went."""
        self._sent.append((at, contract, request))


def least(requests: int) -> float:
    """Seconds that so many historical requests take by IB's limits."""
    return max(0, (requests - 1) // MOST) * WINDOW


class Gateway:
    """`with Gateway(...) as gateway:` connects when first asked, again where the line broke, and hangs up at the end,
    also on Ctrl-C.
    """

    def __init__(
        self, host: str, port: int, client_id: int, *, timeout: float, pacing: Pacing, retry: Retry, pause: Pause
    ) -> None:
        """`timeout`: seconds for one answer. Raises ConfigurationError where ib_async is not installed."""
        try:
            import ib_async
        except ImportError as error:
            raise ConfigurationError("ib_async is not installed; install quant-assets[ib]") from error
        self._address = (host, port, client_id)
        self._timeout = timeout
        self._pacing = pacing
        self._retry = retry
        self._pause = pause
        self._ib = ib_async.IB()
        self._ib.RaiseRequestErrors = True
        self._ib.errorEvent += self._hear
        self._heard = ""
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._runner.run(self._hang_up())
        finally:
            self._runner.close()

    def now(self) -> datetime:
        """The time at IB, UTC."""
        return self._persist("clock", self._ib.reqCurrentTimeAsync)

    def stock(self, symbol: str, exchange: str, currency: str) -> Any:
        """The one stock of that symbol (`AAPL`, or `AAPL@NASDAQ` where several have it).

        Raises CaptureUnreadable where there is none or there are several.
        """
        from ib_async import Stock

        name, _, primary = symbol.partition("@")
        found = self._persist(
            f"contract {symbol}",
            lambda: self._ib.reqContractDetailsAsync(Stock(name, exchange, currency, primaryExchange=primary)),
        )
        contracts = [d.contract for d in found if d.contract is not None]
        if len(contracts) != 1:
            listed = [f"{c.symbol}@{c.primaryExchange}" for c in contracts]
            raise CaptureUnreadable(
                f"IB: {symbol} on {exchange} in {currency} is {len(contracts)} contracts: {listed}. Name "
                f"the one that is meant in the feed"
            )
        return contracts[0]

    def history(
        self, contract: Any, what: str, bar: str, end: datetime | None, duration: str, *, regular: bool
    ) -> list[Row]:
        """Bars up to `end` (None: now) over `duration` (`2 D`, `1 Y`), ascending; none if IB has no data.

        `regular`: only regular trading hours.
        """
        about = f"{what} {bar} of {contract.symbol}, {duration} to {end or 'now'}"
        key = f"{contract.conId} {about} {regular}"

        def pace() -> None:
            wait = self._pacing.wait(f"{contract.conId} {what}", key, self._pause.monotonic())
            if wait:
                self._pause.sleep(wait)
            self._pacing.sent(f"{contract.conId} {what}", key, self._pause.monotonic())

        return self._persist(about, lambda: self._history(contract, what, bar, end, duration, regular), pace)

    async def _history(
        self, contract: Any, what: str, bar: str, end: datetime | None, duration: str, regular: bool
    ) -> list[Row]:
        from ib_async.wrapper import RequestError

        try:  # no timeout of the library's: it would turn no answer into an empty one
            bars = await self._ib.reqHistoricalDataAsync(
                contract, end, duration, bar, what, regular, formatDate=2, timeout=0
            )
        except RequestError as error:
            if error.code == NO_DATA and "no data" in error.message.lower():
                return []
            raise
        return [(b.date, b.open, b.high, b.low, b.close, b.volume) for b in bars]

    def _persist(self, what: str, ask: Callable[[], Awaitable[T]], before: Callable[[], None] = lambda: None) -> T:
        """The answer; `before` runs before each attempt, outside of the event loop, where Ctrl-C ends a wait at
        once.
        """
        from ib_async.wrapper import RequestError

        def attempt() -> T:
            self._runner.run(self._connected())
            before()
            return self._runner.run(self._answer(ask))

        return persist(
            attempt,
            f"IB {self._address[0]}:{self._address[1]}, {what}",
            self._retry,
            self._pause,
            (OSError, RequestError),
            _again,
        )

    async def _answer(self, ask: Callable[[], Awaitable[T]]) -> T:
        try:
            return await asyncio.wait_for(ask(), self._timeout)
        except TimeoutError:
            await self._hang_up()  # which also withdraws the request at IB's side
            raise TimeoutError(f"no answer for {self._timeout:g} s") from None

    async def _connected(self) -> None:
        from ib_async.ib import StartupFetchNONE

        if self._ib.isConnected():
            return
        host, port, client_id = self._address
        self._heard = ""
        try:
            await self._ib.connectAsync(
                host,
                port,
                clientId=client_id,
                timeout=min(self._timeout, 10),
                readonly=True,
                raiseSyncErrors=True,
                fetchFields=StartupFetchNONE,
            )
        except OSError as error:
            said = self._heard or str(error) or "nobody answers"
            raise ConnectionError(
                f"no connection as client {client_id}: {said}. Start TWS or IB Gateway, allow API clients "
                f"on this port, and give each program its own client id"
            ) from error

    async def _hang_up(self) -> None:
        if self._ib.isConnected():
            self._ib.disconnect()
            for _ in range(3):  # the transport closes in the loop's next rounds
                await asyncio.sleep(0)

    def _hear(self, *error: Any) -> None:
        _, code, message, _ = error
        if not 2100 <= code < 2200:  # notices that a data farm is well
            self._heard = f"error {code}: {message}"


def _again(error: Exception) -> float | None:
    """A lost line or query passes, a pacing violation after a while; what IB refuses, it refuses again."""
    code = getattr(error, "code", None)
    if code is None or code in LOST:
        return 0.0
    return REPEATED if code == NO_DATA and "pacing" in str(error).lower() else None
