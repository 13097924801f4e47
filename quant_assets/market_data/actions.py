"""Corporate actions: as the vendor declares them, or derived from raw against adjusted closes.

A capture carries a name's last two sessions (p, c), raw and adjusted. With r = adj_close / close,
factor = r(p) / r(c) is what the vendor applied between them: one means nothing, a ratio of small
integers a split with ex-session c, another below one a distribution of close(p) × (1 − factor):
a spin-off where it is 1000/n to the last digit, which is how vendors write one down, else a dividend.
r(c) ≠ 1 announces an action whose ex-session comes after c.
"""

import math
from datetime import timedelta

import polars as pl

from quant_assets.contract import MONEY
from quant_assets.market_data.adjustment import ADJUSTING, SPLITS
from quant_assets.market_data.calendars import Calendar
from quant_assets.market_data.screening import REJECTED
from quant_assets.portable import ln, log
from quant_assets.tables import ACTIONS

SAME = 2e-6  # a ratio nearer to one is no action: adjusted and raw come with six decimals at best
SMALLEST_SPLIT = 1.1  # nearer to one, a ratio of integers cannot be told from a dividend
LARGE = float(log(1.25))  # from here on the open shows whether the vendor's factor is in the price yet
DIGITS = 1e-6  # of prices with six decimals
AGAIN = timedelta(days=4)  # the same terms twice over a weekend are one action that the vendor could not place
COLUMNS = (
    "session",
    "sid",
    "kind",
    "numerator",
    "denominator",
    "cash",
    "value",
    "counterpart",
    "origin",
    "confidence",
    "file",
    "line",
)
KINDS = (*ADJUSTING, "merger", "delisting", "symbol_change")
KEY = ("sid", "session", "kind")
SAYS = (
    "numerator",
    "denominator",
    "cash",
    "value",
    "counterpart",
    "withdrawn",
)  # what an action says; a version that says the same is a no-op


def _simple_ratios() -> pl.DataFrame:
    """numerator, denominator, simplicity, ratio (price after / price before), simplest first: n:1 and 1:n to 200, others to 25."""
    pairs = (
        {(n, 1) for n in range(2, 201)}
        | {(1, n) for n in range(2, 201)}
        | {(a, b) for a in range(2, 26) for b in range(2, 26) if math.gcd(a, b) == 1}
    )
    kept = sorted((a + b, a, b) for a, b in pairs if max(a / b, b / a) >= SMALLEST_SPLIT)
    return pl.DataFrame(
        {
            "numerator": [a for _, a, _ in kept],
            "denominator": [b for _, _, b in kept],
            "ratio": [b / a for _, a, b in kept],
            "simplicity": [s for s, _, _ in kept],
        }
    )


RATIOS = _simple_ratios()


def pairs(rows: pl.DataFrame, calendar: Calendar) -> pl.DataFrame:
    """Evidence per name and ex-session: sid, p, session, before (raw close), adjusted, factor, move (raw price after / before; null where not seen yet), cents (rounding of the adjusted close), file, line, symbol.

    `rows`: clean rows of one capture with their sid. Factors of one are there too: they say that there was no action.
    """
    seen = (
        rows.filter(pl.col("adj_close").is_not_null())
        .sort("sid", "session")
        .with_columns(r=pl.col("adj_close") / pl.col("close"))
    )
    before = {
        "p": "session",
        "before": "close",
        "adjusted": "adj_close",
        "r_before": "r",
        "p_file": "file",
        "p_line": "line",
    }
    same = pl.col("sid") == pl.col("sid").shift(1)  # sorted by sid: a window over it would cost fifty times as much
    seen = seen.with_columns(pl.when(same).then(pl.col(c).shift(1)).alias(new) for new, c in before.items())
    past = seen.filter(pl.col("p").is_not_null()).select(
        "sid",
        "symbol",
        "p",
        "session",
        "before",
        "adjusted",
        factor=pl.col("r_before") / pl.col("r"),
        move=pl.col("open") / pl.col("before"),
        file="p_file",
        line="p_line",
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
    evidence = evidence.with_columns(
        cents=((pl.col("adjusted") * 100).round() - pl.col("adjusted") * 100).abs() < 1e-6,
        size=ln(pl.col("factor")).abs(),
    )
    off = ln(pl.col("move") / pl.col("factor")).abs()
    evidence = evidence.with_columns(
        unseen=((pl.col("size") >= LARGE) & (off > ln(pl.col("move")).abs())).fill_null(value=False),
        agreement=1 - off / pl.col("size"),
    )
    early = evidence.filter("unseen")
    following = {s: calendar.shift(s, 1) for s in early["session"].unique().to_list()}
    return evidence.with_columns(
        session=pl.when("unseen")
        .then(pl.col("session").replace_strict(following, default=None, return_dtype=pl.Date))
        .otherwise("session")
    )


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
    near = found.filter(pl.col("size") >= float(log(SMALLEST_SPLIT)) - 1e-3).join(RATIOS, how="cross")
    # within a cent's rounding some ratio of larger integers always fits a dividend
    eligible = ~pl.col("cents") | (pl.min_horizontal("numerator", "denominator") == 1) | (pl.col("simplicity") <= 9)
    near = (
        near.filter(eligible & ((pl.col("ratio") / pl.col("factor") - 1).abs() <= 1e-5 + rounding / pl.col("adjusted")))
        .sort("i", "simplicity")
        .unique("i", keep="first", maintain_order=True)
    )
    found = found.join(near.select("i", "numerator", "denominator"), on="i", how="left", maintain_order="left")

    split = pl.col("numerator").is_not_null()
    found = found.with_columns(amount=pl.when(~split).then((pl.col("before") * (1 - pl.col("factor"))).round(4)))
    kind = pl.when(split).then(pl.lit("split")).when(_spun_off()).then(pl.lit("spin_off")).otherwise(pl.lit("dividend"))
    denied = "unseen", (pl.col("size") >= LARGE) & (pl.col("agreement") < 1 - LARGE / pl.col("size"))
    explained = split | ((pl.col("factor") < 1) & ~pl.any_horizontal(*denied).fill_null(value=False))
    sure = (
        pl.when(pl.col("size") >= LARGE)
        .then(0.5 + 0.5 * pl.col("agreement").clip(0, 1).fill_null(0))
        .otherwise(1 - (rounding / pl.col("amount")).clip(0, 0.5))
    )
    sure = (
        pl.when("unseen")
        .then(0.5)
        .otherwise(pl.when(pl.col("move").is_null()).then(0.5).otherwise(sure.fill_null(0.75)))
    )
    actions = found.filter(explained & (split | (pl.col("amount") > 0))).with_columns(kind=kind).select(
        "session", "sid", "kind", "numerator", "denominator", cash=pl.when(kind="dividend").then("amount").cast(MONEY), value=pl.when(kind="spin_off").then("amount"),
        counterpart=pl.lit(None, pl.String), origin=pl.lit("derived"), confidence=sure.round(3), file="file", line="line",
    )  # fmt: skip
    content = pl.concat_str(
        pl.lit("factor "),
        pl.col("factor").round(6),
        pl.lit(" before "),
        pl.col("session"),
        pl.lit(": close "),
        "before",
        pl.lit(", adjusted "),
        "adjusted",
    )
    unexplained = found.filter(~explained).select(
        "file", "line", "symbol", reason=pl.lit("UNEXPLAINED_FACTOR"), content=content
    )
    return actions, unexplained


def _spun_off() -> pl.Expr:
    """Whether a factor is 1000/n as precisely as six decimals say it, and no amount that one would pay: what a share of the new company trades at has more digits than a dividend."""
    n = 1000 / pl.col("factor")
    precise = (n - n.round()).abs() <= 3 * DIGITS * n / pl.col("adjusted")
    mills = 1000 * pl.col("before") * (1 - pl.col("factor"))
    return ~pl.col("cents") & precise & ((mills - mills.round()).abs() > 0.01)


def declared(actions: pl.DataFrame, holders: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The vendor's own actions by sid (columns `COLUMNS`), and as rejected rows those of symbols that no instrument has, of kinds that we do not know, that do not say what they must, or that contradict each other.

    `holders`: symbol, sid. Dividends of one ex-session add up; the same row twice is one. Where the vendor has a column
    `withdrawn`, it is there too: rows in which it is true take back what was declared before, and need no terms.
    """
    gone = pl.col("withdrawn").fill_null(value=False) if "withdrawn" in actions.columns else pl.lit(value=False)
    known = actions.with_columns(withdrawn=gone).join(holders, on="symbol", how="left", maintain_order="left")
    problem = (
        pl.when(pl.col("sid").is_null())
        .then(pl.lit("UNKNOWN_SYMBOL"))
        .when(~pl.col("kind").is_in(KINDS))
        .then(pl.lit("UNKNOWN_KIND"))
        .when(~_complete() & ~pl.col("withdrawn"))
        .then(pl.lit("INCOMPLETE_ACTION"))
    )
    judged = known.with_columns(problem=problem)
    told = judged.filter(pl.col("problem").is_null()).unique([*KEY, *SAYS], keep="first", maintain_order=True)
    told = told.filter(~pl.col("withdrawn") | pl.col("withdrawn").all().over(KEY))
    told = told.with_columns(
        cash=pl.when(kind="dividend").then(pl.col("cash").sum().over(KEY)).otherwise("cash")
    ).unique([*KEY, *SAYS], keep="last", maintain_order=True)
    twice = told.select(KEY).is_duplicated()
    content = pl.concat_str(pl.col("kind"), pl.lit(" "), pl.col("session"))
    bad = pl.concat(
        [judged.filter(pl.col("problem").is_not_null()), told.filter(twice).with_columns(problem=pl.lit("CONFLICT"))]
    )
    rejected = bad.select("file", pl.col("line").cast(pl.Int64), "symbol", reason="problem", content=content)
    mapped = told.filter(~twice).with_columns(origin=pl.lit("declared"), confidence=1.0)
    return mapped.select(
        *(pl.col(c).cast(ACTIONS.schema[c]) for c in COLUMNS), *(c for c in ("withdrawn",) if c in actions.columns)
    ), rejected


def _complete() -> pl.Expr:
    """Whether a row of its kind says what must be known to book it."""
    ratio = (pl.col("numerator") > 0) & (pl.col("denominator") > 0)
    handed = ratio & pl.col("counterpart").is_not_null()
    paid, worth = pl.col("cash") >= 0, pl.col("value").is_finite()
    says = {
        **dict.fromkeys(SPLITS, ratio),
        "dividend": paid,
        "spin_off": handed | (worth & (pl.col("value") >= 0)),
        "merger": handed | paid | worth,
    }
    return pl.all_horizontal((pl.col("kind") != kind) | what.fill_null(value=False) for kind, what in says.items())


def news(given: pl.DataFrame, evidence: pl.DataFrame, standing: pl.DataFrame) -> pl.DataFrame:
    """The versions to write: columns `COLUMNS`, withdrawn. `given`: actions from this capture; `standing`: the latest version of each, as known.

    An action that stands with the same terms is a no-op, a declared one is not overruled by evidence, and what was derived
    from prices is withdrawn where the prices around its ex-session now deny it. A derived delisting gives way to the merger
    or delisting that the vendor declares, and what the vendor takes back is withdrawn.
    """
    given = given if "withdrawn" in given.columns else given.with_columns(withdrawn=pl.lit(value=False))
    given = given.select(*COLUMNS, pl.col("withdrawn").fill_null(value=False))
    in_force = standing.filter(~pl.col("withdrawn"))
    said = given.filter((pl.col("origin") != "derived") & ~pl.col("withdrawn"))
    retracted = given.filter("withdrawn").join(in_force, on=KEY, how="semi")
    derived = given.filter(pl.col("origin") == "derived").join(
        in_force.filter(pl.col("origin") == "declared"), on=KEY, how="anti"
    )
    told = in_force.filter(pl.col("kind").is_in(ADJUSTING))
    current = pl.concat([said, derived.join(_repeated(derived, evidence, told), on=KEY, how="anti")])
    denied = (
        told.filter(pl.col("origin") == "derived")
        .join(evidence, on=["sid", "session"], how="semi")
        .join(current, on=KEY, how="anti")
    )
    ended = in_force.filter((pl.col("kind") == "delisting") & (pl.col("origin") == "derived"))
    better = ended.join(said.filter(pl.col("kind").is_in(["merger", "delisting"])), on="sid", how="semi").join(
        said, on=KEY, how="anti"
    )
    changed = current.join(standing, on=[*KEY, *SAYS], how="anti", nulls_equal=True)
    versions = pl.concat(
        [changed, retracted, *(f.select(*COLUMNS, pl.lit(value=True).alias("withdrawn")) for f in (denied, better))]
    )
    return versions.unique(KEY, keep="first", maintain_order=True)


def _repeated(derived: pl.DataFrame, evidence: pl.DataFrame, told: pl.DataFrame) -> pl.DataFrame:
    """Those of `derived` that an earlier capture placed elsewhere: inside the sessions that a pair spans, or a few days before, with terms that differ by what an exchange rate does."""
    before = told.select(
        "sid",
        "kind",
        "numerator",
        "denominator",
        inside="session",
        was=pl.coalesce(pl.col("cash").cast(pl.Float64), "value", 0.0),
    )
    spans = derived.join(evidence.select("sid", "p", "session"), on=["sid", "session"]).join(
        before, on=["sid", "kind", "numerator", "denominator"], nulls_equal=True
    )
    now = pl.coalesce(pl.col("cash").cast(pl.Float64), "value", 0.0)
    inside = (pl.col("inside") > pl.col("p")) | (pl.col("inside") >= pl.col("session") - AGAIN)
    return spans.filter(
        inside & (pl.col("inside") < pl.col("session")) & ((now - pl.col("was")).abs() <= 0.1 * now)
    ).select(KEY)
