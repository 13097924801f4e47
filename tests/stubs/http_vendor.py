"""A vendor over HTTP on this machine: pages of JSON, and whatever else a test wants it to answer."""

import json
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qsl, urlsplit

from quant_assets.calendars import calendar
from resources.sources.http_feed import HttpFeed
from resources.sources.http_vendor import Http
from tests.stubs.wall import Wall

XNYS = calendar("XNYS")
SESSIONS = XNYS.between(date(2024, 5, 1), date(2024, 5, 8))
NOW = datetime(2024, 5, 9, 12, tzinfo=UTC)


class Reply(NamedTuple):
    """What is answered."""

    body: bytes | str | object
    status: int = 200
    headers: Mapping[str, str] = {}

    @property
    def content(self) -> bytes:
        """The body as it is sent."""
        if isinstance(self.body, bytes):
            return self.body
        return (self.body if isinstance(self.body, str) else json.dumps(self.body)).encode()


class Asked(NamedTuple):
    """A request as it came."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


class Vendor:
    """A server that answers by a function of the request; `asked` holds all requests."""

    def __init__(self, answer: Callable[[Asked], Reply]) -> None:
        self.asked: list[Asked] = []
        vendor = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                came = Asked(parts.path, dict(parse_qsl(parts.query)), dict(self.headers))
                vendor.asked.append(came)
                reply = answer(came)
                self.send_response(reply.status)
                sent = {"Content-Type": "application/json", "Content-Length": str(len(reply.content)), **reply.headers}
                for name, value in sent.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply.content)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # as the class has it
                """Nobody reads it."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def bar(symbol: str, day: date, close: float | str) -> dict[str, object]:
    """A bar as the vendor writes it."""
    return {"ticker": symbol, "t": f"{day}", "o": close, "h": close, "l": close, "c": close, "v": 1000}


def between(asked: Asked, rows: list[dict[str, object]], day: str = "t") -> list[dict[str, object]]:
    """The rows of the span that was asked for."""
    return [r for r in rows if asked.query["from"] <= str(r[day]) <= asked.query["to"]]


BARS: dict[str, Any] = {
    "name": "myvendor",
    "first": SESSIONS[0],
    "records": "data.bars",
    "mapping": {"symbol": "ticker", "session": "t", "open": "o", "high": "h", "low": "l", "close": "c", "volume": "v"},
    "page_size": 2,
}


@contextmanager
def opened(
    folder: Path, answer: Callable[[Asked], Reply], path: str, **declared: Any
) -> Generator[tuple[Http, Vendor]]:
    """A source over a vendor that answers so; time passes only as it waits."""
    wall = Wall(NOW)
    with Vendor(answer) as vendor:
        keys: dict[str, Any] = {"url": vendor.url + path, "attempts": 3, **declared}
        yield Http(HttpFeed(**keys), XNYS, folder, wall, pause=wall.pause), vendor


def paged(rows: list[dict[str, object]], size: int) -> Callable[[Asked], Reply]:
    """Pages of so many rows, numbered from 1."""

    def answer(asked: Asked) -> Reply:
        found, page = between(asked, rows), int(asked.query["page"])
        return Reply({"data": {"bars": found[(page - 1) * size : page * size]}})

    return answer


@contextmanager
def http_bars(folder: Path) -> Generator[tuple[Http, int]]:
    """Three names a session in pages of two; one close is no number."""
    rows = [bar(s, d, 10.0 + n) for n, d in enumerate(SESSIONS) for s in ("AA", "BB", "CC")]
    rows[4]["c"] = "oops"
    with opened(folder, paged(rows, 2), "/bars?from={first}&to={last}&page={page}", **BARS) as (source, _):
        yield source, len(rows)


@contextmanager
def http_announcements(folder: Path) -> Generator[tuple[Http, int]]:
    """A dataset by the day, with the next page as a link; one distribution is negative."""
    rows: list[dict[str, object]] = [
        {"id": f"{s}{d:%d}", "ex": f"{d}", "sym": s, "amount": -1 if (s, d) == ("AA", SESSIONS[1]) else 0.5}
        for d in SESSIONS
        for s in ("AA", "BB")
    ]

    def answer(asked: Asked) -> Reply:
        found, n = between(asked, rows, "ex"), int(asked.query.get("after", 0))
        more = n + 1 < len(found)
        link = f"/events?from={asked.query['from']}&to={asked.query['to']}&after={n + 1}" if more else None
        return Reply({"events": found[n : n + 1], "links": {"next": link}})

    declared: dict[str, Any] = {
        "name": "events",
        "first": SESSIONS[0],
        "dataset": "announcements",
        "records": "events",
        "next": "links.next",
        "mapping": {"session": "ex", "event_id": "id", "symbol": "sym", "cash": "amount"},
        "constants": {"venue": "XNYS", "kind": "dividend", "status": "confirmed"},
        "known_at": "event+1d",
        "may_be_empty": True,
    }
    with opened(folder, answer, "/events?from={first}&to={last}", **declared) as (source, _):
        yield source, len(rows)
