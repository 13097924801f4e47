"""Corporate actions as they are stored: what the vendor declares, what is derived from prices, and which of it is
news.
"""

from datetime import timedelta

import polars as pl

from quant_assets.market_data.adjustment import ADJUSTING, SPLITS
from quant_assets.tables import ACTIONS

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
KINDS = (*SPLITS, "dividend", "spin_off", "merger", "delisting", "symbol_change")  # what vendors declare
KEY = ("sid", "session", "kind")
SAYS = (
    "numerator",
    "denominator",
    "cash",
    "value",
    "counterpart",
    "withdrawn",
)  # the content of an action; a version with the same content is a no-op


def declared(actions: pl.DataFrame, holders: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The vendor's own actions by sid (columns `COLUMNS`), and the rejected rows: of unknown symbols or kinds,
    incomplete, or contradictory.

    `holders`: symbol, sid; if `actions` are of several deliveries, each judged by itself, also begins, the `delivery`
    from which on the symbol means it. Dividends of one ex-session add up; the same row twice is one. If the vendor has
    a column `withdrawn`, it is kept: rows in which it is true withdraw an earlier declaration, and need no terms.
    """
    gone = pl.col("withdrawn").fill_null(value=False) if "withdrawn" in actions.columns else pl.lit(value=False)
    known = actions.with_columns(withdrawn=gone).join(holders, on="symbol", how="left", maintain_order="left")
    of = [c for c in ("delivery",) if c in actions.columns]
    if of:
        known = known.with_columns(sid=pl.when(pl.col("delivery") >= pl.col("begins")).then("sid"))
    key = [*KEY, *of]
    problem = (
        pl.when(pl.col("sid").is_null())
        .then(pl.lit("UNKNOWN_SYMBOL"))
        .when(~pl.col("kind").is_in(KINDS))
        .then(pl.lit("UNKNOWN_KIND"))
        .when(~_complete() & ~pl.col("withdrawn"))
        .then(pl.lit("INCOMPLETE_ACTION"))
    )
    judged = known.with_columns(problem=problem)
    told = judged.filter(pl.col("problem").is_null()).unique([*key, *SAYS], keep="first", maintain_order=True)
    told = told.filter(~pl.col("withdrawn") | pl.col("withdrawn").all().over(key))
    told = told.with_columns(
        cash=pl.when(kind="dividend").then(pl.col("cash").sum().over(key)).otherwise("cash")
    ).unique([*key, *SAYS], keep="last", maintain_order=True)
    twice = told.select(key).is_duplicated()
    content = pl.concat_str(pl.col("kind"), pl.lit(" "), pl.col("session"))
    bad = pl.concat(
        [judged.filter(pl.col("problem").is_not_null()), told.filter(twice).with_columns(problem=pl.lit("CONFLICT"))]
    )
    rejected = bad.select(
        "file", pl.col("line").cast(pl.Int64), "symbol", reason="problem", content=content, **{c: pl.col(c) for c in of}
    )
    mapped = told.filter(~twice).with_columns(origin=pl.lit("declared"), confidence=1.0)
    return mapped.select(
        *(pl.col(c).cast(ACTIONS.schema[c]) for c in COLUMNS), *(c for c in ("withdrawn", *of) if c in actions.columns)
    ), rejected


def _complete() -> pl.Expr:
    """Whether a row has all values that its kind needs to be booked."""
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


def news(
    given: pl.DataFrame,
    evidence: pl.DataFrame,
    standing: pl.DataFrame,
    proposed: pl.DataFrame | None = None,
    rejected: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """The versions to write: columns `COLUMNS`, withdrawn.

    `given`: actions of this delivery; `standing`: the latest version of each, as known. `proposed`, `rejected` (sid,
    session): where the evidence of this delivery is not sure, and where a person decided that there was no action.

    An action in force with the same terms is a no-op. Evidence does not overrule a declared or confirmed action, and
    finds none beside an announced one. An
    action derived from prices is withdrawn if the prices around its ex-session now contradict it. A derived delisting
    is replaced by the merger or delisting that the vendor declares, and what the vendor withdraws is withdrawn.
    """
    given = given if "withdrawn" in given.columns else given.with_columns(withdrawn=pl.lit(value=False))
    given = given.select(*COLUMNS, pl.col("withdrawn").fill_null(value=False))
    in_force = standing.filter(~pl.col("withdrawn"))
    said = given.filter((pl.col("origin") != "derived") & ~pl.col("withdrawn"))
    retracted = given.filter("withdrawn").join(in_force, on=KEY, how="semi")
    derived = given.filter(pl.col("origin") == "derived").join(
        in_force.filter(pl.col("origin") != "derived"), on=KEY, how="anti"
    )
    announced = in_force.filter(pl.col("origin") == "announced").select("sid", "session")
    derived = derived.join(announced, on=["sid", "session"], how="anti")
    if rejected is not None:
        derived = derived.join(rejected, on=["sid", "session"], how="anti")
    told = in_force.filter(pl.col("kind").is_in(ADJUSTING))
    current = pl.concat([said, derived.join(_repeated(derived, evidence, told), on=KEY, how="anti")])
    denied = (
        told.filter(pl.col("origin") == "derived")
        .join(evidence, on=["sid", "session"], how="semi")
        .join(current, on=KEY, how="anti")
    )
    if proposed is not None:
        denied = denied.join(proposed, on=["sid", "session"], how="anti")
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
    """Those of `derived` that an earlier capture placed elsewhere: inside the sessions that a pair spans, or a few days
    before, with terms that differ by what an exchange rate does.
    """
    if derived.is_empty() or told.is_empty():
        return derived.clear().select(KEY)
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
