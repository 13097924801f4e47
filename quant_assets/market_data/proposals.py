"""Corporate actions that prices alone do not prove: proposed with their evidence, settled by a later delivery or by a
person.

Nothing is edited: a proposal's state changes by a later row. While one is open, its name is not traded.
"""

from datetime import datetime

import polars as pl

from quant_assets.contract import in_force
from quant_assets.market_data.actions import AGAIN
from quant_assets.market_data.adjustment import ADJUSTING
from quant_assets.market_data.derivation import PROPOSAL
from quant_assets.ports import Notifier, Store
from quant_assets.records import content_id
from quant_assets.tables import PROPOSED_ACTIONS

OPEN = "proposed"
TOLD = 3  # names in a notification
SUBJECT = ("sid", "session")
ROW = (*PROPOSAL, "state", "by", "note", "withdrawn")


def opened(standing: pl.DataFrame) -> pl.DataFrame:
    """Of the latest version of each proposal, those that are open."""
    return standing.filter((pl.col("state") == OPEN) & ~pl.col("withdrawn"))


def rejected(standing: pl.DataFrame) -> pl.DataFrame:
    """sid, session of the proposals that a person rejected."""
    return standing.filter((pl.col("state") == "rejected") & ~pl.col("withdrawn")).select(SUBJECT)


def news(given: pl.DataFrame, evidence: pl.DataFrame, standing: pl.DataFrame, actions: pl.DataFrame) -> pl.DataFrame:
    """The versions to write, columns `ROW`.

    `given`: this delivery's proposals (columns `derivation.PROPOSAL`); `evidence`: the pairs that it holds; `standing`:
    the latest version of each proposal; `actions`: the latest version of each action, this delivery's included. If an
    action is in force, nothing is proposed. If the prices around an ex-session now show that there was no action, or an
    action is found there or a few days later, the proposal is settled.
    """
    waiting = opened(standing)
    if given.is_empty() and waiting.is_empty():
        return waiting.select(ROW)
    told = actions.filter(~pl.col("withdrawn") & pl.col("kind").is_in(ADJUSTING)).select(SUBJECT).unique()
    fresh = given.join(told, on=SUBJECT, how="anti").unique(SUBJECT, keep="last", maintain_order=True)
    same = standing.filter(~pl.col("withdrawn")).select(*SUBJECT, "state", was="explanations")
    fresh = fresh.join(same, on=SUBJECT, how="left", maintain_order="left").filter(
        pl.col("state").is_null() | ((pl.col("state") != "confirmed") & (pl.col("explanations") != pl.col("was")))
    )
    near = waiting.join(told.rename({"session": "found"}), on="sid").filter(
        (pl.col("found") == pl.col("session"))
        | (pl.col("after").is_null() & ((pl.col("found") - pl.col("session")).abs() <= AGAIN))
    )
    denied = waiting.join(evidence.select(SUBJECT), on=SUBJECT, how="semi").join(given, on=SUBJECT, how="anti")
    settled = pl.concat([near.select(waiting.columns), denied]).unique(SUBJECT, keep="first", maintain_order=True)
    settled = settled.join(fresh, on=SUBJECT, how="anti")  # what this capture asks again waits on
    said = {"state": pl.lit(OPEN), "by": pl.lit(None, pl.String), "note": pl.lit(None, pl.String)}
    return pl.concat(
        [
            fresh.select(PROPOSAL).with_columns(**said, withdrawn=pl.lit(value=False)),
            settled.with_columns(note=pl.lit("a later capture settled it"), withdrawn=pl.lit(value=True)).select(ROW),
        ]
    )


def unconfirmed(proposals: pl.DataFrame) -> pl.DataFrame:
    """sid, unconfirmed (what may explain it; one of them where there are several), ex: the names that are not traded,
    of the rows known at a cut.
    """
    waiting = opened(in_force(proposals, PROPOSED_ACTIONS)).sort("sid", "session")
    text = pl.when(pl.col("explanations") == "").then(pl.lit("unexplained")).otherwise("explanations")
    return waiting.unique("sid", keep="first", maintain_order=True).select("sid", unconfirmed=text, ex="session")


def listed(proposals: pl.DataFrame, *, everything: bool = False) -> pl.DataFrame:
    """The proposals in force, newest ex-session first, each with the `id` under which a person acts on it: those that
    wait, or all.
    """
    rows = in_force(proposals, PROPOSED_ACTIONS).sort("session", "sid", descending=[True, False])
    rows = rows if everything else opened(rows)
    ids = [content_id(str(sid), str(day), length=12) for sid, day in rows.select("sid", "session").iter_rows()]
    return rows.with_columns(pl.Series("id", ids, dtype=pl.String)).select("id", pl.exclude("id"))


def tell(store: Store, notifier: Notifier, since: datetime | None) -> int:
    """Notify of the open proposals that became known after `since`; return how many."""
    waiting = listed(store.read(PROPOSED_ACTIONS, as_of=None))
    fresh = waiting if since is None else waiting.filter(pl.col("known_at") > since)
    if fresh.height:
        sample = fresh.select("symbol", "session", "explanations").head(TOLD).iter_rows()
        body = "; ".join(f"{symbol} {ex}: {text or 'unexplained'}" for symbol, ex, text in sample)
        notifier.notify(
            "warning",
            f"{fresh.height} corporate actions are not clear from prices: these names are not traded",
            f"{body}. quant actions list shows them; confirm or reject each.",
        )
    return fresh.height
