"""An exchange on loopback: Binance's documented spot REST, as far as public market data goes.

GET /api/v3/{time,exchangeInfo,klines,aggTrades}; errors are {"code": …, "msg": …}. Written from the exchange's own
documentation of its endpoints: klines and aggTrades come ascending from startTime, `limit` rows at most, and klines end
with the bar that is still open.
"""

import json
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

MOST = 1000  # rows of one answer
Candle = tuple[int, float, float, float, float, float]  # start (ms), open, high, low, close, volume
Trade = tuple[int, int, float, float, bool]  # id, time (ms), price, quantity, whether the buyer was the maker


@dataclass
class Fault:
    """An answer that is none: a status with headers, or a connection that just ends (status 0).

    `at`: only to requests for this path.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    at: str = ""
    page: str = ""  # instead of JSON


class Exchange:
    """`with Exchange(...) as venue:` serves at `venue.url`.

    `requests` holds what it was asked; `faults` are used up one by one.
    """

    def __init__(
        self,
        candles: Mapping[str, Sequence[Candle]] | None = None,
        trades: Mapping[str, Sequence[Trade]] | None = None,
        *,
        now: Callable[[], int],
    ) -> None:
        """By symbol (BTCUSDT). `now`: the exchange's clock, ms."""
        self.candles = candles or {}
        self.trades = trades or {}
        self.now = now
        self.most = MOST
        self.repeats = False  # answers with the row before startTime too, as some exchanges do
        self.only_latest = False  # ignores startTime, as some exchanges do
        self.faults: deque[Fault] = deque()
        self.requests: list[tuple[str, dict[str, str]]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def asked(self, path: str) -> list[dict[str, str]]:
        """The parameters of each request for a path, in order."""
        return [q for p, q in self.requests if p == path]

    def answer(self, path: str, query: dict[str, str]) -> tuple[int, Any]:
        """Status and body."""
        symbol = query.get("symbol")
        match path:
            case "time":
                return 200, {"serverTime": self.now()}
            case "exchangeInfo":
                return 200, {
                    "timezone": "UTC",
                    "serverTime": self.now(),
                    "rateLimits": [],
                    "exchangeFilters": [],
                    "symbols": [_listed(s) for s in {**self.candles, **self.trades}],
                }
            case "klines" | "aggTrades" if symbol not in {**self.candles, **self.trades}:
                return 400, {"code": -1121, "msg": "Invalid symbol."}
            case "klines":
                length = {"1m": 60_000, "1h": 3_600_000, "1d": 86_400_000}[query["interval"]]
                begun = [c for c in self.candles.get(symbol or "", ()) if c[0] <= self.now()]
                return 200, [_kline(c, length) for c in self._page(begun, 0, query, length)]
            case "aggTrades":
                return 200, [
                    _trade(t)
                    for t in self._page(
                        [t for t in self.trades.get(symbol or "", ()) if t[1] <= self.now()], 1, query, 1
                    )
                ]
            case _:
                return 404, {"code": -1, "msg": "not found"}

    def _page(self, rows: list[Any], when: int, query: dict[str, str], step: int) -> list[Any]:
        limit = min(int(query.get("limit", 500)), self.most)
        if self.only_latest or "startTime" not in query:
            return rows[-limit:]
        start = int(query["startTime"]) - (step if self.repeats else 0)
        return [r for r in rows if start <= r[when] <= int(query.get("endTime", self.now()))][:limit]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        venue = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                address = urlsplit(self.path)
                path, query = address.path.removeprefix("/api/v3/"), dict(parse_qsl(address.query))
                venue.requests.append((path, query))
                fault = next((f for f in venue.faults if f.at in {"", path}), None)
                if fault:
                    venue.faults.remove(fault)
                    if not fault.status:
                        self.close_connection = True
                        return
                    status, body = (
                        fault.status,
                        {"code": -1003, "msg": "Too many requests"} if fault.status in {418, 429} else {},
                    )
                else:
                    status, body = venue.answer(path, query)
                sent = (fault.page if fault and fault.page else json.dumps(body)).encode()
                self.send_response(status)
                for name, value in {
                    "Content-Type": "application/json",
                    "Content-Length": str(len(sent)),
                    **(fault.headers if fault else {}),
                }.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(sent)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's name
                """Quiet."""

        return Handler


def _kline(c: Candle, length: int) -> list[Any]:
    start, *prices, volume = c
    return [
        start,
        *(f"{p:.8f}" for p in prices),
        f"{volume:.8f}",
        start + length - 1,
        f"{volume * prices[-1]:.8f}",
        10,
        "0",
        "0",
        "0",
    ]


def _trade(t: Trade) -> dict[str, Any]:
    return {"a": t[0], "p": f"{t[2]:.8f}", "q": f"{t[3]:.8f}", "f": t[0], "l": t[0], "T": t[1], "m": t[4], "M": True}


def _listed(symbol: str) -> dict[str, Any]:
    base, quote = symbol[:-4], symbol[-4:]
    return {
        "symbol": symbol,
        "status": "TRADING",
        "baseAsset": base,
        "baseAssetPrecision": 8,
        "quoteAsset": quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "orderTypes": ["LIMIT", "MARKET"],
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "permissions": ["SPOT"],
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": "0.01000000",
                "maxPrice": "1000000.00000000",
                "tickSize": "0.01000000",
            },
            {"filterType": "LOT_SIZE", "minQty": "0.00001000", "maxQty": "9000.00000000", "stepSize": "0.00001000"},
        ],
    }
