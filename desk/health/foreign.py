"""What other people's libraries raise on a damaged home, in a sentence with the file and the way back."""

import errno
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from desk.health.check import way_back

_DISK = {
    errno.ENOSPC: "the disk is full; free some space and run the command again",
    errno.EDQUOT: "the quota is used up; free some space and run the command again",
    errno.EFBIG: "the file would be larger than this user's limit; raise it (ulimit -f) and run the command again",
    errno.EROFS: "the disk is read-only; mount it for writing",
    errno.EACCES: "this user may not; make the file and its folder readable and writable for this user",
    errno.EPERM: "this user may not; make the file and its folder readable and writable for this user",
    errno.EIO: "the disk failed; look at the system's log, then run `quant doctor`",
}
_LIBRARIES = ("sqlalchemy", "polars", "deltalake", "_internal", "pyo3_runtime", "yaml", "msgspec", "json", "dagster")
HISTORY = "dagster"


def sentence(error: BaseException, home: Path) -> str:
    """What happened to which file, and what to do; empty where the error is not about a file of the home."""
    for cause in _causes(error):
        if isinstance(cause, OSError) and cause.errno is not None:
            where = cause.filename or home
            doing = _DISK.get(cause.errno, "`quant doctor` shows what is wrong with the home")
            return f"{where}: {cause.strerror}; {doing}"
        if isinstance(cause, sqlite3.DatabaseError) and not isinstance(cause, sqlite3.ProgrammingError):
            return _database(cause, home)
    if not any(type(cause).__module__.startswith(_LIBRARIES) for cause in _causes(error)):
        return ""
    shown = " ".join(str(error).split())[:300]
    return f"a file of {home} cannot be read ({type(error).__name__}: {shown}); `quant doctor` names it"


def _database(error: sqlite3.DatabaseError, home: Path) -> str:
    if (code := getattr(error, "sqlite_errorcode", 0) & 0xFF) == sqlite3.SQLITE_FULL:
        return f"{home}: {_DISK[errno.ENOSPC]} ({error})"
    if code in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}:
        return f"a database in {home} cannot be written; make its files and folders writable for this user ({error})"
    history = home / HISTORY
    return (
        f"a database in {home} cannot be used ({error}); `quant doctor` names it. Dagster's history holds no money: "
        f"`mv {history} {history}.damaged` begins another; anything else comes back by `{way_back(home)}`"
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and those it came from."""
    seen: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and at not in seen:
        yield at
        seen.append(at)
        at = at.__cause__ or at.__context__
