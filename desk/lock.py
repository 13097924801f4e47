"""One run a home: a file lock that the operating system drops when its process ends, however it ends."""

from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from quant_assets.errors import ConfigurationError, HomeDamaged

LOCK = ".run.lock"
PRIVATE = 0o700


@contextmanager
def only_run(home: Path, seconds: float = 30) -> Generator[None]:
    """Holds the home's lock: two runs never write to one home. The home is its owner's alone from then on.

    Raises ConfigurationError where another run keeps the lock, HomeDamaged where the home cannot be written.
    """
    try:
        home.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
        with suppress(PermissionError):  # another user's: its mode is for that one to decide
            home.chmod(PRIVATE)
        with FileLock(home / LOCK, is_singleton=True).acquire(
            timeout=seconds
        ):  # how long one waits is no part of the lock: runs within runs share it
            yield
    except Timeout as error:
        raise ConfigurationError(
            f"another run works on {home} and did not finish within {seconds:g} s; wait for it, or stop it "
            f"(its lock goes with its process)"
        ) from error
    except OSError as error:
        if error.filename is None or Path(error.filename) not in {home, home / LOCK}:
            raise
        raise HomeDamaged(
            f"{error.filename}: {error.strerror}; nothing was run. Make the home writable for this user (its "
            f"{LOCK} is a file and may be deleted), or set QUANT_HOME"
        ) from error
