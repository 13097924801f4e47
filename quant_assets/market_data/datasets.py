"""Every dataset beside the daily bars, declared: its contract, its rules, and how its time is read. A team's own is
plugged in (`quant_assets.plugins.dataset`).

The declaration gives its asset and partitions, checks, quarantine, findings, and its page in docs/data-contracts.md. A
feed in the deployment file gives the source of its rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache

import polars as pl

from quant_assets.contract import Table
from quant_assets.errors import ConfigurationError
from quant_assets.market_data.instrument_rules import IDENTIFIED, TERMS
from quant_assets.market_data.rules import Rule
from quant_assets.plugged import Plugin, look_up, plugged_in
from quant_assets.tables import CORE
from quant_assets.vendor_tables import (
    ANNOUNCEMENTS,
    BORROW_RATES,
    ECONOMIC_SERIES,
    FACTOR_RETURNS,
    FILINGS,
    FUNDING_RATES,
    FX_RATES,
    IDENTIFIERS,
    INDEX_MEMBERS,
    INSTRUMENTS,
    INTRADAY_BARS,
    OPEN_INTEREST,
    REFERENCE_RATES,
    SECTORS,
    SECURITIES,
    TRADES,
    VENDOR_BARS,
)

STAMPED = (
    "withdrawn",
    "source",
    "capture",
    "file",
    "line",
    "known_at",
    "declared_known_at",
)  # written by us, not by the vendor
PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True)
class Dataset:
    """A table of vendor data, and how to judge it.

    `rules` may read each of the table's columns and, as `x_before`, the value x (or the time) of the same entity's
    event before (null if none lies within `remembers`). `ahead`: how long before its event a row may be known
    (announcements). `sessions`: the calendar whose sessions rows must be of; None takes any day. `ends`: an expression
    for the end of a row's event, if that is not its event column's own day or time.
    """

    table: Table
    rules: tuple[Rule, ...] = ()
    remembers: timedelta = timedelta(days=10)
    ahead: timedelta = timedelta(0)
    sessions: str | None = None
    ends: pl.Expr | None = None

    @property
    def name(self) -> str:
        """The table's name."""
        return self.table.name

    @property
    def columns(self) -> tuple[str, ...]:
        """What a vendor gives."""
        return tuple(c for c in self.table.schema if c not in STAMPED)

    @property
    def entity(self) -> tuple[str, ...]:
        """What has a value at each event: the subject without the event."""
        return tuple(c for c in self.table.subject if c != self.table.event)

    @property
    def judging(self) -> tuple[Rule, ...]:
        """The rules on stored rows."""
        return tuple(r for r in self.rules if r.severity != "refuse")

    @property
    def says(self) -> tuple[str, ...]:
        """The content of a row; a version with the same content is a no-op."""
        return (*(c for c in self.columns if c not in self.table.key), "withdrawn")


_HOLE = ((pl.col("ts") - pl.col("ts_before")).dt.total_seconds() > 1.5 * pl.col("seconds")) & (
    pl.col("ts").dt.date() == pl.col("ts_before").dt.date()
)


def _jump(column: str, factor: float) -> pl.Expr:
    ratio = pl.col(column) / pl.col(f"{column}_before")
    # a change of sign, or from nothing, is no matter of units
    return (ratio > 0) & ratio.is_finite() & ((ratio > factor) | (ratio < 1 / factor))


def _bars(name: str) -> tuple[Rule, ...]:
    highest, lowest = pl.max_horizontal(PRICES), pl.min_horizontal(PRICES)
    return (
        Rule(
            "no_price", "refuse", "Has each bar all its prices?", pl.any_horizontal(pl.col(c).is_null() for c in PRICES)
        ),
        Rule("price_positive", "refuse", "Are all prices positive?", lowest <= 0),
        Rule(
            "ohlc",
            "refuse",
            "Is the high the highest and the low the lowest?",
            (pl.col("high") < highest) | (pl.col("low") > lowest),
        ),
        Rule("volume_negative", "refuse", "Is no volume negative?", pl.col("volume") < 0),
        Rule("zero_volume", "warn", f"Do few {name} have no volume?", pl.col("volume") == 0, 0.2),
        Rule(
            "stale",
            "warn",
            "Do few repeat the one before, price for price?",
            pl.all_horizontal(pl.col(c) == pl.col(f"{c}_before") for c in PRICES) & (pl.col("volume") > 0),
            0.05,
        ),
        Rule(
            "gap",
            "warn",
            f"Do few {name} come after a hole of the same day?",
            _HOLE,
            0.05,
            found=pl.col("ts_before").dt.epoch("s"),
            expected=pl.col("ts").dt.epoch("s") - pl.col("seconds"),
        ),
        Rule(
            "unit",
            "block",
            "Does no price move a hundredfold?",
            _jump("close", 50),
            found=pl.col("close"),
            expected=pl.col("close_before"),
        ),
        Rule(
            "outlier",
            "warn",
            "Do few prices move by a fifth at once?",
            _jump("close", 1.2),
            0.001,
            found=pl.col("close"),
            expected=pl.col("close_before"),
        ),
    )


DATASETS: Sequence[Dataset] = (
    Dataset(
        INTRADAY_BARS,
        _bars("bars"),
        remembers=timedelta(days=5),
        ends=pl.col("ts") + pl.duration(seconds=pl.col("seconds")),
    ),
    Dataset(VENDOR_BARS, tuple(r for r in _bars("bars") if r.severity == "refuse"), ahead=timedelta(days=1)),
    Dataset(
        TRADES,
        (
            Rule(
                "price_positive",
                "refuse",
                "Are price and quantity positive?",
                (pl.col("price") <= 0) | (pl.col("quantity") <= 0),
            ),
        ),
        remembers=timedelta(0),
    ),
    Dataset(
        ANNOUNCEMENTS,
        (Rule("cash_negative", "refuse", "Is no distribution negative?", pl.col("cash") < 0),),
        ahead=timedelta(days=730),
    ),
    Dataset(
        SECURITIES,
        (
            Rule(
                "isin",
                "warn",
                "Does each ISIN have twelve characters?",
                ~pl.col("isin").str.contains(r"^[A-Z]{2}[A-Z0-9]{9}[0-9]$"),
            ),
        ),
        ahead=timedelta(days=365),
    ),
    Dataset(INSTRUMENTS, TERMS, ahead=timedelta(days=3653)),
    Dataset(IDENTIFIERS, IDENTIFIED, ahead=timedelta(days=3653)),
    Dataset(
        OPEN_INTEREST,
        (Rule("negative", "refuse", "Is no open interest negative?", pl.col("open_interest") < 0),),
    ),
    Dataset(
        INDEX_MEMBERS,
        (
            Rule(
                "weight", "refuse", "Does each weight lie between nothing and all?", ~pl.col("weight").is_between(0, 1)
            ),
        ),
        ahead=timedelta(days=60),
    ),
    Dataset(
        SECTORS,
        (Rule("no_sector", "refuse", "Does each row name a sector?", pl.col("sector").fill_null("") == ""),),
        ahead=timedelta(days=60),
    ),
    Dataset(
        BORROW_RATES,
        (
            Rule(
                "rate",
                "refuse",
                "Does each rate lie between -100% and 1000% a year?",
                ~pl.col("rate").is_between(-1, 10),
            ),
            Rule(
                "unit",
                "warn",
                "Does no rate move a hundredfold (percent for a fraction)?",
                _jump("rate", 50),
                found=pl.col("rate"),
                expected=pl.col("rate_before"),
            ),
        ),
    ),
    Dataset(
        FUNDING_RATES,
        (
            Rule("rate", "refuse", "Is each payment less than a tenth of the contract?", pl.col("rate").abs() > 0.1),
            Rule("price", "refuse", "Is each price positive?", pl.col("price") <= 0),
        ),
    ),
    Dataset(
        FX_RATES,
        (
            Rule("rate", "refuse", "Is each rate positive?", pl.col("rate") <= 0),
            Rule(
                "inverted",
                "block",
                "Is no rate quoted the other way round?",
                ((pl.col("rate") * pl.col("rate_before") - 1).abs() < 0.02) & _jump("rate", 1.1),
                found=pl.col("rate"),
                expected=pl.col("rate_before"),
            ),
            Rule(
                "unit",
                "block",
                "Does no rate move a hundredfold?",
                _jump("rate", 50),
                found=pl.col("rate"),
                expected=pl.col("rate_before"),
            ),
            Rule(
                "outlier",
                "warn",
                "Does no rate move by a tenth at once?",
                _jump("rate", 1.1),
                found=pl.col("rate"),
                expected=pl.col("rate_before"),
            ),
        ),
    ),
    Dataset(
        REFERENCE_RATES,
        (
            Rule(
                "rate",
                "refuse",
                "Does each rate lie between -20% and 200% a year?",
                ~pl.col("rate").is_between(-0.2, 2.0),
            ),
            Rule(
                "jump",
                "warn",
                "Does no rate move by two points at once?",
                (pl.col("rate") - pl.col("rate_before")).abs() > 0.02,
                found=pl.col("rate"),
                expected=pl.col("rate_before"),
            ),
        ),
    ),
    Dataset(
        FACTOR_RETURNS,
        (
            Rule("whole", "refuse", "Does no portfolio lose more than it has?", pl.col("value") < -1),
            Rule(
                "unit",
                "warn",
                "Is no return above half (percent for a fraction)?",
                pl.col("value").abs() > 0.5,
                found=pl.col("value"),
            ),
        ),
    ),
    Dataset(
        FILINGS,
        (
            Rule(
                "unit",
                "warn",
                "Does no item move a thousandfold (thousands for units)?",
                _jump("value", 900) & (pl.col("value") > 0),
                found=pl.col("value"),
                expected=pl.col("value_before"),
            ),
        ),
        remembers=timedelta(days=400),
    ),
    Dataset(ECONOMIC_SERIES, remembers=timedelta(days=100)),
)


def datasets() -> tuple[Dataset, ...]:
    """The platform's own, and those that are plugged in."""
    return (*DATASETS, *(_made(plugin) for plugin in plugged_in("dataset")))


def dataset(name: str) -> Dataset:
    """The dataset of that name. Raises ConfigurationError listing those that exist."""
    for one in DATASETS:
        if one.name == name:
            return one
    if (found := look_up("dataset", name)) is not None:
        return _made(found)
    raise ConfigurationError(
        f"no dataset is named {name!r}; there are {', '.join(d.name for d in datasets())}, and the bars of `source`"
    )


@cache
def _made(plugin: Plugin) -> Dataset:
    """What is plugged in; its table has the plug-in's name, and no other table has it."""
    made: Dataset = plugin.make()
    if made.name != plugin.name or made.name in {t.name for t in (*CORE, *(d.table for d in DATASETS))}:
        raise ConfigurationError(
            f"dataset {plugin.name!r} ({plugin.origin}): its table is named {made.name!r}; give it the dataset's own "
            "name, which no table of the platform has"
        )
    return made


def contracts() -> tuple[Table, ...]:
    """Every table: those of the platform, and those of the datasets."""
    return (*CORE, *(d.table for d in datasets()))
