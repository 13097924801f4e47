"""Your own feature in ten lines: a function of named columns becomes a feature set, with its table, asset, checks and
audit.

>>> from quant_assets.features.feature import feature
>>>
>>> @feature(lookback=21)
... def gap_20(open, close):
...     "Mean overnight gap of 20 sessions, as a fraction of the close before."
...     return (open / close.shift(1) - 1).rolling_mean(20, min_samples=10)

Its parameters say what it reads, its docstring what it means. It is evaluated for one name at a time, over that name's
sessions in order; a session on which the name did not trade is a row of nulls. It never sees another name.
"""

import inspect
import re
from collections.abc import Callable
from difflib import get_close_matches
from functools import wraps

import polars as pl

from quant_assets.errors import ConfigurationError
from quant_assets.features import declared
from quant_assets.features.sets import PRICES, CrossSection, FeatureSet, as_is, together

COLUMNS = (*PRICES, "volume", *(f"raw_{c}" for c in (*PRICES, "volume")))
"""What a feature can read: prices adjusted forward for splits and payments, volume for splits; raw_* as printed."""

Expression = Callable[..., pl.Expr]
Among = Callable[[pl.Expr], pl.Expr]

AMONG: dict[str, Among] = {
    "rank": lambda value: value.rank("average") / value.count(),
    "zscore": lambda value: (value - value.mean()) / value.std(),
}
"""A value relative to the members of its session: rank in (0, 1], ties sharing their mean rank; or distance from the
mean in standard deviations."""


def feature(
    *,
    lookback: int,
    version: str = "1",
    cross_section: str | Among | None = None,
    name: str = "",
    splits_only: bool = False,
) -> Callable[[Expression], FeatureSet]:
    """Make a function of columns a declared feature set of one feature, named as the function or as `name`.

    `lookback`: the sessions before a row that its value depends on (a window of 20 over a shift of 1 reaches back 20).
    `version`: change it when the formula changes; published values stay. `cross_section`: what the value becomes among
    the members of its session: "rank", "zscore", or a function of the value's expression. `splits_only`: its prices are
    adjusted for splits alone, so that a payment shows in them. Raises ConfigurationError if
    the function cannot be a feature, with the reason.
    """

    def declare_set(function: Expression) -> FeatureSet:
        called = name or function.__name__
        reads = _parameters(function, called)
        meaning = " ".join((inspect.getdoc(function) or "").split("\n\n", maxsplit=1)[0].split())
        _must(
            bool(re.fullmatch(r"[a-z][a-z0-9_]*", called)),
            called,
            "a name is lower-case letters, digits and underscores: it names a table and an asset",
        )
        _must(
            called not in {*COLUMNS, "series", "i", "sid", "session", "present", "selected"},
            called,
            "a column of the panel has this name; choose another",
        )
        _must(bool(meaning), called, "it has no docstring; say in one line what it is, with its unit")
        _must(
            lookback >= 0,
            called,
            f"a lookback of {lookback} sessions looks ahead; give the sessions back that its value depends on",
        )
        made = FeatureSet(
            name=called,
            version=version,
            features=(called,),
            columns=reads,
            lookback=lookback,
            kernel=_kernel(function, called, reads),
            cross_section=_cross_section(cross_section, called),
            doc=meaning if meaning.endswith(".") else f"{meaning}.",
            meaning={called: meaning},
            splits_only=splits_only,
        )
        _try_on_a_few_rows(made)
        return _known(made)

    return declare_set


def feature_set_of(name: str, *features: FeatureSet, version: str = "1", doc: str = "") -> FeatureSet:
    """Several features as one declared set: one table, one asset, one version.

    Raises ConfigurationError as `together` does.
    """
    return _known(together(name, *features, version=version, doc=doc))


def _must(holds: bool, called: str, otherwise: str) -> None:
    if not holds:
        raise ConfigurationError(f"feature {called!r}: {otherwise}")


def _parameters(function: Expression, called: str) -> tuple[str, ...]:
    """The columns that the parameters name."""
    reads = tuple(inspect.signature(function).parameters)
    _must(bool(reads), called, f"its parameters name what it reads, and it has none; there are {', '.join(COLUMNS)}")
    for unknown in (p for p in reads if p not in COLUMNS):
        meant = get_close_matches(unknown, COLUMNS, n=1)
        _must(
            holds=False,
            called=called,
            otherwise=f"it reads {unknown!r}, and no column has that "
            f"name{f' (did you mean {meant[0]!r}?)' if meant else ''}; there are {', '.join(COLUMNS)}",
        )
    return reads


def _expression(made: object, called: str, what: str) -> pl.Expr:
    if not isinstance(made, pl.Expr):
        raise ConfigurationError(
            f"feature {called!r}: {what} must return a Polars expression of its columns, and returned "
            f"{type(made).__name__}"
        )
    return made


def _kernel(function: Expression, called: str, reads: tuple[str, ...]) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """The function's expression over each series on its own; what is not finite is missing."""
    value = _expression(function(**{c: pl.col(c) for c in reads}), called, "it")
    others = sorted(set(value.meta.root_names()) - set(reads))
    _must(
        not others,
        called,
        f"its expression reads {others} past its parameters; make them parameters: def "
        f"{called}({', '.join((*reads, *others))})",
    )

    @wraps(function)  # so that what identifies the set is its author's source
    def kernel(panel: pl.DataFrame) -> pl.DataFrame:
        made = panel.with_columns(value.cast(pl.Float64).over("series").alias(called))
        return made.with_columns(pl.when(pl.col(called).is_finite()).then(called).alias(called))

    return kernel


def _cross_section(among: str | Among | None, called: str) -> CrossSection:
    if among is None:
        return as_is
    if isinstance(among, str):
        _must(
            among in AMONG,
            called,
            f"no cross-section is named {among!r}; there are {', '.join(AMONG)}, or give a function of the "
            f"value's expression",
        )
    value = _expression(
        (AMONG[among] if isinstance(among, str) else among)(pl.col(called)), called, "its cross-section"
    )

    def cross_section(rows: pl.DataFrame) -> pl.DataFrame:
        return rows.with_columns(value.over("session").alias(called))

    return cross_section if isinstance(among, str) else wraps(among)(cross_section)


def _try_on_a_few_rows(made: FeatureSet) -> None:
    """Two names over a few sessions.

    Raises ConfigurationError where Polars cannot evaluate the expression: at once, not in a night's run.
    """
    rows, names = 8, 2
    few = {c: [1.0 + 0.01 * n for n in range(rows * names)] for c in made.columns}
    panel = pl.DataFrame(
        {"series": [n // rows for n in range(rows * names)], "session": [n % rows for n in range(rows * names)], **few}
    )
    try:
        out = made.cross_section(made.kernel(panel))
    except Exception as error:  # a Rust panic is a plain Exception too
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigurationError(
            f"feature {made.name!r}: Polars cannot evaluate it ({said}); it must give one number for each "
            f"row of its columns"
        ) from error
    _must(
        out.height == panel.height and out.width == panel.width + 1,
        made.name,
        "it must give one number for each row of its columns",
    )


def _known(made: FeatureSet) -> FeatureSet:
    """Declared; in its own place where the same functions declared it before: a notebook's cell run again, a module
    loaded again.
    """
    known = declared.DECLARED
    standing = known.get(made.name)
    if standing is not None and _origin(standing) == _origin(made):
        del known[made.name]
    return declared.declare(made)


def _origin(of: FeatureSet) -> tuple[object, ...]:
    """The file and name of the functions that a set is made of; in a notebook, where each cell is a file of its own,
    their names.
    """
    if of.parts:
        return tuple(_origin(part) for part in of.parts)
    function = inspect.unwrap(of.kernel)
    code = getattr(function, "__code__", None)
    return (
        "__main__" if function.__module__ == "__main__" else getattr(code, "co_filename", ""),
        getattr(function, "__qualname__", ""),
    )
