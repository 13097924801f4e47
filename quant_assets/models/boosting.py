"""LightGBM, deterministic: the model is its text, and the text is all that is kept."""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from importlib import import_module
from threading import get_ident
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from quant_assets.errors import TrainingRefused
from quant_assets.portable import Floats, exp, log
from quant_assets.records import Artifact, content_id
from quant_assets.strategy import ModelRule

if TYPE_CHECKING:
    from lightgbm import Booster


def _softplus(raw: Floats) -> Floats:
    """log(1 + e^raw) without the loss of digits where e^raw is small (Kahan: the error of 1 + y divides out)."""
    y = exp(np.minimum(raw, 40.0))
    u = 1.0 + y
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(raw > 40.0, raw, np.where(u == 1.0, y, log(u) * (y / (u - 1.0))))


LINKS: Mapping[str, Callable[[Floats], Floats]] = {
    "binary": lambda raw: 1.0 / (1.0 + exp(-raw)),
    "cross_entropy": lambda raw: 1.0 / (1.0 + exp(-raw)),
    "cross_entropy_lambda": _softplus,
    "poisson": exp,
    "gamma": exp,
    "tweedie": exp,
}
"""What an objective makes of the sum of leaves by an exponential.

LightGBM's own has other bits by processor; all else it does adds and compares.
"""


class _Absent:
    """For the thread that uses it in a `with`, scikit-learn cannot be found; other threads import as ever."""

    def __enter__(self) -> None:
        self._thread = get_ident()
        sys.meta_path.insert(0, self)

    def __exit__(self, *_: object) -> None:
        sys.meta_path.remove(self)

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:  # noqa: ARG002  # importlib's
        """What importlib asks; None hands on to the next finder."""
        if name == "sklearn" and get_ident() == self._thread:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@cache
def _lightgbm() -> Any:
    """LightGBM without its wrappers for scikit-learn, for which it would import scipy.stats: a second of CPU.

    It is a copy of our own: who imports LightGBM in the same process, a notebook say, gets the whole of it.
    """
    if "lightgbm" in sys.modules:
        return sys.modules["lightgbm"]
    with _Absent():
        own = import_module("lightgbm")
    for name in [n for n in sys.modules if n == "lightgbm" or n.startswith("lightgbm.")]:
        del sys.modules[name]
    return own


class LightGBM:
    """The Learner of boosted trees, and of forests (`boosting: rf`)."""

    family = "lightgbm"

    def fit(self, frame: pl.DataFrame, features: Sequence[str], rule: ModelRule) -> Artifact:
        """See the port.

        TrainingRefused where LightGBM refuses the parameters, or they make another model than one of numbers.
        """
        lgb = _lightgbm()
        fixed = {
            "deterministic": True,
            "force_row_wise": True,
            "seed": rule.seed,
            "num_threads": rule.threads,
            "verbosity": -1,
        }
        target, names = frame["target"].to_numpy(), list(features)
        data = lgb.Dataset(_matrix(frame, names), target, feature_name=names, params=fixed)
        try:
            booster = lgb.train({**rule.params, **fixed}, data, num_boost_round=rule.rounds)
        except lgb.basic.LightGBMError as error:
            raise TrainingRefused(
                f"LightGBM refuses model.params {dict(rule.params)}: {error}; correct them"
            ) from error
        if booster.num_model_per_iteration() != 1:
            raise TrainingRefused(
                f"the objective {rule.params.get('objective')!r} scores classes; a strategy ranks by one number: "
                "use regression"
            )
        return artifact(booster.model_to_string())

    def usable(self, artifact: Artifact) -> bool:
        """See the port."""
        try:
            load(str(artifact.content))
        except _lightgbm().basic.LightGBMError:
            return False
        return True

    def predict(self, artifact: Artifact, frame: pl.DataFrame, threads: int) -> pl.Series:
        """See the port."""
        text = str(artifact.content)
        booster = load(text)
        if frame.is_empty():
            return pl.Series("score", [], dtype=pl.Float64)
        rows = _matrix(frame, booster.feature_name())
        objective = re.search(r"^objective=(\w+)(?: sigmoid:(\S+))?$", text, re.MULTILINE)
        link = LINKS.get(objective[1]) if objective else None
        found = np.asarray(booster.predict(rows, num_threads=threads, raw_score=link is not None), dtype=np.float64)
        if objective and link:
            averaged = re.search(r"^average_output$", text, re.MULTILINE)
            mean = found / booster.current_iteration() if averaged else found  # of a forest, the raw score is the sum
            found = link(mean * float(objective[2] or 1.0))
        return pl.Series("score", found, dtype=pl.Float64)

    def explain(self, artifact: Artifact, frame: pl.DataFrame, threads: int) -> pl.DataFrame:
        """See the port. By TreeSHAP (Lundberg 2018); of the raw score, before an objective's link."""
        booster = load(str(artifact.content))
        names = booster.feature_name()
        added = booster.predict(_matrix(frame, names), num_threads=threads, pred_contrib=True)
        return pl.DataFrame(np.asarray(added, dtype=np.float64), schema=[*names, "base"])


def artifact(text: str) -> Artifact:
    """A stored text as an artifact."""
    named = re.search(r"^feature_names=(.*)$", text, re.MULTILINE)
    return Artifact(family=LightGBM.family, content=text, schema=content_id(*(named[1].split() if named else ())))


@lru_cache(maxsize=8)
def load(text: str) -> "Booster":
    """The booster of a model text. Raises lightgbm's error where the text is no model."""
    return _lightgbm().Booster(model_str=text)


def _matrix(frame: pl.DataFrame, features: Sequence[str]) -> np.ndarray:
    """Rows × features; a null is NaN, which LightGBM takes as missing."""
    return np.ascontiguousarray(frame.select(pl.col(f).cast(pl.Float64) for f in features).to_numpy())
