"""The blast radius of restatements: what would differ had they been known in time, and the values that research reads
once they are.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl

from desk.counterfactual import first_known, rederive, retrade_both, stepping
from quant_assets.contract import Table, in_force
from quant_assets.features.catalogue import find_set
from quant_assets.features.labels import compute_labels
from quant_assets.features.publish import anchors, compute
from quant_assets.frames import span
from quant_assets.market_data.datasets import datasets
from quant_assets.market_data.restatements import DERIVING, AsIf, Selection, as_if_known, changes, seen
from quant_assets.ports import Progress, quiet
from quant_assets.records import Act, Frozen, StageReport
from quant_assets.strategy import Eligibility, LabelRule, Strategy, needed, sets_of
from quant_assets.tables import (
    ACTIONS,
    BARS,
    DECISIONS,
    FILLS,
    LABELS,
    LISTINGS,
    MODELS,
    NAV,
    SCORES,
    UNIVERSE,
    VERDICTS,
)
from quant_assets.vendor_tables import INDEX_MEMBERS, SECTORS
from resources.tables.overlay import Overlay

if TYPE_CHECKING:
    from desk.workspace import Workspace

STEPS = 8
# By table: the columns that a row is about, and the columns of its result; the rest is what was read.
OUTCOMES: Sequence[tuple[Table, list[str], list[str]]] = (
    (VERDICTS, ["table", "session", "rule"], ["passed"]),
    (UNIVERSE, ["universe", "session", "sid"], ["until"]),
    (LABELS, ["label", "horizon", "session", "sid"], ["value", "died", "touched"]),
    (MODELS, ["strategy", "session"], ["model_id"]),
)


class Radius(Frozen, frozen=True):
    """What would differ.

    Columns ending in _would have the values that would have been; null if there would have been no row, or was none.

    `changes`: the restatements (rows of `CHANGES`). `sessions`: how many were looked at, from `first` to `last`.
    `features`: feature_set, feature, values, sessions, names, largest (relative change; null if a value would be
    missing or was). `derived`: table, rows that differ: verdicts, universe, labels, models. `scores`: strategy,
    session, names, largest_move (of the rank). `decisions`: strategy, session, sid, symbol, then verdict, reason and
    target_weight. `trades`: book, session, sid, shares and cash (of all fills, fees included), symbol. `pnl`: book,
    session, pnl: of each book of which it would differ, all sessions traded again.
    """

    changes: pl.DataFrame
    first: date | None
    last: date | None
    sessions: int
    features: pl.DataFrame
    derived: pl.DataFrame
    scores: pl.DataFrame
    decisions: pl.DataFrame
    trades: pl.DataFrame
    pnl: pl.DataFrame

    @property
    def empty(self) -> bool:
        """Whether nothing would differ."""
        return not any(
            f.height for f in (self.features, self.derived, self.scores, self.decisions, self.trades, self.pnl)
        )

    @property
    def sentence(self) -> str:
        """The radius in a sentence."""
        said = f"Had the {self.changes.height:,} change(s) been known in time, "
        if self.empty:
            return f"{said}nothing would differ" + (
                f": {self.sessions:,} session(s) computed again, {self.first} to {self.last}."
                if self.sessions
                else ": no cut came before they were known."
            )
        counted = {
            "feature values": self.features["values"].sum(),
            **dict(self.derived.iter_rows()),
            f"scores of {self.scores['session'].n_unique():,} session(s)": self.scores["names"].sum(),
            f"decisions on {self.decisions['sid'].n_unique():,} name(s)": self.decisions.height,
            "trades": self.trades.height,
        }
        parts = ", ".join(f"{n:,} {what.removesuffix('s') if n == 1 else what}" for what, n in counted.items() if n)
        money = self.pnl.group_by("book", maintain_order=True).agg(pl.col("pnl", "pnl_would").sum()).iter_rows()
        books = "; ".join(
            f"P&L of {book} {would - was:+,.2f} ({would:,.2f} instead of {was:,.2f})" for book, was, would in money
        )
        return f"{said}{parts or 'marks'} would differ between {self.first} and {self.last}; {books or 'no P&L'}."


def blast_radius(ws: "Workspace", selection: Selection, progress: Progress = quiet) -> Radius:
    """What of verdicts, universe, features, labels, models, scores, decisions, trades and P&L would differ. Reads only.

    Trades and P&L are those of the one fill model, with and without: what a venue did otherwise is no consequence of
    the data.
    """
    as_if = as_if_known(ws.store, ws.cuts, selection, read_by(ws.deployment.strategies))
    told = changes(ws.store, ws.cuts, selection)
    span = seen(ws.cuts, as_if)
    was = would = Overlay(ws.store, {})
    sessions, booked = list[date](), set[date]()
    step = stepping(progress, STEPS)
    if span:
        would, sessions = rederive(ws, as_if, *span, step)
    if sessions:
        for book in ws.deployment.books:
            booked.update(retrade_both(ws, was, would, book, sessions, step))
    step("what differs")
    sets = {name: find_set(name) for name in sets_of(ws.deployment.strategies)}

    names = ws.store.read(LISTINGS, as_of=None).sort("known_at").unique("sid", keep="last").select("sid", "symbol")

    def both(table: Table, days: Sequence[date] = sessions) -> tuple[pl.DataFrame, pl.DataFrame]:
        return first_known(was, table, ws.cuts, days), first_known(would, table, ws.cuts, days)

    return Radius(
        changes=told,
        first=sessions[0] if sessions else None,
        last=sessions[-1] if sessions else None,
        sessions=len(sessions),
        features=pl.concat([_features(name, f.features, *both(f.table)) for name, f in sets.items()]),
        derived=_counted({t.name: _joined(*both(t), on, values) for t, on, values in OUTCOMES}),
        scores=_scores(*both(SCORES)),
        decisions=_decisions(*both(DECISIONS)),
        trades=_trades(*both(FILLS, sorted(booked))).join(names, on="sid", how="left", maintain_order="left"),
        pnl=_pnl(*both(NAV, sorted(booked))),
    )


def read_by(strategies: Sequence[Strategy]) -> Sequence[Table]:
    """The vendor tables that these strategies read: bars, actions and listings, and the datasets that the inputs of
    their feature sets, their universes and their labels name.
    """
    named = {table for one in sets_of(strategies) for table in find_set(one).reads}
    for strategy in strategies:
        eligible, net_of = strategy.universe.eligible, strategy.rule.net_of
        if isinstance(eligible, Eligibility):
            named |= {SECTORS.name} if eligible.sector_scheme else set()
            named |= {INDEX_MEMBERS.name} if eligible.index else set()
        named |= {INDEX_MEMBERS.name} if net_of and net_of.index else set()
    return (*DERIVING, *(d.table for d in datasets() if d.name in named))


def rebuild(
    ws: "Workspace",
    selection: Selection,
    *,
    act: Act,
    now: datetime,
    progress: Progress = quiet,
) -> list[StageReport]:
    """Store the features and labels that the selected changes touch once more, computed on all that is known by now,
    and known from now on.

    Members stay those of then. Scores, decisions and orders stay: what was decided replays as it was. A value that
    would no longer be there is stored as missing. The same again writes nothing. The act is on record.
    """
    chosen = as_if_known(ws.store, ws.cuts, selection, read_by(ws.deployment.strategies))
    span = seen(ws.cuts, chosen)
    derived: list[date] = (
        ws.store.read(VERDICTS, as_of=None, first=span[0], last=span[1], where={"table": BARS.name})["session"]
        .unique()
        .sort()
        .to_list()
        if span
        else []
    )
    if not derived:
        return []
    known = _all_known(ws, derived)
    stores = Overlay(ws.store, chosen), Overlay(ws.store, known)
    moment = max(
        m
        for m in (now, *(a.learnt.max() for a in known.values()), _after(ws.knowledge.latest_cut()))
        if isinstance(m, datetime)
    )
    published, rules = (
        needed(ws.deployment.strategies),
        {(s.rule.name, s.rule.horizon): s.rule for s in ws.deployment.strategies},
    )
    step, reports = stepping(progress, len(published) + len(rules)), list[StageReport]()
    for universe, name in published:
        features = find_set(name)
        step(f"features {name} of {universe}")
        values = [compute(s, features, universe, ws.cuts, derived) for s in stores]
        reports.append(
            _renew(ws, features.table, {"version": features.version, "universe": universe}, derived, values, moment)
        )
    for rule in rules.values():
        step(f"labels {rule.name}")
        ends = _ends(ws, rule, derived)
        labels = [compute_labels(s, ws.cuts, rule, ends) for s in stores]
        reports.append(_renew(ws, LABELS, {"label": rule.name, "horizon": rule.horizon}, ends, labels, moment))
    subject = f"{derived[0]} to {derived[-1]}: {sum(r.rows for r in reports)} rows"
    ws.ledger.audit.record("rebuild", subject, by=act.by, reason=act.reason, now=act.at)
    return reports


def _ends(ws: "Workspace", rule: LabelRule, sessions: Sequence[date]) -> Sequence[date]:
    """The sessions in which labels touched by news of `sessions` become known: of a barrier that was not touched after
    all, later ones.
    """
    if rule.kind != "triple_barrier":
        return sessions
    until = ws.cuts.calendar.shift(sessions[-1], rule.reach)
    return (
        ws.store.read(VERDICTS, as_of=None, first=sessions[0], last=until, where={"table": BARS.name})["session"]
        .unique()
        .sort()
        .to_list()
    )


def _all_known(ws: "Workspace", sessions: Sequence[date]) -> Mapping[str, AsIf]:
    """All later versions of these sessions' pasts, whatever was selected: a value has one newest version.

    Of a dataset that may be everything: a filing is of a period long over.
    """
    starts = [
        span(anchors(ws.store, find_set(name), ws.cuts, sessions)["anchor"], date)[0]
        for name in sets_of(ws.deployment.strategies)
    ]
    starts += [ws.cuts.calendar.shift(sessions[0], -s.rule.lookback) for s in ws.deployment.strategies]
    near = Selection(first=min(starts), last=sessions[-1])
    others = [t for t in read_by(ws.deployment.strategies) if t not in DERIVING]
    return {
        **as_if_known(ws.store, ws.cuts, near, (BARS, ACTIONS)),
        **as_if_known(ws.store, ws.cuts, Selection(last=sessions[-1]), others),
    }


def _renew(
    ws: "Workspace",
    table: Table,
    where: Mapping[str, str | int],
    sessions: Sequence[date],
    computed: Sequence[pl.DataFrame],
    moment: datetime,
) -> StageReport:
    """Append a new version of every value the selected changes touch, if it differs from the version in force.

    A value that no longer exists becomes null. `computed`: the values with the selected changes only, and the values
    with everything known.
    """
    would, values = computed
    stored = ws.store.read(table, as_of=None, first=sessions[0], last=sessions[-1], where=where)
    subject, says = list(table.subject), [c for c in table.content if c not in {*table.key, table.event}]
    then, standing = stored.unique(subject, keep="first", maintain_order=True), in_force(stored, table)
    touched = pl.concat(
        [
            f.join(other, on=[*subject, *says], how="anti", nulls_equal=True).select(subject)
            for f, other in ((would, then), (then, would))
        ]
    ).unique()
    changed = values.join(touched, on=subject, how="semi").join(
        standing, on=[*subject, *says], how="anti", nulls_equal=True
    )
    gone = (
        standing.join(touched, on=subject, how="semi")
        .join(values, on=subject, how="anti")
        .filter(~pl.all_horizontal(pl.col(says).is_null()))
    )
    none = gone.with_columns(pl.lit(None, dtype=table.schema[c]).alias(c) for c in says)
    known_at = max(moment, _after(stored["known_at"].max()) or moment)
    written = ws.store.append(table, pl.concat([changed, none]).with_columns(known_at=pl.lit(known_at)))
    if written:
        ws.knowledge.note_cut(known_at)
    numbers = {"rebuilt": changed.height, "gone": none.height}
    return StageReport(
        stage=table.name,
        first=sessions[0],
        last=sessions[-1],
        state="done" if written else "empty",
        rows=written,
        numbers=numbers,
    )


def _after(moment: object) -> datetime | None:
    return moment + timedelta(microseconds=1) if isinstance(moment, datetime) else None


def _joined(was: pl.DataFrame, would: pl.DataFrame, on: list[str], values: Sequence[str]) -> pl.DataFrame:
    """Both sides of the rows that differ in any of `values`: on, values, values with _would; sorted by `on`."""
    both = was.select(*on, *values).join(would.select(*on, *values), on=on, how="full", suffix="_would", coalesce=True)
    return both.filter(pl.any_horizontal(pl.col(c).ne_missing(pl.col(f"{c}_would")) for c in values)).sort(on)


def _features(name: str, features: Sequence[str], was: pl.DataFrame, would: pl.DataFrame) -> pl.DataFrame:
    both, out = _joined(was, would, ["version", "universe", "session", "sid"], features), list[pl.DataFrame]()
    for f in features:
        then, other = pl.col(f), pl.col(f"{f}_would")
        moved = ((other - then).abs() / then.abs()).max()
        counts = {
            "values": pl.len().cast(pl.Int64),
            "sessions": pl.col("session").n_unique().cast(pl.Int64),
            "names": pl.col("sid").n_unique().cast(pl.Int64),
            "largest": moved,
        }
        out.append(both.filter(then.ne_missing(other)).select(feature_set=pl.lit(name), feature=pl.lit(f), **counts))
    return pl.concat(out).filter(pl.col("values") > 0).sort("values", "feature", descending=[True, False])


def _counted(differ: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    return pl.DataFrame(
        [(name, rows.height) for name, rows in differ.items() if rows.height],
        schema={"table": pl.String, "rows": pl.Int64},
        orient="row",
    )


def _scores(was: pl.DataFrame, would: pl.DataFrame) -> pl.DataFrame:
    ranked = [
        f.with_columns(rank=pl.col("score").rank("ordinal", descending=True).over("strategy", "session").cast(pl.Int64))
        for f in (was, would)
    ]
    both = _joined(ranked[0], ranked[1], ["strategy", "session", "sid"], ["score", "rank"])
    return both.group_by("strategy", "session", maintain_order=True).agg(
        names=pl.len().cast(pl.Int64), largest_move=(pl.col("rank_would") - pl.col("rank")).abs().max()
    )


def _decisions(was: pl.DataFrame, would: pl.DataFrame) -> pl.DataFrame:
    from quant_assets.signals.decide import first_recorded

    return _joined(
        first_recorded(was),
        first_recorded(would),
        ["strategy", "session", "sid", "symbol"],
        ["verdict", "reason", "target_weight"],
    )


def _trades(was: pl.DataFrame, would: pl.DataFrame) -> pl.DataFrame:
    signed = pl.col("side") * pl.col("quantity")
    netted = [
        f.group_by("book", "session", "sid", maintain_order=True).agg(
            shares=signed.sum(), cash=-(signed * pl.col("price") + pl.col("fee")).sum()
        )
        for f in (was, would)
    ]
    return _joined(netted[0], netted[1], ["book", "session", "sid"], ["shares", "cash"])


def _pnl(was: pl.DataFrame, would: pl.DataFrame) -> pl.DataFrame:
    both = was.select("book", "session", "pnl").join(
        would.select("book", "session", pnl_would="pnl"), on=["book", "session"], how="full", coalesce=True
    )
    return both.filter(pl.col("pnl").ne_missing(pl.col("pnl_would")).any().over("book")).sort("book", "session")
