"""Tracking and registry of models: MLflow on SQLite and a local folder, no server, nothing sent anywhere."""

import logging
import os
import tempfile
from collections.abc import Mapping
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION = "champion"
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}


class MlflowRegistry:
    """The ModelRegistry port on a folder: `mlflow.db` and `artifacts/`.

    One experiment and one registered model per strategy.

    To look inside: ``mlflow ui --backend-store-uri sqlite:///<folder>/mlflow.db``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def log(
        self,
        *,
        strategy: str,
        cut: date,
        model_id: str,
        text: str,
        params: Mapping[str, object],
        metrics: Mapping[str, float],
        snapshot: str,
    ) -> str:
        """Track a training run and register its model; return the registry's version, the same again for a model that
        is registered already.
        """
        client = self._client()
        standing = (
            [v for v in client.search_model_versions(f"name = '{strategy}'") if v.tags.get("model_id") == model_id]
            if self._registered(client, strategy)
            else []
        )
        if standing:
            return str(standing[0].version)
        run = client.create_run(
            self._experiment(client, strategy),
            run_name=f"{strategy} {cut}",
            tags={"model_id": model_id, "cut": str(cut)},
        )
        run_id = run.info.run_id
        for name, value in params.items():
            client.log_param(run_id, name, value)
        for name, value in metrics.items():
            client.log_metric(run_id, name, value)
        client.log_text(run_id, snapshot, "snapshot.json")
        self._log_booster(client, run_id, text)
        client.set_terminated(run_id)
        version = client.create_model_version(
            strategy,
            source=f"{run.info.artifact_uri}/model",
            run_id=run_id,
            tags={"model_id": model_id, "cut": str(cut)},
        )
        return str(version.version)

    def promote(self, strategy: str, registry_version: str) -> None:
        """Point the alias `champion` at this version."""
        self._client().set_registered_model_alias(strategy, CHAMPION, registry_version)

    def _client(self) -> "MlflowClient":
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)  # read by MLflow when it is imported
        logging.getLogger("alembic").setLevel(logging.WARNING)
        from mlflow import MlflowClient

        self.folder.mkdir(parents=True, exist_ok=True)
        return MlflowClient(tracking_uri=f"sqlite:///{self.folder.resolve()}/mlflow.db")

    def _experiment(self, client: "MlflowClient", strategy: str) -> str:
        found = client.get_experiment_by_name(strategy)
        return (
            found.experiment_id
            if found
            else client.create_experiment(strategy, artifact_location=(self.folder.resolve() / "artifacts").as_uri())
        )

    def _registered(self, client: "MlflowClient", strategy: str) -> bool:
        """Whether the model had been registered before; it is now."""
        if client.search_registered_models(f"name = '{strategy}'"):
            return True
        client.create_registered_model(strategy)
        return False

    def _log_booster(self, client: "MlflowClient", run_id: str, text: str) -> None:
        """The raw booster in LightGBM's text format, as MLflow's flavor loads it: nothing in the artifact is pickled.

        Not by `mlflow.lightgbm.save_model`, which looks through every package installed here for one version; nor with
        LightGBM itself, which imports scikit-learn.
        """
        from mlflow.models import Model
        from mlflow.pyfunc import add_to_model

        with tempfile.TemporaryDirectory() as scratch:
            folder, data, made_by = Path(scratch), "model.lgb", version("lightgbm")
            (folder / data).write_text(text)
            (folder / "requirements.txt").write_text(f"lightgbm=={made_by}\n")
            model = Model()
            add_to_model(model, loader_module="mlflow.lightgbm", data=data)
            model.add_flavor("lightgbm", lgb_version=made_by, data=data, model_class="lightgbm.basic.Booster")
            model.save(str(folder / "MLmodel"))
            client.log_artifacts(run_id, str(folder), "model")
