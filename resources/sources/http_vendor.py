"""A vendor asked over HTTP, without a line of code:

    kind: http
    name: myvendor
    url: https://api.myvendor.com/v1/bars?symbol={symbol}&from={first}&to={last}&page={page}
    symbols: [AAPL, MSFT]
    first: 2020-01-02
    records: data.bars
    page_size: 1000
    mapping: {session: t, open: o, high: h, low: l, close: c, volume: v}
    key_env: MYVENDOR_KEY
    key_header: X-Api-Key
    per_minute: 300

Of daily bars a delivery is a session that is over; of another dataset it is a span (`every`) that is over. What the
vendor answered is kept below the home's `vendor/http`, page by page as it was received, and beside it the records as
JSON lines, to which the file and line of a stored row lead back. What is kept is not asked for again; to have a span
asked again, delete its files there: what differs comes in as a restatement, known then.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from pathlib import Path

import msgspec
import polars as pl

from quant_assets.calendars import Calendar
from quant_assets.durable import make, put
from quant_assets.errors import CaptureUnreadable, ConfigurationError
from quant_assets.market_data.datasets import dataset
from quant_assets.ports import Clock, MarketDataSource, Progress, quiet
from quant_assets.records import Capture, content_id
from quant_assets.tables import BARS
from resources.sources.asking import PLACE, Asking, Key
from resources.sources.files import ColumnMapping, Files
from resources.sources.http_feed import HttpFeed
from resources.sources.pages import Pages, plain
from resources.sources.paging import Record, pages
from resources.sources.plan import Plan
from resources.sources.retry import Pause, Retry
from resources.sources.rows import FIELDS, MALFORMED, PRICES
from resources.sources.seen import Seen
from resources.sources.tabular import Feed, Tabular

ASK_AGAIN = "deleted, to be asked for again"
OPENED = 4  # files of records that are held as they were read
_DAY = r"(?:^|_)(\d{4})-(\d{2})-(\d{2})[.]jsonl$"  # the last day in a file's name


class Http:
    """The MarketDataSource port on such a vendor."""

    def __init__(
        self,
        feed: HttpFeed,
        calendar: Calendar,
        cache: Path,
        clock: Clock,
        *,
        seen: Seen | None = None,
        retry: Retry | None = None,
        pause: Pause | None = None,
        progress: Progress = quiet,
    ) -> None:
        """Raises ConfigurationError for a mapping that does not fit."""
        self.feed = feed
        self.name = feed.name if feed.dataset == BARS.name else f"{feed.dataset}/{feed.name}"
        self.clock = clock
        self.progress = progress
        self._calendar = calendar
        self._bars = feed.dataset == BARS.name
        self._folder = cache / "http" / feed.name
        self._pages, self._seen = Pages(self._folder / "received"), seen or Seen()
        self._retry, self._pause = retry or Retry(attempts=feed.attempts), pause or Pause()
        self._opened = lru_cache(OPENED)(self._open)
        none = self._folder / "rows" / "none.jsonl"
        self._known_at = self._files(none).known_at if self._bars else None
        if not self._bars:
            self._tabular(none)  # raises where the mapping does not fit

    def labels(self, first: date | None = None, last: date | None = None) -> Sequence[date]:
        """See the port: the sessions, or the ends of the spans, from the feed's first day that are over by now."""
        begin, now = max(self.feed.first, first or self.feed.first), self.clock.now()
        today = min(last or now.date(), now.date())
        if self._known_at is not None:
            start, end = self._calendar.on_or_after(begin), self._calendar.on_or_before(today)
            sessions = self._calendar.between(start, end) if start <= end else []
            return [s for s in sessions if self._known_at(s) <= now]
        ends, day = list[date](), self._span(begin)[1]
        while day < now.date() and day <= today:
            ends.append(day)
            day = self._span(day + timedelta(days=1))[1]
        return ends

    def fingerprints(self, labels: Sequence[date]) -> Mapping[date, str | None]:
        """See the port: of the records kept. A span whose files were deleted is another one, to be asked for again;
        where nothing at all is kept, nothing can be judged.
        """
        if not self._folder.exists():
            return {}
        found = {d: self._fingerprint(p) if (p := self._file(d)).exists() else ASK_AGAIN for d in labels}
        self._seen.keep()
        return found

    def plan(self, first: date | None = None, last: date | None = None) -> Plan:
        """What fetching these labels would ask for, at the least: one page each. Nothing is asked yet."""
        labels = self.labels(first, last)
        lacking = {self._asked(d) for d in labels if not self._file(d).exists()}
        kept = sum(self._file(d).exists() for d in labels)
        requests = len(lacking) * max(1, len(self.feed.symbols))
        more = any(p in self.feed.url for p in ("{page}", "{offset}")) or self.feed.next
        note = "at least: what has several pages takes a request for each" if more else ""
        return Plan(self.name, tuple(labels), kept, requests, requests * 60 / self.feed.per_minute, note)

    def fetch(self, label: date) -> Capture:
        """See the port. Raises CaptureUnreadable: for a label that there is not (yet), or where the vendor gives no
        answer, an empty one, or one about other days.
        """
        if label not in self.labels(label, label):
            what = "session" if self._bars else self.feed.every
            raise CaptureUnreadable(
                f"{self.name}: no delivery of {label}; there is one of each {what} from {self.feed.first} that is over"
            )
        path = self._file(label)
        if not path.exists():
            path = self._receive(*self._asked(label))
        if not path.stat().st_size:
            return self._empty(label, path)
        return msgspec.structs.replace(
            self._inner(path).fetch(label),
            source=self.name,
            location=self.feed.url,
            fingerprint=self._fingerprint(path),
            files=frozenset({path.name}),
        )

    def _span(self, day: date) -> tuple[date, date]:
        """The first and the last day of the span in which a day lies."""
        if self.feed.every == "day":
            return day, day
        month = self.feed.every == "month"
        first = day.replace(day=1) if month else day.replace(month=1, day=1)
        after = (first + timedelta(days=32 if month else 366)).replace(day=1)
        return max(first, self.feed.first), after - timedelta(days=1)

    def _asked(self, label: date) -> tuple[date, date]:
        """The span that is asked for to have a label: of bars its own day while the span is not over."""
        first, last = self._span(label)
        return (first, last) if not self._bars or last < self.clock.now().date() else (label, label)

    def _file(self, label: date) -> Path:
        """The records that hold a label: its own if they are there, else those of its span."""
        own, whole = self._rows_of(label, label), self._rows_of(*self._span(label))
        return own if own.exists() or (self._bars and not whole.exists()) else whole

    def _rows_of(self, first: date, last: date) -> Path:
        return self._folder / "rows" / f"{last if first == last else f'{first}_{last}'}.jsonl"

    def _receive(self, first: date, last: date) -> Path:
        """Ask for a span, page by page, and keep it; what an interrupted run kept is not asked for again."""
        feed, path = self.feed, self._rows_of(first, last)
        key = Key(feed.key_env, feed.key_header, feed.key_prefix, feed.key_query) if feed.key_env else None
        asking = Asking(self.name, key, feed.per_minute, feed.timeout, feed.max_bytes, self._retry, self._pause)
        lines = list[str]()
        for n, symbol in enumerate(feed.symbols or ("",)):
            self.progress(n, max(1, len(feed.symbols)), f"{self.name} {symbol} {first}")
            lines += [_line(record, symbol) for record in self._received(asking, first, last, symbol)]
        if not lines and not feed.may_be_empty:
            self._refuse(first, last)
            raise CaptureUnreadable(
                f"{self.name}: no record from {first} to {last}: an empty answer is no empty span. Declare "
                "may_be_empty if there are spans without rows"
            )
        make(path.parent)
        partial = path.with_suffix(".partial")
        partial.write_text("".join(f"{line}\n" for line in lines))
        put(partial, path)
        if self._bars:
            self._within(path, first, last)
        return path

    def _received(self, asking: Asking, first: date, last: date, symbol: str) -> list[Record]:
        name = f"{first}_{last}/{plain(symbol) if symbol else 'all'}"
        whole = self._pages.whole(name)
        kept = [p["body"].item() for p in self._pages.pages(name)] if whole is None else whole["body"].to_list()
        after = self._written(last + timedelta(days=1))
        days = {"first": self._written(first), "last": self._written(last), "until": after}
        values, bodies, records = {"symbol": symbol, "key": PLACE, **days}, list[bytes](), list[Record]()
        try:
            asked = pages(self.feed.url, values, self.feed.answer, self.feed.first_page, asking.get, kept)
            for number, page, rows in asked:
                body = asking.without_key(page.decode("latin-1")).encode("latin-1")
                if number >= len(kept):
                    self._pages.keep(name, number, _page(number, body, self.clock.now()))
                bodies.append(body)
                records += rows
        except CaptureUnreadable as error:
            text = str(error)
            raise CaptureUnreadable(text if text.startswith(self.name) else f"{self.name}: {text}") from None
        if whole is None:
            now = self.clock.now()
            self._pages.finish(name, pl.concat(_page(n, b, now) for n, b in enumerate(bodies)))
        return records

    def _refuse(self, first: date, last: date) -> None:
        """Keep nothing of a span, so that it is asked for again."""
        self._rows_of(first, last).unlink(missing_ok=True)
        for path in (self._pages.folder / f"{first}_{last}").glob("*.parquet"):
            path.unlink()

    def _written(self, day: date) -> str:
        if self.feed.days in {"s", "ms"}:
            return str(int(datetime.combine(day, time(), UTC).timestamp()) * (1 if self.feed.days == "s" else 1000))
        return day.strftime(self.feed.days)

    def _within(self, path: Path, first: date, last: date) -> None:
        """Raises CaptureUnreadable, and keeps nothing, where the bars are of other days than were asked for."""
        strange = [d for d in self._inner(path).labels() if not first <= d <= last]
        if strange:
            self._refuse(first, last)
            raise CaptureUnreadable(
                f"{self.name}: asked for {first} to {last}, it answered with bars of {strange[0]} to {strange[-1]}: "
                "look how days are written in its address (`days`), and whether {last} is included"
            )

    def _inner(self, path: Path) -> MarketDataSource:
        """The records of a file under the mapping, as the file is now."""
        return self._opened(path, path.stat().st_mtime_ns)

    def _open(self, path: Path, changed: int) -> MarketDataSource:  # noqa: ARG002  # what it is held by
        return self._files(path) if self._bars else self._tabular(path)

    def _files(self, path: Path) -> Files:
        feed = self.feed
        if strange := sorted({*feed.mapping} - {*FIELDS}):
            raise ConfigurationError(f"{self.name}: bars have no {', '.join(strange)}; they have {', '.join(FIELDS)}")
        mapping = ColumnMapping(**feed.mapping)
        rule = feed.known_at or "close+1h"
        return Files(path, mapping, self._calendar, known_at=rule, tz=feed.tz, decimal=feed.decimal)

    def _tabular(self, path: Path) -> Tabular:
        feed = self.feed
        asked = "symbol" in dataset(feed.dataset).columns and feed.symbols and "symbol" not in feed.constants
        mapping = {**({"symbol": "symbol"} if asked else {}), **feed.mapping}
        return Tabular(
            Feed(
                feed.dataset,
                str(path),
                mapping,
                constants=feed.constants,
                known_at=feed.known_at,
                day=_DAY,
                name=feed.name,
                tz=feed.tz,
                decimal=feed.decimal,
            )
        )

    def _fingerprint(self, path: Path) -> str:
        """Of the records, and of how they are read."""
        read = [msgspec.to_builtins(self.feed.mapping), self.feed.tz, self.feed.decimal, self.feed.known_at]
        return content_id(self._seen.sha256(path), read)

    def _empty(self, label: date, path: Path) -> Capture:
        """The delivery of a span that has no record, and may have none."""
        columns = {**dict.fromkeys(dataset(self.feed.dataset).columns, pl.String), "file": pl.String, "line": pl.Int64}
        return Capture(
            source=self.name,
            label=label,
            location=self.feed.url,
            sha256=content_id("no record", str(label), length=64),
            known_at=datetime.combine(label + timedelta(days=1), time(), UTC),
            assumed=True,
            prices=pl.DataFrame(schema=PRICES),
            listings=None,
            actions=None,
            malformed=pl.DataFrame(schema=MALFORMED),
            dataset=self.feed.dataset,
            others={self.feed.dataset: pl.DataFrame(schema=columns)},
            fingerprint=self._fingerprint(path),
            files=frozenset({path.name}),
        )


def _line(record: Record, symbol: str) -> str:
    """A record as a line; one without a symbol has that which was asked for."""
    if isinstance(record, str):
        return record.replace("\n", " ")
    return msgspec.json.encode({**({"symbol": symbol} if symbol else {}), **record}).decode()


def _page(number: int, body: bytes, at: datetime) -> pl.DataFrame:
    """A page as it was received."""
    return pl.DataFrame(
        {"page": [number], "received": [at], "body": [body]},
        schema={"page": pl.Int64, "received": pl.Datetime("us", "UTC"), "body": pl.Binary},
    )
