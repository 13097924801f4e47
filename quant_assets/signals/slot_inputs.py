"""What a decision at a slot reads: the bars that had ended by its cut, and one hash over them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

import msgspec
import polars as pl

from quant_assets.calendars import Cuts
from quant_assets.calendars.slots import Slot
from quant_assets.contract import UTC_MICROS, in_force, known_by
from quant_assets.features.drift import median_psi, psi, vanished
from quant_assets.features.intraday import OnBars, bar_anchors, seconds_of
from quant_assets.features.sets import FeatureSet
from quant_assets.frames import bounds
from quant_assets.guards import Choice, choice, look_ahead, survivorship
from quant_assets.market_data.adjustment import ADJUSTING
from quant_assets.market_data.jumps import jumped
from quant_assets.market_data.proposals import unconfirmed
from quant_assets.market_data.venue_names import names_of, with_sids
from quant_assets.models.promotion import Champions, Model, champions
from quant_assets.models.slot_scoring import champion_at
from quant_assets.ports import Store
from quant_assets.records import FeatureSnapshot, content_id, frame_hash
from quant_assets.signals.inputs import ACTIONS_READ, gone_in_words
from quant_assets.strategy import Strategy
from quant_assets.tables import ACTIONS, CAPTURES, LISTINGS, PROPOSED_ACTIONS, SCORES
from quant_assets.vendor_tables import INTRADAY_BARS

PRICES_READ = ("open", "high", "low", "close")
NOBODY = {"sid": [0], "symbol": [""], "member": [False]}


@dataclass(frozen=True)
class SlotsStored:
    """The stored rows that the decisions at the slots of some sessions may read; `slot_rows` takes of them what a cut
    knew. Bars and features have a `sid`.
    """

    names: Mapping[date, pl.DataFrame]
    bars: pl.DataFrame
    actions: pl.DataFrame
    features: pl.DataFrame
    scores: pl.DataFrame
    anchors: Mapping[date, date]
    champions: Champions
    proposals: pl.DataFrame
    listings: pl.DataFrame


def read_slots(
    store: Store, feature_set: FeatureSet, strategy: Strategy, bars: OnBars, cuts: Cuts, asked: Sequence[Slot]
) -> SlotsStored:
    """One read of each table, for all of the slots asked (ascending)."""
    sessions, as_of, day = sorted({s.session for s in asked}), asked[-1].cut, timedelta(days=1)
    names = names_of(store, cuts, strategy.universe.name, sessions)
    anchors = bar_anchors(store, feature_set, bars.venue, cuts.calendar, sessions)
    first, last = min(anchors.values()), asked[-1].bar.date() + day
    opened = cuts.calendar.open(first)
    where = {"venue": bars.venue, "seconds": seconds_of(feature_set.frequency)}
    columns = (*{*PRICES_READ, *feature_set.stored_columns}, "withdrawn")
    stored = store.read(
        INTRADAY_BARS, as_of=as_of, first=opened.date(), last=last, where=where, columns=columns
    ).filter(pl.col("ts") >= opened)
    published = store.read(
        feature_set.table,
        as_of=as_of,
        first=cuts.calendar.open(cuts.calendar.before(sessions[0])).date(),
        last=last,
        where={"version": feature_set.version, "venue": bars.venue},
    )
    acted = store.read(ACTIONS, as_of=as_of, first=first, last=sessions[-1])
    return SlotsStored(
        names={d: names.filter(pl.col("session") == d).drop("session") for d in sessions},
        bars=stored,
        actions=acted.filter(pl.col("kind").is_in(ADJUSTING)),
        features=published,
        scores=store.read(SCORES, as_of=as_of, first=sessions[0], last=sessions[-1], where={"strategy": strategy.name}),
        anchors=anchors,
        champions=champions(store, strategy.name, cuts.of(cuts.booked_before(sessions[-1]))),
        proposals=store.read(PROPOSED_ACTIONS, as_of=as_of),
        listings=store.read(LISTINGS, as_of=as_of),
    )


def slot_rows(
    stored: SlotsStored, feature_set: FeatureSet, strategy: Strategy, bars: OnBars, cuts: Cuts, slot: Slot
) -> pl.DataFrame:
    """The rows that `guardrails` judges at a slot, without the switches, sorted by sid; with symbol, as_of, inputs_hash
    and snapshot.

    One row per member and per former member of the session; a single row with sid 0 where there are none. The bar that
    ended last counts as the bar of the session: a name whose bar is not there by the cut is not traded. What it is
    judged by depends on nothing but the rows known at the cut.
    """
    names = stored.names[slot.session]
    names = names if names.height else pl.DataFrame(NOBODY, schema=names.schema)
    opened = cuts.calendar.open(stored.anchors[slot.session])
    past = pl.col("ts").is_between(opened, slot.bar)
    known = in_force(known_by(stored.bars.filter(past), slot.cut), INTRADAY_BARS)
    seen = _named(known, names, slot.session)
    acted = in_force(known_by(stored.actions, slot.cut).join(names, on="sid", how="semi"), ACTIONS)
    model = champion_at(stored.champions, feature_set, cuts, slot.session)
    before = cuts.calendar.open(cuts.calendar.before(slot.session))
    published = in_force(
        known_by(stored.features.filter(pl.col("ts").is_between(before, slot.bar)), slot.cut), feature_set.table
    )
    recent = _named(published, names.filter("member"), slot.session)
    scores = known_by(
        stored.scores.filter(
            pl.col("session") == slot.session,
            pl.col("slot") == slot.slot,
            pl.col("model_id") == (model.model_id if model else ""),
        ),
        slot.cut,
    )
    waiting = unconfirmed(known_by(stored.proposals, slot.cut)).join(names, on="sid", how="semi")
    now = seen.filter(pl.col("ts") == slot.bar)
    content = frame_hash(now.select("sid", *PRICES_READ, "known_at"))
    inputs_hash = _hash(feature_set, names, seen, acted, waiting)
    usable = _sound(now)
    chosen = choice(stored.listings, CAPTURES.empty(), (), slot.cut)
    latest = max((b[1] for f in (seen, acted) if (b := bounds(f["known_at"], datetime))), default=None)
    return (
        names.join(usable.select("sid", "close"), on="sid", how="left")
        .join(scores.select("sid", "score"), on="sid", how="left")
        .join(waiting, on="sid", how="left")
        .join(_jumps(seen, acted, slot), on="sid", how="left")
        .sort("sid")
        .with_columns(
            pl.lit(slot.session).alias("session"),
            pl.col("symbol").fill_null(""),
            slot=pl.lit(slot.slot),
            captured=pl.lit(known.filter(pl.col("ts") == slot.bar).height > 0),
            content_hash=pl.lit(content),
            released=pl.lit(value=True),
            findings=pl.lit(""),
            vanished=pl.lit(gone_in_words(vanished(model.metrics.drift, recent) if model else [])),
            psi=pl.lit(median_psi(psi(model.metrics.drift, recent)) if model else None, dtype=pl.Float64),
            model_id=pl.lit(model.model_id if model else None, dtype=pl.String),
            model_age=pl.lit(cuts.calendar.age(model.session, slot.session) if model else None, dtype=pl.Int64),
            as_of=pl.lit(slot.cut, UTC_MICROS),
            valid_until=pl.lit(slot.valid_until, UTC_MICROS),
            inputs_hash=pl.lit(inputs_hash),
            snapshot=pl.lit(
                _snapshot(feature_set, strategy, bars, names, inputs_hash, slot.cut, model, chosen, latest)
            ),
        )
    )


def _named(rows: pl.DataFrame, names: pl.DataFrame, session: date) -> pl.DataFrame:
    """The rows (ts, symbol of the venue, …) of the session's names, with their sid; by sid and ts."""
    found = with_sids(rows.with_columns(session=pl.lit(session)), names.with_columns(session=pl.lit(session)))
    return found.drop("session", "member").sort("sid", "ts")


def _sound(now: pl.DataFrame) -> pl.DataFrame:
    """The bars whose prices fit each other: open and close lie between low and high, all above zero."""
    prices = pl.col(PRICES_READ)
    fits = (pl.col("low") <= pl.min_horizontal("open", "close")) & (
        pl.max_horizontal("open", "close") <= pl.col("high")
    )
    return now.filter(pl.all_horizontal(prices.is_finite() & (prices > 0)).fill_null(value=False), fits)


def _jumps(seen: pl.DataFrame, acted: pl.DataFrame, slot: Slot) -> pl.DataFrame:
    """sid, jump, since: the names whose price jumped by a ratio from the bar before, with no action in the session."""
    last = (
        seen.filter(pl.col("close") > 0).group_by("sid", maintain_order=True).agg(pl.col("ts", "open", "close").tail(2))
    )
    explained = set(acted.filter(pl.col("session") == slot.session)["sid"])
    found = [
        (sid, ratio, slot.session)
        for sid, ts, opens, closes in last.rows()
        if len(ts) == 2 and ts[-1] == slot.bar and sid not in explained
        if (ratio := jumped(*(Decimal(str(price)) for price in (closes[0], opens[-1], closes[-1]) if price)))
    ]
    return pl.DataFrame(found, schema={"sid": pl.Int64, "jump": pl.String, "since": pl.Date}, orient="row")


def _hash(
    feature_set: FeatureSet, names: pl.DataFrame, seen: pl.DataFrame, acted: pl.DataFrame, waiting: pl.DataFrame
) -> str:
    """Identifies the rows read: keys and the values that count, sorted by key."""
    columns = sorted({*feature_set.stored_columns, *PRICES_READ})
    parts = [
        names.sort("sid").select("sid", "symbol", "member"),
        seen.select("sid", "ts", "known_at", *columns),
        acted.select(*ACTIONS.key, *ACTIONS_READ),
        *([waiting] if waiting.height else []),
    ]
    return content_id(*(frame_hash(p) for p in parts))


def _snapshot(
    feature_set: FeatureSet,
    strategy: Strategy,
    bars: OnBars,
    names: pl.DataFrame,
    inputs_hash: str,
    cut: datetime,
    model: Model | None,
    chosen: Choice,
    latest: datetime | None,
) -> str:
    described = FeatureSnapshot(
        dataset_version=inputs_hash,
        feature_view=feature_set.name,
        feature_version=feature_set.version,
        as_of=cut,
        known_at_cutoff=cut,
        universe_id=f"{strategy.universe.name}:{frame_hash(names)[:32]}",
        corporate_actions_policy="adjusted",
        survivorship_bias_guard=survivorship(
            "members as known when the session began; names that left are sold, not dropped", chosen
        ),
        lookahead_bias_guard=look_ahead("rows with known_at ≤ known_at_cutoff only", latest, cut),
        timezone_policy=strategy.days,
        label=f"{strategy.rule.name} of bars of {bars.venue}",
        horizon=strategy.rule.horizon,
        trained_on=str(msgspec.json.decode(model.snapshot).get("dataset_version", "")) if model else "",
    )
    return msgspec.json.encode(described).decode()
