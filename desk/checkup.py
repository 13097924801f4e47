"""A deployment tried on: each source and broker opened for reading alone, and what would run when.

Nothing is written, no order leaves, no vendor is asked for data.
"""

import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from datetime import date, datetime
from functools import partial
from pathlib import Path

import msgspec
import polars as pl

from desk.workspace import Workspace
from quant_assets.books.holdings import Holdings
from quant_assets.calendars import Calendar
from quant_assets.calendars.schedules import ticks
from quant_assets.errors import QuantError
from quant_assets.features.catalogue import find_set
from quant_assets.records import Book, Capture, Frozen
from quant_assets.strategy import Strategy
from resources.clock import SystemClock
from resources.sources.bars_of import BarsOf, bring_bars
from resources.sources.exchange import ExchangeFeed
from resources.sources.ib import IbFeed
from resources.sources.open import AnyFeed, Source, open_source

UPCOMING = 3


class Finding(Frozen, frozen=True):
    """What was found of a thing: `state` is fine, or refused where it cannot be used as it is."""

    what: str
    name: str
    state: str
    says: str


def checkup(ws: Workspace, now: datetime) -> Iterator[Finding]:
    """Source, feeds, strategies, books, sets on bars and schedules of a deployment, in this order."""
    with tempfile.TemporaryDirectory() as folder:  # what a source remembers of its files stays out of the home
        for lane in ws.markets:
            there, cache = lane.deployment, Path(folder, lane.name)
            cache.mkdir(exist_ok=True)
            source = there.source
            yield _tried(*_named("source", str(source["kind"]), lane), partial(_captures, lane, source, cache))
            for backup in there.backups:
                yield _tried(*_named("backup", backup.name, lane), partial(_captures, lane, backup.source, cache))
            for feed in there.feeds:
                yield _tried(*_named("feed", feed.dataset, lane), partial(_captures, lane, feed, cache))
    for strategy in ws.deployment.strategies:
        yield _tried("strategy", strategy.name, partial(_reads, ws.lane_of(strategy.name), strategy))
    for book in ws.deployment.books:
        yield _tried("book", book.name, partial(_account, ws, book))
    for bars in ws.deployment.bars:
        says = f"while {bars.venue} is open ({bars.calendar}), {bars.delay} s after each bar"
        yield Finding(what="bars", name=bars.feature_set, state="fine", says=says)
    if ws.books(live=True):
        says = "a session decided: deliver; its orders out: post_trade; its report there: today"
        yield Finding(what="then", name="follow", state="fine", says=says)
    for lane in ws.lanes:
        yield _tried(*_named("when", "daily", lane), partial(_when, lane, now))


def _named(what: str, name: str, lane: Workspace) -> tuple[str, str]:
    return what, f"{name} of {lane.name}" if lane.name else name


def _tried(what: str, name: str, ask: Callable[[], str]) -> Finding:
    try:
        return Finding(what=what, name=name, state="fine", says=ask())
    except (QuantError, OSError, sqlite3.Error, pl.exceptions.PolarsError, msgspec.MsgspecError) as error:
        return Finding(what=what, name=name, state="refused", says=f"cannot be opened: {error}")


def _captures(ws: Workspace, declared: Source | AnyFeed, cache: Path) -> str:
    if isinstance(declared, ExchangeFeed | IbFeed):
        return f"from {declared.first} on; it is asked over the network when it is ingested (quant ingest --plan)"
    source = open_source(declared, ws.cuts.calendar, cache=cache, clock=SystemClock(), store=ws.store)
    labels = source.labels()
    if isinstance(declared, BarsOf) and not labels and (feeds := bring_bars(declared, ws.deployment.feeds)):
        return f"{source.name}: made of what {', '.join(one.name or one.dataset for one in feeds)} brings"
    if not labels:
        raise _NothingThereError(f"{source.name} has no captures: is the path right, and are files there?")
    if declared is ws.deployment.source:
        capture = source.fetch(labels[-1])
        for lane in ws.peers:
            if lane.venue == ws.venue and lane.deployment.strategies:
                _in_time(lane, capture)
    return f"{source.name}: {len(labels):,} captures, {labels[0]} to {labels[-1]}"


def _in_time(ws: Workspace, capture: Capture) -> None:
    """Raises if, by the declared rule, a delivery is known only after the decisions that need it.

    A delivery that really arrived late, an old file for example, is no fault of the declaration.
    """
    session = ws.cuts.calendar.on_or_before(capture.label)
    if capture.assumed and capture.known_at > (cut := ws.cuts.of(session)):
        raise _NothingThereError(
            f"its bars of {session} are taken as known at {capture.known_at:%Y-%m-%d %H:%M} UTC, after the "
            f"decisions of "
            f"that session at {cut:%H:%M} UTC: every session would be NO_TRADE(DATA_MISSING). Declare an "
            f"earlier known_at "
            "if the vendor is earlier, or decide nearer to the open (decide_minutes_before_open)"
        )


class _NothingThereError(QuantError):
    """A source that opens and has nothing, or nothing in time."""


def _reads(ws: Workspace, strategy: Strategy) -> str:
    read = find_set(strategy.feature_set)
    of = f"{read.name} {read.version} ({len(read.features)} features of {', '.join(read.reads)})"
    fed = sorted({f.dataset for f in ws.deployment.feeds} & {*read.reads})
    return (
        f"reads {of}{', fed by ' + ', '.join(fed) if fed else ''}; {strategy.holdings} of "
        f"{strategy.universe.size} names"
    )


def _account(ws: Workspace, book: Book) -> str:
    money = f"trades {book.strategy}, {book.capital:,} {book.currency}"
    if book.research:
        return f"{money}; for research, nothing is ever sent"
    armed = "armed: its orders are sent" if book.armed else "not armed: nothing is sent"
    standing = look(ws.home / "brokers" / f"{book.account}.sqlite")
    if standing is None:
        return f"{money} at {book.venue} {book.account}, not opened yet; {armed}"
    held = f"{len(standing.quantities)} positions, cash {standing.cash:,.2f} after {standing.session}"
    return f"{money} at {book.venue} {book.account}: {held}; {armed}"


def look(path: Path) -> Holdings | None:
    """The account of a paper venue after its last session, read from a copy of its file; None where it was never
    opened.
    """
    if not path.exists():
        return None
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        for suffix in ("", "-wal"):
            if (part := path.with_name(path.name + suffix)).exists():
                shutil.copyfile(part, copy.with_name(copy.name + suffix))
        with sqlite3.connect(copy) as db:
            found = db.execute("SELECT holdings FROM evenings ORDER BY session DESC LIMIT 1").fetchone()
        db.close()
    return msgspec.json.decode(found[0], type=Holdings) if found else None


def _when(ws: Workspace, now: datetime) -> str:
    cuts, sessions = ws.cuts, ws.cuts.calendar
    asked = ticks(cuts)
    if ws.deployment.clock == "system":
        upcoming = _from(sessions, sessions.shift(cuts.due(now), 1))
        how = f"by the daemon at {' and '.join(asked.crons)} ({asked.zone})"
    else:
        upcoming = _from(sessions, ws.deployment.start)
        how = "a session with each `quant run daily`, at its own decision time"
    moments = ", ".join(f"{s} at {sessions.local(cuts.of(s)):%a %Y-%m-%d %H:%M}" for s in upcoming)
    return f"{how}; {'next' if ws.deployment.clock == 'system' else 'first'}: {moments} ({asked.zone})"


def _from(sessions: Calendar, first: date) -> list[date]:
    return [sessions.shift(first, n) for n in range(UPCOMING)]
