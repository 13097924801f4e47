"""Scores come from the sum of leaves; what an objective makes of it is taken with portable functions."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import lightgbm as lgb
import numpy as np
import polars as pl
import pytest

from quant_assets.models.boosting import LINKS, LightGBM, _Absent
from quant_assets.records import content_id
from quant_assets.strategy import ModelRule

RANDOM = np.random.default_rng(5)
ROWS = pl.DataFrame({c: RANDOM.normal(size=400) for c in "abc"})
AMOUNTS = ROWS.with_columns(target=(pl.col("a") > 0) * 1.0 + pl.col("b").abs())
FLAGS = ROWS.with_columns(target=(pl.col("a") > 0) * 1.0)


@pytest.mark.parametrize("boosting", ["gbdt", "rf"])
@pytest.mark.parametrize("objective", [*LINKS, "regression", "huber", "quantile"])
def test_a_score_is_what_lightgbm_predicts(objective: str, boosting: str) -> None:
    """To the rounding of the exponential; to the bit where there is none. A forest's is its mean."""
    of = {"objective": objective, "boosting": boosting, "bagging_freq": 1, "bagging_fraction": 0.7, "num_leaves": 5}
    rows = FLAGS if objective in {"binary", "cross_entropy", "cross_entropy_lambda"} else AMOUNTS
    if objective == "gamma":
        rows = rows.with_columns(pl.col("target") + 0.1)
    made = LightGBM().fit(rows, ("a", "b", "c"), ModelRule(rounds=3, params=of))
    text = str(made.content)
    theirs = lgb.Booster(model_str=text).predict(rows.select("a", "b", "c").to_numpy(), num_threads=1)
    ours = LightGBM().predict(made, rows, 1).to_numpy()
    np.testing.assert_allclose(ours, theirs, rtol=5e-16 if objective in LINKS else 0.0, atol=0.0)
    assert len(np.unique(ours)) > 1


def test_a_sigmoid_is_scaled_as_it_was_fitted() -> None:
    """The scale that LightGBM keeps in the text of a binary model."""
    made = LightGBM().fit(FLAGS, ("a", "b", "c"), ModelRule(rounds=3, params={"objective": "binary", "sigmoid": 2.5}))
    text = str(made.content)
    theirs = lgb.Booster(model_str=text).predict(FLAGS.select("a", "b", "c").to_numpy(), num_threads=1)
    np.testing.assert_allclose(LightGBM().predict(made, FLAGS, 1).to_numpy(), theirs, rtol=5e-16)


IMPORTS = """
import sys
first = sys.argv[1]
if first:
    __import__(first)
import polars as pl
from quant_assets.models.boosting import LightGBM
from quant_assets.records import content_id
from quant_assets.strategy import ModelRule
rows = pl.DataFrame({"a": [float(n * n % 37) for n in range(400)]}).with_columns(target=pl.col("a") % 5)
made = LightGBM().fit(rows, ("a",), ModelRule(rounds=5))
print(made.content, LightGBM().predict(made, rows, 1).to_list())
print(sorted({"sklearn", "scipy.stats"} & set(sys.modules)), file=sys.stderr)
from lightgbm import LGBMRegressor
LGBMRegressor(n_estimators=1, verbosity=-1, min_child_samples=1).fit([[0.0], [1.0]], [0.0, 1.0])
from sklearn.linear_model import Ridge
"""


def test_lightgbm_alone_gives_the_same_model_and_scores() -> None:
    """Without scikit-learn: the same text and scores, and who needs scikit-learn afterwards imports it."""
    alone, beside = (
        subprocess.run([sys.executable, "-c", IMPORTS, first], capture_output=True, text=True, check=True)
        for first in ("", "lightgbm")
    )
    assert alone.stdout == beside.stdout
    assert (alone.stderr.strip(), beside.stderr.strip()) == ("[]", "['scipy.stats', 'sklearn']")


def test_other_threads_import_scikit_learn_meanwhile() -> None:
    """Scikit-learn cannot be found in the thread that imports LightGBM, and nowhere else."""
    with _Absent(), ThreadPoolExecutor(1) as pool:
        assert pool.submit(finder_of_sklearn).result() is not None
        with pytest.raises(ModuleNotFoundError, match="sklearn"):
            finder_of_sklearn()
    assert finder_of_sklearn() is not None


def finder_of_sklearn() -> object:
    """Where the finders have scikit-learn, whatever is loaded."""
    return next((f for f in sys.meta_path if f.find_spec("sklearn", None, None)), None)


def test_an_explanation_adds_up_to_the_score() -> None:
    """What the features add, and the base, sum to the raw score of each row; the schema names the features in order."""
    rows = FLAGS.with_columns(target=pl.col("a") - 2.0 * pl.col("b"))
    made = LightGBM().fit(rows, ("a", "b", "c"), ModelRule(rounds=3))
    added = LightGBM().explain(made, rows, 1)
    assert added.columns == ["a", "b", "c", "base"]
    total = added.to_numpy().sum(axis=1)
    np.testing.assert_allclose(total, LightGBM().predict(made, rows, 1).to_numpy(), atol=1e-12)
    assert made.schema == content_id("a", "b", "c")
    assert made.schema != content_id("b", "a", "c")
