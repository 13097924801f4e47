"""The assets, checks and jobs of a lane beside others in one Dagster: each key under the lane's name, each job with it
behind its own, and a tag by which a run finds the ports of its lane.
"""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from quant_assets.errors import ConfigurationError

LANE = "quant/lane"


@dataclass(frozen=True)
class Part:
    """What one lane brings."""

    assets: list[dg.AssetsDefinition]
    checks: list[dg.AssetChecksDefinition]
    jobs: list[Any]
    schedules: list[dg.ScheduleDefinition]
    sensors: list[dg.SensorDefinition]


def called(name: str, lane: str) -> str:
    """A name of the deployment's own lane, in another one."""
    return f"{name}_{lane}" if lane else name


def key(asset: Sequence[str] | str, lane: str) -> dg.AssetKey:
    """The key of an asset of the deployment's own lane, in another one."""
    path = [asset] if isinstance(asset, str) else list(asset)
    return dg.AssetKey([lane, *path] if lane else path)


def in_lane(
    assets: Iterable[dg.AssetsDefinition], checks: Iterable[dg.AssetChecksDefinition], lane: str
) -> tuple[list[dg.AssetsDefinition], list[dg.AssetChecksDefinition]]:
    """Assets and checks with their keys under the lane's name."""
    made, asked = list(assets), list(checks)
    if not lane:
        return made, asked
    keys = {k for a in made for k in (*a.keys, *a.dependency_keys)} | {k.asset_key for c in asked for k in c.check_keys}
    under = {k: key(k.path, lane) for k in keys}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=dg.BetaWarning)
        renamed = [dg.AssetsDefinition(**_renamed(a, under, lane)) for a in made]
        again = [dg.AssetChecksDefinition(**_renamed(c, under, lane)) for c in asked]
    return renamed, again


def _renamed(one: dg.AssetsDefinition, under: Mapping[dg.AssetKey, dg.AssetKey], lane: str) -> dict[str, Any]:
    """What makes the same definition under other keys, with a step of its own name."""
    values = one.with_attributes(asset_key_replacements=under).get_attributes_dict()
    step = one.op
    own = step.with_replaced_properties(
        name=f"{lane}__{step.name}",
    )
    return {**values, "node_def": own}


def chosen(assets: Iterable[dg.AssetKey | str], lane: str) -> dg.AssetSelection:
    """These assets of the deployment's own lane, in another one."""
    return dg.AssetSelection.assets(*(key(a if isinstance(a, str) else a.path, lane) for a in assets))


def tagged(lane: str, **tags: str) -> dict[str, str]:
    """The tags of a job in a lane."""
    return {**tags, LANE: lane} if lane else tags


def lane_of(run: dg.DagsterRun | None, lanes: Iterable[str]) -> str:
    """The lane of a run, by its tag, or by the assets chosen in the UI. Raises ConfigurationError where these are of
    several.
    """
    if run is None:
        return ""
    if LANE in run.tags:
        return run.tags[LANE]
    known = {lane for lane in lanes if lane}
    found = {k.path[0] if k.path[0] in known else "" for k in run.asset_selection or ()}
    if len(found) > 1:
        raise ConfigurationError(f"the assets chosen are of several lanes, {sorted(found)}; choose those of one")
    return found.pop() if found else ""


def by_lane(ports: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Resources that a run takes from its own lane: `ports`, by the lane's name and theirs."""

    def port(name: str) -> dg.ResourceDefinition:
        def opened(context: dg.InitResourceContext) -> Any:
            return ports[lane_of(context.run, ports)][name]

        return dg.ResourceDefinition(resource_fn=opened)

    return {name: port(name) for name in next(iter(ports.values()))}
