"""What the lanes of several markets ingest together: rates, and the data of a market whose bars another one reads."""

from collections.abc import Callable, Sequence
from datetime import datetime

from desk.workspace import Workspace
from quant_assets.market_data.arrivals import Shared
from quant_assets.market_data.datasets import dataset
from quant_assets.market_data.markets import shared_by_markets
from quant_assets.ports import MarketDataSource


def read_elsewhere(lane: Workspace) -> frozenset[str]:
    """The calendars of the other markets whose bars the feature sets of a lane read, or whose names it decides."""
    strategies = lane.deployment.strategies
    read = {code for s in strategies for code in s.venues_beside}
    read |= {code for s in strategies for one in lane.feature_set_of(s).inputs for code in one.markets}
    return frozenset(read - {lane.deployment.calendar})


def beside_own(lane: Workspace) -> list[MarketDataSource]:
    """The sources of those markets; none in a research home, which ingests nothing."""
    read = frozenset[str]() if lane.production else read_elsewhere(lane)
    return [source for there in lane.markets if there.deployment.calendar in read for source in there.sources]


def shared(lane: Workspace) -> list[Shared]:
    """What lanes share: rates, and each market whose bars another one reads; nothing where there is one market."""
    own, *others = lane.markets
    if not others or lane.production:
        return []
    rates = frozenset(
        feed.name for name, feeds in own.feeds.items() if shared_by_markets(dataset(name).table) for feed in feeds
    )
    found = [Shared(rates, own.store, own.cuts.calendar, _latest_of(lane.peers))]
    for market in lane.markets:
        if readers := [w for w in lane.peers if market.deployment.calendar in read_elsewhere(w)]:
            its = frozenset(source.name for source in market.sources) - rates
            latest = _latest_of([*readers, *(w for w in lane.peers if w.venue == market.venue)])
            found.append(Shared(its, market.store, market.cuts.calendar, latest))
    return found


def _latest_of(lanes: Sequence[Workspace]) -> Callable[[], datetime | None]:
    """A function for the latest cut at which any of the lanes read."""
    logs = {w.venue: w.knowledge for w in lanes}.values()
    return lambda: max((cut for log in logs if (cut := log.latest_cut()) is not None), default=None)
