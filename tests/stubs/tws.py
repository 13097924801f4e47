r"""TWS on loopback: its socket protocol, as far as reading history goes.

A message is a length (4 bytes, big endian) and fields that each end in NUL. The client opens with `API\0` and its range
of versions; the server answers with its version and time, and after startApi with the accounts and the next order id.
Written from IB's documentation of its API: message numbers, fields and error codes.
"""

import socket
import socketserver
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from types import TracebackType
from typing import NamedTuple, Self

VERSION = 176
START_API, CURRENT_TIME, CONTRACT_DATA, HISTORICAL_DATA, POSITIONS = "71", "49", "9", "20", "61"  # from the client
PACING = "Historical Market Data Service error message:Historical data request pacing violation"
NO_DATA = "Historical Market Data Service error message:HMDS query returned no data: {symbol}@SMART Trades"

Row = tuple[date | datetime, float, float, float, float, float]
Series = Mapping[tuple[str, str], Sequence[Row]]  # by whatToShow and bar size


@dataclass
class Listing:
    """A stock: where it is listed, and its history."""

    con_id: int
    primary: str
    series: Series


class Asked(NamedTuple):
    """A request for history."""

    symbol: str
    what: str
    bar: str
    end: str
    duration: str
    regular: bool


@dataclass
class Fault:
    """Instead of an answer to a request for history: an error (code and text), silence (code 0), or the end of the
    connection (code -1).
    """

    code: int
    text: str = ""


class Tws:
    """`with Tws(...) as tws:` serves at `tws.port`. `asked` holds the requests for history, `clients` who connected."""

    def __init__(
        self, listings: Mapping[str, Sequence[Listing]], *, now: Callable[[], datetime], monotonic: Callable[[], float]
    ) -> None:
        """By symbol. `now`: the server's clock; `monotonic`: seconds for its pacing."""
        self.listings = listings
        self.now = now
        self.monotonic = monotonic
        self.faults: deque[Fault] = deque()
        self.taken: set[int] = set()  # client ids that another program has
        self.mute: set[str] = set()  # messages that are not answered
        self.asked: list[Asked] = []
        self.clients: list[int] = []
        self.violations = 0
        self.open = 0
        self._sent: list[tuple[float, Asked]] = []
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self.port = int(self._server.server_address[1])

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answers(self, fields: list[str]) -> Iterator[tuple[object, ...]]:
        """The messages that answer one."""
        match fields:
            case [str(kind), *_] if kind in self.mute:
                return
            case [str(kind), _, client, *_] if kind == START_API:
                self.clients.append(int(client))
                if int(client) in self.taken:
                    yield _error(
                        -1, 326, "Unable to connect as the client id is already in use. Retry with a unique client id."
                    )
                    raise ConnectionAbortedError
                yield 15, 1, "DU1234567"
                yield 9, 1, 1
                yield _error(-1, 2104, "Market data farm connection is OK:usfarm")
            case [str(kind), *_] if kind == CURRENT_TIME:
                yield 49, 1, int(self.now().timestamp())
            case [str(kind), *_] if kind == POSITIONS:
                yield 62, 1
            case [str(kind), _, request, _, symbol, _, _, _, _, _, exchange, primary, currency, *_] if (
                kind == CONTRACT_DATA
            ):
                found = [c for c in self.listings.get(symbol, ()) if primary in {"", c.primary}]
                for listing in found:
                    yield 10, request, *_details(symbol, exchange, currency, listing)
                yield (
                    (52, 1, request)
                    if found
                    else _error(request, 200, "No security definition has been found for the request")
                )
            case [str(kind), request, con_id, symbol, *rest] if kind == HISTORICAL_DATA:
                end, bar, duration, regular, what = rest[11:16]
                listing = next(c for c in self.listings[symbol] if str(c.con_id) == con_id)
                yield from self._history(request, listing, Asked(symbol, what, bar, end, duration, regular == "1"))
            case _:
                raise NotImplementedError(fields)

    def _history(self, request: str, listing: Listing, asked: Asked) -> Iterator[tuple[object, ...]]:
        self.asked.append(asked)
        if self._too_fast(asked):
            self.violations += 1
            yield _error(request, 162, PACING)
            return
        if self.faults:
            fault = self.faults.popleft()
            if fault.code < 0:
                raise ConnectionAbortedError
            if fault.code:
                yield _error(request, fault.code, fault.text)
            return
        if asked.what == "ADJUSTED_LAST" and asked.end:
            yield _error(
                request, 321, "Error validating request.-'bJ' : cause - End Date/Time: Not supported for ADJUSTED_LAST"
            )
            return
        rows = self._rows(listing, asked)
        if not rows:
            yield _error(request, 162, NO_DATA.format(symbol=asked.symbol))
            return
        bars = [v for when, *prices, volume in rows for v in (_stamp(when), *prices, volume, prices[-1], 1)]
        yield 17, request, "", "", len(rows), *bars

    def _rows(self, listing: Listing, asked: Asked) -> list[Row]:
        end = datetime.strptime(asked.end, "%Y%m%d %H:%M:%S %Z").replace(tzinfo=UTC) if asked.end else self.now()
        count, unit = asked.duration.split()
        start = end - timedelta(days=int(count) * {"D": 1, "Y": 365}[unit])
        return [r for r in listing.series.get((asked.what, asked.bar), ()) if start <= _utc(r[0]) < end]

    def _too_fast(self, asked: Asked) -> bool:
        at = self.monotonic()
        window = [(t, a) for t, a in self._sent if at - t < 600]
        self._sent = [*window, (at, asked)]
        same = [t for t, a in window if (a.symbol, a.what) == (asked.symbol, asked.what) and at - t < 2]
        return len(window) >= 60 or any(a == asked and at - t < 15 for t, a in window) or len(same) >= 5

    def _handler(self) -> type[socketserver.BaseRequestHandler]:
        tws = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                tws.open += 1
                try:
                    self._serve()
                except (ConnectionError, EOFError):
                    self.connection.shutdown(socket.SHUT_RDWR)
                finally:
                    tws.open -= 1

            def _serve(self) -> None:
                if self.rfile.read(4) != b"API\0":
                    raise EOFError
                self._read()
                self._send(VERSION, "20240503 08:00:00 EST")
                while True:
                    for message in tws.answers(self._read().decode().split("\0")[:-1]):
                        self._send(*message)

            def _read(self) -> bytes:
                head = self.rfile.read(4)
                if len(head) < 4:
                    raise EOFError
                return self.rfile.read(struct.unpack(">I", head)[0])

            def _send(self, *fields: object) -> None:
                message = "".join(f"{f}\0" for f in fields).encode()
                self.wfile.write(struct.pack(">I", len(message)) + message)

        return Handler


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def _error(request: object, code: int, text: str) -> tuple[object, ...]:
    return 4, 2, request, code, text, ""


def _details(symbol: str, exchange: str, currency: str, listing: Listing) -> tuple[object, ...]:
    described = (symbol, "STK", "", 0, "", exchange, currency, symbol, "NMS", "NMS", listing.con_id, 0.01)
    hours = ("US/Eastern", "20240503:0400-20240503:2000", "20240503:0930-20240503:1600", "", "")
    return (
        *described,
        "",
        "LMT,MKT",
        "SMART",
        1,
        0,
        f"{symbol} INC",
        listing.primary,
        "",
        "Technology",
        "",
        "",
        *hours,
        0,
        1,
        "",
        "",
        "26",
        "",
        "COMMON",
        0.0001,
        0.0001,
        100,
    )


def _stamp(when: date | datetime) -> str:
    return str(int(when.timestamp())) if isinstance(when, datetime) else f"{when:%Y%m%d}"


def _utc(when: date | datetime) -> datetime:
    return when if isinstance(when, datetime) else datetime(when.year, when.month, when.day, tzinfo=UTC)
