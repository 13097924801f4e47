"""Actions derived from raw and adjusted closes, if the vendor declares none.

A delivery carries a name's last two sessions (p, c), raw and adjusted. With r = adj_close / close, factor = r(p) / r(c)
is what the vendor applied between them; `explanations` lists what it may be, with confidences. r(c) != 1 announces an
action whose ex-session comes after c. An explanation above the deployment's `min_confidence` becomes an action; a
factor that nothing explains well enough is proposed to a person.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import polars as pl

from quant_assets.calendars import Calendar
from quant_assets.market_data.actions import COLUMNS
from quant_assets.market_data.evidence import EVIDENCE, Evidence
from quant_assets.market_data.explanations import Explanation, Pair, explain
from quant_assets.market_data.screening import REJECTED
from quant_assets.portable import ln, log
from quant_assets.tables import ACTIONS, PROPOSED_ACTIONS

SAME = 2e-6  # a factor nearer to one is no action: adjusted and raw come with six decimals at best
LARGE = float(log(1.25))  # from here on the open shows whether the vendor's factor is in the price yet
ANNOUNCED = 0.5  # at most, of what no price shows yet: vendors adjust a session early at times, and take it back
SHOWN, WORTH_SAYING = 3, 0.01  # explanations that a person is shown, and how sure the others are at least
PROPOSAL = (
    "session",
    "sid",
    "symbol",
    "before",
    "adjusted",
    "after",
    "factor",
    "explanations",
    "confidence",
    "file",
    "line",
)


class Derived(NamedTuple):
    """What the prices of a delivery show: actions (columns `COLUMNS`), rejected rows (UNEXPLAINED_FACTOR), and
    proposals (columns `PROPOSAL`).
    """

    actions: pl.DataFrame
    unexplained: pl.DataFrame
    proposals: pl.DataFrame


def pairs(rows: pl.DataFrame, calendar: Calendar) -> pl.DataFrame:
    """Evidence per name and ex-session.

    Columns: sid, p, session, before (raw close), adjusted, factor, move (raw open after / before; null if not known
    yet), after, adjusted_after (the closes of the later session; null likewise), file, line, symbol.

    `rows`: clean rows with their sid, of one delivery, or of several by `delivery`, each of which is judged by itself.
    Factors of one are kept: they show that there was no action.
    """
    of = [c for c in ("delivery",) if c in rows.columns]
    seen = (
        rows.filter(pl.col("adj_close").is_not_null())
        .sort(*of, "sid", "session")
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
    # sorted by sid: a window over it would cost fifty times as much
    same = pl.all_horizontal(pl.col(c) == pl.col(c).shift(1) for c in (*of, "sid")).fill_null(value=False)
    seen = seen.with_columns(
        *(pl.when(same).then(pl.col(c).shift(1)).alias(new) for new, c in before.items()),
        last=~same.shift(-1, fill_value=False),
    )
    past = seen.filter(pl.col("p").is_not_null()).select(
        "sid",
        "symbol",
        "p",
        "session",
        "before",
        "adjusted",
        factor=pl.col("r_before") / pl.col("r"),
        move=pl.col("open") / pl.col("before"),
        after="close",
        adjusted_after="adj_close",
        file="p_file",
        line="p_line",
        **{c: pl.col(c) for c in of},
    )
    last = seen.filter(pl.col("last") & ((pl.col("r") - 1).abs() > SAME))
    following = {s: calendar.after(s) for s in last["session"].unique().to_list()}
    coming = last.select(
        "sid",
        "symbol",
        p="session",
        session=pl.col("session").replace_strict(following, return_dtype=pl.Date),
        before="close",
        adjusted="adj_close",
        factor="r",
        **{c: pl.lit(None, dtype=pl.Float64) for c in ("move", "after", "adjusted_after")},
        file="file",
        line="line",
        **{c: pl.col(c) for c in of},
    )
    return _not_in_the_price_yet(pl.concat([past, coming]), calendar)


def _not_in_the_price_yet(evidence: pl.DataFrame, calendar: Calendar) -> pl.DataFrame:
    """A split-like factor of which the open of its session shows nothing belongs to the session after: the vendor
    adjusts one drop early at times.
    """
    evidence = evidence.with_columns(
        size=ln(pl.col("factor")).abs(),
    )
    off, moved = ln(pl.col("move") / pl.col("factor")).abs(), ln(pl.col("move")).abs()
    evidence = evidence.with_columns(
        unseen=((pl.col("size") >= LARGE) & (off > moved) & (moved < LARGE)).fill_null(value=False),
        agreement=1 - off / pl.col("size"),
    )
    early = evidence.filter("unseen")
    following = {s: calendar.after(s) for s in early["session"].unique().to_list()}
    return evidence.with_columns(
        session=pl.when("unseen")
        .then(pl.col("session").replace_strict(following, default=None, return_dtype=pl.Date))
        .otherwise("session")
    )


def derive(evidence: pl.DataFrame, asked: Evidence = EVIDENCE) -> Derived:
    """What `pairs` show: actions with a confidence of at least `asked`, and the rest as proposals.

    A split that comes with a payment is two actions of one ex-session. A factor that nothing here explains, or a
    payment that the open contradicts, is a rejected row, and a proposal without an explanation.
    """
    found = evidence.filter((pl.col("factor") - 1).abs() > SAME)
    of = {c: t for c, t in evidence.schema.items() if c == "delivery"}
    actions, unexplained, proposals = list[dict[str, Any]](), list[dict[str, Any]](), list[dict[str, Any]]()
    for row in found.iter_rows(named=True):
        pair = Pair(row["before"], row["adjusted"], row["after"], row["adjusted_after"])
        if abs(pair.factor - 1) <= pair.noise + SAME:
            continue
        possible = _possible(row, explain(pair))
        if possible and possible[0].confidence >= asked.min_confidence:
            actions += [terms | {c: row[c] for c in of} for terms in _terms(row, possible[0])]
            continue
        shown = [e for e in possible[:SHOWN] if e is possible[0] or e.confidence >= WORTH_SAYING]
        text = "; ".join(f"{e} ({e.confidence:g})" for e in shown)
        sure = possible[0].confidence if possible else 0.0
        proposals.append({c: row.get(c) for c in (*PROPOSAL, *of)} | {"explanations": text, "confidence": sure})
        if not possible:
            said = (
                f"factor {row['factor']:.6f} before {row['session']}: close {row['before']}, adjusted {row['adjusted']}"
            )
            unexplained.append(
                {
                    **{c: row[c] for c in ("file", "line", "symbol", *of)},
                    "reason": "UNEXPLAINED_FACTOR",
                    "content": said,
                }
            )
    return Derived(
        pl.DataFrame(actions, schema={c: ACTIONS.schema[c] for c in COLUMNS} | of, orient="row"),
        pl.DataFrame(unexplained, schema=REJECTED | of, orient="row"),
        pl.DataFrame(proposals, schema={c: PROPOSED_ACTIONS.schema[c] for c in PROPOSAL} | of, orient="row"),
    )


def _possible(row: Mapping[str, Any], explanations: Sequence[Explanation]) -> list[Explanation]:
    """The explanations that the open does not contradict, each as sure as the open confirms a large factor."""
    size, agreement = row["size"], row["agreement"]
    denied = row["unseen"] or (size >= LARGE and agreement is not None and agreement < 1 - LARGE / size)
    kept = [e for e in explanations if not (denied and e.kind)]
    if row["move"] is None or row["unseen"]:
        limit = ANNOUNCED
    elif size >= LARGE:
        limit = 0.5 + 0.5 * min(max(agreement or 0.0, 0.0), 1.0)
    else:
        limit = 1.0
    return [Explanation(e.shares, e.kind, e.paid, round(e.confidence * limit, 3)) for e in kept]


def _terms(row: Mapping[str, Any], explanation: Explanation) -> list[dict[str, Any]]:
    """The actions that an explanation is, as rows of `COLUMNS`."""
    common = dict.fromkeys(COLUMNS) | {c: row[c] for c in ("session", "sid", "file", "line")}
    common |= {"origin": "derived", "confidence": explanation.confidence}
    return [common | terms for terms in written(explanation)]


def written(explanation: Explanation) -> list[dict[str, Any]]:
    """The columns of ACTIONS with an explanation's terms, for each of its actions."""
    rows = list[dict[str, Any]]()
    if explanation.shares:
        new, old = explanation.shares
        rows.append({"kind": explanation.ratio_kind, "numerator": new, "denominator": old})
    if explanation.kind == "dividend":
        rows.append({"kind": "dividend", "cash": Decimal(str(explanation.paid))})
    elif explanation.kind:
        rows.append({"kind": explanation.kind, "value": explanation.paid})
    return rows
