"""The laws of kernels and cross-sections, tried on a synthetic panel.

A range equals its days only for functions that keep them.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import log

import numpy as np
import polars as pl

from quant_assets.features.audit.difference import Difference, difference
from quant_assets.features.audit.recomputation import Finding
from quant_assets.features.audit.synthetic import SEED, sections, synthetic, trimmed
from quant_assets.features.sets import PRICES, FeatureSet
from quant_assets.frames import span
from quant_assets.records import Frozen

ROWS, HOMOGENEITY, PREFIX, INDEPENDENCE, LOOKBACK, CROSS_SECTION = LAWS = (
    "rows",
    "homogeneity",
    "prefix_causality",
    "independence",
    "lookback",
    "cross_section",
)
TOLERANCE = 1e-6
EVALUATED = 64  # rows that are looked at after the lookback: about a block
LONGER = 120  # rows that the longer panel begins earlier, or the lookback again where that is more
FURTHEST = 16  # lookbacks that are tried where the declared one is too short


class Examination(Frozen, frozen=True):
    """The laws that were found broken, on how many cells, and what was tried."""

    findings: tuple[Finding, ...]
    cells: Mapping[str, int]
    tried: str


def examine(feature_set: FeatureSet) -> Examination:
    """Try every law on the set's kernel and cross-section. What they raise is a finding."""
    subject = _Subject(feature_set)
    laws = {
        ROWS: rows,
        HOMOGENEITY: homogeneity,
        PREFIX: prefix_causality,
        INDEPENDENCE: independence,
        LOOKBACK: lookback,
        CROSS_SECTION: cross_section,
    }
    findings: list[Finding] = []
    cells: dict[str, int] = {}
    for law, hold in laws.items():
        before = subject.compared
        try:
            findings += [
                Finding(
                    law=law,
                    sentence=sentence,
                    column=d.column,
                    at=f"row {d.at} of the synthetic panel",
                    sid=d.sid if isinstance(d.sid, int) else None,
                )
                for d, sentence in hold(subject)
            ][:1]
        # a user's functions may raise anything; a law that could not be tried is not kept
        except Exception as error:  # noqa: BLE001
            findings.append(
                Finding(
                    law=law,
                    sentence=f"{feature_set.name} raised {type(error).__name__} on a synthetic panel, so that "
                    f"nothing is proven: {str(error)[:600]}",
                )
            )
        cells[law] = subject.compared - before
    tried = (
        f"a synthetic panel of {subject.panel['series'].n_unique()} names and {subject.panel.height:,} rows "
        f"with halts, gaps, single values missing, flat stretches, ties and splits"
    )
    return Examination(findings=tuple(findings), cells=cells, tried=tried)


class _Subject:
    """A set's functions on the synthetic panel. `compared` counts cells."""

    def __init__(self, feature_set: FeatureSet) -> None:
        self.feature_set = feature_set
        self.start = feature_set.lookback + max(feature_set.lookback, LONGER)
        self.panel = synthetic(feature_set, self.start + EVALUATED)
        self.compared = 0

    def kernel(self, panel: pl.DataFrame) -> pl.DataFrame:
        """What the kernel makes of `panel`, sorted by (i, sid); values that are not finite are null, as in
        `blocks.evaluate`.
        """
        return self._finite(self.feature_set.kernel(panel)).sort("i", "sid")

    def section(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The features of members' rows after the cross-section, in the order it gave them."""
        made = self.feature_set.cross_section(rows)
        return self._finite(made.select("i", "sid", *self.feature_set.features))

    def sections(self, panel: pl.DataFrame) -> pl.DataFrame:
        """The rows that the cross-section gets of the later sessions of `panel`."""
        return sections(self.feature_set, self.feature_set.kernel(panel).filter(pl.col("i") >= self.start - EVALUATED))

    def made(self, computed: pl.DataFrame) -> list[str]:
        """The columns that the kernel added: features first, in their order."""
        new = [c for c in computed.columns if c not in self.panel.columns and computed[c].dtype.is_numeric()]
        return [
            *(f for f in self.feature_set.features if f in new),
            *(c for c in new if c not in self.feature_set.features),
        ]

    def features(self, computed: pl.DataFrame) -> list[str]:
        """Of the columns that the kernel added those that are published; where it is all the cross-section's doing, all
        that it added.
        """
        made = self.made(computed)
        return [f for f in made if f in self.feature_set.features] or made

    def differ(
        self, one: pl.DataFrame, other: pl.DataFrame, columns: Sequence[str], tolerance: float = 0.0
    ) -> Difference | None:
        """The first difference in `columns` by (i, sid)."""
        self.compared += one.height * len(columns)
        return difference(one, other, columns, where="i", tolerance=tolerance)

    def _finite(self, frame: pl.DataFrame) -> pl.DataFrame:
        floats = [c for c, t in frame.schema.items() if t.is_float() and c not in self.panel.columns]
        dtypes = {c: self.feature_set.dtype if c in self.feature_set.features else pl.Float64 for c in floats}
        return frame.with_columns(
            pl.when(pl.col(c).is_finite()).then(pl.col(c)).cast(t).alias(c) for c, t in dtypes.items()
        )


Found = Iterator[tuple[Difference, str]]


def rows(subject: _Subject) -> Found:
    """Kernel and cross-section give back the rows they got, once each, and every feature is made."""
    panel, features = subject.panel, subject.feature_set.features
    computed = subject.feature_set.kernel(panel)
    if differs := subject.differ(panel.select("i", "sid"), computed.select("i", "sid"), ()):
        yield (
            differs,
            f"the kernel {_rows_shown(differs)}: give back the panel's rows, with the features added (with_columns)",
        )
        return
    member_rows = sections(subject.feature_set, computed)
    sectioned = subject.feature_set.cross_section(member_rows)
    if differs := subject.differ(member_rows.select("i", "sid"), sectioned.select("i", "sid"), ()):
        yield (
            differs,
            (
                f"the cross-section {_rows_shown(differs)}: only the universe decides who is a member; return "
                f"all rows, null if there is no value"
            ),
        )
    if missing := [f for f in features if f not in sectioned.columns]:
        yield (
            Difference(column=missing[0], at=None, sid=None, one=None, other=None),
            f"{', '.join(missing)}: declared as features, and neither kernel nor cross-section makes them",
        )


def homogeneity(subject: _Subject) -> Found:
    """Twice the adjusted prices, with raw prices and volumes as they were, change no bit of any feature: or it would
    depend on the anchor from which prices are adjusted.
    """
    prices = [c for c in subject.feature_set.columns if c in PRICES]
    if not prices:
        return
    one, two = (
        subject.section(subject.sections(p))
        for p in (subject.panel, subject.panel.with_columns(pl.col(c) * 2 for c in prices))
    )
    if differs := subject.differ(one, two, subject.feature_set.features):
        c = differs.column
        pair = (
            one.select("i", "sid", a=pl.col(c)).join(two.select("i", "sid", b=pl.col(c)), on=["i", "sid"]).drop_nulls()
            if c
            else None
        )
        yield differs, f"{c} {_moved(pair)} when all prices double ({differs.one} and {differs.other}): {_remedy(pair)}"


def prefix_causality(subject: _Subject) -> Found:
    """A row has the same bits whatever rows follow it, and whatever other rows are selected."""
    panel, last = subject.panel, span(subject.panel["i"], int)[1]
    whole = subject.kernel(panel)
    before, series = pl.col("present").shift(1), pl.col("series")
    resumed = panel.filter(pl.col("present") & ~before & (series == series.shift(1)))["i"].unique().sort()
    for end in (last - 1, last - 7, subject.start, last // 2, 12, *resumed.gather_every(max(1, len(resumed) // 2))):
        prefix = subject.kernel(trimmed(panel.filter(pl.col("i") <= end)))
        same_rows = whole.join(prefix.select("i", "sid"), on=["i", "sid"], how="semi", maintain_order="left").filter(
            "present"
        )
        if differs := subject.differ(prefix.filter("present"), same_rows, subject.made(whole)):
            yield (
                differs,
                (
                    f"{_cell(differs)} is {differs.one} as the panel's last rows are {end} and before, and "
                    f"{differs.other} with the rows that follow: {AHEAD}"
                ),
            )
    latest = pl.col("i") == pl.col("i").filter(pl.col("present")).max().over("series")
    some = pl.lit(pl.Series(np.random.default_rng(SEED).random(panel.height) < 0.1))
    for what, selected in {
        "the last rows": latest,
        "a tenth of all rows": some,
        f"the rows from {subject.start} on": pl.col("i") >= subject.start,
    }.items():
        chosen = subject.kernel(panel.with_columns(selected=pl.col("present") & selected)).filter("selected")
        if differs := subject.differ(
            chosen,
            whole.join(chosen.select("i", "sid"), on=["i", "sid"], how="semi", maintain_order="left"),
            subject.features(whole),
        ):
            yield (
                differs,
                (
                    f"{_cell(differs)} is {differs.one} as only {what} are selected, and {differs.other} as all "
                    f"are: what is not selected may stay null, but still counts for the rows after it"
                ),
            )


AHEAD = (
    "it looks ahead within the name, as a centred window, shift(-1), a backward fill or a mean of the whole "
    "series do; use rows up to its own alone"
)


def independence(subject: _Subject) -> Found:
    """A name has the same bits alone, under another number, and among any others."""
    panel = subject.panel
    whole = subject.kernel(panel)
    made, names = subject.made(whole), panel["sid"].unique().sort()
    some = [[sid] for sid in names[::3]] + [list(names[::2]), list(names[1::2])]
    for chosen in some:
        part = panel.filter(pl.col("sid").is_in(chosen)).with_columns(
            series=pl.col("series").rank("dense").cast(pl.UInt32) - 1
        )
        if differs := subject.differ(subject.kernel(part), whole.filter(pl.col("sid").is_in(chosen)), made):
            yield (
                differs,
                (
                    f"{_cell(differs)} is {differs.one} as "
                    f"{'the name is alone' if len(chosen) == 1 else 'half of the names are'} in the panel, and "
                    f"{differs.other} among others: group by series, .over('series'); what compares names "
                    f"belongs into the cross-section"
                ),
            )


def lookback(subject: _Subject) -> Found:
    """`lookback` rows before the first row evaluated are enough: more of them change no missing value, and no value by
    more than 1e-6 of its size.
    """
    declared = subject.feature_set.lookback
    differs = _too_short(subject, subject.panel, subject.start, declared)
    if differs is None:
        return
    first = max(FURTHEST * declared, 480)
    panel = synthetic(subject.feature_set, first + EVALUATED)
    low, high = declared, max(2 * declared, 1)
    while high < first and _too_short(subject, panel, first, high):
        low, high = high, 2 * high
    if high >= first:
        enough = (
            f"and {low} are not enough either: it never forgets (a sum from the series' start, a long "
            f"exponential mean). Use a window"
        )
    else:
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if _too_short(subject, panel, first, middle) else (low, middle)
        enough = f"declare lookback={high}, the least that was enough on the synthetic panel"
    yield (
        differs,
        (
            f"{_cell(differs)} is {differs.one} with the declared lookback of {declared} rows before "
            f"{subject.start}, and {differs.other} with {subject.start}; {enough}"
        ),
    )


def _too_short(subject: _Subject, panel: pl.DataFrame, first: int, lookback: int) -> Difference | None:
    """The difference between a panel that starts `lookback` rows before `first` and the whole."""
    evaluated, at_start = (pl.col("i") >= first) & pl.col("present"), pl.col("i") == first - lookback
    suspended = panel.filter(at_start & ~pl.col("present"))[
        "sid"
    ]  # at the anchor: of them no panel can tell for how long, and none has their missing rows
    panel = panel.filter(~pl.col("sid").is_in(suspended.implode()))
    longer = subject.kernel(panel).filter(evaluated)
    shorter = subject.kernel(trimmed(panel.filter(pl.col("i") >= first - lookback))).filter(evaluated)
    return subject.differ(shorter, longer, subject.features(longer), TOLERANCE)


def cross_section(subject: _Subject) -> Found:
    """A session's rows have the same bits whatever other sessions are there, and the same values in any order of
    sessions and names.
    """
    member_rows, features = subject.sections(subject.panel), subject.feature_set.features
    whole = subject.section(member_rows)
    sessions = member_rows["i"].unique().sort()
    for chosen in ([sessions[-1]], [sessions[len(sessions) // 2]], list(sessions[::2]), list(sessions[-5:])):
        part = subject.section(member_rows.filter(pl.col("i").is_in(chosen)))
        if differs := subject.differ(part, whole.filter(pl.col("i").is_in(chosen)), features):
            alone = "its session is alone" if len(chosen) == 1 else f"{len(chosen)} sessions are"
            yield (
                differs,
                (
                    f"{_cell(differs)} is {differs.one} as {alone} in the frame, and {differs.other} among "
                    f"others: every expression that compares names must be .over('session')"
                ),
            )
    for what, turned in {
        "sessions": member_rows.sort(["i", "sid"], descending=[True, False]),
        "names": member_rows.sort(["i", "sid"], descending=[False, True]),
    }.items():
        if differs := subject.differ(subject.section(turned), whole, features, TOLERANCE):
            yield (
                differs,
                (
                    f"{_cell(differs)} is {differs.one} as the {what} stand in reverse order, and "
                    f"{differs.other} in order: {BY_POSITION[what]}"
                ),
            )


BY_POSITION = {
    "sessions": "a cross-section knows no yesterday; what looks back belongs into the kernel",
    "names": "break ties by a value (rank 'average', or by sid), not by position",
}


def _cell(differs: Difference) -> str:
    return f"{differs.column or 'a row'} (row {differs.at}, sid {differs.sid})"


def _rows_shown(differs: Difference) -> str:
    return (
        f"drops rows, such as row {differs.at} of sid {differs.sid}"
        if differs.one == "a row"
        else f"adds rows, such as row {differs.at} of sid {differs.sid}"
    )


def _moved(pair: pl.DataFrame | None) -> str:
    """What doubling all prices did to a feature, by its values `a` before and `b` after."""
    if pair is None or pair.is_empty():
        return "changes its missing values"
    a, b = pair["a"].to_numpy().astype(np.float64), pair["b"].to_numpy().astype(np.float64)
    ratio, added = np.median(b[a != 0] / a[a != 0]) if (a != 0).any() else np.nan, np.median(b - a)
    named = {2.0: "doubles", 0.5: "halves", 4.0: "quadruples", 0.25: "falls to a quarter"}
    for by, word in named.items():
        if abs(ratio - by) < 1e-3:
            return word
    if abs(abs(added) - log(2)) < 1e-3:
        return "moves by ln 2"
    return "changes in its last bits" if abs(ratio - 1) < 1e-6 else f"becomes {ratio:.3g} times as large"


def _remedy(pair: pl.DataFrame | None) -> str:
    told = _moved(pair)
    if told == "changes in its last bits":
        return (
            "take ratios before anything else (the log of a ratio, not the difference of logs; no constant "
            "added to a price)"
        )
    return "adjusted prices have no scale of their own. Divide by the close, or read raw_close"
