"""Every fill walks back to the vendor's rows: fill → order → decision → model, score and features → bars, with file
and line.
"""

from datetime import date, datetime, timedelta
from typing import Any

import polars as pl

from quant_assets.contract import Table, in_force
from quant_assets.errors import UnknownDecision
from quant_assets.ports import Store
from quant_assets.records import Frozen
from quant_assets.signals.decide import first_recorded
from quant_assets.tables import ACTIONS, BARS, DECISIONS, FILLS, MODELS, ORDERS, PROMOTIONS, SCORES

# A year and a quarter covers a block and the lookback before it.
REACH = timedelta(days=456)


class Station(Frozen, frozen=True):
    """One station on the way back: the rows of `table`, what they are to the step before, and their ids or places
    of origin.
    """

    table: str
    meaning: str
    rows: list[dict[str, Any]]


def walk_back(store: Store, exec_id: str, *, features: Table | None = None, sessions: int = 60) -> list[Station]:
    """From an execution back to the vendor's rows, the fill first and the bars last.

    `features` is the table of the decision's feature set; without it that step is left out. The bars are the last
    `sessions` rows of the name that were in force at the decision's cut, newest first, each with source, capture,
    file and
    line; its corporate actions known by then come before them. Raises UnknownDecision where a link is missing.
    """
    fill = _one(store.read(FILLS, as_of=None, where={"exec_id": exec_id}), f"no execution {exec_id} is recorded")
    of_order = store.read(ORDERS, as_of=None, where={"client_order_id": fill["client_order_id"], "book": fill["book"]})
    order = _one(
        of_order.filter(pl.col("session") <= fill["session"]).tail(1),
        f"order {fill['client_order_id']} of execution {exec_id} is not recorded; book its session",
    )
    decided: date = order["decided"]
    rows = store.read(DECISIONS, as_of=None, first=decided, last=decided, where={"decision_id": order["decision_id"]})
    decision = _one(
        first_recorded(rows), f"decision {order['decision_id']} of order {order['client_order_id']} is not stored"
    )
    cut: datetime = decision["as_of"]
    of_name: dict[str, str | int] = {"sid": order["sid"]}
    of_model: dict[str, str | int] = {"strategy": decision["strategy"], "model_id": decision["model_id"]}
    steps = [
        Station(table="fills", meaning="the venue's execution", rows=[fill]),
        Station(table="orders", meaning="of this order, as it stood after the session", rows=[order]),
        Station(table="decisions", meaning="sent for this decision", rows=[decision]),
        Station(
            table="promotions",
            meaning="by this champion, promoted so",
            rows=store.read(PROMOTIONS, as_of=cut, last=decided, where=of_model).tail(1).rows(named=True),
        ),
        Station(
            table="models",
            meaning="trained on this",
            rows=store.read(MODELS, as_of=cut, where=of_model).drop("text").tail(1).rows(named=True),
        ),
        Station(
            table="scores",
            meaning="whose score was",
            rows=store.read(SCORES, as_of=cut, first=decided, last=decided, where=of_name | of_model).rows(named=True),
        ),
    ]
    if features is not None:
        read = store.read(
            features, as_of=cut, first=decided, last=decided, where=of_name | {"version": decision["feature_version"]}
        )
        steps.append(Station(table=features.name, meaning="from these features", rows=read.rows(named=True)))
    actions = in_force(store.read(ACTIONS, as_of=cut, first=decided - REACH, last=decided, where=of_name), ACTIONS)
    bars = in_force(store.read(BARS, as_of=cut, first=decided - REACH, last=decided, where=of_name), BARS)
    return [
        *steps,
        Station(table="actions", meaning="and these corporate actions", rows=actions.rows(named=True)),
        Station(
            table="bars",
            meaning="from these rows of the vendor's files",
            rows=bars.sort("session", descending=True).head(sessions).rows(named=True),
        ),
    ]


def _one(rows: pl.DataFrame, otherwise: str) -> dict[str, Any]:
    if rows.is_empty():
        raise UnknownDecision(otherwise)
    return rows.row(0, named=True)
