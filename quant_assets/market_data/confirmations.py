"""A person's answer to a proposed action: its terms, or that there was no action. Each act is a later row, and
recorded.

A confirmed action becomes rows of ACTIONS with the origin `confirmed`, known from then on. Evidence of prices never
overrules it.
"""

import re
from datetime import datetime
from decimal import Decimal
from typing import Any

import polars as pl

from quant_assets.errors import ConfigurationError, DataError
from quant_assets.market_data.actions import COLUMNS
from quant_assets.market_data.adjustment import SPLITS
from quant_assets.market_data.ingest import known_at
from quant_assets.market_data.proposals import OPEN, listed
from quant_assets.ports import Audit, KnowledgeLog, Store
from quant_assets.records import Act
from quant_assets.tables import ACTIONS, PROPOSED_ACTIONS

_TERMS = re.compile(r"(?P<kind>split|stock_dividend|dividend|spin_off) (?P<first>\d+(\.\d+)?)(:(?P<second>\d+))?")


def find(store: Store, proposal: str) -> dict[str, Any]:
    """The open proposal with that id. Raises DataError if there is none, or if it is closed."""
    rows = listed(store.read(PROPOSED_ACTIONS, as_of=None), everything=True).filter(
        pl.col("id").str.starts_with(proposal)
    )
    if rows.height != 1:
        raise DataError(
            f"{rows.height or 'no'} proposed action(s) have an id that starts with {proposal!r}; `quant "
            f"actions list` shows them"
        )
    row = rows.row(0, named=True)
    if row["state"] != OPEN:
        raise DataError(f"{row['symbol']} {row['session']} was {row['state']} by {row['by']} already: {row['note']}")
    return row


def read_terms(text: str, before: float) -> list[dict[str, Any]]:
    """The columns of ACTIONS for terms as `quant actions list` writes them: split 2:1 + dividend 1.00.

    Raises ConfigurationError with what would be right.

    `before`: the last close before the ex-session, beyond which nothing is paid.
    """
    parts = [p.strip() for p in text.split("+")]
    return [_one(part, before) for part in parts]


def _one(part: str, before: float) -> dict[str, Any]:
    match = _TERMS.fullmatch(part)
    ratio = match is not None and match["kind"] in SPLITS
    if match is None or ratio != (match["second"] is not None) or (ratio and "." in match["first"]):
        raise ConfigurationError(
            f"{part!r} is not a corporate action; write split 2:1 (new shares for old), stock_dividend 21:20, "
            "dividend 1.00 or spin_off 5.50 (per old share), joined by +"
        )
    if ratio:
        new, old = int(match["first"]), int(match["second"])
        if not (new and old) or new == old:
            raise ConfigurationError(f"{part!r}: {new} new shares for {old} old ones change nothing, or everything")
        return {"kind": match["kind"], "numerator": new, "denominator": old}
    if not 0 < float(match["first"]) < before:
        raise ConfigurationError(
            f"{part!r}: the close before was {before}; a payment is above zero and below the price of a share"
        )
    if match["kind"] == "dividend":
        return {"kind": "dividend", "cash": Decimal(match["first"])}
    return {"kind": "spin_off", "value": float(match["first"])}


def confirm(
    store: Store,
    knowledge: KnowledgeLog,
    audit: Audit,
    proposal: str,
    *,
    terms: str | None,
    act: Act,
    now: datetime,
) -> tuple[str, pl.DataFrame]:
    """Confirm a proposal: with `terms`, or with its first explanation. Returns the terms and the rows written to
    ACTIONS.

    Raises DataError if no open proposal has that id, or if nothing explains it and no terms are given;
    ConfigurationError for terms that are no action.
    """
    row = find(store, proposal)
    first = str(row["explanations"]).split("; ")[0].rpartition(" (")[0]
    text = terms or first
    if not text:
        raise DataError(
            f"nothing explains {row['symbol']} {row['session']}; give its terms: --as 'split 1:6 + spin_off 1.20'"
        )
    moment = known_at(now, knowledge.latest_cut(), now, None)
    said = read_terms(text, row["before"])
    rows = [_action(row, one, moment) for one in said]
    written = ACTIONS.conform(pl.DataFrame(rows, schema=dict(ACTIONS.schema), orient="row"))
    audit.record(
        "confirm action", f"{row['symbol']} {row['session']}: {text}", by=act.by, reason=act.reason, now=act.at
    )
    store.append(ACTIONS, written)
    _close(store, row, "confirmed", act.by, f"{text}: {act.reason}", moment)
    return text, written


def reject(
    store: Store,
    knowledge: KnowledgeLog,
    audit: Audit,
    proposal: str,
    *,
    act: Act,
    now: datetime,
) -> str:
    """Reject a proposal: there was no action. Returns the name and ex-session.

    Raises DataError if no open proposal has that id.
    """
    row = find(store, proposal)
    moment = known_at(now, knowledge.latest_cut(), now, None)
    audit.record(
        "reject action",
        f"{row['symbol']} {row['session']}: {row['explanations']}",
        by=act.by,
        reason=act.reason,
        now=act.at,
    )
    _close(store, row, "rejected", act.by, act.reason, moment)
    return f"{row['symbol']} {row['session']}"


def _action(row: dict[str, Any], terms: dict[str, Any], moment: datetime) -> dict[str, Any]:
    where = {c: row[c] for c in ("session", "sid", "source", "capture", "file", "line", "declared_known_at")}
    told = {"origin": "confirmed", "confidence": 1.0, "withdrawn": False, "known_at": moment}
    return dict.fromkeys(COLUMNS) | where | told | terms


def _close(store: Store, row: dict[str, Any], state: str, by: str, note: str, moment: datetime) -> None:
    closed = {c: row[c] for c in PROPOSED_ACTIONS.schema} | {"state": state, "by": by, "note": note, "known_at": moment}
    store.append(PROPOSED_ACTIONS, pl.DataFrame([closed], schema=dict(PROPOSED_ACTIONS.schema), orient="row"))
