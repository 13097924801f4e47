"""Rare leaks: very many pairs of name and session, each compared with its own past.

A leak of one session shows only in the last row before a cut, so a cut tests one row a name. Here each pair is a series
of its own, cut off after its session, and very many of them share one panel as vintages do; their last rows must have
the bits of the range. Cross-sections and inputs, which look at whole sessions, are asked for one session at a time.
"""

from collections.abc import Iterator, Sequence
from datetime import date
from itertools import groupby
from math import log

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from quant_assets.calendars import Cuts
from quant_assets.features.audit.difference import Difference, difference
from quant_assets.features.audit.views import KnownBy
from quant_assets.features.blocks import Block, kerneled, panel, quarter_start, sectioned
from quant_assets.features.publish import anchors, as_versions, brought, inputs_of
from quant_assets.features.sets import FeatureSet, Input, as_is
from quant_assets.market_data.membership import Membership
from quant_assets.ports import Progress, Store, quiet
from quant_assets.records import Frozen
from quant_assets.tables import UNIVERSE

PAIRS = 100_000
ROWS = 24_000_000  # of all truncated series together: what a long lookback leaves of the pairs
AT_ONCE = 1_000_000  # rows in memory together
ALONE = 40  # sessions for which inputs are read alone
SURE = 1e-3  # the chance with which a leak of the share named was missed


Rows = npt.NDArray[np.int64]
"""Positions of rows in a panel."""


class Compared(Frozen, frozen=True):
    """How many pairs that have values, and how many cells, were compared, and the first difference, between what a pair
    or session is alone and what it is in a range.
    """

    pairs: int = 0
    cells: int = 0
    differs: Difference | None = None
    where: str = ""  # what made the one that differs

    @property
    def chance(self) -> str:
        """What share of rows a leak must have to be found for sure, in a sentence."""
        if not self.pairs:
            return "no pair of name and session was there to compare"
        share = -log(SURE) / self.pairs
        return (
            f"{self.pairs:,} random pairs of name and session had the bits of the range as well: "
            f"a leak in more than {100 * min(share, 1.0):.2g}% of the rows would have been seen with {1 - SURE:.1%}"
        )


def compare(
    store: Store,
    feature_set: FeatureSet,
    universe: str,
    cuts: Cuts,
    sessions: Sequence[date],
    *,
    pairs: int = PAIRS,
    seed: int = 0,
    progress: Progress = quiet,
) -> Compared:
    """Compare up to `pairs` random pairs of the members and `sessions`, ascending; all there are where they are fewer.

    Ends with the first difference. What the set's own functions raise is raised.
    """
    rng = np.random.default_rng([seed, 3])
    membership = Membership.from_universe(
        store.read(UNIVERSE, as_of=cuts.of(sessions[-1]), where={"universe": universe})
    )
    members = membership.at(sessions, cuts).select("session", sid="who")
    if members.is_empty():
        return Compared()
    longest = feature_set.lookback + _BLOCK
    share = min(1.0, pairs / members.height, ROWS / (members.height * longest))
    standing = dict(anchors(store, feature_set, cuts, sessions).select("session", "anchor").iter_rows())
    done = Compared()
    for start, of_block in groupby(sessions, key=lambda s: quarter_start(cuts.calendar, s)):
        wanted = list(of_block)
        progress(sessions.index(wanted[0]), len(sessions), f"{feature_set.name}: rare leaks, from {start}")
        one = _Block(store, feature_set, universe, cuts, wanted, standing[start], members)
        for found in (one.kernel(share, rng), one.sections(share, rng, len(sessions))):
            done = Compared(
                pairs=done.pairs + found.pairs,
                cells=done.cells + found.cells,
                differs=found.differs,
                where=found.where,
            )
            if done.differs:
                return done
    return done


_BLOCK = 63  # sessions of a quarter, about


class _Block:
    """The sessions of one quarter, evaluated as a range; and what is held against that."""

    def __init__(
        self,
        store: Store,
        feature_set: FeatureSet,
        universe: str,
        cuts: Cuts,
        wanted: list[date],
        anchor: date,
        members: pl.DataFrame,
    ) -> None:
        self.store, self.set, self.universe, self.cuts, self.wanted = store, feature_set, universe, cuts, wanted
        index = cuts.calendar.index
        self.anchor = anchor
        self.block = Block(index(anchor), index(wanted[0]), index(wanted[-1]))
        self.located = cuts.frame(wanted[0], wanted[-1]).select("session", "i")
        self.members = members.join(self.located, on="session").select("i", "sid").sort("i", "sid")
        names = self.members.select("sid").unique()
        self.bars, self.actions = as_versions(store, feature_set, cuts, anchor, wanted[-1], names)
        self.inputs = inputs_of(store, feature_set, universe, cuts, wanted, anchor)
        self.panel = panel(feature_set, self.bars, self.actions, self.block)
        self.range = kerneled(feature_set, self.panel, self.inputs)

    def kernel(self, share: float, rng: np.random.Generator) -> Compared:
        """Series cut off after a session give the last row that the range gave."""
        made = [c for c in self.range.columns if c in self.set.features or c not in {"i", "sid", *self.set.columns}]
        numbered = self.panel.select("series", "i", "sid", "selected").with_row_index("row")
        begins = pl.col("row").min().over("series").alias("begin")
        have = numbered.with_columns(begins).filter("selected").join(self.members, on=["i", "sid"], how="semi")
        chosen = have.filter(pl.lit(pl.Series(rng.random(have.height) < share)))
        cells = told = 0
        for begin, end in _in_parts(chosen):
            alone = kerneled(self.set, self._cut_off(begin, end), self.inputs)
            ranged = self.range.join(alone.select("i", "sid"), on=["i", "sid"], how="semi", maintain_order="left")
            cells += alone.height * len(made)
            told += alone.filter(~pl.all_horizontal(pl.col(made).is_null())).height
            if differs := difference(alone, ranged, made, where="i"):
                return Compared(pairs=told, cells=cells, differs=self._dated(differs), where="the kernel")
        return Compared(pairs=told, cells=cells)

    def _cut_off(self, begin: Rows, end: Rows) -> pl.DataFrame:
        """A panel of a series for each pair: the rows `begin` to `end` of the panel, of which the last is selected.

        They are what the vintage in force at the last row's cut held until then, so nothing known later is in them.
        """
        lengths = end - begin + 1
        series = np.repeat(np.arange(len(begin)), lengths)
        within = np.arange(len(series)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        rows = np.repeat(begin, lengths) + within
        place = {"series": pl.Series(series, dtype=pl.UInt32), "selected": pl.Series(rows == np.repeat(end, lengths))}
        return self.panel[rows].with_columns(**place)

    def sections(self, share: float, rng: np.random.Generator, total: int) -> Compared:
        """An input read at a session's cut for that session alone, and the cross-section of the session alone, give
        what the range gave. Inputs read tables each time: of `total` sessions about `ALONE` are asked for.
        """
        sessions = [s for s in self.wanted if rng.random() < share]
        asking = rng.permutation(len(sessions))[: max(1, round(ALONE * len(self.wanted) / total))]
        found = Compared()
        for n in sorted(asking) if self.set.inputs else []:
            found = self._inputs(sessions[n], found.cells)
            if found.differs:
                return found
        if self.set.cross_section is as_is:
            return found
        at = [pl.col("i") == self.cuts.calendar.index(s) for s in sessions]
        alone = [sectioned(self.set, self.range.filter(a), self.members.filter(a), self.inputs) for a in at]
        if not alone:
            return found
        one = pl.concat(alone)
        whole = sectioned(self.set, self.range, self.members, self.inputs)
        ranged = whole.filter(pl.col("i").is_in(one["i"].unique().implode()))
        differs = difference(one, ranged, self.set.features, where="i")
        cells = found.cells + one.height * len(self.set.features)
        return Compared(cells=cells, differs=self._dated(differs) if differs else None, where="the cross-section")

    def _inputs(self, session: date, cells: int) -> Compared:
        at, known = pl.col("i") == self.cuts.calendar.index(session), KnownBy(self.store, self.cuts.of(session))
        asked = self.members.filter(at)
        for one in self.set.inputs:
            # the panel begins at the anchor, and so do its sums
            first = self.anchor if one.reads_panel else session
            alone = brought(known, one, self.universe, self.cuts, self.cuts.calendar.between(first, session))
            told = [_of(f.filter(at), asked, one) for f in (alone, self.inputs[one.name])]
            cells += asked.height * len(one.columns)
            if differs := difference(told[0], told[1], list(one.columns), where="i"):
                return Compared(cells=cells, differs=self._dated(differs), where=f"the input {one.name!r}")
        return Compared(cells=cells)

    def _dated(self, differs: Difference) -> Difference:
        at = self.cuts.calendar.at(differs.at) if isinstance(differs.at, int) else differs.at
        return msgspec.structs.replace(differs, at=at)


def _of(rows: pl.DataFrame, members: pl.DataFrame, one: Input) -> pl.DataFrame:
    """An input's values of each member; null if it has none."""
    return members.join(rows, on=["i"] if one.reads_panel else ["i", "sid"], how="left", maintain_order="left")


def _in_parts(chosen: pl.DataFrame) -> Iterator[tuple[Rows, Rows]]:
    """First and last row of each series, as many at a time as are in memory together."""
    begin, end = (chosen[c].cast(pl.Int64).to_numpy() for c in ("begin", "row"))
    parts = np.cumsum(end - begin + 1) // AT_ONCE
    for part in np.unique(parts):
        yield begin[parts == part], end[parts == part]
