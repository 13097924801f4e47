"""Puts staged files in the place of a home's, by renames alone; what was there is kept beside them.

A plan is written before the first rename and removed after the last. Killed in between, every command refuses the
home, and the same restore again finishes the plan.
"""

import shutil
from pathlib import Path

import msgspec

from quant_assets import durable
from quant_assets.errors import HomeDamaged
from quant_assets.records import Frozen

STAGE = ".restoring"
ASIDE = ".before-"
_PLAN = "plan.json"


class Plan(Frozen, frozen=True):
    """What is put in place, what is moved aside before (paths in the home), and into which folder of the home."""

    backup: str
    aside: str
    puts: tuple[str, ...]
    moves: tuple[str, ...]


def stage_of(home: Path) -> Path:
    """Where files are staged: inside the home, so that a rename never crosses file systems."""
    return home / STAGE


def refuse_half_restored(home: Path) -> None:
    """Raises HomeDamaged where a restore was stopped between its first rename and its last."""
    if (stage_of(home) / _PLAN).exists():
        raise HomeDamaged(
            f"{home}: a restore was stopped in the middle; run the same `quant restore` again, it finishes"
        )


def begin(home: Path, plan: Plan) -> None:
    """Record the plan, durably: from here on the restore can only be finished."""
    durable.write(stage_of(home) / _PLAN, msgspec.json.encode(plan))


def pending(home: Path) -> Plan | None:
    """The plan that was begun and not finished."""
    path = stage_of(home) / _PLAN
    return msgspec.json.decode(path.read_bytes(), type=Plan) if path.exists() else None


def finish(home: Path) -> None:
    """Carry out the plan that was begun, from wherever it was stopped."""
    plan, stage = pending(home), stage_of(home)
    if plan is None:
        return
    aside = home / plan.aside
    durable.make(aside)
    aside.chmod(0o700)
    for name in plan.moves:
        was_put = name in plan.puts and not (stage / name).exists()
        if (home / name).exists() and not was_put:
            _rename(home / name, aside / name)
    for name in plan.puts:
        if (stage / name).exists():
            _rename(stage / name, home / name)
    (stage / _PLAN).unlink()
    durable.sync(stage)
    shutil.rmtree(stage)


def _rename(source: Path, to: Path) -> None:
    durable.make(to.parent)
    source.replace(to)
    durable.sync(to.parent, source.parent)
