"""Which of LightGBM's parameters a strategy may set, and to what: those of trees and boosting.

LightGBM itself ignores a name that it does not know.

What the rule says by itself (rounds, seed, threads) is not set twice. Of the objectives only those that learn one
number from a rank around zero, which is what a training set's target is.
"""

from collections.abc import Mapping
from difflib import get_close_matches

INFINITE = float("inf")
OBJECTIVES = ("regression", "regression_l1", "huber", "fair", "quantile", "mape")
_OF_OBJECTIVES = {
    "regression": ("regression_l2", "l2", "mean_squared_error", "mse", "l2_root", "root_mean_squared_error", "rmse"),
    "regression_l1": ("l1", "mean_absolute_error", "mae"),
    "mape": ("mean_absolute_percentage_error",),
}
CHOICES: Mapping[str, tuple[str, ...]] = {
    "objective": (*OBJECTIVES, *(a for names in _OF_OBJECTIVES.values() for a in names)),
    "boosting": ("gbdt", "rf", "dart"),
    "data_sample_strategy": ("bagging", "goss"),
    **dict.fromkeys(
        (
            "extra_trees",
            "xgboost_dart_mode",
            "uniform_drop",
            "reg_sqrt",
            "boost_from_average",
            "use_missing",
            "zero_as_missing",
            "enable_bundle",
        ),
        ("true", "false"),
    ),
}
WHOLE: Mapping[str, tuple[int, int]] = {
    "num_leaves": (2, 131_072),
    "max_depth": (-1, 1_000),
    "min_data_in_leaf": (0, 2_147_483_647),
    "bagging_freq": (0, 100_000),
    "max_bin": (2, 65_535),
    "min_data_in_bin": (1, 2_147_483_647),
    "bin_construct_sample_cnt": (1, 2_147_483_647),
    "max_drop": (-1, 100_000),
}
REAL: Mapping[str, tuple[float, float]] = {
    "min_sum_hessian_in_leaf": (0, INFINITE),
    "lambda_l1": (0, INFINITE),
    "lambda_l2": (0, INFINITE),
    "min_gain_to_split": (0, INFINITE),
    "max_delta_step": (-INFINITE, INFINITE),
    "path_smooth": (0, INFINITE),
    "drop_rate": (0, 1),
    "skip_drop": (0, 1),
    "top_rate": (0, 1),
    "other_rate": (0, 1),
}
ABOVE_ZERO: Mapping[str, float] = {
    "learning_rate": INFINITE,
    "bagging_fraction": 1,
    "feature_fraction": 1,
    "feature_fraction_bynode": 1,
    "alpha": INFINITE,
    "fair_c": INFINITE,
}
ALIASES: Mapping[str, str] = {
    **dict.fromkeys(("objective_type", "app", "application", "loss"), "objective"),
    **dict.fromkeys(("boosting_type", "boost"), "boosting"),
    **dict.fromkeys(("shrinkage_rate", "eta"), "learning_rate"),
    **dict.fromkeys(("num_leaf", "max_leaves", "max_leaf", "max_leaf_nodes"), "num_leaves"),
    **dict.fromkeys(("min_data_per_leaf", "min_data", "min_child_samples", "min_samples_leaf"), "min_data_in_leaf"),
    **dict.fromkeys(
        ("min_sum_hessian_per_leaf", "min_sum_hessian", "min_hessian", "min_child_weight"), "min_sum_hessian_in_leaf"
    ),
    **dict.fromkeys(("sub_row", "subsample", "bagging"), "bagging_fraction"),
    "subsample_freq": "bagging_freq",
    **dict.fromkeys(("sub_feature", "colsample_bytree"), "feature_fraction"),
    **dict.fromkeys(("sub_feature_bynode", "colsample_bynode"), "feature_fraction_bynode"),
    "extra_tree": "extra_trees",
    **dict.fromkeys(("max_tree_output", "max_leaf_output"), "max_delta_step"),
    **dict.fromkeys(("reg_alpha", "l1_regularization"), "lambda_l1"),
    **dict.fromkeys(("reg_lambda", "lambda", "l2_regularization"), "lambda_l2"),
    "min_split_gain": "min_gain_to_split",
    "rate_drop": "drop_rate",
    "max_bins": "max_bin",
    "subsample_for_bin": "bin_construct_sample_cnt",
}
NAMES = (*CHOICES, *WHOLE, *REAL, *ABOVE_ZERO)
ELSEWHERE: Mapping[str, str] = {
    **dict.fromkeys(
        (
            "num_iterations",
            "num_iteration",
            "n_iter",
            "num_tree",
            "num_trees",
            "num_round",
            "num_rounds",
            "nrounds",
            "num_boost_round",
            "n_estimators",
            "max_iter",
        ),
        "model.rounds",
    ),
    **dict.fromkeys(("seed", "random_seed", "random_state"), "model.seed"),
    **dict.fromkeys(("num_threads", "num_thread", "nthread", "nthreads", "n_jobs"), "model.threads"),
}


def refused(params: Mapping[str, object]) -> dict[str, str]:
    """By name, why a parameter cannot be set so; empty where all can."""
    found = {name: why for name, value in params.items() if (why := _why(name, value))}
    told: dict[str, str] = {}
    for name in params:
        if (first := told.setdefault(ALIASES.get(name, name), name)) != name:
            found[name] = f"is another name of {first}; keep one"
    if found:
        return found
    objective = {ALIASES.get(k, k): v for k, v in params.items()}.get("objective")
    alpha = params.get("alpha")
    if objective == "quantile" and isinstance(alpha, int | float) and alpha >= 1:
        found["alpha"] = "of a quantile lies between 0 and 1"
    return found


def _why(name: str, value: object) -> str:
    if name in ELSEWHERE:
        return f"is said by {ELSEWHERE[name]}; leave it out here"
    known = ALIASES.get(name, name)
    if known not in NAMES:
        near = get_close_matches(name.lower(), (*NAMES, *ALIASES), n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(NAMES))}"
        return f"is none of LightGBM's parameters that a strategy may set; {hint}"
    if known in CHOICES:
        return _not_chosen(CHOICES[known], str(value).lower() if isinstance(value, bool) else value)
    low, high = WHOLE.get(known) or REAL.get(known) or (0, ABOVE_ZERO.get(known, INFINITE))
    kind = "a whole number" if known in WHOLE else "a number"
    if isinstance(value, bool) or not isinstance(value, int if known in WHOLE else int | float):
        return f"must be {kind}"
    if not low <= value <= high or (known in ABOVE_ZERO and value == 0):
        beyond = "above 0" if known in ABOVE_ZERO else f"from {low:,}"
        return f"must be {kind} {beyond}{'' if high == INFINITE else f' to {high:,}'}; found {value}"
    return ""


def _not_chosen(among: tuple[str, ...], value: object) -> str:
    if value in among:
        return ""
    near = get_close_matches(str(value).lower(), among, n=1)
    return (
        f"{f'did you mean {near[0]}? ' if near else ''}must be one of "
        f"{', '.join(OBJECTIVES if among == CHOICES['objective'] else among)}"
    )
