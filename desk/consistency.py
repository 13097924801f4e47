"""What must hold between the parts of a deployment, each of which is well formed: names that meet, sessions that exist,
data that feeds what reads it.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path

import msgspec

from desk.account_faults import account_faults
from desk.document.reading import Reading
from desk.document.scalars import nearest
from desk.lane_faults import market_faults, strategy_faults
from desk.packages import load_packages
from quant_assets.calendars import Calendar
from quant_assets.calendars.venues import calendar, codes
from quant_assets.currencies import CURRENCIES, HUNDREDTHS, paid_in
from quant_assets.errors import CalendarUnknown, ConfigurationError
from quant_assets.features.bars_read import bars_of
from quant_assets.features.catalogue import find_set, find_sets
from quant_assets.features.intraday import OnBars
from quant_assets.features.sets import DAILY, FeatureSet
from quant_assets.market_data.datasets import dataset, datasets
from quant_assets.market_data.own_checks import rules_of
from quant_assets.models.learners import DEFAULT, name_in
from quant_assets.models.parameters import refused
from quant_assets.moments import Every
from quant_assets.plugged import name_of
from quant_assets.records import RESEARCH, PluggedSource
from quant_assets.strategy import ModelRule, Strategy
from resources.clock import SystemClock
from resources.sources.files import PriceFile
from resources.sources.histories import HistoryFiles
from resources.sources.ib import IbFeed
from resources.sources.market import HORIZON, Simulated
from resources.sources.open import AnyFeed, Source, open_source
from resources.sources.vendor_drops import Drops


@dataclass
class Parts:
    """The good parts of a deployment, by their paths, and where faults are noted."""

    found: Reading
    folder: Path

    def fault(self, path: str, what: str, *grounds: str) -> None:
        """Note a fault, unless the path or one of the grounds is faulty itself."""
        if not self.found.wrong(path, *grounds):
            self.found.fault(path, what)

    @cached_property
    def strategies(self) -> Mapping[str, Strategy]:
        """By path."""
        return self.found.each("strategies")

    @cached_property
    def feeds(self) -> Mapping[str, AnyFeed]:
        """By path."""
        return self.found.each("feeds")

    @property
    def source(self) -> Source | None:
        """None where it is faulty."""
        return self.found.values.get("source")

    @property
    def code(self) -> str:
        """Of the calendar."""
        return self.found.values.get("calendar", "XNYS")

    @property
    def days(self) -> tuple[date | None, date | None]:
        """The source's first and last day, where it declares them."""
        return getattr(self.source, "first", None), getattr(self.source, "last", None)

    @cached_property
    def sessions(self) -> Calendar | None:
        """The calendar; None if no package has it."""
        return calendar(self.code) if self.code in codes() else None

    @cached_property
    def fed(self) -> set[str]:
        """The datasets for which a feed exists."""
        feeds = (*self.feeds.values(), *(f for m in self.found.each("markets").values() for f in m.feeds))
        return {f.dataset for f in feeds} | ({"filings"} if isinstance(self.source, Drops) else set())

    @cached_property
    def datasets(self) -> tuple[str, ...]:
        """The names of the datasets that there are, those among them that a feed's name brings in."""
        for one in self.feeds.values():
            with suppress(ConfigurationError):  # reported where the feed is examined
                dataset(one.dataset)
        return tuple(d.name for d in datasets())

    @cached_property
    def sets(self) -> dict[str, FeatureSet]:
        """The feature sets that there are, those among them that a strategy's name brings in."""
        for one in self.strategies.values():
            with suppress(ConfigurationError):  # reported where the strategy is examined
                find_set(one.feature_set)
        return find_sets()


def inconsistencies(found: Reading, folder: Path) -> None:
    """Note in `found` every contradiction between its good values.

    Modules that the deployment names are loaded; packages are found in `folder` too. Nothing is read or asked of a
    source.
    """
    parts = Parts(found, folder)
    for examine in _EXAMINATIONS:
        examine(parts)


def _packages(parts: Parts) -> None:
    for path, name in parts.found.each("packages").items():
        try:
            load_packages([name], parts.folder)
        except ConfigurationError as error:
            parts.fault(path, str(error).removeprefix("packages: "))


def _checks(parts: Parts) -> None:
    """Each question about the bars can be asked."""
    checks = parts.found.each("checks")
    for place, path in enumerate(checks):
        try:
            rules_of(list(checks.values())[: place + 1])
        except ConfigurationError as error:
            parts.fault(path, str(error), "checks[0]" if place else path)
            return


def _names(parts: Parts) -> None:
    """No two of a kind have one name, capitals aside: a page or a table is called after it."""
    _once(parts, "strategies", "name")
    _once(parts, "books", "name")
    _once(parts, "backups", "name", ": what one of them delivered would count for the other")
    account_faults(parts.found)
    rules: dict[str, tuple[str, Strategy]] = {}
    for path, one in parts.strategies.items():
        first, same = rules.setdefault(one.universe.name.lower(), (path, one))
        if same.universe != one.universe:
            name = one.universe.name
            what = f"another rule than that of {first} under the name {name}; give it another name"
            parts.fault(f"{path}.universe", what, f"{first}.universe")


def _once(parts: Parts, kind: str, key: str, why: str = "") -> None:
    seen: dict[str, str] = {}
    for path, values in parts.found.partly(kind).items():
        name: str | None = values.get(key)
        if name is not None and (first := seen.setdefault(name.lower(), path)) != path:
            parts.fault(f"{path}.{key}", f"two {kind} have the {key} {name}, the other is {first}{why}; change one")


def _books(parts: Parts) -> None:
    strategies = parts.found.partly("strategies").values()
    names = [s["name"] for s in strategies if "name" in s]
    strategy_of, markets = {s["name"]: s for s in strategies if "name" in s}, parts.found.each("markets").values()
    own = parts.source.currency if parts.source else None
    elsewhere, converted = {m.calendar: m.priced_in for m in markets}, "fx_rates" in parts.fed
    for path, book in parts.found.partly("books").items():
        strategy, broker, currency = book.get("strategy"), book.get("broker", RESEARCH), book.get("currency", "USD")
        if strategy is not None and strategy not in names and len(names) == len(strategies):
            parts.fault(f"{path}.strategy", f"no strategy has this name; {_near(strategy, names)}")
        if name_of(broker) == RESEARCH and book.get("armed"):
            parts.fault(f"{path}.armed", "a research book cannot be armed; name a broker", f"{path}.broker")
        priced = elsewhere.get(strategy_of.get(strategy, {}).get("calendar", ""), own)
        if currency not in CURRENCIES:
            parts.fault(f"{path}.currency", f"ISO 4217 has no such currency; {_near(currency, sorted(CURRENCIES), 3)}")
        elif priced and currency != (paid := paid_in(quoted := book.get("quoted", priced))[0]) and not converted:
            what = f"its prices are in {quoted}, and no feed of fx_rates converts them: keep the book in {paid}"
            say = (
                ", or declare the currency of the prices (source: currency)"
                if isinstance(parts.source, PriceFile | HistoryFiles | PluggedSource)
                else ""
            )
            parts.fault(f"{path}.currency", what + say, "source.currency")
    if own and own not in (*CURRENCIES, *HUNDREDTHS):
        parts.fault("source.currency", f"ISO 4217 has no such currency; {_near(own, sorted(CURRENCIES), 3)}")


def _calendars(parts: Parts) -> None:
    _calendar(parts, "calendar", parts.code)
    for path, bars in parts.found.each("bars").items():
        _calendar(parts, f"{path}.calendar", bars.calendar)
    for path, one in {**parts.strategies, **parts.found.each("markets")}.items():
        _calendar(parts, f"{path}.calendar", one.calendar)


def _markets(parts: Parts) -> None:
    market_faults(parts.found, parts.folder)
    strategy_faults(parts.found)


def _calendar(parts: Parts, path: str, code: str) -> None:
    if code in codes():
        return
    import exchange_calendars as xc

    names = xc.get_calendar_names()
    known = next((xc.resolve_alias(n) for n in names if n.lower() == code.lower()), None)
    parts.fault(path, f"no calendar has this code; {f'did you mean {known}?' if known else _near(code, codes(), 12)}")


def _span(parts: Parts) -> None:
    """The source's days are in order; `start` is a session of them."""
    sessions, start, first, last = parts.sessions, parts.found.values.get("start"), *parts.days
    if sessions is None or not _known(parts, sessions, {"start": start, "source.first": first, "source.last": last}):
        return
    if first and last and first > last:
        parts.fault("source.last", f"lies before source.first, {first}", "source.first")
    elif isinstance(parts.source, Simulated):
        _market(parts, parts.source, len(sessions.between(parts.source.first, parts.source.last)))
    if start is None:
        return
    if not sessions.is_session(start):
        near = f"{sessions.on_or_before(start)} and {sessions.on_or_after(start)}"
        parts.fault("start", f"{start:%A} {start} is no session of {sessions.code}; the nearest are {near}", "calendar")
    if last and start > last:
        what = f"{start} lies after the source's last day, {last}: nothing would ever be traded"
        parts.fault("start", what, "source.last", "source.first")
    if first and start < first:
        parts.fault("start", f"{start} lies before the source's first day, {first}", "source.first", "source.last")


def _known(parts: Parts, sessions: Calendar, days: Mapping[str, date | None]) -> bool:
    """Whether the calendar knows about all of the days."""
    known = True
    for path, day in days.items():
        try:
            if day:
                sessions.is_session(day)
        except CalendarUnknown as error:
            parts.fault(path, str(error))
            known = False
    return known


def _market(parts: Parts, market: Simulated, there: int) -> None:
    needed = HORIZON + 3 if market.signal else 2
    if there < needed:
        what = f"a market needs at least {needed} sessions; {there} lie between source.first and source.last"
        parts.fault("source.last", what, "source.first")
    if market.signal and market.names < 2:
        parts.fault("source.names", "a signal needs at least two names", "source.signal")


def _sources(parts: Parts) -> None:
    """Each declaration has a source that can be opened; datasets exist; no two feeds have one name."""
    if parts.sessions is None:
        return
    if isinstance(parts.source, IbFeed | PluggedSource) and parts.source.dataset != "bars":
        parts.fault("source.dataset", "a source brings daily bars: write dataset: bars; intraday bars are a feed's")
    names: dict[str, str] = {}
    daily = _backups(parts) | ({"source": parts.source} if parts.source else {})
    for path, declared in {**daily, **parts.feeds}.items():
        # a feed
        if path not in daily and declared.dataset not in parts.datasets:  # pyright: ignore[reportAttributeAccessIssue]
            # a feed
            what = "daily bars are those of `source`" if declared.dataset == "bars" else "no dataset is named so"  # pyright: ignore[reportAttributeAccessIssue]
            # a feed
            parts.fault(f"{path}.dataset", f"{what}; {_near(declared.dataset, parts.datasets, 20)}")  # pyright: ignore[reportAttributeAccessIssue]
            continue
        try:
            opened = open_source(declared, parts.sessions, cache=parts.folder, clock=SystemClock())
        except ConfigurationError as error:
            parts.fault(path, str(error))
            continue
        if path in daily and path != "source":
            continue  # stored under the name of the vendor
        if (first := names.setdefault(opened.name.lower(), path)) != path:
            parts.fault(
                path,
                f"two feeds are named {opened.name}, the other is {first}: the deliveries of one would count "
                f"for the other. Give each a name (name: …)",
            )


def _backups(parts: Parts) -> dict[str, Source]:
    """The sources of other vendors by path: each brings daily bars in the currency of the source."""
    found: dict[str, Source] = {}
    for at, backup in parts.found.each("backups").items():
        path, source = f"{at}.source", backup.source
        found[path] = source
        if isinstance(source, IbFeed) and source.dataset != "bars":
            parts.fault(f"{path}.dataset", "a backup brings daily bars: write dataset: bars")
        if parts.source and source.currency != parts.source.currency:
            what = f"its prices are in {source.currency}, those of the source in {parts.source.currency}"
            parts.fault(f"{path}.currency", f"{what}; nothing converts prices", "source.currency")
    return found


def _features(parts: Parts) -> None:
    """Each set that is read exists, has a value for each of the strategy's moments, and is fed."""
    if parts.found.wrong("packages"):
        return
    for path, one in parts.strategies.items():
        at_slots = isinstance(one.moment, Every)
        _set(parts, f"{path}.feature_set", one.feature_set, at_slots=at_slots)
        if at_slots and one.feature_set in parts.sets and not parts.found.wrong("bars"):
            try:
                bars_of(one, [*parts.found.each("bars").values()])
            except ConfigurationError as error:
                parts.fault(f"{path}.feature_set", str(error))
        net_of = one.rule.net_of
        if net_of and net_of.factors:
            _set(parts, f"{path}.label.net_of.factors", net_of.factors)
            published = parts.sets.get(net_of.factors)
            if published and published.version != net_of.version:
                parts.fault(f"{path}.label.net_of.version", f"{net_of.factors} is at version {published.version}")
            if published and (strange := sorted({*net_of.exposures} - {*published.features})):
                parts.fault(f"{path}.label.net_of.exposures", f"{net_of.factors} has no {', '.join(strange)}")
    for path, bars in parts.found.each("bars").items():
        _set_on_bars(parts, f"{path}.feature_set", bars)


def _set(parts: Parts, path: str, name: str, *, at_slots: bool = False) -> None:
    if name not in parts.sets:
        daily_sets = sorted(n for n, s in parts.sets.items() if s.frequency == DAILY)
        parts.fault(
            path,
            f"no feature set is named so; {_near(name, daily_sets, 20)}. One of your own is found where "
            f"`packages` names its module",
        )
        return
    one = parts.sets[name]
    if one.frequency != DAILY and not at_slots:
        parts.fault(
            path,
            f"it has a value for each bar of {one.frequency}, and a strategy decides once a session; sets "
            f"on bars are declared under `bars`",
        )
    there = {parts.code, *(m.calendar for m in parts.found.each("markets").values())}
    if strange := sorted({of for i in one.inputs for of in i.markets} - there):
        what = f"{name} reads the bars of {', '.join(strange)}; declare their source under `markets`"
        parts.fault(path, what, "markets")
    needed = sorted({t for i in one.inputs for t in i.tables if t in parts.datasets and t not in i.without} - parts.fed)
    if needed:
        parts.fault(path, f"{name} reads {', '.join(needed)}, which no feed brings; add one under `feeds`", "feeds")


def _set_on_bars(parts: Parts, path: str, bars: OnBars) -> None:
    on_bars = sorted(n for n, s in parts.sets.items() if s.frequency != DAILY)
    if bars.feature_set not in on_bars:
        parts.fault(path, f"no feature set on bars is named so; {_near(bars.feature_set, on_bars, 20)}")


def _strategies(parts: Parts) -> None:
    """What a strategy asks of a universe, an index, a scheme or a learner is there."""
    universes = [s.universe.name for s in parts.strategies.values()]
    for path, one in parts.strategies.items():
        if one.limits.min_members > one.universe.size:
            parts.fault(
                f"{path}.limits.min_members",
                f"{one.limits.min_members} members are more than the universe ever has (size "
                f"{one.universe.size}): it would never trade",
                f"{path}.universe.size",
            )
        if name_in(one.model) == DEFAULT:
            for name, why in refused(one.model.params).items():
                parts.fault(f"{path}.model.params.{name}", why)
        elif one.model.params != ModelRule().params:
            what = f"these are LightGBM's; the options of {name_in(one.model)} are written beside its name"
            parts.fault(f"{path}.model.params", f"{what}: learner: {{kind: {name_in(one.model)}, …}}")
        eligible = one.universe.eligible or None
        wanted = {
            f"{path}.universe.eligible.index": ("index_members", bool(eligible and eligible.index)),
            f"{path}.universe.eligible.sector_scheme": ("sectors", bool(eligible and eligible.sector_scheme)),
            f"{path}.label.net_of.index": ("index_members", bool(one.rule.net_of and one.rule.net_of.index)),
        }
        for at, (table, asked) in wanted.items():
            if asked and table not in parts.fed:
                parts.fault(at, f"it is read from {table}, which no feed brings; add one under `feeds`", "feeds")
        if one.rule.net_of and (of := one.rule.net_of.universe) and of not in universes:
            parts.fault(
                f"{path}.label.net_of.universe",
                f"no strategy has such a universe; {_near(of, universes)}",
                "strategies",
            )


def _policies(parts: Parts) -> None:
    """The prices and days that a strategy declares are those that it gets."""
    for path, one in parts.strategies.items():
        found = parts.sets.get(one.feature_set)
        if found and not isinstance(one.adjustment, msgspec.UnsetType) and one.adjustment != found.adjustment:
            what = f"{found.name} reads {found.adjustment} prices"
            parts.fault(f"{path}.adjustment", f"{what}: write that, or name a set that reads {one.adjustment} ones")
        if isinstance(one.timezone, msgspec.UnsetType) or one.calendar not in codes():
            continue
        zone = calendar(one.calendar).tz.key
        if one.timezone == "settlement-local" or (one.timezone == "UTC" and zone != "UTC"):
            what = f"sessions of {one.calendar} are days of {zone}, and nothing files them otherwise"
            parts.fault(f"{path}.timezone", f"{what}: write {'UTC' if zone == 'UTC' else 'exchange-local'}")


def _near(said: str, among: Iterable[str], shown: int = 10) -> str:
    """Did you mean …?, and the first of those that there are."""
    known = list(among)
    more = f" and {len(known) - shown} more" if len(known) > shown else ""
    near = nearest(said, known)
    there = f"there {'is' if len(known) == 1 else 'are'} {', '.join(known[:shown])}{more}" if known else "there is none"
    return f"did you mean {near}?" if near else there


_EXAMINATIONS: tuple[Callable[[Parts], None], ...] = (
    _packages,
    _checks,
    _names,
    _books,
    _calendars,
    _markets,
    _span,
    _sources,
    _features,
    _strategies,
    _policies,
)
