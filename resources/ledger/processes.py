"""Which process this is, and whether another one is gone."""

import os
import socket
from pathlib import Path

from quant_assets.records import Frozen

_PROC = Path("/proc")
_UNKNOWN = "unknown"


class Process(Frozen, frozen=True):
    """A process: its host (with its namespace of process ids), the host's boot, its id, and when it was started."""

    host: str
    boot: str
    pid: int
    started: str


def this_process() -> Process:
    """The process that asks."""
    pid = os.getpid()
    return Process(_host(), _boot(), pid, _started(pid) or _UNKNOWN)


def gone(process: Process) -> bool:
    """Whether it is known that a process has ended. Of another host nothing is known.

    Gone: no such process, or another one that got its id, or an earlier boot of this host.
    """
    if process.host != _host():
        return False
    if _UNKNOWN not in {process.boot, _boot()} and process.boot != _boot():
        return True
    if not _exists(process.pid):
        return True
    started = _started(process.pid)
    if started is None:  # a zombie, or the system does not report it
        return _PROC.joinpath("self").exists()
    return process.started not in {_UNKNOWN, started}


def users_of(folder: Path) -> list[int]:
    """The other processes of this machine that have a database in the folder open, as far as this user may see."""
    root, found = str(folder.resolve()), list[int]()
    for process in _PROC.glob("[0-9]*"):
        try:
            files = [str(descriptor.readlink()) for descriptor in process.joinpath("fd").iterdir()]
        except OSError:  # ended meanwhile, or another user's
            continue
        if int(process.name) != os.getpid() and any(f.startswith(f"{root}/") and ".sqlite" in f for f in files):
            found.append(int(process.name))
    return sorted(found)


def _host() -> str:
    """The host's name; containers on one kernel may share it, but not their process ids."""
    try:
        return f"{socket.gethostname()} {_PROC.joinpath('self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


def _boot() -> str:
    try:
        return _PROC.joinpath("sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return _UNKNOWN


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is another user's
    return True


def _started(pid: int) -> str | None:
    """The start of a process in ticks since the boot; None where it has ended or the system does not report it."""
    try:
        text = _PROC.joinpath(str(pid), "stat").read_text()
    except OSError:
        return None
    state, *fields = text.rpartition(")")[2].split()  # what is before it is the name, which may hold anything
    return None if state in {"Z", "X"} else fields[18]  # field 22
