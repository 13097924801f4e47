"""The heartbeat: one small file that an outside watcher can check without this platform.

It holds JSON with `ts` (UTC), `session` and `state`. A watcher alerts when `ts` is older than it expects, for
example: `find heartbeat.json -mmin +1500 | grep -q . && alert`.
"""

import os
import tempfile
from datetime import date, datetime
from pathlib import Path

import msgspec

from quant_assets.errors import DataError
from quant_assets.records import Frozen


class Heartbeat(Frozen, frozen=True):
    """That a run lived at `ts`, on which session it worked and how far it came."""

    ts: datetime
    session: date
    state: str

    def staleness(self, now: datetime) -> float:
        """Seconds since."""
        return (now - self.ts).total_seconds()


def heartbeat(path: Path, *, now: datetime, session: date, state: str) -> None:
    """Replace the file in one step: a reader finds the old beat or the new one, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.json.encode(Heartbeat(ts=now, session=session, state=state)))
            file.flush()
            os.fsync(file.fileno())
        Path(part).chmod(0o644)  # the watcher may be another user
        Path(part).replace(path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def read_heartbeat(path: Path) -> Heartbeat | None:
    """The last beat, or None where there never was one. Raises DataError where the file is not a heartbeat."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Heartbeat)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise DataError(f"{path}: not a heartbeat ({error}); remove it, the next run writes another") from error
