"""A program: run sessions of the small deployment in a home. `python -m tests.jobs.stepped HOME SESSION …`"""

import sys
from datetime import date
from pathlib import Path

from tests.jobs.small import live, workspace

if __name__ == "__main__":
    live(workspace(Path(sys.argv[1])), [date.fromisoformat(day) for day in sys.argv[2:]])
