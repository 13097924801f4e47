"""Bars and trades of a crypto exchange, through ccxt: any exchange that it supports, with public data and no
credentials.

A delivery is a UTC day of all symbols of the feed. Of the day under way it has the bars that are over by this
machine's clock and by the exchange's, so an unfinished bar is never delivered; trades come when their day is over.
Exchanges do not publish when a row could first be known: a bar is known at its end and a trade at its time, which is
ASSUMED.
"""

import difflib
import math
import re
import time as wall
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import polars as pl
from msgspec import Meta

from quant_assets.contract import UTC_MICROS
from quant_assets.errors import CaptureUnreadable, ConfigurationError
from quant_assets.frames import bounds
from quant_assets.ports import Clock, Progress, quiet
from quant_assets.records import Capture, Declared, Name, content_id, frame_hash
from resources.sources.pages import Pages, plain
from resources.sources.plan import Plan
from resources.sources.retry import Pause, Retry, persist
from resources.sources.rows import MALFORMED, PRICES

DAY = 86_400_000  # ms
# the window that some exchanges put around a request for trades; an empty one proves nothing about the next
HOUR = 3_600_000
_BARS = {"ts": pl.Int64, **dict.fromkeys(("open", "high", "low", "close", "volume"), pl.Float64)}
_TRADES = {"ts": pl.Int64, "trade_id": pl.String, "price": pl.Float64, "quantity": pl.Float64, "side": pl.Int64}
_SIDES = {"buy": 1, "sell": -1}


class ExchangeFeed(Declared, frozen=True, tag="ccxt"):
    """What to fetch.

    `exchange`: ccxt's id of it. `symbols`: as ccxt writes them (BTC/USDT). `first`: the first day wanted.

    `bar`: 1s to 1d, a length that divides the day. `page`: rows asked at once, by default what ccxt knows of the
    exchange. `api`: an address under which the exchange is reached instead of its own (a proxy, a test server).
    `options`: ccxt's. `name`: of the source; by default the exchange and the bar.
    """

    exchange: Annotated[Name, Meta(description="ccxt's id of it.")]
    symbols: Annotated[
        tuple[Annotated[str, Meta(min_length=1)], ...], Meta(min_length=1, description="As ccxt writes them: BTC/USDT.")
    ]
    first: Annotated[date, Meta(description="The first day wanted.")]
    dataset: Annotated[Literal["intraday_bars", "trades"], Meta(description="What to fetch.")] = "intraday_bars"
    bar: Annotated[
        str,
        Meta(
            pattern=r"^[1-9]\d{0,4}[smhd]$",
            description="A length that divides the day.",
            extra={"write": "a length like 1m, 15m, 1h or 1d"},
        ),
    ] = "1m"
    page: Annotated[
        Annotated[int, Meta(ge=1, le=100_000)] | None,
        Meta(description="Rows asked at once; by default what ccxt knows of the exchange."),
    ] = None
    api: Annotated[str | None, Meta(description="Another address under which the exchange is reached.")] = None
    options: Annotated[dict[str, Any] | None, Meta(description="ccxt's own.")] = None
    name: Annotated[Name | None, Meta(description="What the feed is called.")] = None

    @property
    def what(self) -> str:
        """The bar, or trades."""
        return self.bar if self.dataset == "intraday_bars" else "trades"


class Exchange:
    """The MarketDataSource port on one exchange.

    What it answered is kept below `cache`; `progress` counts the minutes of a capture's days.
    """

    def __init__(
        self,
        feed: ExchangeFeed,
        cache: Path,
        clock: Clock,
        *,
        retry: Retry | None = None,
        pause: Pause | None = None,
        progress: Progress = quiet,
    ) -> None:
        """Raises ConfigurationError on a feed without symbols or with a bar that does not divide the day."""
        self.feed = feed
        self.name = feed.name or f"{feed.exchange}_{feed.what}"
        self.seconds = _seconds(feed.bar)
        self.clock = clock
        self.progress = progress
        self._pages = Pages(cache)
        self._retry = retry or Retry()
        self._pause = pause or Pause()
        self._asked = -math.inf
        self._bars = feed.dataset == "intraday_bars"
        if not feed.symbols:
            raise ConfigurationError(
                f"{self.name}: the feed names no symbols; give some as ccxt writes them, like BTC/USDT"
            )

    def labels(self, first: date | None = None, last: date | None = None) -> Sequence[date]:
        """See the port: the UTC days from the feed's first that are over, and the one under way once it has a bar."""
        begin, today = max(self.feed.first, first or self.feed.first), self.clock.now().date()
        newest = today if self._over(today) > _start(today) else today - timedelta(days=1)
        end = min(newest, last or newest)
        return [begin + timedelta(days=n) for n in range((end - begin).days + 1)]

    def plan(self, first: date | None = None, last: date | None = None) -> Plan:
        """What fetching these days would ask for. Nothing is asked yet."""
        labels = self.labels(first, last)
        lacking = [
            (day, symbol)
            for day in labels
            for symbol in self.feed.symbols
            if not self._pages.has(self._file(symbol, day))
        ]
        asked = sum(self._asks(day) for day, _ in lacking)
        requests = asked + len({day for day, _ in lacking}) + bool(lacking)  # with the clock of each day, the markets
        kept = len(labels) - len({day for day, _ in lacking})
        note = (
            f"at least: a page holds {self._page} trades, and a busy hour has more"
            if self.feed.dataset == "trades"
            else ""
        )
        return Plan(self.name, tuple(labels), kept, requests, requests * self._client.rateLimit / 1000, note)

    def fingerprints(self, labels: Sequence[date]) -> Mapping[date, str | None]:
        """See the port: a day that is over is asked for once and kept, so it never changes."""
        return dict.fromkeys(labels)

    def fetch(self, label: date) -> Capture:
        """See the port.

        Raises CaptureUnreadable: on a day before the feed's first or of which nothing is over yet, or where the
        exchange does not answer.
        """
        until = self._over(label)
        if label < self.feed.first or until <= _start(label):
            raise CaptureUnreadable(
                f"{self.name}: no capture of {label}; there is one of each UTC day from {self.feed.first} that is over"
                + (", and of the day under way once a bar of it is" if self._bars else "")
            )
        if any(not self._pages.has(self._file(s, label)) for s in self.feed.symbols):
            until = self._ready(label, until)
        days = [self._day(n, symbol, label, until) for n, symbol in enumerate(self.feed.symbols)]
        parts = [self._rows(day, symbol, label) for day, symbol in zip(days, self.feed.symbols, strict=True)]
        rows = pl.concat(parts)
        return Capture(
            source=self.name,
            label=label,
            location=f"{self.feed.exchange} {self.feed.what}",
            sha256=content_id(self.feed.dataset, str(label), frame_hash(rows), length=64),
            known_at=datetime.combine(label, time(), UTC) + timedelta(days=1),
            assumed=True,
            prices=pl.DataFrame(schema=PRICES),
            listings=None,
            actions=None,
            malformed=pl.DataFrame(schema=MALFORMED),
            dataset=self.feed.dataset,
            others={self.feed.dataset: rows},
        )

    def _asks(self, label: date) -> int:
        """How many requests the rows of a symbol on a day take, at least."""
        if not self._bars:
            return DAY // HOUR
        return math.ceil((self._over(label) - _start(label)) / 1000 / self.seconds / self._page)

    def _over(self, label: date) -> int:
        """Until when a day's rows are over, in ms: by this machine's clock, whole bars; trades come by the day."""
        start, step = _start(label), self.seconds * 1000 if self._bars else DAY
        passed = int(self.clock.now().timestamp() * 1000) - start
        return start + min(max(passed // step, 0) * step, DAY)

    def _rows(self, day: pl.DataFrame, symbol: str, label: date) -> pl.DataFrame:
        """What the port calls rows: the dataset's columns, file, line, known_at."""
        start = pl.from_epoch("ts", "ms").dt.replace_time_zone("UTC").cast(UTC_MICROS)
        bars = self._bars
        length = [pl.lit(self.seconds, pl.Int32).alias("seconds")] if bars else []
        given = [c for c in day.columns if c != "ts"]
        numbered = day.with_row_index("line", offset=1).with_columns(pl.col("line").cast(pl.Int64), ts=start)
        origin = {
            "file": pl.lit(self._file(symbol, label)),
            "known_at": pl.col("ts") + pl.duration(seconds=self.seconds if bars else 0),
        }
        return numbered.select(
            "ts",
            pl.lit(self.feed.exchange).alias("venue"),
            pl.lit(symbol).alias("symbol"),
            *length,
            *given,
            "line",
            **origin,
        )

    def _day(self, n: int, symbol: str, label: date, until: int) -> pl.DataFrame:
        """The rows of symbol number `n` on a day before `until`, by time: from the cache, or page by page from where an
        earlier run stopped.
        """
        file = self._file(symbol, label)
        if (kept := self._pages.whole(file)) is not None:
            return kept
        start = _start(label)
        pages = self._pages.pages(file)
        since = self._after(pages[-1], start) if pages else start
        while since < until:
            done = (n * DAY + since - start) // 60_000
            self.progress(done, len(self.feed.symbols) * DAY // 60_000, f"{file}, page {len(pages) + 1}")
            page, since = self._next(symbol, since, start, until, pages)
            if page.height:
                self._pages.keep(file, len(pages), page)
                pages.append(page)
        rows = (
            pl.concat([pl.DataFrame(schema=self._schema), *pages])
            .unique(maintain_order=True)
            .sort("ts", maintain_order=True)
        )
        if until == start + DAY:
            self._pages.finish(file, rows)
        return rows

    def _next(
        self, symbol: str, since: int, start: int, until: int, pages: list[pl.DataFrame]
    ) -> tuple[pl.DataFrame, int]:
        """One page's new rows of the day from `since` to before `until`, and from where to ask on."""
        step = self.seconds * 1000
        bars = self._bars
        limit = (
            min(self._page, (until - since) // step + 1) if bars else self._page
        )  # one more, for those that repeat the row before
        what = f"{symbol} {self.feed.what} from {_iso(since)}"
        answer = self._ask(what, lambda: self._in_window(self._page_of(symbol, since, limit), since))
        new = answer.filter(pl.col("ts").is_between(since, until - 1))
        latest, earliest = answer["ts"].max(), answer["ts"].min()
        if not bars and answer.height >= limit and latest == since:
            raise CaptureUnreadable(
                f"{self.name}: {limit} trades of {symbol} or more in the millisecond {_iso(since)}: the "
                f"rest cannot be asked for. Set a larger `page` in the feed"
            )
        if not bars:  # asked again from the last trade's millisecond, because it may have more trades
            new = new.join(_since(pages, since), on="trade_id", how="anti")
        if new.height:
            return new, self._after(new, start)
        now = self.clock.now().timestamp() * 1000
        if (
            not pages
            and isinstance(earliest, int)
            and isinstance(latest, int)
            and earliest >= start + DAY
            and latest >= now - 2 * max(step, 60_000)
        ):
            raise CaptureUnreadable(
                f"{self.name}: asked for {symbol} from {_iso(since)}, it sent its latest rows, from "
                f"{_iso(earliest)}: it gives no such history. Set `first` in the feed to a later day"
            )
        return new, since + (limit * step if bars else HOUR)

    def _after(self, page: pl.DataFrame, start: int) -> int:
        """From where to ask after a page."""
        _, last = bounds(page["ts"], int) or (start, start)
        return last + self.seconds * 1000 if self._bars else last

    def _page_of(self, symbol: str, since: int, limit: int) -> pl.DataFrame:
        if self._bars:
            rows = self._client.fetch_ohlcv(symbol, self.feed.bar, since, limit)
        else:
            trades = self._client.fetch_trades(symbol, since, limit)
            if any(t["id"] is None for t in trades):
                raise CaptureUnreadable(
                    f"{self.name}: it gives trades of {symbol} no ids, so two equal trades would count as one; "
                    f"fetch bars of it instead"
                )
            rows = [(t["timestamp"], str(t["id"]), t["price"], t["amount"], _SIDES.get(t["side"], 0)) for t in trades]
        return pl.DataFrame(rows, schema=self._schema, orient="row").sort("ts", maintain_order=True)

    def _in_window(self, page: pl.DataFrame, since: int) -> pl.DataFrame:
        """The page, if it is an answer to what was asked.

        The client drops rows before `since`; an answer that had nothing else would count as an empty window.
        """
        import ccxt

        sent = _rows_in(self._client.last_json_response)
        if sent > 1 and not (page["ts"] >= since).any():  # one may be the row before, sent again
            raise ccxt.BadResponse(
                f"it sent {sent} rows of another window, or in another unit, and none from {_iso(since)} on"
            )
        return page

    def _ready(self, label: date, until: int) -> int:
        """The symbols exist, and a day that is over here is over where the exchange is. Until when rows are over by
        both clocks.
        """
        markets = self._ask("markets", self._client.load_markets)
        for symbol in self.feed.symbols:
            if symbol not in markets:
                close = difflib.get_close_matches(symbol, markets, n=3, cutoff=0.5)
                raise CaptureUnreadable(
                    f"{self.name}: no market {symbol}; there are {len(markets)}, for example "
                    f"{close or sorted(markets)[:3]}. Correct the feed; what was captured of it before stays"
                )
        if not self._client.has["fetchTime"]:
            return until
        theirs, end = self._ask("clock", self._client.fetch_time) or 0, _start(label) + DAY
        if theirs < until == end:
            raise CaptureUnreadable(
                f"{self.name}: {label} is not over: the exchange's clock is {_iso(theirs)}. "
                f"Run again in {(end - theirs) / 1000:,.0f} s, and check this machine's clock"
            )
        return (
            until
            if theirs >= until
            else until - math.ceil((until - theirs) / 1000 / self.seconds) * self.seconds * 1000
        )

    def _ask(self, what: str, ask: Callable[[], Any]) -> Any:
        import ccxt

        return persist(ask, f"{self.name}: {what}", self._retry, self._pause, (ccxt.BaseError,), self._again)

    def _again(self, error: Exception) -> float | None:
        """Network errors and rate limits pass: wait as many seconds as the exchange asks for. A refusal stays a
        refusal.
        """
        import ccxt

        if not isinstance(error, ccxt.OperationFailed):
            return None
        headers = (
            self._client.last_response_headers or {}
            if isinstance(error, ccxt.DDoSProtection | ccxt.RateLimitExceeded)
            else {}
        )
        seconds = next((v for k, v in headers.items() if k.lower() == "retry-after"), "0")
        return (
            float(seconds) if seconds.isdigit() else self._retry.longest
        )  # the header may also be a date, which no exchange here sends

    @cached_property
    def _client(self) -> Any:
        """The client; it keeps its weights of requests, and waits as we do."""
        try:
            import ccxt
        except ImportError as error:
            raise ConfigurationError(f"{self.name}: ccxt is not installed; install quant-assets[crypto]") from error
        feed = self.feed
        if feed.exchange not in ccxt.exchanges:
            raise ConfigurationError(
                f"ccxt knows no exchange {feed.exchange!r}; near are "
                f"{difflib.get_close_matches(feed.exchange, ccxt.exchanges, n=3)}"
            )
        defaults = {"defaultType": "spot", "fetchMarkets": {"types": ["spot"]}}
        client = getattr(ccxt, feed.exchange)({"options": {**defaults, **(feed.options or {})}})
        client.has["fetchCurrencies"] = False  # needs credentials at some, and nothing here needs it
        client.throttle = self._throttle
        client.on_rest_response = _not_a_page
        client.enableLastJsonResponse = True  # what it was made of is looked at, see `_in_window`
        if feed.api:
            client.urls["api"] = _elsewhere(client.urls["api"], feed.api)
        if feed.dataset == "intraday_bars" and feed.bar not in (client.timeframes or {}):
            raise ConfigurationError(
                f"{self.name}: {feed.exchange} has no bars of {feed.bar}; it has {list(client.timeframes or {})}"
            )
        return client

    @cached_property
    def _page(self) -> int:
        method = "fetchOHLCV" if self._bars else "fetchTrades"
        return self.feed.page or int(self._client.feature_value_by_type("spot", None, method, "limit", 100) or 100)

    @property
    def _schema(self) -> dict[str, Any]:
        return _BARS if self._bars else _TRADES

    def _throttle(self, cost: float | None = None) -> None:
        """The client's own limiter, with a pause that can be replaced: `rateLimit` ms per unit of weight between
        requests.
        """
        lacking = self._client.rateLimit / 1000 * (1 if cost is None else cost) - (
            self._pause.monotonic() - self._asked
        )
        if lacking > 0:
            self._pause.sleep(lacking)
        self._asked = self._pause.monotonic()

    def _file(self, symbol: str, label: date) -> str:
        return f"{self.feed.exchange}/{plain(symbol)}/{self.feed.what}/{label}"


def _start(label: date) -> int:
    """When a UTC day begins, in ms."""
    return int(datetime.combine(label, time(), UTC).timestamp()) * 1000


def _seconds(bar: str) -> int:
    found = re.fullmatch(r"([1-9]\d*)([smhd])", bar)
    seconds = int(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]] if found else 0
    if not seconds or 86400 % seconds:
        raise ConfigurationError(f"bar {bar!r} is not a length that divides the day, like 1m, 15m, 1h or 1d")
    return seconds


def _not_a_page(status: int, reason: str, url: str, method: str, _: object, body: str, *_request: object) -> str:
    """The client's hook on each answer.

    Of the page of a proxy that wants a login the client would make no rows: an empty day.
    """
    import ccxt

    if status == HTTPStatus.OK and body.lstrip().startswith("<"):
        raise ccxt.BadResponse(
            f"{method} {url} was answered {status} {reason} with a page: look what stands between here and the exchange"
        )
    return body.strip()


def _rows_in(answer: object) -> int:
    """How many rows the longest list of rows in an answer has, wherever the exchange puts it."""
    inside: list[object] = (
        list(answer.values()) if isinstance(answer, dict) else list(answer) if isinstance(answer, list) else []
    )
    rows = len(inside) if isinstance(answer, list) and all(isinstance(r, list | dict) for r in inside) else 0
    return max([rows, *(_rows_in(v) for v in inside if isinstance(v, dict | list))])


def _since(pages: list[pl.DataFrame], since: int) -> pl.DataFrame:
    """The trades kept that are not before `since`."""
    held = pl.DataFrame(schema=_TRADES)
    for page in reversed(pages):
        held = pl.concat([held, page.filter(pl.col("ts") >= since)])
        if page["ts"][0] < since:
            break
    return held


def _elsewhere(urls: Any, api: str) -> Any:
    """The client's addresses, with `api` in place of scheme and host."""
    if isinstance(urls, dict):
        return {k: _elsewhere(v, api) for k, v in urls.items()}
    return api.rstrip("/") + urlsplit(urls).path


def _iso(ms: int) -> str:
    return wall.strftime("%Y-%m-%dT%H:%M:%S", wall.gmtime(ms / 1000)) + f".{ms % 1000:03}Z"
