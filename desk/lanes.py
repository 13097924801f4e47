"""The lanes of a deployment: the same chain once for each market and moment.

A lane has the strategies of one calendar that decide at one moment, and their books. The first one is the deployment's
own: its calendar, and the moment of its first strategy. What a lane runs is a deployment of its own, narrower one.

A market without a strategy has a lane too, which ingests and judges its data: features of other markets and research
read them. Its moment is that of the latest decision that a session's data could serve, before the next close.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from desk.deployment import Deployment, Market, ResearchDeployment
from quant_assets.calendars import calendar
from quant_assets.errors import ConfigurationError
from quant_assets.moments import AtTime, BeforeClose, BeforeOpen, Every, Moment
from quant_assets.strategy import Strategy

OWN = ""


@dataclass(frozen=True)
class Lane:
    """`name`: what its assets and jobs are called after; `market`: its calendar; both are empty where they are the
    deployment's own. `currency`: of the market's prices. `beside`: other markets whose names it decides too.
    """

    name: str
    market: str
    moment: Moment
    currency: str
    deployment: Deployment
    beside: tuple[str, ...] = ()


def lanes(whole: Deployment) -> tuple[Lane, ...]:
    """The lanes of a deployment, its own first, then in the order of the strategies, then markets without one.

    A research home has only lanes of strategies: it ingests nothing. Raises ConfigurationError where a strategy's
    calendar is that of no market, or outside research no strategy has the deployment's.
    """
    grouped: dict[tuple[str, Moment, tuple[str, ...]], list[Strategy]] = {}
    for strategy in sorted(whole.strategies, key=lambda s: s.calendar != whole.calendar):
        grouped.setdefault((strategy.calendar, strategy.moment, strategy.venues_beside), []).append(strategy)
    research = isinstance(whole, ResearchDeployment)
    traded = {code for code, *_ in grouped}
    if whole.calendar not in traded and not research:
        raise ConfigurationError(
            f"no strategy has the deployment's calendar, {whole.calendar}: make that of a strategy its own, and the "
            "others `markets`"
        )
    found: list[Lane] = []
    for (code, moment, beside), strategies in grouped.items():
        market = OWN if code == whole.calendar else code
        first = all(lane.market != market for lane in found)
        same = any((lane.market, lane.moment) == (market, moment) for lane in found)
        name = _name(market, whole.calendar, moment, first=first)
        lane_name = called("_with_".join((name, *beside))) if same else name
        found.append(replace(_lane(whole, market, moment, strategies, lane_name), beside=beside))
    silent = () if research else [m.calendar for m in whole.markets if m.calendar not in traded]
    found += [_lane(whole, code, BeforeClose(), (), called(code)) for code in silent]
    return tuple(found)


def _lane(whole: Deployment, market: str, moment: Moment, strategies: Sequence[Strategy], name: str) -> Lane:
    books = tuple(b for b in whole.books if b.strategy in {s.name for s in strategies})
    of: dict[str, Any] = {"strategies": tuple(strategies), "books": books, "markets": ()}
    if name:
        of["bars"] = ()
    if market == OWN:
        return Lane(name, market, moment, whole.source.currency, msgspec.structs.replace(whole, **of))
    there = _market(whole, market)
    start = calendar(market).on_or_after(whole.start)
    of |= {"calendar": market, "source": there.source, "feeds": there.feeds, "start": start, "backups": ()}
    made = msgspec.structs.replace(whole, **of)
    msgspec.structs.force_setattr(made, "books", books)  # the market's currency may be another than its source's
    return Lane(name, market, moment, there.priced_in, made)


def _market(whole: Deployment, code: str) -> Market:
    for one in whole.markets:
        if one.calendar == code:
            return one
    raise ConfigurationError(
        f"no data feeds a strategy of {code}: declare its source under `markets`; there are "
        f"{[whole.calendar, *(m.calendar for m in whole.markets)]}"
    )


def _name(market: str, own: str, moment: Moment, *, first: bool) -> str:
    """A market's first lane is called after its calendar, the others after their moment too."""
    if first:
        return called(market)
    match moment:
        case BeforeOpen():
            when = f"open_{moment.minutes}m"
        case BeforeClose():
            when = f"close_{moment.minutes}m"
        case AtTime():
            when = moment.time
        case Every():
            when = f"every_{moment.minutes}m"
    return called(f"{market or own}_{when}")


def called(name: str) -> str:
    """What a market's first lane is called: its code, of letters, digits and underscores alone."""
    return re.sub(r"[^A-Za-z0-9_]", "_", name)
