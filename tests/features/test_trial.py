"""The verdict on a feature says no more than what was seen of it."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from quant_assets.features.audit.audit import LAWS
from quant_assets.features.explorer.measures import explore
from quant_assets.features.sets import FeatureSet
from quant_assets.features.trial import Trial
from quant_assets.tables import AUDITS

ONE = FeatureSet(name="one", version="1", features=("one",), columns=("close",), lookback=1, kernel=lambda panel: panel)
NAMES = 40


def tried(
    *, sessions: int = 120, signal: float = 0.0, known: bool = True, broken: tuple[str, ...] = (), like: float = 0.1
) -> Trial:
    """A trial of a feature whose values correlate with the returns after them by about `signal`, at the horizons 1 and
    20.
    """
    rng = np.random.default_rng(5)
    days = [date(2024, 1, 1) + timedelta(days=n) for n in range(sessions)]
    rows = pl.DataFrame(
        {"session": [d for d in days for _ in range(NAMES)], "sid": list(range(NAMES)) * sessions},
        schema={"session": pl.Date, "sid": pl.Int64},
    )
    x = rng.normal(size=rows.height)
    values = rows.with_columns(one=pl.Series(x) if known else pl.lit(None, dtype=pl.Float64))
    forward = pl.concat(
        rows.with_columns(horizon=pl.lit(h, dtype=pl.Int64), value=pl.Series(signal * x + rng.normal(size=rows.height)))
        for h in (1, 20)
    )
    laws = [
        {
            "law": law,
            "passed": law not in broken,
            "evidence": f"what {law} saw",
            "known_at": datetime(2024, 1, 1, tzinfo=UTC),
        }
        for law in LAWS
    ]
    audits = pl.DataFrame(laws, schema_overrides={"known_at": AUDITS.schema["known_at"]})
    correlation = pl.DataFrame({"feature": ["one"], "set": ["theirs"], "other": ["two"], "correlation": [like]})
    return Trial(ONE, "liquid", tuple(days), audits, explore(ONE, values, forward, horizons=(1, 20)), correlation)


@pytest.mark.parametrize(
    ("trial", "fine", "words"),
    [
        (tried(), True, "no more than luck explains when many are tried"),
        (tried(signal=0.5), True, "(t +"),
        (tried(signal=0.5), True, "more than luck explains."),
        (tried(signal=-0.5), True, "sessions): more than luck explains."),
        (tried(signal=0.5, like=-0.97), True, "It repeats theirs's two (rank correlation -0.97)."),
        (tried(signal=0.5, sessions=8), True, "8 sessions are too few"),
        (tried(known=False), False, "NO VALUE"),
        (
            tried(signal=0.5, broken=("truncation", "homogeneity")),
            False,
            "REFUSED by the law of truncation: what truncation saw. What was measured of it means nothing.",
        ),
    ],
)
def test_the_verdict(trial: Trial, fine: bool, words: str) -> None:
    """Refused before anything else, silent on what the range cannot tell, and luck is called luck."""
    assert trial.fine is fine
    assert words in trial.outcome


def test_a_horizon_counts_where_the_range_holds_it_often_enough() -> None:
    """120 sessions say something of one session ahead, and of twenty nothing, however large the t of six overlapping
    stretches.
    """
    trial = tried(signal=0.5)
    assert trial.measures.decay.filter(horizon=20)["t"].item() > 3
    best = trial.best
    assert best is not None
    assert best["horizon"] == 1
