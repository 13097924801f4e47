"""Kills the writers of a table in the middle of their work, 200 times or as often as is said, and holds the table after
each.

python -m bench.soak 200
"""

import random
import sys
import tempfile
from pathlib import Path

from tests.resources.killed_writes import run


def main(kills: int) -> None:
    """Raises AssertionError where the table reads neither as before nor as after the act in which a kill fell."""
    seed = random.randrange(1 << 30)  # noqa: S311  # not for secrets
    print(f"seed {seed}")
    with tempfile.TemporaryDirectory() as scratch:
        fell = run(Path(scratch), kills, seed=seed, say=print)
    print(
        f"{fell.total()} kills: {dict(fell)}; after each the table read as before or as after, and the next run went on"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
