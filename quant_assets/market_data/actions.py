"""Corporate actions: as the vendor declares them, or derived from raw against adjusted closes.

A capture carries a name's last two sessions (p, c), raw and adjusted. With r = adj_close / close,
factor = r(p) / r(c) is what the vendor applied between them: one means nothing, a ratio of small
integers a split with ex-session c, another below one a distribution of close(p) × (1 − factor).
r(c) ≠ 1 announces an action whose ex-session comes after c.
"""

import math

import polars as pl

from quant_assets.contract import MONEY
from quant_assets.market_data.calendars import Calendar
from quant_assets.market_data.screening import REJECTED
from quant_assets.tables import ACTIONS

SAME = 2e-6  # a ratio nearer to one is no action: adjusted and raw come with six decimals at best
SMALLEST_SPLIT = 1.1  # nearer to one, a ratio of integers cannot be told from a dividend
LARGE = math.log(1.25)  # from here on the open shows whether the vendor's factor is in the price yet
COLUMNS = ("session", "sid", "kind", "numerator", "denominator", "cash", "value", "counterpart", "origin", "confidence", "file", "line")
SAYS = ("numerator", "denominator", "cash", "value", "counterpart", "withdrawn")  # what an action says; a version that says the same is a no-op


def _simple_ratios() -> pl.DataFrame:
    """numerator, denominator, simplicity, ratio (price after / price before), simplest first: n:1 and 1:n to 200, others to 25."""
    pairs = {(n, 1) for n in range(2, 201)} | {(1, n) for n in range(2, 201)} | {(a, b) for a in range(2, 26) for b in range(2, 26) if math.gcd(a, b) == 1}
    kept = sorted((a + b, a, b) for a, b in pairs if max(a / b, b / a) >= SMALLEST_SPLIT)
    return pl.DataFrame({"numerator": [a for _, a, _ in kept], "denominator": [b for _, _, b in kept], "ratio": [b / a for _, a, b in kept], "simplicity": [s for s, _, _ in kept]})


RATIOS = _simple_ratios()


def pairs(rows: pl.DataFrame, calendar: Calendar) -> pl.DataFrame:
    """Evidence per name and ex-session: sid, p, session, before (raw close), adjusted, factor, move (raw price after / before; null where not seen yet), cents (rounding of the adjusted close), file, line, symbol.

    `rows`: clean rows of one capture with their sid. Factors of one are there too: they say that there was no action.
    """
    seen = rows.filter(pl.col("adj_close").is_not_null()).sort("sid", "session").with_columns(r=pl.col("adj_close") / pl.col("close"))
    before = {"p": "session", "before": "close", "adjusted": "adj_close", "r_before": "r", "p_file": "file", "p_line": "line"}
    seen = seen.with_columns(pl.col(c).shift(1).over("sid").alias(new) for new, c in before.items())
    past = seen.filter(pl.col("p").is_not_null()).select(
        "sid", "symbol", "p", "session", "before", "adjusted", factor=pl.col("r_before") / pl.col("r"), move=pl.col("open") / pl.col("before"), file="p_file", line="p_line"
    )
    last = seen.filter((pl.col("session") == pl.col("session").max().over("sid")) & ((pl.col("r") - 1).abs() > SAME))
    following = {s: calendar.shift(s, 1) for s in last["session"].unique().to_list()}
    coming = last.select(
        "sid",
        "symbol",
        p="session",
        session=pl.col("session").replace_strict(following, return_dtype=pl.Date),
        before="close",
        adjusted="adj_close",
        factor="r",
        move=pl.lit(None, dtype=pl.Float64),
        file="file",
        line="line",
    )
    return _not_in_the_price_yet(pl.concat([past, coming]), calendar)


def _not_in_the_price_yet(evidence: pl.DataFrame, calendar: Calendar) -> pl.DataFrame:
    """A split-like factor that the open of its session does not show belongs to the session after: the vendor adjusts one drop early at times."""
    evidence = evidence.with_columns(cents=((pl.col("adjusted") * 100).round() - pl.col("adjusted") * 100).abs() < 1e-6, size=pl.col("factor").log().abs())
    off = (pl.col("move") / pl.col("factor")).log().abs()
    evidence = evidence.with_columns(unseen=((pl.col("size") >= LARGE) & (off > pl.col("move").log().abs())).fill_null(value=False), agreement=1 - off / pl.col("size"))
    early = evidence.filter("unseen")
    following = {s: calendar.shift(s, 1) for s in early["session"].unique().to_list()}
    return evidence.with_columns(session=pl.when("unseen").then(pl.col("session").replace_strict(following, default=None, return_dtype=pl.Date)).otherwise("session"))


def derive(evidence: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Actions (columns `COLUMNS`) and rejected rows (UNEXPLAINED_FACTOR) from `pairs`.

    A split snaps to the simplest ratio within the rounding of the prices; a factor above one that is none, or a large one
    that the price contradicts, is explained by nothing here. `confidence`: for large factors how far the open confirms it,
    for dividends how much of the amount is not rounding.
    """
    found = evidence.filter((pl.col("factor") - 1).abs() > SAME)
    if found.is_empty():
        return pl.DataFrame(schema={c: ACTIONS.schema[c] for c in COLUMNS}), pl.DataFrame(schema=REJECTED)
    found = found.with_row_index("i")
    rounding = pl.col("cents").cast(pl.Float64) * 0.0051
    near = found.filter(pl.col("size") >= math.log(SMALLEST_SPLIT) - 1e-3).join(RATIOS, how="cross")
    # within a cent's rounding some ratio of larger integers always fits a dividend
    eligible = ~pl.col("cents") | (pl.min_horizontal("numerator", "denominator") == 1) | (pl.col("simplicity") <= 9)
    near = near.filter(eligible & ((pl.col("ratio") / pl.col("factor") - 1).abs() <= 1e-5 + rounding / pl.col("adjusted"))).sort("i", "simplicity").unique("i", keep="first", maintain_order=True)
    found = found.join(near.select("i", "numerator", "denominator"), on="i", how="left", maintain_order="left")

    split = pl.col("numerator").is_not_null()
    cash = pl.when(~split).then((pl.col("before") * (1 - pl.col("factor"))).round(4))
    found = found.with_columns(kind=pl.when(split).then(pl.lit("split")).otherwise(pl.lit("dividend")), amount=cash)
    explained = split | ((pl.col("factor") < 1) & ~pl.col("unseen"))
    sure = pl.when(pl.col("size") >= LARGE).then(0.5 + 0.5 * pl.col("agreement").clip(0, 1).fill_null(0)).otherwise(1 - (rounding / pl.col("amount")).clip(0, 0.5))
    sure = pl.when("unseen").then(0.5).otherwise(pl.when(pl.col("move").is_null()).then(0.5).otherwise(sure.fill_null(0.75)))
    actions = found.filter(explained & (split | (pl.col("amount") > 0))).select(
        "session", "sid", "kind", "numerator", "denominator", cash=pl.col("amount").cast(MONEY), value=pl.lit(None, dtype=pl.Float64), counterpart=pl.lit(None, dtype=pl.String),
        origin=pl.lit("derived"), confidence=sure.round(3), file="file", line="line",
    )  # fmt: skip
    content = pl.concat_str(pl.lit("factor "), pl.col("factor").round(6), pl.lit(" before "), pl.col("session"), pl.lit(": close "), "before", pl.lit(", adjusted "), "adjusted")
    unexplained = found.filter(~explained).select("file", "line", "symbol", reason=pl.lit("UNEXPLAINED_FACTOR"), content=content)
    return actions, unexplained


def declared(actions: pl.DataFrame, holders: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The vendor's own actions by sid (columns `COLUMNS`), and as rejected rows those of symbols that no instrument has. `holders`: symbol, sid."""
    known = actions.join(holders, on="symbol", how="left", maintain_order="left")
    mapped = known.filter(pl.col("sid").is_not_null()).with_columns(origin=pl.lit("declared"), confidence=1.0)
    mapped = mapped.select(pl.col(c).cast(ACTIONS.schema[c]) for c in COLUMNS).unique(["sid", "session", "kind"], keep="last", maintain_order=True)
    content = pl.concat_str(pl.col("kind"), pl.lit(" "), pl.col("session"))
    return mapped, known.filter(pl.col("sid").is_null()).select("file", pl.col("line").cast(pl.Int64), "symbol", reason=pl.lit("UNKNOWN_SYMBOL"), content=content)


def news(given: pl.DataFrame, evidence: pl.DataFrame, standing: pl.DataFrame) -> pl.DataFrame:
    """The versions to write: columns `COLUMNS`, withdrawn. `given`: actions from this capture; `standing`: the latest version of each, as known.

    An action that stands with the same terms is a no-op, a declared one is not overruled by evidence, and a derived split or
    dividend that the prices around its ex-session now deny is withdrawn.
    """
    given = given.with_columns(withdrawn=pl.lit(value=False))
    key = ["sid", "session", "kind"]
    declared_here = standing.filter((pl.col("origin") == "declared") & ~pl.col("withdrawn")).select(key)
    derived = given.filter(pl.col("origin") == "derived").join(declared_here, on=key, how="anti")
    told = standing.filter(~pl.col("withdrawn") & pl.col("kind").is_in(["split", "dividend"]))
    # a pair that spans several sessions repeats what an earlier capture already placed inside it
    spans = derived.join(evidence.select("sid", "p", "session"), on=["sid", "session"]).join(
        told.select("sid", "kind", "numerator", "denominator", "cash", inside="session"), on=["sid", "kind", "numerator", "denominator", "cash"], nulls_equal=True
    )
    repeated = spans.filter((pl.col("inside") > pl.col("p")) & (pl.col("inside") < pl.col("session"))).select(key)
    current = pl.concat([given.filter(pl.col("origin") != "derived"), derived.join(repeated, on=key, how="anti")])
    denied = told.filter(pl.col("origin") == "derived").join(evidence.select("sid", "session"), on=["sid", "session"], how="semi").join(current, on=key, how="anti")
    changed = current.join(standing, on=[*key, *SAYS], how="anti", nulls_equal=True)
    return pl.concat([changed, denied.select(*COLUMNS, pl.lit(value=True).alias("withdrawn"))])
