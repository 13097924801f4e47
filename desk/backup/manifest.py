"""A folder of backups: each file of a home once, named by its SHA-256, and for each backup a manifest that names its
files. A manifest is written last: without one there is no backup, and what was copied is used by the next.

    FOLDER/objects/ab/ab34…      the files
    FOLDER/20261130T221226Z.json the manifest, after a line with its own SHA-256
"""

from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import msgspec

from quant_assets import durable
from quant_assets.errors import ConfigurationError, HomeDamaged
from quant_assets.records import Frozen

_FORM = "%Y%m%dT%H%M%SZ"
POINTER = ".last-backup.json"


class Entry(Frozen, frozen=True):
    """A file of a home by its path, as it was stored; `modified` (ns) and `inode` show whether it was changed since."""

    path: str
    sha256: str
    size: int
    modified: int
    inode: int


class Manifest(Frozen, frozen=True):
    """A backup: of which home, when (UTC), and its files."""

    name: str
    at: datetime
    home: str
    entries: tuple[Entry, ...]


class Pointer(Frozen, frozen=True):
    """Where a home was last backed up to."""

    folder: str
    name: str
    at: datetime


def default_folder(home: Path) -> Path:
    """Beside the home: what deletes the home leaves its backups. Another disk is better: `quant backup --to`."""
    return home.with_name(f"{home.name}.backups")


def object_path(folder: Path, digest: str) -> Path:
    """Where the file with this SHA-256 lies."""
    return folder / "objects" / digest[:2] / digest


def names(folder: Path) -> list[str]:
    """The backups in a folder, oldest first; each is named by its time."""
    return sorted(p.stem for p in folder.glob("*Z.json"))


def time_of(name: str) -> datetime:
    """When a backup was made, UTC."""
    return datetime.strptime(name, _FORM).replace(tzinfo=UTC)


def name_at(moment: datetime) -> str:
    """The name of a backup made at a time."""
    return f"{moment:{_FORM}}"


def chosen(folder: Path, at: str | None) -> str:
    """The backup of that name, or the newest not after that time (None: the newest).

    Raises ConfigurationError with the backups that exist.
    """
    found = names(folder)
    if at in found:
        return at
    try:
        until = datetime.fromisoformat(at) if at else datetime.max.replace(tzinfo=UTC)
    except ValueError as error:
        raise ConfigurationError(
            f"{at!r} is neither a backup in {folder} nor a time (YYYY-MM-DDTHH:MM, UTC); there are "
            f"{', '.join(found[-5:]) or 'none'}"
        ) from error
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    before = [name for name in found if time_of(name) <= until]
    if not before:
        first = f"the first is {found[0]}" if found else "`quant backup` makes one"
        raise ConfigurationError(f"{folder} has no backup{f' from {at} or before' if at else ''}; {first}")
    return before[-1]


def load(folder: Path, name: str) -> Manifest:
    """A manifest. Raises HomeDamaged where it is not as it was written."""
    path = folder / f"{name}.json"
    try:
        digest, _, content = path.read_bytes().partition(b"\n")
        if sha256(content).hexdigest().encode() == digest:
            return msgspec.json.decode(content, type=Manifest)
        wrong = "has other bytes than were written"
    except (OSError, msgspec.MsgspecError) as error:
        wrong = f"cannot be read ({error})"
    others = [other for other in names(folder) if other != name]
    raise HomeDamaged(
        f"{path}: the manifest {wrong}; take another backup with --at, there are {', '.join(others[-5:]) or 'none'}"
    )


def save(folder: Path, manifest: Manifest) -> None:
    """Write a manifest, durably: from then on the backup exists."""
    content = msgspec.json.encode(manifest)
    durable.write(folder / f"{manifest.name}.json", sha256(content).hexdigest().encode() + b"\n" + content)


def last_backup(home: Path) -> Pointer | None:
    """Where the home was last backed up to, if that is known."""
    try:
        return msgspec.json.decode((home / POINTER).read_bytes(), type=Pointer)
    except (OSError, msgspec.MsgspecError):
        return None


def note_backup(home: Path, folder: Path, manifest: Manifest) -> None:
    """Record in the home where its last backup is."""
    noted = Pointer(folder=str(folder), name=manifest.name, at=manifest.at)
    durable.write(home / POINTER, msgspec.json.encode(noted))
