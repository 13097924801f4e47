"""The terms by which a book is valued, read as known at a cut."""

from collections.abc import Collection, Iterable
from datetime import datetime

import polars as pl

from quant_assets.books.fx import fx_rates
from quant_assets.books.terms import Terms
from quant_assets.instruments import plain
from quant_assets.market_data.master import instruments
from quant_assets.ports import Store


def terms_of(store: Store, base: str, sids: Collection[int], cut: datetime, currencies: Iterable[str] = ()) -> Terms:
    """The terms of these names at `cut` for a book in `base`, with the rates of their currencies and of `currencies`.

    Raises RateUnknown where one has none.
    """
    found = {s: i for s, i in instruments(store, sids, cut, base).items() if i != plain(s, base)} if sids else {}
    asked = {*currencies, *(i.currency for i in found.values())} - {"", base}
    rates = {c: rate for c, rate in fx_rates(store, asked, base, cut).items() if c != base} if asked else {}
    return Terms(base=base, instruments=found, rates=rates)


def handed_out(actions: pl.DataFrame, bars: pl.DataFrame) -> set[int]:
    """The names whose shares an action may hand out, of those with a bar."""
    given = actions["counterpart"].drop_nulls().unique()
    return set(bars.filter(pl.col("symbol").is_in(given.implode()))["sid"]) if given.len() else set()
