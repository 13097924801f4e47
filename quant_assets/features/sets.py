"""What a feature set is: a pure function of a panel, declared once.

Its table, asset, checks, audit and page follow from the declaration.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property

import polars as pl

from quant_assets.calendars import Cuts
from quant_assets.contract import Schema, Table
from quant_assets.errors import ConfigurationError
from quant_assets.ports import Store
from quant_assets.records import content_id, safe_name
from quant_assets.source import source_hash
from quant_assets.tables import bar_feature_table, feature_table

Kernel = Callable[[pl.DataFrame], pl.DataFrame]
"""Per-name features: a panel sorted by (series, i), one row per session of each series (halted sessions are
rows of nulls), to the same rows with the features added. It groups by ``series`` and knows nothing else: a row
takes its bits from the rows before it in its own series. Rows that are not ``selected`` may be left null."""

CrossSection = Callable[[pl.DataFrame], pl.DataFrame]
"""Cross-sectional features: the members' rows of some sessions to the same rows with the features added;
every expression is over("session"), whose values tell sessions apart and nothing else."""

Reader = Callable[[Store, Cuts, str, Sequence[date]], pl.DataFrame]
"""(store, cuts, universe, sessions) to rows as known at each session's own cut."""

PRICES = ("open", "high", "low", "close")
DAILY = "session"


def as_is(rows: pl.DataFrame) -> pl.DataFrame:
    """The cross-section of a set that has none."""
    return rows


@dataclass(frozen=True)
class Input:
    """Columns from elsewhere than the set's own bars, as known at each session's cut.

    `read` returns session, sid and `columns` (name and dtype of what it brings), from `tables`. Joined on session and
    sid they are in the members' rows before the cross-section; `on` the session alone they are in the panel before the
    kernel, where the value of row i is the one known at the cut of i. `without`: those of the tables that it does
    without if no feed brings them. `markets`: the calendars of other markets of whose instruments it reads.
    """

    name: str
    columns: Schema
    tables: tuple[str, ...]
    read: Reader
    on: tuple[str, ...] = ("session", "sid")
    without: tuple[str, ...] = ()
    markets: tuple[str, ...] = ()

    @property
    def reads_panel(self) -> bool:
        """Whether the kernel reads it."""
        return self.on == ("session",)


@dataclass(frozen=True)
class FeatureSet:
    """A declared set of features.

    `columns`: what the kernel reads: open, high, low, close (forward-adjusted from the block's anchor), volume
    (split-adjusted), or raw_* for the values as printed. Only changes of these start a vintage.
    `lookback`: sessions before a block's first session from which its panel starts.
    `meaning`: a line on each feature. `dtype`: of the stored values. `frequency`: session, or the length of a bar (1m,
    1h). `parts`: the sets that it was put together from. `splits_only`: prices are adjusted for splits, and not for
    what is paid out. Raises ValueError where a file could not be called after its
    name.
    """

    name: str
    version: str
    features: tuple[str, ...]
    columns: tuple[str, ...]
    lookback: int
    kernel: Kernel
    cross_section: CrossSection = as_is
    inputs: tuple[Input, ...] = ()
    doc: str = ""
    meaning: Mapping[str, str] = field(default_factory=dict[str, str])
    dtype: type[pl.DataType] = pl.Float64
    frequency: str = DAILY
    parts: tuple["FeatureSet", ...] = ()
    splits_only: bool = False

    def __post_init__(self) -> None:
        """See the class."""
        safe_name(self.name)

    @property
    def adjustment(self) -> str:
        """What its prices are adjusted for, as a snapshot has it: adjusted | split-only | unadjusted."""
        if not {*self.columns} & {*PRICES}:
            return "split-only" if "volume" in self.columns else "unadjusted"
        return "split-only" if self.splits_only else "adjusted"

    @cached_property
    def table(self) -> Table:
        """Where the set is published."""
        made = feature_table if self.frequency == DAILY else bar_feature_table
        return made(self.name, self.features, self.dtype, doc=self.doc)

    @cached_property
    def stored_columns(self) -> tuple[str, ...]:
        """The columns of BARS that the set reads; adjusting a price for dividends reads the close."""
        stored = {c.removeprefix("raw_") for c in self.columns}
        return tuple(sorted(stored | ({"close"} if set(self.columns) & set(PRICES) else set())))

    @cached_property
    def reads(self) -> tuple[str, ...]:
        """The tables that it is made from."""
        return (
            "bars",
            "actions",
            "universe",
            *sorted({t for i in self.inputs for t in i.tables} - {"bars", "actions", "universe"}),
        )

    @cached_property
    def fingerprint(self) -> str:
        """Identifies the declaration and the source that its functions come from: what an audit speaks of."""
        functions = (self.kernel, self.cross_section, *(i.read for i in self.inputs))
        declared = (
            self.name,
            self.version,
            self.features,
            self.columns,
            self.lookback,
            [(i.name, i.on, i.tables) for i in self.inputs],
            str(self.dtype),
            self.frequency,
        )
        declared += (["splits only"],) if self.splits_only else ()
        return content_id(
            *declared, [source_hash(f) for f in functions], [p.fingerprint for p in self.parts], length=16
        )


def together(name: str, *sets: FeatureSet, version: str = "1", doc: str = "") -> FeatureSet:
    """The features of several sets as one: each kernel and cross-section unchanged, over the longest of their
    lookbacks.

    Raises ConfigurationError if two of them have a feature of one name, or other inputs under one name, or if sessions
    and bars are mixed.
    """
    features = [f for s in sets for f in s.features]
    if twice := sorted({f for f in features if features.count(f) > 1}):
        raise ConfigurationError(
            f"{name}: two of the sets {[s.name for s in sets]} have the features {twice}; rename one of each"
        )
    if len({s.frequency for s in sets}) != 1:
        raise ConfigurationError(
            f"{name}: sets of one frequency go together; found { ({s.name: s.frequency for s in sets}) }"
        )

    if len({s.splits_only for s in sets}) != 1:
        raise ConfigurationError(f"{name}: sets go together whose prices are adjusted alike; see `splits_only` of each")
    inputs: dict[str, Input] = {}
    for one in (i for s in sets for i in s.inputs):
        if inputs.setdefault(one.name, one) != one:
            raise ConfigurationError(
                f"{name}: two of the sets {[s.name for s in sets]} have different inputs named "
                f"{one.name!r}; rename one of them"
            )

    def kernel(panel: pl.DataFrame) -> pl.DataFrame:
        made = [s.kernel(panel).drop(panel.columns) for s in sets]
        names = [c for frame in made for c in frame.columns]
        if twice := sorted({c for c in names if names.count(c) > 1}):
            raise ConfigurationError(
                f"{name}: the kernels of two of {[s.name for s in sets]} add the columns {twice}; rename them in one"
            )
        return panel.with_columns(c for frame in made for c in frame.iter_columns())

    def cross_section(rows: pl.DataFrame) -> pl.DataFrame:
        return rows.with_columns(c for s in sets for c in s.cross_section(rows).select(s.features).iter_columns())

    return replace(
        sets[0],
        name=name,
        version=f"{version} ({', '.join(f'{s.name} {s.version}' for s in sets)})",
        features=tuple(features),
        columns=tuple(dict.fromkeys(c for s in sets for c in s.columns)),
        lookback=max(s.lookback for s in sets),
        kernel=kernel,
        cross_section=cross_section,
        inputs=tuple(inputs.values()),
        doc=doc or f"The features of {', '.join(s.name for s in sets)}.",
        meaning={f: m for s in sets for f, m in s.meaning.items()},
        dtype=pl.Float64 if pl.Float64 in {s.dtype for s in sets} else sets[0].dtype,
        parts=sets,
    )
