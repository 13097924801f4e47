"""The data of a deployment for a notebook, of all its lanes.

>>> from desk.notebook import Notebook
>>> nb = Notebook.open()
>>> nb.features("price_volume", first, last)
>>> nb.sql("select symbol, close from bars where session = date '2025-06-02' order by close desc limit 5")
"""

from datetime import UTC, date, datetime

import polars as pl

from desk.queries import run as query_tables
from desk.workspace import Workspace
from quant_assets.backtest.loop import run
from quant_assets.contract import in_force
from quant_assets.features.bars_read import bars_of
from quant_assets.features.catalogue import find_set
from quant_assets.market_data.adjustment import adjusted
from quant_assets.market_data.membership import Membership
from quant_assets.models.training_set import training_set
from quant_assets.records import FeatureSnapshot
from quant_assets.tables import ACTIONS, BARS, DECISIONS, FILLS, LISTINGS, NAV, UNIVERSE
from quant_assets.vendor_tables import INDEX_MEMBERS


class Notebook(Workspace):
    """A workspace that also answers with frames."""

    def bars(
        self, first: date, last: date, *, as_of: datetime | None = None, policy: str = "unadjusted"
    ) -> pl.DataFrame:
        """Daily bars in force as of a time (default: now; without a zone it is UTC): raw, or under a `policy` of
        `adjustment.POLICIES` in terms of session `last`.
        """
        at = _moment(as_of)
        raw = in_force(self.store.read(BARS, as_of=at, first=first, last=last), BARS)
        return adjusted(raw, self.store.read(ACTIONS, as_of=at, first=first, last=last), policy, last)

    def membership(self, name: str, *, until: date) -> Membership:
        """Who belonged to a universe (by sid) or, where none has that name, to an index (by symbol), as known by the
        cut of `until`.

        It answers for sessions together with their cuts, each as known at its own: `ws.membership("liquid",
        until=last).at(sessions, ws.cuts)`.
        """
        cut = self.lane_drawing(name).cuts.of(until)
        drawn = self.store.read(UNIVERSE, as_of=cut, last=until, where={"universe": name})
        return (
            Membership.from_universe(drawn)
            if drawn.height
            else Membership.from_index(self.store.read(INDEX_MEMBERS, as_of=cut, last=until, where={"index": name}))
        )

    def features(self, name: str, first: date, last: date) -> pl.DataFrame:
        """The published values of a feature set in force now: session, universe, sid, version, the features,
        known_at.
        """
        table = find_set(name).table
        return in_force(self.store.read(table, as_of=None, first=first, last=last), table)

    def training_set(self, strategy: str, *, as_of: date) -> tuple[pl.DataFrame, FeatureSnapshot]:
        """What the strategy's model may learn from at the cut of session `as_of`, and the snapshot that identifies
        it.
        """
        declared, lane = self.deployment.strategy(strategy), self.lane_of(strategy)
        return training_set(
            lane.store,
            find_set(declared.feature_set),
            declared.rule.horizon,
            lane.cuts.of(as_of),
            universe=declared.universe.name,
            label=declared.rule.name,
        )

    def decisions(self, strategy: str, first: date, last: date) -> pl.DataFrame:
        """The stored decisions of a strategy."""
        return self.store.read(DECISIONS, as_of=None, first=first, last=last, where={"strategy": strategy})

    def backtest(self, book: str, first: date, last: date) -> pl.DataFrame:
        """Trade a research book over the sessions and return its NAV; the same functions as the daily run."""
        traded = self.deployment.book(book)
        lane = self.lane_of(book)
        strategy, sessions = self.strategy_of(traded), lane.cuts.calendar.between(first, last)
        run(lane.store, strategy, traded, lane.cuts, sessions, bars=bars_of(strategy, self.on_bars))
        return self.store.read(NAV, as_of=None, first=first, last=last, where={"book": book})

    def fills(self, book: str) -> pl.DataFrame:
        """The executions of a book, with the symbol of the time."""
        listed = (
            in_force(self.store.read(LISTINGS, as_of=None), LISTINGS).sort("session").select("sid", "session", "symbol")
        )
        filled = self.store.read(FILLS, as_of=None, where={"book": book}).sort("session")
        return filled.join_asof(listed, on="session", by="sid", check_sortedness=False)

    def sql(self, query: str, *, as_of: datetime | None = None) -> pl.DataFrame:
        """A query over all tables: `bars` shows the rows in force as of a time (default: now; without a zone it is
        UTC), `history.bars` every version.
        """
        return query_tables(self.store, query, _moment(as_of))


def _moment(as_of: datetime | None) -> datetime:
    """The time that a question is asked as of."""
    if as_of is None:
        return datetime.now(UTC)
    return as_of.astimezone(UTC) if as_of.tzinfo else as_of.replace(tzinfo=UTC)
