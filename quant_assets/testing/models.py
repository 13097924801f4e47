"""The laws of learners, labels, constructions and feature sets."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

import polars as pl

from quant_assets.features.audit.laws import examine
from quant_assets.features.labels.plugged_in import valued
from quant_assets.features.sets import FeatureSet
from quant_assets.ports import Construction, Label, Learner
from quant_assets.records import Artifact
from quant_assets.strategy import ModelRule
from quant_assets.testing.holding import is_a, must

FEATURES = ("alpha", "beta", "gamma")
NAMES, SESSIONS = 12, 40
RULE = ModelRule(rounds=5, params={"objective": "regression", "min_data_in_leaf": 20})
CLOSE = 1e-6


def training_rows() -> pl.DataFrame:
    """Rows as a learner is given them: session, sid, three features with gaps, and target, a rank around zero."""
    rows = pl.DataFrame({"n": range(NAMES * SESSIONS)}).with_columns(sid=pl.col("n") % NAMES, day=pl.col("n") // NAMES)
    noise = [((pl.col("n") * k) % 97) / 97 - 0.5 for k in (31, 57, 73)]
    made = rows.with_columns(
        session=pl.lit(date(2024, 1, 1)) + pl.duration(days=pl.col("day")),
        alpha=noise[0],
        beta=noise[1],
        gamma=noise[2],
    )
    gaps = made.with_columns(beta=pl.when(pl.col("n") % 7 != 0).then("beta"))
    return gaps.with_columns(target=0.6 * pl.col("alpha") - 0.3 * pl.col("gamma") + 0.1 * noise[1]).select(
        "session", "sid", *FEATURES, "target"
    )


def _fitted(make: Callable[[], Learner]) -> Artifact:
    return make().fit(training_rows(), FEATURES, RULE)


def same_rows_same_model(make: Callable[[], Learner], **_: object) -> None:
    """The same rows give the same model, whichever instance fits it, and it is text or bytes."""
    one, two = _fitted(make), _fitted(make)
    must(one == two, "two artifacts")
    must(is_a(one.content, str, bytes), type(one.content).__name__)
    must(one.family and one.schema, one)


def score_of_a_row(make: Callable[[], Learner], **_: object) -> None:
    """The score of a row does not depend on the other rows, their order or the threads."""
    model, rows = _fitted(make), training_rows()
    scores = make().predict(model, rows, 1)
    must(scores.len() == rows.height and scores.dtype == pl.Float64, f"{scores.len()} values of {scores.dtype}")
    must(make().predict(model, rows, 2).equals(scores), "other scores with two threads")
    must(make().predict(model, rows.reverse(), 1).reverse().equals(scores), "other scores in reverse order")
    for part in (rows[:1], rows[7:19]):
        first = 0 if part.height == 1 else 7
        must(
            make().predict(model, part, 1).equals(scores[first : first + part.height]), f"row {first} alone scores else"
        )
    must(make().predict(model, rows[:0], 1).len() == 0, "scores of no rows")


def gaps_have_scores(make: Callable[[], Learner], **_: object) -> None:
    """A row with a missing feature has a finite score, and scores differ between rows."""
    scores = make().predict(_fitted(make), training_rows(), 1)
    must(scores.null_count() == 0 and scores.is_finite().all(), "a score that is none")
    must(scores.n_unique() > 1, "one score for all rows")


def read_from_the_artifact(make: Callable[[], Learner], **_: object) -> None:
    """An artifact can be read by another instance, and one that is no model is found unusable, not an error."""
    model = _fitted(make)
    must(make().usable(model), "not usable")
    must(make().usable(Artifact(model.family, "no model", model.schema)) is False, "text that is no model is usable")


def what_features_add(make: Callable[[], Learner], **_: object) -> None:
    """What each feature adds, and the base, sum to the row's score."""
    model, rows = _fitted(make), training_rows()
    added = make().explain(model, rows, 1)
    must(added.columns == [*FEATURES, "base"], added.columns)
    apart = (added.sum_horizontal() - make().predict(model, rows, 1)).abs().max()
    must(isinstance(apart, float) and apart < CLOSE, f"{apart} apart")


def scored_rows() -> pl.DataFrame:
    """Rows as a construction is given them: session, sid, score, some without one."""
    rows = training_rows().select("session", "sid", score="alpha")
    return rows.with_columns(score=pl.when(pl.col("sid") != 3).then("score"))


def weights_of_rows(make: Callable[[], Construction], **_: object) -> None:
    """Each row has a rank and a finite target_weight, sorted by session and sid; a name without a score weighs 0."""
    rows = scored_rows()
    out = make().weights(rows)
    must({"session", "sid", "score", "rank", "target_weight"} <= set(out.columns), out.columns)
    must(out.select("session", "sid").equals(rows.select("session", "sid").sort("session", "sid")), "other rows")
    must(out["target_weight"].null_count() == 0 and out["target_weight"].is_finite().all(), "weights that are none")
    must((out.filter(pl.col("score").is_null())["target_weight"] == 0).all(), "a weight without a score")
    must((out["target_weight"] != 0).any(), "nothing is held")


def weights_by_session(make: Callable[[], Construction], **_: object) -> None:
    """A session's weights do not depend on the other sessions, on the order of rows, or on what was asked before."""
    rows = scored_rows()
    whole = make().weights(rows)
    one = make()
    days = pl.concat(one.weights(day) for day in rows.partition_by("session"))
    must(days.equals(whole.select(days.columns)), "a session alone has other weights")
    must(make().weights(rows.reverse()).equals(whole), "other weights in reverse order")


def examined(make: Callable[[], FeatureSet], **_: object) -> None:
    """It looks neither ahead nor at other names, and no further back than it declares."""
    found = [finding.sentence for finding in examine(make()).findings]
    must(not found, "; ".join(found))


def paths(days: Sequence[int]) -> pl.DataFrame:
    """Returns within the windows of some sessions: u, sid, path (after 1 to 4 sessions; some null)."""
    rows = [
        {
            "u": day,
            "sid": sid,
            "path": [
                None if (day + sid + k) % 11 == 0 else ((day * 7 + sid * 13 + k * 29) % 41 - 20) / 200 for k in range(4)
            ],
        }
        for day in days
        for sid in range(NAMES)
    ]
    return pl.DataFrame(rows, schema={"u": pl.Int32, "sid": pl.Int64, "path": pl.List(pl.Float64)})


def value_of_a_path(make: Callable[[], Label], **_: object) -> None:
    """It reads the path and nothing else, and gives numbers that differ between paths."""
    reads = make().value(pl.col("path")).meta.root_names()
    must(set(reads) == {"path"}, f"it reads {sorted(set(reads))}")
    out = valued(make(), paths(range(5)), "tried")
    must(out.height > NAMES and out["value"].n_unique() > 1, f"{out.height} values")


def value_of_a_session(make: Callable[[], Label], **_: object) -> None:
    """The values of a session do not depend on the sessions after it, on the order of names, or on what was asked
    before.
    """
    whole, one = valued(make(), paths(range(5)), "tried"), make()
    days = pl.concat(valued(one, paths([day]), "tried") for day in range(5))
    must(days.equals(whole), "a session alone has other values")
    plain = paths([2]).with_columns(value=make().value(pl.col("path")))
    turned = paths([2]).reverse().with_columns(value=make().value(pl.col("path"))).reverse()
    must(plain.equals(turned), "other values for names in reverse order")


LAWS: Mapping[str, Mapping[str, Callable[..., Any]]] = {
    "learner": {
        f.__name__: f
        for f in (same_rows_same_model, score_of_a_row, gaps_have_scores, read_from_the_artifact, what_features_add)
    },
    "construction": {f.__name__: f for f in (weights_of_rows, weights_by_session)},
    "label": {f.__name__: f for f in (value_of_a_path, value_of_a_session)},
    "feature_set": {f.__name__: f for f in (examined,)},
}
