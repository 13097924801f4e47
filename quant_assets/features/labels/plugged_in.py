"""Labels of a team's own: a value made of what a holder has made after each session of the window.

The platform computes those returns as known at the cut at which the window ends, and files the label there: a plug-in
sees nothing later, and its label is never known earlier.
"""

import polars as pl

from quant_assets.errors import ConfigurationError
from quant_assets.features.labels.returns import forward_returns
from quant_assets.plugged import Plug, name_of, opened
from quant_assets.ports import Label
from quant_assets.strategy import LabelRule


def label_of(by: Plug) -> Label:
    """The label that a rule names. Raises ConfigurationError where there is none of that name."""
    return opened("label", by)


def made_of_paths(
    bars: pl.DataFrame, actions: pl.DataFrame, rule: LabelRule, ends: pl.DataFrame, values: pl.DataFrame, price: str
) -> pl.DataFrame:
    """`values` (u, sid, value of the whole window, …) with the value that the rule's plug-in makes of each path.

    Raises ConfigurationError where it makes no number of a path.
    """
    if not rule.by:
        return values
    steps = [
        forward_returns(bars, actions, rule.horizon, ends, price, until=after - rule.horizon).select(
            "u", "sid", pl.col("value").alias(f"step_{after}")
        )
        for after in range(1, rule.horizon)
    ]
    wide = values.rename({"value": f"step_{rule.horizon}"})
    for step in steps:
        wide = wide.join(step, on=["u", "sid"], how="left", maintain_order="left")
    paths = wide.with_columns(path=pl.concat_list(f"step_{after}" for after in range(1, rule.horizon + 1)))
    return valued(label_of(rule.by), paths, name_of(rule.by)).select(values.columns)


def valued(label: Label, paths: pl.DataFrame, name: str) -> pl.DataFrame:
    """`paths` (u, sid, path, …) with the value of each, among those of its own session alone; rows without one are left
    out.

    Raises ConfigurationError where it makes no number of a path.
    """
    try:
        found = paths.sort("u", "sid").with_columns(value=label.value(pl.col("path")).cast(pl.Float64).over("u"))
    except Exception as error:  # a Rust panic is a plain Exception too
        raise ConfigurationError(
            f"label {name}: Polars cannot evaluate its value ({str(error).splitlines()[0]}); it must give one number "
            "for each path, a list of the returns after 1, 2, … sessions"
        ) from error
    return found.filter(pl.col("value").is_finite())
