"""The decisions of one slot, derived again from its bars and the text of the model that they cite."""

from dataclasses import replace
from datetime import date, timedelta

import polars as pl

from quant_assets.calendars import Cuts
from quant_assets.calendars.slots import slots
from quant_assets.errors import ReplayMismatch
from quant_assets.features.intraday import OnBars, compute_bars
from quant_assets.features.sets import FeatureSet
from quant_assets.market_data.venue_names import with_sids
from quant_assets.models.scoring import scored
from quant_assets.moments import Every
from quant_assets.ports import Store
from quant_assets.signals.decide_slots import slot_decisions
from quant_assets.signals.slot_inputs import read_slots
from quant_assets.strategy import Strategy
from quant_assets.tables import SCORES


def slot_again(
    store: Store,
    feature_set: FeatureSet,
    strategy: Strategy,
    bars: OnBars,
    cuts: Cuts,
    session: date,
    name: str,
    model: tuple[str, str | None],
    kill_switch: tuple[bool, str],
    features_refused: str,
    *,
    late: bool,
) -> pl.DataFrame:
    """The content columns of DECISIONS of the slot `name`, with `model` (its id, and its text where one is stored) and
    under the switches as they were recorded. What was published or scored is not read.

    Raises ReplayMismatch where the session has no such slot now.
    """
    assert isinstance(strategy.moment, Every)  # noqa: S101  # asked before
    found = [s for s in slots(cuts.calendar, strategy.moment, session) if s.slot == name]
    if not found:
        raise ReplayMismatch(
            f"{session} has no slot {name} on {cuts.calendar.code} as {strategy.name} is declared now; replay it with "
            "the deployment that decided it"
        )
    (slot,) = found
    stored = read_slots(store, feature_set, strategy, bars, cuts, found)
    begin = cuts.calendar.open(cuts.calendar.before(session))
    delay = timedelta(seconds=bars.delay)
    features = compute_bars(store, feature_set, bars.venue, cuts.calendar, begin, slot.bar, delay=delay)
    names = stored.names[session].with_columns(session=pl.lit(session))
    now = features.filter(pl.col("ts") == slot.bar).with_columns(session=pl.lit(session), slot=pl.lit(name))
    rows = with_sids(now, names.filter("member")).with_columns(known_at=pl.lit(slot.cut)).sort("sid")
    model_id, text = model
    scores = scored(feature_set, strategy, model_id, text, rows) if text else SCORES.empty()
    return slot_decisions(
        replace(stored, features=features, scores=scores),
        feature_set,
        strategy,
        bars,
        cuts,
        found,
        kill_switch=kill_switch,
        late=lambda _: late,
        features_refused=features_refused,
    )
