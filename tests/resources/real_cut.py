"""Cuts the power for real: an ext4 file system in a file is shut down without a flush of its journal while the work
writes to it, mounted again, and checked. Needs root: `unshare -m python -m tests.resources.real_cut FOLDER CUTS SEED`.

What the program had reported by then must be there, what it had not synced is gone or torn as the kernel left it.
"""

import fcntl
import gc
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.resources.cut_work import Undisturbed
from tests.resources.recorded_writes import MARK

SHUTDOWN, WITHOUT_FLUSH = 0x8004587D, 2  # FS_IOC_SHUTDOWN, of ext4 and XFS
SIZE = 64 << 20


def command(*arguments: str | Path) -> None:
    """Run a program that must not fail."""
    subprocess.run([str(a) for a in arguments], check=True, capture_output=True)


def main(folder: Path, cuts: int, seed: int, *flags: str) -> Counter[str]:
    """Cut the power `cuts` times, each in a new file system after a random mark; what the homes were like then."""
    marks = Worker(folder / "undisturbed", flags).wait_for(1_000)
    undisturbed = Undisturbed(folder / "undisturbed", marks)
    chance, ends = random.Random(seed), Counter[str]()  # noqa: S311  # not for secrets
    for n in range(cuts):
        image, mount = folder / f"{n}.img", folder / f"mount{n}"
        mount.mkdir()
        with image.open("wb") as file:
            file.truncate(SIZE)
        command("mkfs.ext4", "-q", "-F", image)
        command("mount", "-o", "loop", image, mount)
        worker = Worker(mount / "home", flags)
        worker.wait_for(chance.randrange(1, len(marks)))
        time.sleep(chance.uniform(0, 0.02))  # into the middle of what comes next
        handle = os.open(mount, os.O_RDONLY)
        fcntl.ioctl(handle, SHUTDOWN, WITHOUT_FLUSH.to_bytes(4, sys.byteorder))
        os.close(handle)
        reported = len(worker.killed())
        command("umount", mount)
        command("mount", "-o", "loop", image, mount)  # the journal is replayed
        try:
            ends[undisturbed.check(mount / "home", reported)] += 1
        finally:
            gc.collect()  # closes the ledger
            command("umount", mount)
            image.unlink()
    return ends


class Worker:
    """The work in a process of its own, and the marks heard of it."""

    def __init__(self, home: Path, flags: Sequence[str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.resources.cut_work", str(home), *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.heard: list[str] = []

    def wait_for(self, marks: int) -> list[str]:
        """The marks, as soon as there are so many or no more can come."""
        assert self.process.stdout
        while len(self.heard) < marks and (line := self.process.stdout.readline()):
            self.heard.append(line.removeprefix(MARK).decode().strip())
        return self.heard

    def killed(self) -> list[str]:
        """All that was heard until it was killed."""
        self.process.kill()
        self.wait_for(1_000)
        self.process.wait()
        return self.heard


if __name__ == "__main__":
    found = main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
    sys.stdout.write(json.dumps(found))
