"""What a feature is worth before anything is deployed: whether it looks ahead, what it covers, what it foretells, what
it repeats.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl

from quant_assets.calendars import Cuts
from quant_assets.evaluation import rank_ic
from quant_assets.features.audit.audit import LAWS
from quant_assets.features.explorer.measures import Measures, explore
from quant_assets.features.labels import compute_labels
from quant_assets.features.publish import compute
from quant_assets.features.sets import FeatureSet
from quant_assets.frames import span
from quant_assets.ports import Progress, Store, quiet

HORIZONS = (1, 2, 5, 10, 20)
HURDLE = 3.0
"""The t that a new predictor needs when many are tried (Harvey, Liu & Zhu 2016, …and the Cross-Section of Expected
Returns)."""
INDEPENDENT = 10  # stretches as long as the horizon that a range must hold: fewer prove nothing
REPEATS = 0.9  # rank correlation from which a feature repeats another


@dataclass(frozen=True)
class Trial:
    """What was found. `audits`: rows of AUDITS, one for each law. `measures`: coverage, distribution, IC by horizon.

    `correlation`: columns feature, set, other, correlation (mean over the sessions of the rank correlation), the
    closest first.
    """

    feature_set: FeatureSet
    universe: str
    sessions: tuple[date, ...]
    audits: pl.DataFrame
    measures: Measures
    correlation: pl.DataFrame

    @property
    def refused(self) -> pl.DataFrame:
        """The laws that it breaks, with the column, session and instrument that gave it away."""
        return self.audits.filter(~pl.col("passed"))

    @property
    def fine(self) -> bool:
        """Whether it may be published: it breaks no law and has values."""
        return self.refused.is_empty() and self.measures.daily["known"].sum() > 0

    @property
    def best(self) -> Mapping[str, float | int | str] | None:
        """The feature and horizon that foretold most, of horizons that the range holds often enough: feature, horizon,
        mean, t, n; None where there is none.
        """
        told = self.measures.decay.filter(
            pl.col("t").is_not_null(), pl.col("n") >= INDEPENDENT * pl.col("horizon")
        ).sort(pl.col("t").abs(), descending=True)
        return told.row(0, named=True) if told.height else None

    @property
    def outcome(self) -> str:
        """One line: what to think of it."""
        for law, evidence in self.refused.select("law", "evidence").iter_rows():
            return f"REFUSED by the law of {law.replace('_', ' ')}: {evidence}. What was measured of it means nothing."
        if not self.fine:
            return (
                "NO VALUE: it is missing on every session; is its window longer than the data, or min_samples too high?"
            )
        if (best := self.best) is None:
            return (
                f"FREE OF LOOK-AHEAD. {len(self.sessions)} sessions are too few to measure what it predicts, or it "
                f"is the same for all names."
            )
        told = f"rank IC {best['mean']:+.4f} over {best['horizon']} sessions (t {best['t']:+.1f}, {best['n']} sessions)"
        closest = self.correlation.filter(pl.col("correlation").abs() >= REPEATS).head(1)
        repeats = "".join(
            f" It repeats {r['set']}'s {r['other']} (rank correlation {r['correlation']:+.2f})."
            for r in closest.iter_rows(named=True)
        )
        judged = (
            "more than luck explains"
            if abs(float(best["t"])) >= HURDLE
            else f"no more than luck explains when many are tried (|t| below {HURDLE:g})"
        )
        return f"FREE OF LOOK-AHEAD. {told}: {judged}.{repeats}"


def try_out(
    store: Store,
    feature_set: FeatureSet,
    universe: str,
    cuts: Cuts,
    sessions: Sequence[date],
    audits: pl.DataFrame,
    others: Iterable[FeatureSet] = (),
    progress: Progress = quiet,
) -> Trial:
    """Computes the set over stored sessions, ascending, and measures it; `others`: sets whose published values it is
    compared with. Writes nothing.
    """
    values = compute(store, feature_set, universe, cuts, sessions, progress)
    forward = pl.concat(
        compute_labels(store, cuts, h, sessions).select("session", "sid", "horizon", "value") for h in HORIZONS
    )
    measures = explore(feature_set, values, forward.filter(pl.col("session") >= sessions[0]), horizons=HORIZONS)
    ordered = audits.sort(
        pl.col("law").replace_strict(LAWS, range(len(LAWS)), default=len(LAWS), return_dtype=pl.Int64)
    )
    return Trial(
        feature_set,
        universe,
        tuple(sessions),
        ordered,
        measures,
        _correlations(store, feature_set, universe, values, others),
    )


def _correlations(
    store: Store, feature_set: FeatureSet, universe: str, values: pl.DataFrame, others: Iterable[FeatureSet]
) -> pl.DataFrame:
    """The mean rank correlation of each feature with each published one."""
    found: list[tuple[str, str, str, float]] = []
    for other in others:
        if other.name == feature_set.name or store.version(other.table) < 0 or values.is_empty():
            continue
        first, last = span(values["session"], date)
        published = store.read(
            other.table,
            as_of=None,
            first=first,
            last=last,
            where={"version": other.version, "universe": universe},
        )
        both = values.join(
            published.sort("known_at").unique(["session", "sid"], keep="last"),
            on=["session", "sid"],
            suffix=" of the other",
        )
        for mine in feature_set.features:
            for theirs in other.features:
                column = f"{theirs} of the other" if theirs in values.columns else theirs
                if (means := rank_ic(both, mine, column)["ic"]).len():
                    # Polars types the mean of no dtype
                    found.append((mine, other.name, theirs, float(means.mean())))  # pyright: ignore[reportArgumentType]
    schema = {"feature": pl.String, "set": pl.String, "other": pl.String, "correlation": pl.Float64}
    return pl.DataFrame(found, schema=schema, orient="row").sort(
        pl.col("correlation").abs(), descending=True, maintain_order=True
    )
