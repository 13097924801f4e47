"""Forward returns between two opens or two closes: raw prices, times what the actions in between made of one share.

A name that dies in between gets its last price or its delisting return: never a silent drop.
"""

import polars as pl

from quant_assets.market_data.adjustment import ENDING, PAYING, SPLITS


def as_known(known: pl.DataFrame, wanted: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    """For each row of `wanted` (with `u`), the version of the same `by` in force at u; nothing where it is
    withdrawn.
    """
    found = wanted.sort("u").join_asof(
        known.drop("late").sort("e"), left_on="u", right_on="e", by=by, strategy="backward", check_sortedness=False
    )
    return found.filter(~pl.col("withdrawn")).drop("withdrawn", "e")


def forward_returns(
    bars: pl.DataFrame, actions: pl.DataFrame, horizon: int, ends: pl.DataFrame, price: str = "open", until: int = 0
) -> pl.DataFrame:
    """Returns from `price` (open or close) `horizon` sessions before to that at the positions in `ends` (column u), as
    known at u's cut; with `until` below 0 to that so many sessions before, as known at u all the same.

    `bars` (sid, open, close) and `actions` (sid, kind, numerator, denominator, cash, value, counterpart) are
    `blocks.versions`. A name that ends by a merger or delisting ends with the return of its terms; if there are none
    (or shares are handed out), with its last price. Returns columns u, sid, value (simple return), died, settled
    (false: without a price at the end and no known ending, the return to the last price was nobody's).
    """
    offsets = pl.DataFrame({"offset": range(-horizon, until + 1)}, schema={"offset": pl.Int32})
    window = (
        ends.select(pl.col("u").cast(pl.Int32))
        .join(offsets, how="cross")
        .with_columns(i=pl.col("u") + pl.col("offset"))
    )
    prices = as_known(bars, bars.select("sid", "i").unique().join(window, on="i"), ["sid", "i"]).sort("u", "sid", "i")
    entry = prices.filter(pl.col("offset") == -horizon).select("u", "sid", entry=price)
    exits = prices.with_columns(price=pl.when(pl.col("offset") == until).then(price).otherwise("close"))
    last = (
        exits.drop_nulls("price")
        .group_by("u", "sid", maintain_order=True)
        .agg(pl.col("price").last(), last_offset=pl.col("offset").last())
    )
    kept = entry.join(last, on=["u", "sid"]).join(_growth(actions, window), on=["u", "sid"], how="left")
    died = pl.any_horizontal(pl.col("merged", "taken_out", "delisted").is_not_null())
    gone = pl.when(pl.col("last_offset") < until).then(proceeds()).otherwise(1.0)
    value = pl.col("price") * gone * pl.col("growth").fill_null(1.0) / pl.col("entry") - 1.0
    income = pl.col("income").fill_null(0.0) / pl.col("entry")
    return (
        kept.select(
            "u",
            "sid",
            value=value + income,
            died=died | (pl.col("last_offset") < until),
            settled=(pl.col("last_offset") == until) | pl.col("over").fill_null(value=False),
        )
        .filter(pl.col("value").is_finite())
        .sort("u", "sid")
    )


def _growth(actions: pl.DataFrame, window: pl.DataFrame) -> pl.DataFrame:
    """The effect of actions with ex inside (entry, exit] on one share: columns u, sid, growth (splits), income (cash
    per share at entry), merged and delisted (the declared return), taken_out (cash per share in a merger for cash
    alone).
    """
    inside = window.filter(pl.col("offset") > pl.col("offset").min())
    by = ["sid", "kind", "i"]
    held = as_known(actions, actions.select(by).unique().join(inside, on="i"), by).sort("u", "sid", "i", "kind")
    return grown(held, ["u", "sid"])


def grown(held: pl.DataFrame, window: list[str]) -> pl.DataFrame:
    """What the actions of each window, in the order of their ex-sessions and kinds, make of one share: columns
    `window`, growth, income, over (a merger or delisting is among them), and those of `endings`.
    """
    ratio = pl.when(pl.col("kind").is_in(SPLITS)).then(pl.col("numerator") / pl.col("denominator")).otherwise(1.0)
    shares = ratio.cum_prod().over(window)
    # what is paid is paid on the shares held before its ex-session; "dividend", "roll" and "spin_off" sort before
    # "split" and "stock_dividend" within a session
    cash = pl.col("cash").cast(pl.Float64)
    paid = (
        pl.when(pl.col("kind").is_in(PAYING)).then(cash).when(kind="spin_off").then(pl.col("value")).fill_null(0.0)
        * shares
    )
    ends = endings()
    rolled = held.with_columns(
        growth=shares,
        over=pl.col("kind").is_in(ENDING).any().over(window),
        income=paid.cum_sum().over(window),
        **{c: e.forward_fill().over(window) for c, e in ends.items()},
    )
    return rolled.unique(window, keep="last", maintain_order=True).select(*window, "growth", "income", "over", *ends)


def proceeds() -> pl.Expr:
    """The proceeds of a share at its last price (column price), by `endings`; one if none are declared."""
    return pl.coalesce(1.0 + pl.col("merged"), pl.col("taken_out") / pl.col("price"), 1.0 + pl.col("delisted"), 1.0)


def endings() -> dict[str, pl.Expr]:
    """The terms of an action that ends a name, for its holders: merged and delisted (a return), taken_out (cash per
    share in a merger for cash alone); null if there are none.
    """
    return {
        "merged": pl.when(kind="merger").then("value"),
        "taken_out": pl.when(pl.col("kind") == "merger", pl.col("counterpart").is_null()).then(
            pl.col("cash").cast(pl.Float64)
        ),
        "delisted": pl.when(kind="delisting").then(pl.col("value").fill_null(0.0)),
    }
