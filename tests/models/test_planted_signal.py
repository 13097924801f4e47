"""The law on which every number rests: no signal gives no IC, a leak is seen, a signal is found."""

import pytest

from quant_assets.evaluation import ic_estimate, rank_ic
from quant_assets.models.training import out_of_sample, walk_forward
from quant_assets.models.training_set import training_set


def out_of_sample_t(market, strategy, root) -> float:
    """The Newey–West t of the walk-forward IC over the last 80 sessions."""
    frame, _ = training_set(
        market.store(root), market.feature_set, strategy.horizon, market.cuts.of(market.sessions[-1]), universe="liquid"
    )
    splits = walk_forward(frame, market.cuts, count=4, size=20, embargo=strategy.model.embargo)
    return ic_estimate(
        rank_ic(out_of_sample(frame, market.feature_set.features, splits, strategy.model)), strategy.horizon
    ).t


@pytest.mark.parametrize("seed", range(6))
def test_no_signal_no_ic(market, strategy, tmp_path, seed):
    """Without a signal |t| stays below 3, though features and labels are both autocorrelated."""
    assert abs(out_of_sample_t(market(seed=seed), strategy, tmp_path)) < 3


@pytest.mark.parametrize("seed", range(3))
def test_a_leak_is_seen(market, strategy, tmp_path, seed):
    """The label of the session before, whose window overlaps, put into a feature makes the assertion above fail."""
    assert abs(out_of_sample_t(market(seed=seed, leak=True), strategy, tmp_path)) >= 3


@pytest.mark.parametrize("seed", range(3))
def test_a_signal_is_found(market, strategy, tmp_path, seed):
    """A planted signal shows with the right sign."""
    assert out_of_sample_t(market(seed=seed, signal=0.15), strategy, tmp_path) > 3
