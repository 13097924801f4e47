"""What a strategy may set of LightGBM."""

import pytest

from quant_assets.models.parameters import ALIASES, NAMES, refused
from quant_assets.strategy import ModelRule


def test_they_are_lightgbms_own() -> None:
    """Each name and each alias is one that LightGBM knows, as the same parameter."""
    from lightgbm.basic import _ConfigAliases

    theirs = {name: {name, *others} for name, others in _ConfigAliases._get_all_param_aliases().items()}
    assert {*NAMES} <= {*theirs}
    for alias, name in ALIASES.items():
        assert alias in theirs[name]


@pytest.mark.parametrize(
    ("params", "name", "says"),
    [
        ({"num_leafs": 5}, "num_leafs", "did you mean"),
        ({"objective": "binary"}, "objective", "must be one of regression"),
        ({"objective": "hubber"}, "objective", "did you mean huber"),
        ({"loss": "multiclass"}, "loss", "must be one of"),
        ({"learning_rate": 0}, "learning_rate", "above 0"),
        ({"feature_fraction": 80}, "feature_fraction", "to 1; found 80"),
        ({"num_leaves": 1}, "num_leaves", "from 2"),
        ({"num_leaves": 15.5}, "num_leaves", "a whole number"),
        ({"lambda_l2": "much"}, "lambda_l2", "a number"),
        ({"lambda_l2": float("nan")}, "lambda_l2", "a number"),
        ({"n_estimators": 5}, "n_estimators", "model.rounds"),
        ({"random_state": 5}, "random_state", "model.seed"),
        ({"eta": 0.1, "learning_rate": 0.2}, "learning_rate", "another name of eta"),
        ({"objective": "quantile", "alpha": 1.5}, "alpha", "between 0 and 1"),
        ({"device_type": "gpu"}, "device_type", "none of LightGBM's parameters that a strategy may set"),
        ({"extra_trees": "yes"}, "extra_trees", "true, false"),
    ],
)
def test_what_it_cannot_be_set_to_is_refused(params: dict[str, object], name: str, says: str) -> None:
    """By name, with what is allowed."""
    assert says in refused(params)[name]


def test_the_defaults_may_be_set() -> None:
    """And what other houses call them."""
    assert refused(ModelRule().params) == {}
    assert refused({"objective": "mae", "reg_lambda": 1, "subsample": 0.5, "extra_trees": True}) == {}
