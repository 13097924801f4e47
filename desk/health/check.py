"""What an examination of a home finds."""

from pathlib import Path

from desk.backup.manifest import last_backup
from quant_assets.records import Frozen

OK, WARN, FAIL = "ok", "warn", "fail"


class Check(Frozen, frozen=True):
    """One part of a home: `state` is ok, warn (to be looked at) or fail (to be mended before the next run), what was
    found, and for what fails the next command.
    """

    name: str
    state: str
    found: str
    next_command: str = ""


def way_back(home: Path, only: str = "") -> str:
    """The command that restores the home, or one file or folder of it."""
    last = last_backup(home)
    folder = last.folder if last and Path(last.folder).is_dir() else "FOLDER"
    return f"quant restore {folder}{f' --only {only}' if only else ''} --by NAME --reason WHY"
