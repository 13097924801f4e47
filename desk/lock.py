"""One run a home: a file lock that the operating system drops when its process ends, however it ends. A long range
steps aside for every other run, between two pieces of its work.
"""

from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic

from filelock import FileLock, Timeout

from quant_assets.errors import ConfigurationError, HomeDamaged
from quant_assets.ports import Progress
from quant_assets.stopping import check, divisible

LOCK = ".run.lock"
WANTED = ".wanted.lock"  # held by every run but a range, also while it waits: a range looks at it
PRIVATE = 0o700
QUEUED_SECONDS = 900.0  # how long a day waits for the run before it: sessions missed are caught up in order
POLL = 1.0  # seconds between two looks at whether a signal came


@contextmanager
def only_run(home: Path, seconds: float = 30) -> Generator[None]:
    """Holds the home's lock: two runs never write to one home. The home is its owner's alone from then on. A range
    that holds the lock gives it up at its next safe point.

    Raises ConfigurationError where another run keeps the lock, HomeDamaged where the home cannot be written.
    """
    until = monotonic() + seconds
    with _held(home, WANTED, seconds), _held(home, LOCK, max(until - monotonic(), 0.0), seconds):
        yield


@contextmanager
def only_range(home: Path, seconds: float = 30) -> Generator[None]:
    """Holds the home's lock for a long range, which calls `step_aside` where it may be interrupted. Raises as
    `only_run` does.
    """
    with _held(home, LOCK, seconds):
        yield


def step_aside(home: Path) -> bool:
    """Where a range of this process holds the home's lock and another run wants it: let that one run to its end, and
    take the lock again. Whether somebody was let go first.

    Nothing happens in other runs, and inside work that is undivided. Raises Stopped where a signal asks for it.
    """
    lock, wanted = _lock(home, LOCK), _lock(home, WANTED)
    if not lock.is_locked or wanted.is_locked or not divisible():
        return False
    with suppress(Timeout), wanted.acquire(timeout=0):
        return False
    depth = lock.lock_counter
    lock.release(force=True)
    while True:
        with suppress(Timeout), wanted.acquire(timeout=POLL):  # it is free once the run is over, not before
            for _ in range(depth):
                lock.acquire(timeout=-1)
            return True
        check()


def stepping(home: Path, progress: Progress) -> Progress:
    """The progress of a range, which steps aside at each tick."""

    def tick(done: int, total: int, what: str) -> None:
        step_aside(home)
        progress(done, total, what)

    return tick


def _lock(home: Path, name: str) -> FileLock:
    return FileLock(home / name, is_singleton=True)


@contextmanager
def _held(home: Path, name: str, seconds: float, asked: float | None = None) -> Generator[None]:
    """Holds one of the home's locks; `asked`: how long the caller was to wait in all."""
    try:
        home.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
        with suppress(PermissionError):  # another user's: its mode is for that one to decide
            home.chmod(PRIVATE)
        with _lock(home, name).acquire(timeout=seconds):  # how long one waits is no part of the lock
            yield
    except Timeout as error:
        raise ConfigurationError(
            f"another run works on {home} and did not finish within {seconds if asked is None else asked:g} s; wait "
            f"for it, or stop it (its lock goes with its process)"
        ) from error
    except OSError as error:
        if error.filename is None or Path(error.filename) not in {home, home / name}:
            raise
        raise HomeDamaged(
            f"{error.filename}: {error.strerror}; nothing was run. Make the home writable for this user (its "
            f"{name} is a file and may be deleted), or set QUANT_HOME"
        ) from error
