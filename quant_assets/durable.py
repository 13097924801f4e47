"""Files that outlive a power cut: written aside, on the disk before they get their name, and the name with them.

A file system may keep a new name without the content, or the content without the name, until it is asked for both.
"""

import os
from pathlib import Path


def write(path: Path, content: bytes) -> Path:
    """Put a file in place whole, replacing what was there: after a power cut the old content is there or the new."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    make(path.parent)
    try:
        part.write_bytes(content)
        return put(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def put(part: Path, path: Path) -> Path:
    """Give a finished file its name, in the same file system, replacing what was there."""
    sync(part)
    part.replace(path)
    sync(path.parent)
    return path


def make(folder: Path, mode: int = 0o777) -> None:
    """A folder of this mode, with its parents, each entered durably in the one above it."""
    missing = [p for p in (folder, *folder.parents) if not p.exists()]
    folder.mkdir(mode, parents=True, exist_ok=True)
    for made in reversed(missing):
        sync(made.parent)


def sync(*paths: Path) -> None:
    """Write the content of files, or the names in folders, to the disk."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
