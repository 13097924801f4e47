"""Daily and intraday bars of stocks from Interactive Brokers, through a running TWS or IB Gateway.

A delivery is a session of all symbols of the feed. IB never sends a price as it was then: its history is adjusted for
the splits up to the request. So the raw prices of the first request are kept, and the daily delivery of a session has
two rows: the session before as it was delivered then, and the session itself. The adjusted close is IB's ADJUSTED_LAST,
converted to the session, as a vendor would have sent it that evening. Splits and dividends are derived from the two.
For sessions that are fetched long after, dividends are seen and prices are adjusted for the splits in between: returns
are right, levels are not. IB does not publish when a bar could first be known: a delivery is known an hour after the
close, an intraday bar at its end; both are ASSUMED.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import polars as pl
from msgspec import Meta

from quant_assets.calendars import Calendar
from quant_assets.contract import UTC_MICROS
from quant_assets.errors import CaptureUnreadable, ConfigurationError
from quant_assets.ports import Clock, Progress, quiet
from quant_assets.records import Capture, Currency, Declared, Name, content_id, frame_hash
from resources.sources.pages import Pages, plain
from resources.sources.plan import Plan
from resources.sources.retry import Pause, Retry
from resources.sources.rows import MALFORMED, PRICES, check
from resources.sources.tws import Gateway, Pacing, least

BARS = {
    "1m": ("1 min", 60),
    "2m": ("2 mins", 120),
    "5m": ("5 mins", 300),
    "15m": ("15 mins", 900),
    "30m": ("30 mins", 1800),
    "1h": ("1 hour", 3600),
}
AFTER_CLOSE = timedelta(hours=1)
CENT = 0.0051  # how far a price in whole cents may lie from the exact one
_VALUES = dict.fromkeys(("open", "high", "low", "close", "volume"), pl.Float64)
_DAILY = {"session": pl.Date, **_VALUES, "adjusted": pl.Float64}
_INTRADAY = {"ts": UTC_MICROS, **_VALUES}


class IbFeed(Declared, frozen=True, tag="ib"):
    """What to fetch.

    `symbols`: as IB writes them (`BRK B`), with `@` and the primary exchange where several have one. `first`: the first
    session wanted.

    `bar`: of intraday bars, 1m to 1h. `extended`: intraday bars outside of regular hours too. `adjusted`: ask for
    adjusted closes, without which there are no corporate actions. `volume_unit`: shares in one unit of volume, 100
    where TWS counts round lots. `timeout`: seconds for one answer. `port`: 7497 and 7496 are TWS's for paper and live,
    4002 and 4001 the Gateway's. `name`: of the source.
    """

    symbols: Annotated[
        tuple[Annotated[str, Meta(min_length=1)], ...], Meta(min_length=1, description="As IB writes them: BRK B.")
    ]
    first: Annotated[date, Meta(description="The first session wanted.")]
    dataset: Annotated[Literal["bars", "intraday_bars"], Meta(description="What to fetch.")] = "bars"
    bar: Annotated[Literal["1m", "2m", "5m", "15m", "30m", "1h"], Meta(description="The length of intraday bars.")] = (
        "1m"
    )
    host: Annotated[str, Meta(min_length=1, description="Where TWS or the Gateway runs.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65_535, description="7497, 7496: TWS, paper and live; 4002, 4001: Gateway.")] = (
        7497
    )
    client_id: Annotated[int, Meta(ge=0, le=2_147_483_647, description="No other client of it may have it.")] = 17
    exchange: Annotated[str, Meta(min_length=1, description="Where IB routes to.")] = "SMART"
    currency: Annotated[Currency, Meta(description="In what the instruments trade.")] = "USD"
    extended: Annotated[bool, Meta(description="Intraday bars outside of regular hours too.")] = False
    adjusted: Annotated[bool, Meta(description="Adjusted closes too; without, there are no actions.")] = True
    volume_unit: Annotated[int, Meta(ge=1, le=100_000, description="Shares in one unit of volume.")] = 1
    timeout: Annotated[float, Meta(gt=0, le=3600, description="Seconds for one answer.")] = 60.0
    name: Annotated[Name | None, Meta(description="What the source is called.")] = None


class InteractiveBrokers:
    """The MarketDataSource port on IB.

    What it answered is kept below `cache`; `progress` counts the symbols of a capture.
    """

    def __init__(
        self,
        feed: IbFeed,
        calendar: Calendar,
        cache: Path,
        clock: Clock,
        *,
        retry: Retry | None = None,
        pause: Pause | None = None,
        progress: Progress = quiet,
    ) -> None:
        """Raises ConfigurationError on a feed without symbols or with a bar that IB does not have."""
        self.daily = feed.dataset == "bars"
        self.name = feed.name or f"ib_{'1d' if self.daily else feed.bar}"
        if not feed.symbols or (not self.daily and feed.bar not in BARS):
            wrong = f"no bar {feed.bar}; there are {sorted(BARS)}" if feed.symbols else "the feed names no symbols"
            raise ConfigurationError(f"{self.name}: {wrong}")
        self.feed = feed
        self.calendar = calendar
        self.clock = clock
        self.progress = progress
        self._pages = Pages(cache)
        self._retry = retry or Retry(first=5.0)
        self._pause = pause or Pause()
        self._pacing = Pacing()

    def labels(self, first: date | None = None, last: date | None = None) -> Sequence[date]:
        """See the port: the sessions from the feed's first that can be known."""
        now = self.clock.now()
        begin, end = max(self.feed.first, first or self.feed.first), min(now.astimezone(UTC).date(), last or date.max)
        return [s for s in self.calendar.between(begin, end) if self._known_at(s) <= now]

    def plan(self, first: date | None = None, last: date | None = None) -> Plan:
        """What fetching these sessions would ask for.

        Nothing is asked yet; daily bars up to now come with the first session of a symbol that lacks.
        """
        labels = self.labels(first, last)
        lacking = {symbol: [s for s in labels if not self._kept(symbol, s)] for symbol in self.feed.symbols}
        missing = {s for days in lacking.values() for s in days}
        each = 2 if self.feed.adjusted else 1
        asked = sum(each * bool(days) if self.daily else len(days) for days in lacking.values())
        once = sum(map(bool, lacking.values())) + (
            bool(missing) if self.daily else len(missing)
        )  # contracts, and the clock of each connection
        note = "prices before a split come adjusted for it" if missing else ""
        return Plan(self.name, tuple(labels), len(labels) - len(missing), asked + once, least(asked), note)

    def fingerprints(self, labels: Sequence[date]) -> Mapping[date, str | None]:
        """See the port: a session that is over is asked for once and kept, so it never changes."""
        return dict.fromkeys(labels)

    def fetch(self, label: date) -> Capture:
        """See the port.

        Raises CaptureUnreadable: on a day that is no session or not over yet, where IB does not answer or refuses, or
        has no bar of any symbol.
        """
        if label not in self.labels(label, label):
            raise CaptureUnreadable(
                f"{self.name}: no capture of {label}; there is one of each {self.calendar.code} session "
                f"from {self.feed.first} once it can be known"
            )
        lacking = [s for s in self.feed.symbols if not self._kept(s, label)]
        if lacking:
            self._ask(lacking, label)
        prices, malformed = pl.DataFrame(schema=PRICES), pl.DataFrame(schema=MALFORMED)
        others: dict[str, pl.DataFrame] = {}
        known_at = self._known_at(label)
        if self.daily:
            prices, malformed = self._prices(label)
            digest = content_id(self.feed.dataset, str(label), frame_hash(prices), frame_hash(malformed), length=64)
        else:
            rows = self._intraday(label)
            others, known_at = (
                {self.feed.dataset: rows},
                max([known_at, *(t.astimezone(UTC) for t in rows["known_at"])]),
            )
            digest = content_id(self.feed.dataset, str(label), frame_hash(rows), length=64)
        if not sum(f.height for f in (prices, malformed, *others.values())):
            raise CaptureUnreadable(
                f"{self.name}: IB has no bar of {label} for any of {len(self.feed.symbols)} symbols. It may "
                f"be late: run again; look at the feed's symbols and market data permissions"
            )
        return Capture(
            source=self.name,
            label=label,
            location=f"IB {self.feed.exchange}",
            sha256=digest,
            known_at=known_at,
            assumed=True,
            prices=prices,
            listings=None,
            actions=None,
            malformed=malformed,
            dataset=self.feed.dataset,
            others=others,
        )

    def _ask(self, symbols: Sequence[str], label: date) -> None:
        """Fetch and keep what these symbols lack. What IB does not have yet is not kept."""
        feed = self.feed
        with Gateway(
            feed.host,
            feed.port,
            feed.client_id,
            timeout=feed.timeout,
            pacing=self._pacing,
            retry=self._retry,
            pause=self._pause,
        ) as gateway:
            theirs = gateway.now()
            if theirs < self._known_at(label):
                raise CaptureUnreadable(
                    f"{self.name}: {label} is known at {self._known_at(label)}, and IB's clock is {theirs}. "
                    f"Run again later, and check this machine's clock"
                )
            for n, symbol in enumerate(symbols):
                self.progress(n, len(symbols), f"{self.name} {symbol} {label}")
                contract = gateway.stock(symbol, feed.exchange, feed.currency)
                if self.daily:
                    self._keep_daily(symbol, label, gateway, contract, theirs)
                else:
                    start, end = self._window(label)
                    found = [
                        r
                        for r in gateway.history(
                            contract, "TRADES", BARS[feed.bar][0], end, "1 D", regular=not feed.extended
                        )
                        if isinstance(r[0], datetime) and start <= r[0] < end
                    ]
                    if found:
                        rows = pl.DataFrame(
                            [(r[0].astimezone(UTC), *r[1:]) for r in found if isinstance(r[0], datetime)],
                            schema=_INTRADAY,
                            orient="row",
                        )
                        self._pages.finish(
                            f"{self._folder(symbol)}/{label}",
                            rows.unique(maintain_order=True).sort("ts", maintain_order=True),
                        )

    def _keep_daily(self, symbol: str, label: date, gateway: Gateway, contract: object, now: datetime) -> None:
        """All sessions from the one before `label` to the last that is over: adjusted closes can only be asked for up
        to now, and one request may be long.
        """
        before, over = self.calendar.shift(label, -1), max(s for s in self.labels(label) if self._known_at(s) <= now)
        days = (now.date() - before).days + 2
        duration = f"{days} D" if days <= 365 else f"{math.ceil(days / 365)} Y"
        raw = gateway.history(contract, "TRADES", "1 day", None, duration, regular=True)
        adjusted = (
            {r[0]: r[4] for r in gateway.history(contract, "ADJUSTED_LAST", "1 day", None, duration, regular=True)}
            if self.feed.adjusted
            else {}
        )
        rows = [(*r, adjusted.get(r[0])) for r in raw if not isinstance(r[0], datetime) and before <= r[0] <= over]
        if rows and (last := max(r[0] for r in rows)) >= label:
            frame = (
                pl.DataFrame(rows, schema=_DAILY, orient="row")
                .unique("session", keep="last", maintain_order=True)
                .sort("session")
            )
            self._pages.finish(f"{self._folder(symbol)}/{label}..{last}", frame)

    def _kept(self, symbol: str, label: date) -> str | None:
        """The request that a session's rows are of: of daily ones the last that started by then and reaches it."""
        if not self.daily:
            name = f"{self._folder(symbol)}/{label}"
            return name if self._pages.has(name) else None
        spans = [s for s in self._pages.below(self._folder(symbol)) if s[:10] <= str(label) <= s[12:]]
        return f"{self._folder(symbol)}/{spans[-1]}" if spans else None

    def _prices(self, label: date) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Good and malformed rows of the daily capture; see the module."""
        found: list[dict[str, Any]] = []
        for symbol in self.feed.symbols:
            rows = self._numbered(self._kept(symbol, label), label)
            if not rows or rows[-1]["session"] != label:
                continue  # no bar that day: halted, not listed, or IB has none yet
            own = rows[-1]
            if len(rows) > 1:
                first = self._numbered(self._kept(symbol, rows[-2]["session"]), rows[-2]["session"])
                delivered = first[-1] if first and first[-1]["session"] == rows[-2]["session"] else rows[-2]
                found.append(
                    {
                        "symbol": _plain(symbol),
                        **rows[-2],
                        **{c: delivered[c] for c in _VALUES},
                        "adj_close": adjusted_then(
                            delivered["close"], rows[-2]["adjusted"], own["close"], own["adjusted"]
                        ),
                    }
                )
            found.append(
                {"symbol": _plain(symbol), **own, "adj_close": own["close"] if own["adjusted"] is not None else None}
            )
        schema = {c: t if c != "volume" else pl.Float64 for c, t in PRICES.items()}
        frame = pl.DataFrame([{c: r[c] for c in schema} for r in found], schema=schema)
        return check(
            frame.with_columns(volume=(pl.col("volume") * self.feed.volume_unit).round())
        )  # fractions of shares trade, and count as whole ones

    def _numbered(self, file: str | None, until: date) -> list[dict[str, Any]]:
        """The last two rows up to a session of a request, with file and line."""
        rows = self._pages.whole(file) if file else None
        if rows is None:
            return []
        return (
            rows.with_row_index("line", offset=1)
            .with_columns(file=pl.lit(file))
            .filter(pl.col("session") <= until)
            .tail(2)
            .to_dicts()
        )

    def _intraday(self, label: date) -> pl.DataFrame:
        """What the port calls rows: the dataset's columns, file, line, known_at; of the symbols that have some."""
        seconds = BARS[self.feed.bar][1]
        parts = [self._part(symbol, file) for symbol in self.feed.symbols if (file := self._kept(symbol, label))]
        empty = pl.DataFrame(schema=_INTRADAY).with_columns(
            file=pl.lit("", pl.String), line=pl.lit(0, pl.Int64), symbol=pl.lit("", pl.String)
        )
        rows = pl.concat([empty, *parts], how="diagonal")
        return rows.select(
            "ts",
            pl.lit(self.feed.exchange).alias("venue"),
            "symbol",
            pl.lit(seconds, pl.Int32).alias("seconds"),
            "open",
            "high",
            "low",
            "close",
            pl.col("volume") * self.feed.volume_unit,
            "file",
            "line",
            known_at=pl.col("ts") + pl.duration(seconds=seconds),
        )

    def _part(self, symbol: str, file: str) -> pl.DataFrame:
        rows = self._pages.whole(file)
        if rows is None:
            raise CaptureUnreadable(f"{self.name}: {file} left the cache while it was read; run again")
        return rows.with_row_index("line", offset=1).with_columns(
            pl.col("line").cast(pl.Int64), file=pl.lit(file), symbol=pl.lit(_plain(symbol))
        )

    def _window(self, session: date) -> tuple[datetime, datetime]:
        """From when to when intraday bars are of a session: its hours, or its day on the venue's clock."""
        if self.daily or not self.feed.extended:
            return self.calendar.open(session), self.calendar.close(session)
        midnights = (datetime.combine(d, time(), self.calendar.tz) for d in (session, session + timedelta(days=1)))
        start, end = (m.astimezone(UTC) for m in midnights)
        return start, end

    def _known_at(self, session: date) -> datetime:
        """When a session's capture is taken to be known: its last minutes take a while to reach IB's history."""
        return max(self.calendar.close(session) + AFTER_CLOSE, self._window(session)[1]).astimezone(UTC)

    def _folder(self, symbol: str) -> str:
        bars = "1d" if self.daily else f"{self.feed.bar}{'x' if self.feed.extended else ''}"
        return f"ib/{plain(symbol)}/{bars}"


def adjusted_then(
    close: float, adjusted: float | None, close_after: float, adjusted_after: float | None
) -> float | None:
    """The adjusted close of a session as a vendor would have sent it after the next one, when nothing later is adjusted
    yet.

    `adjusted` and `adjusted_after` are of one later request. If they are in whole cents, a difference within their
    rounding is no adjustment.
    """
    if adjusted is None or adjusted_after is None or min(adjusted, adjusted_after, close, close_after) <= 0:
        return None
    then = adjusted / adjusted_after * close_after
    cents = all(abs(a * 100 - round(a * 100)) < 1e-6 for a in (adjusted, adjusted_after))
    noise = then * (CENT / adjusted + CENT / adjusted_after) if cents else then * 1e-6
    return close if abs(then - close) <= noise else round(then, 2) if cents else then


def _plain(symbol: str) -> str:
    """The symbol that is stored: without the primary exchange that made it unambiguous."""
    return symbol.partition("@")[0]
