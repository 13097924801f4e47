"""What a decision reads: for each session, the rows that were known at its cut, and one hash over them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

import msgspec
import polars as pl

from quant_assets.calendars import Cuts
from quant_assets.calendars.beside import opens, resting
from quant_assets.contract import UTC_MICROS, in_force, known_by
from quant_assets.errors import ModelError
from quant_assets.features.blocks import quarter_start
from quant_assets.features.drift import median_psi, psi, vanished
from quant_assets.features.publish import anchors
from quant_assets.features.sets import FeatureSet
from quant_assets.frames import bounds
from quant_assets.guards import Choice, choice, look_ahead, survivorship
from quant_assets.market_data.adjustment import ADJUSTING
from quant_assets.market_data.jumps import unexplained
from quant_assets.market_data.membership import Membership
from quant_assets.market_data.proposals import unconfirmed
from quant_assets.market_data.quality import released, session_hash
from quant_assets.market_data.spanning import sids_of
from quant_assets.market_data.vendors import filled
from quant_assets.models.promotion import Champions, Model, champions
from quant_assets.moments import slot_of
from quant_assets.ports import Store
from quant_assets.records import FeatureSnapshot, content_id, frame_hash
from quant_assets.strategy import Strategy
from quant_assets.tables import ACTIONS, BARS, CAPTURES, LISTINGS, PROPOSED_ACTIONS, SCORES, UNIVERSE, VERDICTS
from quant_assets.vendor_tables import INDEX_MEMBERS

PRICES_READ = ("open", "close")
WINDOW = 60  # sessions in which a price before a jump is looked for, halts included
RESTS = timedelta(days=15)  # at most, of a venue; so long the names there keep their last score
ACTIONS_READ = ("numerator", "denominator", "cash")


@dataclass(frozen=True)
class Stored:
    """The stored rows that the decisions of some sessions may read; `day` takes of them what a session's cut knew."""

    bars: pl.DataFrame
    actions: pl.DataFrame
    intervals: pl.DataFrame
    captures: pl.DataFrame
    verdicts: pl.DataFrame
    features: pl.DataFrame
    scores: pl.DataFrame
    anchors: Mapping[date, date]
    champions: Champions
    proposals: pl.DataFrame = field(default_factory=PROPOSED_ACTIONS.empty)
    inputs: Mapping[str, pl.DataFrame] = field(
        default_factory=dict[str, pl.DataFrame]
    )  # what the feature set's inputs brought, each session as known at its own cut
    listings: pl.DataFrame = field(default_factory=LISTINGS.empty)
    memberships: pl.DataFrame = field(default_factory=CAPTURES.empty)  # the deliveries of index members


def read(store: Store, feature_set: FeatureSet, strategy: Strategy, cuts: Cuts, sessions: Sequence[date]) -> Stored:
    """One read of each table, for all of `sessions` (ascending)."""
    first, last = sessions[0], sessions[-1]
    as_of, seen = cuts.of(last), first - RESTS if cuts.beside else first
    starts = dict(anchors(store, feature_set, cuts, sessions).select("session", "anchor").iter_rows())
    anchor = min(starts.values())
    return Stored(
        bars=store.read(BARS, as_of=as_of, first=anchor, last=last),
        actions=store.read(ACTIONS, as_of=as_of, first=anchor, last=last).filter(pl.col("kind").is_in(ADJUSTING)),
        intervals=store.read(UNIVERSE, as_of=as_of, last=last, where={"universe": strategy.universe.name}),
        captures=store.read(CAPTURES, as_of=as_of, last=last, where={"dataset": BARS.name}),
        verdicts=store.read(VERDICTS, as_of=as_of, first=first, last=last, where={"table": BARS.name}),
        features=store.read(
            feature_set.table,
            as_of=as_of,
            first=first,
            last=last,
            where={"version": feature_set.version, "universe": strategy.universe.name},
        ),
        scores=store.read(SCORES, as_of=as_of, first=seen, last=last, where={"strategy": strategy.name}),
        anchors=starts,
        champions=champions(store, strategy.name, as_of),
        listings=store.read(LISTINGS, as_of=as_of),
        memberships=store.read(CAPTURES, as_of=as_of, where={"dataset": INDEX_MEMBERS.name}),
        proposals=store.read(PROPOSED_ACTIONS, as_of=as_of),
        inputs={
            i.name: i.read(
                store, cuts, strategy.universe.name, cuts.calendar.between(anchor, last) if i.reads_panel else sessions
            ).sort(i.on)
            for i in feature_set.inputs
        },
    )


def day(stored: Stored, feature_set: FeatureSet, strategy: Strategy, cuts: Cuts, session: date) -> pl.DataFrame:
    """The rows that `guardrails` judges for `session`, without the switches, sorted by sid; with symbol, as_of,
    inputs_hash and snapshot.

    One row per member and per former member; a single row with sid 0 where there are none. It depends on nothing
    but the rows known at the session's cut.
    """
    cut = cuts.of(session)
    of_session = pl.col("session") == session
    names = _names(Membership.from_universe(stored.intervals), cuts, session)
    today = in_force(known_by(stored.bars.filter(of_session), cut), BARS)
    past = pl.col("session").is_between(stored.anchors[quarter_start(cuts.calendar, session)], session)
    bars, actions = (
        in_force(known_by(f.filter(past), cut).join(names, on="sid", how="semi"), t)
        for f, t in ((stored.bars, BARS), (stored.actions, ACTIONS))
    )
    content = session_hash(today)
    verdict = _verdict(known_by(stored.verdicts.filter(of_session), cut), session, content)
    captures = known_by(stored.captures, cut)
    model = _champion(stored, feature_set, cuts, session)
    published = known_by(stored.features.filter(of_session), cut)
    drift = median_psi(psi(model.metrics.drift, published)) if model else None
    gone = vanished(model.metrics.drift, published) if model else []
    champions_own = pl.col("model_id") == (model.model_id if model else "")
    own_slot = known_by(stored.scores.filter(pl.col("slot") == slot_of(strategy.moment)), cut)
    scores = own_slot.filter(of_session, champions_own)
    venues = opens(cuts, session)
    idle = {*resting(cuts, session), *(code for code, moment in venues.items() if moment is None)}
    rests = pl.col("sid").is_in(sids_of(stored.listings, idle).implode())
    if idle:
        scores = pl.concat([scores.filter(~rests), _last_scores(own_slot, session).filter(rests)])
    brought = [
        f.filter(past if i.reads_panel else of_session) for i in feature_set.inputs for f in [stored.inputs[i.name]]
    ]
    waiting = unconfirmed(known_by(stored.proposals, cut)).join(names, on="sid", how="semi")
    seen = cuts.calendar.between(stored.anchors[quarter_start(cuts.calendar, session)], session)
    jumps = unexplained(bars, actions, seen[-WINDOW:])
    read_too = [*brought, waiting] if waiting.height else brought
    inputs_hash = _hash(feature_set, names, bars, actions, content, read_too)
    latest = bars.sort("sid", "session").unique("sid", keep="last", maintain_order=True)
    rows = (
        names.join(latest.select("sid", "symbol", close=pl.when(of_session).then("close")), on="sid", how="left")
        .join(scores.select("sid", "score"), on="sid", how="left")
        .join(waiting, on="sid", how="left")
        .join(jumps, on="sid", how="left")
        .sort("sid")
    )
    rows = rows.with_columns(valid_until=_until(stored.listings, cuts, session, venues))
    if cuts.beside:
        rows = rows.with_columns(rests=rests)
    return rows.with_columns(
        pl.lit(session).alias("session"),
        pl.col("symbol").fill_null(""),
        captured=pl.lit((captures["capture"] == session).any() or filled(today)),
        content_hash=pl.lit(content),
        released=pl.lit(verdict[0], dtype=pl.Boolean),
        findings=pl.lit(verdict[1]),
        vanished=pl.lit(gone_in_words(gone)),
        psi=pl.lit(drift, dtype=pl.Float64),
        model_id=pl.lit(model.model_id if model else None, dtype=pl.String),
        model_age=pl.lit(cuts.calendar.age(model.session, session) if model else None, dtype=pl.Int64),
        as_of=pl.lit(cut),
        inputs_hash=pl.lit(inputs_hash),
        snapshot=pl.lit(
            _snapshot(
                feature_set,
                strategy,
                names,
                inputs_hash,
                cut,
                model,
                choice(stored.listings, stored.memberships, strategy.universe.indices, cut),
                max((b[1] for f in (bars, actions, published) if (b := bounds(f["known_at"], datetime))), default=None),
                assumed=bool(captures["assumed"].any()),
            )
        ),
    )


def _until(listings: pl.DataFrame, cuts: Cuts, session: date, venues: Mapping[str, datetime | None]) -> pl.Expr:
    """Until when a row may be ordered: the auction of its own venue that comes next after the session's cut."""
    until = pl.lit(cuts.trades_at(session), UTC_MICROS)
    for code, moment in venues.items():
        there = pl.col("sid").is_in(sids_of(listings, [code]).implode())
        until = until if moment is None else pl.when(there).then(pl.lit(moment, UTC_MICROS)).otherwise(until)
    return until


def _last_scores(scores: pl.DataFrame, session: date) -> pl.DataFrame:
    """Of each name its score of the last session up to this one, whichever model gave it."""
    past = scores.filter(pl.col("session").is_between(session - RESTS, session)).sort(
        "sid", "session", "known_at", "model_id"
    )
    return past.unique("sid", keep="last", maintain_order=True)


def gone_in_words(features: Sequence[str]) -> str:
    """The sentence on features that have no values any more; empty where there are none."""
    shown = ", ".join(features[:5]) + (f" and {len(features) - 5} more" if len(features) > 5 else "")
    return f"the model was trained on {shown}, of which the session has no values" if features else ""


def _names(membership: Membership, cuts: Cuts, session: date) -> pl.DataFrame:
    """Columns sid, member: the members of the session, and those that were members within the year before it; sid 0
    where there are none.
    """
    there, gone = membership.at([session], cuts), membership.former([session], cuts)
    names = pl.concat(
        [there.select(sid="who", member=pl.lit(value=True)), gone.select(sid="who", member=pl.lit(value=False))]
    ).sort("sid")
    return (
        names
        if names.height
        else pl.DataFrame({"sid": [0], "member": [False]}, schema={"sid": pl.Int64, "member": pl.Boolean})
    )


def _verdict(verdicts: pl.DataFrame, session: date, content: str) -> tuple[bool | None, str]:
    """Whether the rows with this content hash may be used (None: nobody judged them), and the findings that forbid
    it.
    """
    may, findings = released(verdicts, session, content)
    return (may, findings) if content in verdicts["content_hash"] else (None, findings)


def _champion(stored: Stored, feature_set: FeatureSet, cuts: Cuts, session: date) -> Model | None:
    """The model in force, where one is and it was trained on this version of the features."""
    try:
        model = stored.champions.of(session, cuts.of(session))
    except ModelError:  # none promoted, or its text is damaged: MODEL_MISSING either way
        return None
    return model if (model.feature_set, model.feature_version) == (feature_set.name, feature_set.version) else None


def _hash(
    feature_set: FeatureSet,
    names: pl.DataFrame,
    bars: pl.DataFrame,
    actions: pl.DataFrame,
    content: str,
    brought: Sequence[pl.DataFrame],
) -> str:
    """Identifies the rows read: keys and the values that count, sorted by key; the session's whole content by the hash
    its verdict goes by.
    """
    columns = sorted({*feature_set.stored_columns, *PRICES_READ})
    parts = (names, bars.select(*BARS.key, *columns), actions.select(*ACTIONS.key, *ACTIONS_READ))
    return content_id(*(frame_hash(p) for p in parts), content, *(frame_hash(f) for f in brought))


def _snapshot(
    feature_set: FeatureSet,
    strategy: Strategy,
    names: pl.DataFrame,
    inputs_hash: str,
    cut: datetime,
    model: Model | None,
    chosen: Choice,
    latest: datetime | None,
    *,
    assumed: bool,
) -> str:
    described = FeatureSnapshot(
        dataset_version=inputs_hash,
        feature_view=feature_set.name,
        feature_version=feature_set.version,
        as_of=cut,
        known_at_cutoff=cut,
        universe_id=f"{strategy.universe.name}:{frame_hash(names)[:32]}",
        corporate_actions_policy=feature_set.adjustment,
        survivorship_bias_guard=survivorship(
            "members as known at the cut; names that left within a year are sold, not dropped", chosen
        ),
        lookahead_bias_guard=look_ahead("rows with known_at ≤ known_at_cutoff only", latest, cut),
        timezone_policy=strategy.days,
        assumed_known_at=assumed,
        label=strategy.rule.name,
        horizon=strategy.rule.horizon,
        trained_on=str(msgspec.json.decode(model.snapshot).get("dataset_version", "")) if model else "",
    )
    return msgspec.json.encode(described).decode()
