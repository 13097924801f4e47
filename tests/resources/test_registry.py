"""The MLflow adapter, once against the real thing."""

from datetime import date

import numpy as np
import pytest

from resources.registry import MlflowRegistry


@pytest.mark.filterwarnings("ignore")  # MLflow's own deprecations are not ours to fix
def test_model_is_tracked_registered_and_aliased_without_pickle(tmp_path, capfd):
    """A booster logged twice is one version, loads by its alias to the same predictions, and nothing is pickled or
    printed.
    """
    import lightgbm as lgb

    values = np.random.default_rng(1).normal(size=(200, 2))
    text = lgb.train(
        {"verbosity": -1, "num_threads": 1, "min_data_in_leaf": 5}, lgb.Dataset(values, values[:, 0]), 3
    ).model_to_string()
    registry = MlflowRegistry(tmp_path / "registry")
    logged = {
        "strategy": "demo",
        "cut": date(2026, 1, 30),
        "text": text,
        "params": {"rounds": 3},
        "metrics": {"ic": 0.1},
        "snapshot": '{"a":1}',
    }
    first = registry.log(model_id="a", **logged)
    assert registry.log(model_id="a", **logged) == first
    second = registry.log(model_id="b", **logged)
    assert second != first
    registry.promote("demo", second)

    client = registry._client()
    champion = client.get_model_version_by_alias("demo", "champion")
    assert (str(champion.version), champion.tags["model_id"]) == (second, "b")
    assert client.get_run(champion.run_id).data.metrics == {"ic": 0.1}
    files = [p for p in (tmp_path / "registry" / "artifacts").rglob("*") if p.is_file()]
    (model,) = [p for p in files if p.name == "model.lgb" and champion.run_id in str(p)]
    assert np.array_equal(
        lgb.Booster(model_file=str(model)).predict(values), lgb.Booster(model_str=text).predict(values)
    )
    from mlflow.lightgbm import load_model  # after the registry has made it quiet

    loaded = load_model(str(model.parent))
    assert np.array_equal(loaded.predict(values), lgb.Booster(model_str=text).predict(values))
    assert not [p for p in files if b"\x80\x04" in p.read_bytes()[:4] or p.suffix in {".pkl", ".pickle", ".skops"}]
    printed = capfd.readouterr()
    assert printed.out + printed.err == ""
