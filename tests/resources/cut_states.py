"""The states in which a power cut may leave a folder, from a recording of what was written.

The model is the least that POSIX promises. Written bytes, by page, are kept or not until the file is synced; a name
that was made, removed or moved is kept or not until its folder is synced; nothing is kept in order. What a file system
keeps beyond that makes fewer states, all of which are among these.
"""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.resources.recorded_writes import File, Folder, Named, Recording

SHARES = (0.0, 0.5, 0.9, 1.0)  # of what was not synced, how much is kept


def cut(recording: Recording, at: int, chance: random.Random, into: Path, keep: float | None = None) -> None:
    """Write one of the states in which a power cut after `at` calls may leave the folder: what was synced, and of all
    else any part, names and bytes each in a share of their own, or in the share `keep`.
    """
    keep_names, keep_bytes = (chance.choice(SHARES) if keep is None else keep for _ in range(2))
    kept: dict[int, bool] = {}
    names: dict[Folder, dict[str, Folder | File]] = {}
    contents: dict[File, bytearray] = {}
    for change in recording.changes:
        if change.at >= at:
            break
        chosen = kept.setdefault(
            change.group, chance.random() < (keep_names if isinstance(change, Named) else keep_bytes)
        )
        if not (chosen or change.durable < at):
            continue
        if isinstance(change, Named):
            entries = names.setdefault(change.folder, dict(change.folder.base))
            if change.what is None:
                entries.pop(change.name, None)
            else:
                entries[change.name] = change.what
        else:
            content = contents.setdefault(change.file, bytearray(change.file.base))
            if not change.content:
                content[:] = content[: change.offset].ljust(change.offset, b"\0")
            else:
                end = change.offset + len(change.content)
                content.extend(bytes(max(0, end - len(content))))
                content[change.offset : end] = change.content
    for path, found in _tree(recording.root, names, into):
        if isinstance(found, Folder):
            path.mkdir()
        else:
            path.write_bytes(contents.get(found, found.base))


def _tree(
    folder: Folder, names: dict[Folder, dict[str, Folder | File]], path: Path
) -> Iterator[tuple[Path, Folder | File]]:
    yield path, folder
    for name, found in names.get(folder, folder.base).items():
        if isinstance(found, Folder):
            yield from _tree(found, names, path / name)
        else:
            yield path / name, found


def whole(recording: Recording, into: Path) -> None:
    """Write the folder as it was when the program ended: by the model, with everything kept."""
    cut(recording, recording.calls, random.Random(0), into, keep=1.0)  # noqa: S311  # not for secrets


def states(recording: Recording, number: int, seed: int, scratch: Path) -> Iterator[tuple[int, Path]]:
    """`number` states, of cuts spread over the whole recording: after how many calls, and the folder as it was left."""
    chance = random.Random(seed)  # noqa: S311  # not for secrets
    for n in range(number):
        at = round((n + chance.random()) * recording.calls / number)
        into = scratch / f"state{n}"
        cut(recording, at, chance, into)
        yield at, into
        shutil.rmtree(into)
