"""One run a home: a file lock that the operating system drops when its process ends, however it ends."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from quant_assets.errors import ConfigurationError


@contextmanager
def only_run(home: Path, seconds: float = 30) -> Generator[None]:
    """Holds the home's lock: two runs never write to one home. Raises ConfigurationError where another run keeps it."""
    home.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(home / ".run.lock", is_singleton=True).acquire(
            timeout=seconds
        ):  # how long one waits is no part of the lock: runs within runs share it
            yield
    except Timeout as error:
        raise ConfigurationError(
            f"another run works on {home} and did not finish within {seconds:g} s; wait for it, or stop it "
            f"(its lock goes with its process)"
        ) from error
