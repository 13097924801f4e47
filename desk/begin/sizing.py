"""How large a strategy the names and sessions of a file carry: its universe, its model, its limits, its days."""

import math
from collections.abc import Mapping
from datetime import date

import polars as pl

from desk.begin.fitting import Fit
from quant_assets.calendars import calendar
from quant_assets.errors import ConfigurationError
from quant_assets.models.training import month_ends
from quant_assets.records import Frozen
from quant_assets.strategy import ModelRule, Strategy

REACH = Strategy(name="first").rule.reach  # sessions until a label is known
EMBARGO = ModelRule().embargo
MOST = 500  # names of a universe
BROAD = 100  # names from which on a strategy is sized as for a market
LIVE = 21  # sessions that are left to be run day by day


class Learning(Frozen, frozen=True):
    """Sessions of liquidity, of training, of validation."""

    lookback: int
    min_sessions: int
    validation: int

    @property
    def needed(self) -> int:
        """Sessions of data until a first model can be cut."""
        return self.lookback - 1 + self.min_sessions + EMBARGO + self.validation + 2 * REACH


USUAL, SHORT = Learning(20, 60, 20), Learning(10, 25, 10)
LEAST_AFTER = {USUAL: 42, SHORT: 8}  # sessions after the first model, for it to trade


class Sizes(Frozen, frozen=True):
    """What a strategy over the file is sized to. `why`: what keeps it from trading; empty where nothing does."""

    names: int
    rows: int
    sessions: int
    learning: Learning
    first_model: date | None
    start: date
    live: int
    size: int
    holdings: int
    min_price: float
    params: Mapping[str, float | int | str]
    min_members: int
    min_coverage: float
    max_weight: float
    max_psi: float
    why: str


def sizes(kept: pl.DataFrame, fit: Fit, answers: Mapping[str, str]) -> Sizes:
    """The sizes for the rows that are kept (symbol, session, close, volume) under a calendar.

    Raises ConfigurationError where the start that a person named leaves no history.
    """
    venue = calendar(fit.code)
    days = kept["session"].unique().sort()
    sessions = [d for d in venue.between(venue.on_or_after(fit.first), fit.last) if d in set(days)]
    names = kept["symbol"].n_unique()
    size = min(names, MOST)
    learning, first_model = _learning(fit.code, sessions)
    after = sum(d > first_model for d in sessions) if first_model else 0
    live = min(LIVE, max(1, after // 4)) if after else min(5, max(1, len(sessions) // 4))
    start = _start(sessions, live, answers)
    holdings = min(40, size // 5) if size > 30 else max(1, size // 3)
    leaf = min(200, max(5, learning.min_sessions * size // 75))
    return Sizes(
        names=names,
        rows=kept.height,
        sessions=len(sessions),
        learning=learning,
        first_model=first_model,
        start=start,
        live=sum(d >= start for d in sessions),
        size=size,
        holdings=holdings,
        min_price=3.0 if size >= BROAD and _median_close(kept) >= 3.0 else 0.0,
        params={"objective": "regression", "num_leaves": 7, "learning_rate": 0.05, "min_data_in_leaf": leaf}
        if leaf < 200
        else {},
        min_members=10 if size >= 20 else max(1, size // 2),
        min_coverage=0.9 if size >= 20 else 0.5,
        max_weight=max(0.05, math.ceil(100 / holdings) / 100),
        max_psi=0.5 if size >= BROAD else 1.0 if size > 30 else 9.0,
        why=_why(kept, names, len(sessions), first_model),
    )


def _learning(code: str, sessions: list[date]) -> tuple[Learning, date | None]:
    """How a model is trained, and the month end at which the first one can be cut; None where there are too few."""
    if not sessions:
        return SHORT, None
    ends = month_ends(calendar(code), sessions[0], sessions[-1])
    place = {d: n for n, d in enumerate(sessions)}
    for learning in (USUAL, SHORT):
        for end in ends:
            seen = place.get(end, -1) + 1
            if seen >= learning.needed and len(sessions) - seen >= LEAST_AFTER[learning]:
                return learning, end
    return SHORT, None


def _start(sessions: list[date], live: int, answers: Mapping[str, str]) -> date:
    """The first session that is run day by day."""
    if "start" not in answers:
        return sessions[max(len(sessions) - live, min(1, len(sessions) - 1))]
    start = date.fromisoformat(answers["start"])
    if not sessions[0] < start <= sessions[-1]:
        raise ConfigurationError(
            f"--set start={start}: the first session to be run day by day lies after {sessions[0]}, the first of the "
            f"files, and not after {sessions[-1]}, the last"
        )
    return start


def _median_close(kept: pl.DataFrame) -> float:
    median = kept["close"].median()
    return float(median) if isinstance(median, (int, float)) else 0.0


def _why(kept: pl.DataFrame, names: int, sessions: int, first_model: date | None) -> str:
    """What keeps a strategy from trading on these rows; empty where nothing does."""
    reasons: list[str] = []
    if names < 2:
        reasons.append("a strategy holds the best names of several, and there is one; give a file of two names or more")
    if first_model is None:
        reasons.append(
            f"{sessions} sessions are too few: the first model needs {SHORT.needed} before a month's end, and "
            f"{LEAST_AFTER[SHORT]} after it to trade in; give a file of about {SHORT.needed + 21 + LEAST_AFTER[SHORT]} "
            "sessions or more"
        )
    idle = kept.filter(pl.col("volume") == 0).height
    if idle > kept.height / 2:
        reasons.append(
            f"{idle:,} of {kept.height:,} rows have no volume, and an order is filled up to a share of it; give "
            "a file with volumes"
        )
    return "; ".join(reasons)
