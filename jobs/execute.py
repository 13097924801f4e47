"""Run Dagster jobs in this process, against the home's own instance: what the CLI starts is what the UI shows."""

import os
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from hashlib import sha256
from pathlib import Path

import dagster as dg
from dagster._core.errors import DagsterAssetCheckFailedError  # it has no public name

from desk.workspace import Workspace
from jobs.definitions import build
from jobs.lanes import called, tagged
from quant_assets import durable
from quant_assets.assets import FIRST, LAST, quarter
from quant_assets.errors import FeaturesRefused, HomeDamaged
from quant_assets.ports import Progress, quiet
from quant_assets.stopping import Stopped, check

# what fails is raised, and printed once: Dagster would print it before, with its traceback
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
CONFIG = Path(__file__).parents[1] / "dagster.yaml"
EARLIER = {
    "0c45c6d0d06d5ff50cdf065655bdc3a548afcc759b7e871fc3c942f377ace06f",
    "94a68d49fcdaddd38fc61c1d4bad047dee3dff2b3a691a54a926093d2136892c",
}
"""SHA-256 of the files that earlier releases copied into a home: they are replaced. What a person edited is not."""
PACKED = "quant_assets.platform."  # before the modules of this floor, where they are installed from the wheel
STORAGE = "jobs.event_log"
ALWAYS = {"DAGSTER_EVENT_BATCH_SIZE": "500"}  # what a step reports of its partitions is stored in one transaction
# one planned event an asset, not one a partition; a failed range marks no partition failed
RANGE = {"DAGSTER_EMIT_PARTITION_SUBSET_IN_PLANNED_EVENTS": "1"}


def dagster_home(home: Path) -> Path:
    """The folder of the Dagster instance of a home, with its configuration in place.

    A configuration that an earlier release copied there is replaced; one that a person edited stays, and a line on
    stderr tells what it lacks.
    """
    folder = home / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    configured = folder / "dagster.yaml"
    found = _text(configured) if configured.exists() else None
    if found is None or sha256(found.encode()).hexdigest() in EARLIER or _of_another_install(found):
        durable.write(configured, CONFIG.read_bytes())
    elif STORAGE not in found and "postgres" not in found:
        sys.stderr.write(
            f"{configured}: edited by hand, so it stays; `storage:` of {CONFIG} makes runs several times faster\n"
        )
    os.environ["DAGSTER_HOME"] = str(folder)
    return folder


def _of_another_install(found: str) -> bool:
    """Whether it is the configuration of this release as the repository or the wheel names its modules."""
    ours = CONFIG.read_text()
    return found != ours and found.replace(PACKED, "") == ours.replace(PACKED, "")


def _text(configured: Path) -> str:
    try:
        return configured.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise HomeDamaged(
            f"{configured}: is no text; restore it, or delete it: the next run writes `dagster.yaml` anew"
        ) from error


@contextmanager
def switched(switches: Mapping[str, str]) -> Generator[None]:
    """Set environment variables that Dagster reads at each event, unless the user has set them; restored at the end."""
    ours = {name: value for name, value in switches.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)


class Runner:
    """Jobs of one workspace, run in this process."""

    def __init__(self, ws: Workspace, instance: dg.DagsterInstance, progress: Progress = quiet) -> None:
        self.ws = ws
        self.instance = instance
        self.definitions = build(ws, progress)

    def session(self, job: str, session: date, lane: str = "") -> dict[str, dict[str, object]]:
        """Run a job of a lane for one partition; returns the metadata of each asset, by its name in the lane.

        Raises what the asset raised, and FeaturesRefused where a blocking check failed.
        """
        return self._execute(job, {"dagster/partition": session.isoformat()}, lane=lane)

    def range(
        self, job: str, first: date, last: date, only: Sequence[str] | None = None, lane: str = ""
    ) -> dict[str, dict[str, object]]:
        """Run a job over the sessions of [first, last], in one run; `only` these of its assets, by their names
        below `history`.
        """
        tags = {
            "dagster/asset_partition_range_start": quarter(first).isoformat(),
            "dagster/asset_partition_range_end": quarter(last).isoformat(),
            FIRST: first.isoformat(),
            LAST: last.isoformat(),
        }
        with switched(RANGE):
            return self._execute(job, tags, only, lane)

    def check(self, job: str) -> None:
        """Run a job of checks, which has no partitions."""
        self._execute(job, {})

    def _execute(
        self, job: str, tags: dict[str, str], only: Sequence[str] | None = None, lane: str = ""
    ) -> dict[str, dict[str, object]]:
        definition = self.definitions.resolve_job_def(called(job, lane))
        partition = tags.get("dagster/partition")
        others = tagged(lane, **{k: v for k, v in tags.items() if k != "dagster/partition"})
        chosen = (
            None if only is None else [k for k in definition.asset_layer.executable_asset_keys if k.path[-1] in only]
        )
        try:
            with switched(ALWAYS):
                outcome = definition.execute_in_process(
                    run_config=QUIET,
                    partition_key=partition,
                    instance=self.instance,
                    tags=others,
                    asset_selection=chosen,
                )
        except dg.DagsterExecutionInterruptedError as error:  # the signal came between two stages
            raise Stopped from error
        except DagsterAssetCheckFailedError as error:
            raise FeaturesRefused(
                f"{job}: {error} Nothing was made of it; "
                "`quant features audit` shows the column, session and instrument"
            ) from error
        check()  # Dagster forgets a signal that comes as a run ends
        materialised = [e.step_materialization_data.materialization for e in outcome.get_asset_materialization_events()]
        return {
            m.asset_key.to_user_string().removeprefix(f"{lane}/"): {k: v.value for k, v in m.metadata.items()}
            for m in materialised
            if m.asset_key
        }


@contextmanager
def runner(ws: Workspace, progress: Progress = quiet) -> Generator[Runner]:
    """Opens the home's instance. Long stages report to `progress`."""
    folder = dagster_home(ws.home)
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        yield Runner(ws, instance, progress)
