"""Run Dagster jobs in this process, against the home's own instance: what the CLI starts is what the UI shows."""

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import dagster as dg
from dagster._core.errors import DagsterAssetCheckFailedError  # it has no public name

from desk.workspace import Workspace
from jobs.definitions import build
from quant_assets.errors import FeaturesRefused

QUIET = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}
CONFIG = Path(__file__).parents[1] / "dagster.yaml"


def dagster_home(home: Path) -> Path:
    """The folder of the Dagster instance of a home, with its configuration in place."""
    folder = home / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "dagster.yaml").exists():
        shutil.copyfile(CONFIG, folder / "dagster.yaml")
    os.environ["DAGSTER_HOME"] = str(folder)
    return folder


class Runner:
    """Jobs of one workspace, run in this process."""

    def __init__(self, ws: Workspace, instance: dg.DagsterInstance) -> None:
        self.ws = ws
        self.instance = instance
        self.definitions = build(ws)

    def session(self, job: str, session: date) -> dict[str, dict[str, object]]:
        """Run a job for one partition; returns the metadata of each asset. Raises what the asset raised, and FeaturesRefused where a blocking check failed."""
        return self._execute(job, {"dagster/partition": session.isoformat()})

    def range(self, job: str, first: date, last: date) -> dict[str, dict[str, object]]:
        """Run a job for a range of partitions, in one run."""
        return self._execute(
            job,
            {
                "dagster/asset_partition_range_start": first.isoformat(),
                "dagster/asset_partition_range_end": last.isoformat(),
            },
        )

    def check(self, job: str) -> None:
        """Run a job of checks, which has no partitions."""
        self._execute(job, {})

    def _execute(self, job: str, tags: dict[str, str]) -> dict[str, dict[str, object]]:
        definition = self.definitions.resolve_job_def(job)
        partition = tags.get("dagster/partition")
        others = {k: v for k, v in tags.items() if k != "dagster/partition"}
        try:
            outcome = definition.execute_in_process(
                run_config=QUIET, partition_key=partition, instance=self.instance, tags=others
            )
        except DagsterAssetCheckFailedError as error:
            raise FeaturesRefused(
                f"{job}: {error} Nothing was made of it; `quant audit features` says at which column, session and instrument"
            ) from error
        materialised = [e.step_materialization_data.materialization for e in outcome.get_asset_materialization_events()]
        return {
            m.asset_key.to_user_string(): {k: v.value for k, v in m.metadata.items()}
            for m in materialised
            if m.asset_key
        }


@contextmanager
def runner(ws: Workspace) -> Generator[Runner]:
    """Opens the home's instance."""
    folder = dagster_home(ws.home)
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        yield Runner(ws, instance)
