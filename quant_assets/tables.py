"""The contract of every stored table: what a row means, its columns, its key.

`contract.py` defines these words.
"""

import polars as pl

from quant_assets.contract import MONEY, UTC_MICROS, Schema, Table
from quant_assets.records import SLOT

_KNOWN: Schema = {"known_at": UTC_MICROS}
_SLOT = {"slot": SLOT}  # of rows from before a session had more moments than its open
DECLARED: Schema = {"known_at": UTC_MICROS, "declared_known_at": UTC_MICROS}
ORIGIN: Schema = {"source": pl.String, "capture": pl.Date, "file": pl.String, "line": pl.Int64}

CAPTURES = Table(
    "captures",
    "What arrived from a vendor, of which dataset, and when. `assumed` marks a knowledge time that was "
    "stated by us, not by the source. "
    "`fingerprint`: by which the source tells whether the label still says this; null where that never "
    "changes. A label whose content changed stands again, known when that was seen.",
    {
        "capture": pl.Date,
        "source": pl.String,
        "dataset": pl.String,
        "location": pl.String,
        "sha256": pl.String,
        "rows": pl.Int64,
        "quarantined": pl.Int64,
        "assumed": pl.Boolean,
        **DECLARED,
        "fingerprint": pl.String,
    },
    key=("source", "capture", "sha256"),
    event="capture",
    beside=("location", "known_at", "fingerprint"),
)

BARS = Table(
    "bars",
    "Raw daily bars as the vendor sent them, every version. `adj_close` is the vendor's, kept as evidence "
    "for derived actions.",
    {
        "session": pl.Date,
        "sid": pl.Int64,
        "symbol": pl.String,
        "open": pl.Float64,
        "high": pl.Float64,
        "low": pl.Float64,
        "close": pl.Float64,
        "volume": pl.Int64,
        "adj_close": pl.Float64,
        "withdrawn": pl.Boolean,
        **ORIGIN,
        **DECLARED,
    },
    key=("sid", "session", "known_at"),
    units={"open": "currency per share, raw", "volume": "shares, raw"},
)

ACTIONS = Table(
    "actions",
    "Corporate actions by ex-session. split, stock_dividend: `numerator` shares after for `denominator` "
    "before. dividend: `cash` per share held before the ex-session. "
    "spin_off: `value` is the worth of what one share held before receives, `numerator` shares of "
    "`counterpart` for `denominator`. "
    "merger: `cash` per share and `numerator` shares of `counterpart` for `denominator` held. delisting: "
    "the first session without trading; `value` is the return from the last close to the proceeds. "
    "symbol_change: nothing to book. roll: of a continuous series of futures, which is the contract `counterpart` from "
    "then on and pays `cash`, what the old contract cost more than the new one.",
    {
        "session": pl.Date,
        "sid": pl.Int64,
        "kind": pl.String,
        "numerator": pl.Int64,
        "denominator": pl.Int64,
        "cash": MONEY,
        "value": pl.Float64,
        "counterpart": pl.String,
        "origin": pl.String,
        "confidence": pl.Float64,
        "withdrawn": pl.Boolean,
        **ORIGIN,
        **DECLARED,
    },
    key=("sid", "session", "kind", "known_at"),
)

PROPOSED_ACTIONS = Table(
    "proposed_actions",
    "Ex-sessions at which raw and adjusted closes part in a way that prices alone do not explain well "
    "enough: the closes `before` (raw, adjusted) and `after` it, the vendor's `factor`, what may explain it "
    "with confidences. "
    "`state`: proposed, until a person confirms or rejects it (`by`, `note`) or a later capture settles it "
    "(withdrawn), each a later row. Until then nothing is traded on the name.",
    {
        "session": pl.Date,
        "sid": pl.Int64,
        "symbol": pl.String,
        "before": pl.Float64,
        "adjusted": pl.Float64,
        "after": pl.Float64,
        "factor": pl.Float64,
        "explanations": pl.String,
        "confidence": pl.Float64,
        "state": pl.String,
        "by": pl.String,
        "note": pl.String,
        "withdrawn": pl.Boolean,
        **ORIGIN,
        **DECLARED,
    },
    key=("sid", "session", "known_at"),
    units={
        "before": "currency per share",
        "adjusted": "currency per share",
        "after": "currency per share, null where it is not known yet",
    },
)

LISTINGS = Table(
    "listings",
    "From `session` on, instrument `sid` is listed (or no longer) under `symbol`, with this name and sector. "
    "`calendar`: its market's; empty for the deployment's own.",
    {
        "session": pl.Date,
        "sid": pl.Int64,
        "symbol": pl.String,
        "name": pl.String,
        "sector": pl.String,
        "listed": pl.Boolean,
        "capture": pl.Date,
        **_KNOWN,
        "calendar": pl.String,
    },
    key=("sid", "session", "known_at"),
    defaults={"calendar": ""},
)

UNIVERSE = Table(
    "universe",
    "Membership over the half-open interval [session, until), as known at `known_at`.",
    {
        "session": pl.Date,
        "until": pl.Date,
        "universe": pl.String,
        "sid": pl.Int64,
        "rank": pl.Int64,
        "dollar_volume": pl.Float64,
        **_KNOWN,
    },
    key=("universe", "session", "sid"),
)

QUARANTINE = Table(
    "quarantine",
    "Rows of a capture meant for `dataset` that were not let in: where they stand in the vendor's file, "
    "why, and what they say. "
    "`state`: held, until a person releases or drops the row (`by`, `note`), which is a later row.",
    {
        **ORIGIN,
        "dataset": pl.String,
        "symbol": pl.String,
        "reason": pl.String,
        "content": pl.String,
        "state": pl.String,
        "by": pl.String,
        "note": pl.String,
        **_KNOWN,
    },
    key=("source", "capture", "file", "line", "reason", "content", "known_at"),
    event="capture",
)

DATA_FINDINGS = Table(
    "data_findings",
    "What a rule found on one row that is in `table`: `row` is the row's own subject, `found` the value "
    "that is suspicious and `expected` the one that would not be.",
    {
        "session": pl.Date,
        "table": pl.String,
        "rule": pl.String,
        "severity": pl.String,
        "symbol": pl.String,
        "row": pl.String,
        "found": pl.Float64,
        "expected": pl.Float64,
        "message": pl.String,
        **_KNOWN,
    },
    key=("table", "rule", "session", "row", "known_at"),
)

VERDICTS = Table(
    "verdicts",
    "What a quality rule found on the rows of one session, identified by their content hash.",
    {
        "session": pl.Date,
        "table": pl.String,
        "content_hash": pl.String,
        "rule": pl.String,
        "severity": pl.String,
        "passed": pl.Boolean,
        "value": pl.Float64,
        "threshold": pl.Float64,
        "message": pl.String,
        **_KNOWN,
    },
    key=("table", "session", "content_hash", "rule"),
    beside=("known_at",),
)

ANCHORS = Table(
    "anchors",
    "Where the evaluation of a feature set's block starts, fixed when the block is first evaluated.",
    {"session": pl.Date, "feature_set": pl.String, "version": pl.String, "anchor": pl.Date, **_KNOWN},
    key=("feature_set", "version", "session"),
    beside=("known_at",),
)

LABELS = Table(
    "labels",
    "What a model of `session` learns, by the rule named `label` over at most `horizon` sessions, filed "
    "under the session in which it became known. `died`: the name left inside the window. "
    "`touched`: which barrier ended it (upper, lower, time); null where the rule has none.",
    {
        "label_end": pl.Date,
        "label": pl.String,
        "session": pl.Date,
        "sid": pl.Int64,
        "horizon": pl.Int64,
        "value": pl.Float64,
        "died": pl.Boolean,
        "touched": pl.String,
        **_KNOWN,
    },
    key=("label", "horizon", "session", "sid", "known_at"),
    event="label_end",
    units={"value": "simple return"},
)

BAR_LABELS = Table(
    "bar_labels",
    "What a model of the bar that starts at `ts` learns: the return from the open of the next bar to the open of the "
    "bar `horizon` bars after that one, as known when that last one (`label_end`) had ended. `died`: the name left "
    "inside the window.",
    {
        "label_end": UTC_MICROS,
        "label": pl.String,
        "ts": UTC_MICROS,
        "venue": pl.String,
        "symbol": pl.String,
        "seconds": pl.Int32,
        "horizon": pl.Int64,
        "value": pl.Float64,
        "died": pl.Boolean,
        **_KNOWN,
    },
    key=("label", "horizon", "venue", "seconds", "symbol", "ts", "known_at"),
    event="label_end",
    units={"ts": "start of a bar, UTC", "value": "simple return"},
)

AUDITS = Table(
    "audits",
    "Whether a feature set, as declared and written (`fingerprint`), looks ahead: one row per law, on cut "
    "dates up to `session`. `evidence` says what was tried, and of a failure the column, session and "
    "instrument that gave it away.",
    {
        "session": pl.Date,
        "feature_set": pl.String,
        "version": pl.String,
        "fingerprint": pl.String,
        "law": pl.String,
        "passed": pl.Boolean,
        "cuts": pl.Int64,
        "cells": pl.Int64,
        "column": pl.String,
        "at": pl.String,
        "sid": pl.Int64,
        "evidence": pl.String,
        **_KNOWN,
    },
    key=("feature_set", "version", "fingerprint", "law", "session", "known_at"),
    units={"cells": "values compared"},
)

FEATURE_DRIFT = Table(
    "feature_drift",
    "How far each feature has moved from what the champion was trained on: PSI with its expectation by "
    "chance, and the Kolmogorov–Smirnov distance.",
    {
        "session": pl.Date,
        "strategy": pl.String,
        "model_id": pl.String,
        "feature": pl.String,
        "psi": pl.Float64,
        "noise": pl.Float64,
        "ks": pl.Float64,
        **_KNOWN,
    },
    key=("strategy", "session", "model_id", "feature"),
)

MODELS = Table(
    "models",
    "Every trained model: its LightGBM text, what it was trained on, how it did out of sample.",
    {
        "session": pl.Date,
        "strategy": pl.String,
        "model_id": pl.String,
        "text": pl.String,
        "feature_set": pl.String,
        "feature_version": pl.String,
        "rows": pl.Int64,
        "params": pl.String,
        "metrics": pl.String,
        "snapshot": pl.String,
        "registry_version": pl.String,
        **_KNOWN,
    },
    key=("strategy", "session", "model_id"),
    beside=("registry_version",),
)

PROMOTIONS = Table(
    "promotions",
    "Whether a model became champion, by which rule, on which numbers, from which session on (`session` is "
    "the first one it may score).",
    {
        "session": pl.Date,
        "strategy": pl.String,
        "model_id": pl.String,
        "cut": pl.Date,
        "promoted": pl.Boolean,
        "rule": pl.String,
        "detail": pl.String,
        "by": pl.String,
        **_KNOWN,
    },
    key=("strategy", "session", "model_id"),
)

SCORES = Table(
    "scores",
    "The champion's score of each member, at a slot of the session.",
    {
        "session": pl.Date,
        "strategy": pl.String,
        "sid": pl.Int64,
        "score": pl.Float64,
        "model_id": pl.String,
        **_KNOWN,
        "slot": pl.String,
    },
    key=("strategy", "session", "slot", "sid", "model_id"),
    defaults=_SLOT,
)

DECISIONS = Table(
    "decisions",
    "One row per strategy, session, slot and instrument: trade to a target weight, or NO_TRADE and why. A set "
    "shares one `decision_set_id`.",
    {
        "session": pl.Date,
        "strategy": pl.String,
        "sid": pl.Int64,
        "symbol": pl.String,
        "decision_set_id": pl.String,
        "decision_id": pl.String,
        "verdict": pl.String,
        "reason": pl.String,
        "detail": pl.String,
        "score": pl.Float64,
        "rank": pl.Int64,
        "target_weight": pl.Float64,
        "reference_price": pl.Float64,
        "as_of": UTC_MICROS,
        "valid_until": UTC_MICROS,
        "inputs_hash": pl.String,
        "model_id": pl.String,
        "feature_set": pl.String,
        "feature_version": pl.String,
        "strategy_hash": pl.String,
        "snapshot": pl.String,
        **_KNOWN,
        "table_versions": pl.String,
        "commit": pl.String,
        "lock_hash": pl.String,
        "run_id": pl.String,
        "machine": pl.String,
        "recorded_at": UTC_MICROS,
        "slot": pl.String,
    },
    key=("strategy", "session", "slot", "decision_set_id", "sid"),
    beside=("table_versions", "commit", "lock_hash", "run_id", "machine", "recorded_at"),
    defaults=_SLOT,
)

ORDERS = Table(
    "orders",
    "What a book asked its venue for at a slot of a session, as it stood after the session named (research books: the "
    "simulated venue).",
    {
        "session": pl.Date,
        "book": pl.String,
        "strategy": pl.String,
        "decided": pl.Date,
        "sid": pl.Int64,
        "leg": pl.String,
        "decision_id": pl.String,
        "client_order_id": pl.String,
        "side": pl.Int64,
        "quantity": pl.Int64,
        "filled": pl.Int64,
        "state": pl.String,
        "reference_price": pl.Float64,
        **_KNOWN,
        "slot": pl.String,
    },
    key=("book", "session", "client_order_id"),
    units={"side": "+1 buy, -1 sell", "quantity": "shares"},
    defaults=_SLOT,
)

FILLS = Table(
    "fills",
    "The venue's own record of executions (drop copy). `corrects`: the execution that a row replaces, or that it "
    "reverses (exec_id ends in ~bust: the other side, same quantity and price, fee back); null in all others.",
    {
        "session": pl.Date,
        "book": pl.String,
        "sid": pl.Int64,
        "exec_id": pl.String,
        "client_order_id": pl.String,
        "side": pl.Int64,
        "quantity": pl.Int64,
        "price": MONEY,
        "fee": MONEY,
        "arrival_price": MONEY,
        "ts": UTC_MICROS,
        **_KNOWN,
        "corrects": pl.String,
    },
    key=("book", "exec_id"),
)

POSITIONS = Table(
    "positions",
    "Holdings of a book after the session's actions and fills, marked at its last known close: `mark` in the name's "
    "currency for one whole unit, `value` in the book's (of what is margined 0: its gains are cash already).",
    {
        "session": pl.Date,
        "book": pl.String,
        "sid": pl.Int64,
        "quantity": pl.Int64,
        "mark": MONEY,
        "value": MONEY,
        **_KNOWN,
    },
    key=("book", "session", "sid"),
)

JOURNAL = Table(
    "journal",
    "Every movement of cash: trade, fee, dividend, delisting, spin_off, merger, cash_in_lieu, deposit, withdrawal; "
    "borrow is the cost of shorts, variation what margined names gained, funding what perpetual contracts paid, expiry "
    "what was paid out at the end of a contract; "
    "an adjustment is what a person booked (`quant ledger list`); a transfer moves worth between names and sums to "
    "zero. The sum up to a session is the book's cash in the currency.",
    {
        "session": pl.Date,
        "book": pl.String,
        "sid": pl.Int64,
        "kind": pl.String,
        "reference": pl.String,
        "amount": MONEY,
        **_KNOWN,
        "currency": pl.String,
    },
    key=("book", "session", "kind", "sid", "reference"),
    units={"currency": "null: the book's"},
)

CASH = Table(
    "cash",
    "What a book that holds other currencies than its own has in each, what one unit costs in the book's own "
    "(`rate`), its `value` there, and what the change of the rate since the session before made of the cash and of the "
    "positions in it (`gain`, with the rounding of conversions).",
    {
        "session": pl.Date,
        "book": pl.String,
        "currency": pl.String,
        "amount": MONEY,
        "rate": pl.Decimal(38, 12),
        "value": MONEY,
        "gain": MONEY,
        **_KNOWN,
    },
    key=("book", "session", "currency"),
    units={"amount": "its own currency", "value": "the book's currency", "gain": "the book's currency"},
)

PNL = Table(
    "pnl",
    "P&L of a book by name, in the book's currency: holding (carried from yesterday's mark), trading (from fill to "
    "close, and what a person booked; sid 0: cash alone), income (dividends, proceeds, borrowing and funding), fees "
    "(negative). What the change of rates made of other currencies is the row of sid 0 (`currencies`; null elsewhere). "
    "They add up to the change in equity.",
    {
        "session": pl.Date,
        "book": pl.String,
        "sid": pl.Int64,
        "holding": MONEY,
        "trading": MONEY,
        "income": MONEY,
        "fees": MONEY,
        "total": MONEY,
        **_KNOWN,
        "currencies": MONEY,
    },
    key=("book", "session", "sid"),
)

NAV = Table(
    "nav",
    "One row per book and session, in its currency: equity = cash + sum of marked positions; "
    "pnl = change of equity less capital paid in or out.",
    {
        "session": pl.Date,
        "book": pl.String,
        "cash": MONEY,
        "long_value": MONEY,
        "short_value": MONEY,
        "equity": MONEY,
        "pnl": MONEY,
        "fees": MONEY,
        "traded": MONEY,
        "names": pl.Int64,
        **_KNOWN,
    },
    key=("book", "session"),
)

COSTS = Table(
    "costs",
    "Implementation shortfall of each order's fills of a session against decision and arrival price (Perold "
    "1988), in the book's currency; the terms add up to `shortfall`. The same in the name's `currency` are `local_…` "
    "(null: it is the book's). `decided_value` is what the whole order was worth at the decision price, in the book's "
    "currency (null: quantity × price).",
    {
        "session": pl.Date,
        "book": pl.String,
        "sid": pl.Int64,
        "client_order_id": pl.String,
        "side": pl.Int64,
        "quantity": pl.Int64,
        "filled": pl.Int64,
        "decision_price": MONEY,
        "arrival_price": MONEY,
        "fill_price": MONEY,
        "delay": MONEY,
        "trading": MONEY,
        "opportunity": MONEY,
        "fees": MONEY,
        "shortfall": MONEY,
        **_KNOWN,
        "currency": pl.String,
        "decided_value": MONEY,
        **{f"local_{term}": MONEY for term in ("delay", "trading", "opportunity", "fees", "shortfall")},
    },
    key=("book", "session", "client_order_id"),
)

CALENDAR_CHANGES = Table(
    "calendar_changes",
    "What somebody said of a day of a venue: that it trades after all, from `opens` to `closes`, or does "
    "not. The latest known of a day counts.",
    {
        "session": pl.Date,
        "calendar": pl.String,
        "trades": pl.Boolean,
        "opens": UTC_MICROS,
        "closes": UTC_MICROS,
        "by": pl.String,
        "reason": pl.String,
        **_KNOWN,
    },
    key=("calendar", "session", "known_at"),
)

ACT_HEADS = Table(
    "act_heads",
    "The end of the record of acts of people, at each session's report: `acts`, how many there were, and `hash`, "
    "that of the last one. Kept apart from the ledger, so that acts cut off or rewritten there are seen.",
    {
        "session": pl.Date,
        "acts": pl.Int64,
        "hash": pl.String,
        **_KNOWN,
    },
    key=("session", "acts"),
)

CORE = (
    CALENDAR_CHANGES,
    CAPTURES,
    BARS,
    ACTIONS,
    PROPOSED_ACTIONS,
    LISTINGS,
    UNIVERSE,
    QUARANTINE,
    DATA_FINDINGS,
    VERDICTS,
    ANCHORS,
    LABELS,
    BAR_LABELS,
    AUDITS,
    FEATURE_DRIFT,
    MODELS,
    PROMOTIONS,
    SCORES,
    DECISIONS,
    ORDERS,
    FILLS,
    POSITIONS,
    JOURNAL,
    CASH,
    PNL,
    NAV,
    COSTS,
    ACT_HEADS,
)


def feature_table(
    feature_set: str, features: tuple[str, ...], dtype: type[pl.DataType] = pl.Float64, *, doc: str = ""
) -> Table:
    """The table in which a feature set is published: one row per (universe, session, sid), frozen at its cut; after a
    restatement a rebuilt one, known later.
    """
    return Table(
        f"features_{feature_set}",
        f"Published values of the feature set {feature_set}. {doc}".strip(),
        {
            "session": pl.Date,
            "universe": pl.String,
            "sid": pl.Int64,
            "version": pl.String,
            **dict.fromkeys(features, dtype),
            **_KNOWN,
        },
        key=("version", "universe", "session", "sid", "known_at"),
    )


def bar_feature_table(
    feature_set: str, features: tuple[str, ...], dtype: type[pl.DataType] = pl.Float64, *, doc: str = ""
) -> Table:
    """The table of a feature set on bars: one row per venue, symbol and start of a bar, frozen when the bar was
    over.
    """
    return Table(
        f"features_{feature_set}",
        f"Published values of the feature set {feature_set}, by the start of the bar. {doc}".strip(),
        {
            "ts": UTC_MICROS,
            "venue": pl.String,
            "symbol": pl.String,
            "version": pl.String,
            **dict.fromkeys(features, dtype),
            **_KNOWN,
        },
        key=("version", "venue", "symbol", "ts", "known_at"),
        event="ts",
    )
