"""What a home survives: `python -m bench.chaos_home` tries every damage, kill, and clock step it knows,
then power cuts, and prints a table: kind, points tried, end states.

An end state is right where it is an undisturbed run's, or a refusal in a sentence that names the way back and, once
that was taken, an undisturbed run's.
"""

import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET

CUTS = 500
FILES = {
    "damaged files": "tests/jobs/test_damaged_homes.py",
    "lost ledger or venue": "tests/jobs/test_lost_ledger.py",
    "restores and kills in them": "tests/jobs/test_backup.py",
    "clock steps": "tests/jobs/test_clock_steps.py",
    "actions on orders": "tests/books/test_actions_table.py",
    "found by doctor": "tests/jobs/test_doctor_home.py",
}


def outcomes(file: str) -> Counter[str]:
    """How the cases of a test file ended: right, wrong, skipped."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", file, f"--junitxml={report}", "--tb=short"]
        subprocess.run(command, env={**os.environ, "QUANT_CHAOS": "1"}, check=False)  # our own tests
        cases = ET.parse(report).getroot().iter("testcase")  # noqa: S314  # pytest wrote it a moment ago
        return Counter(_ended(case) for case in cases)


def _ended(case: ET.Element) -> str:
    found = {part.tag for part in case}
    return "wrong" if found & {"failure", "error"} else "skipped" if "skipped" in found else "right"


def main() -> int:
    """Print the table; 1 where an end state was wrong."""
    found = {kind: outcomes(file) for kind, file in FILES.items() if Path(file).exists()}
    print(f"\n{'kind':40} {'tried':>6} {'right':>6} {'wrong':>6} {'skipped':>8}")
    for kind, ended in found.items():
        print(f"{kind:40} {ended.total():6} {ended['right']:6} {ended['wrong']:6} {ended['skipped']:8}")
    print(f"\npower cuts, {CUTS} points:", flush=True)
    cuts = subprocess.run([sys.executable, "-m", "bench.power_cuts", str(CUTS)], check=False)  # our own module
    return int(cuts.returncode != 0 or any(ended["wrong"] for ended in found.values()))


if __name__ == "__main__":
    raise SystemExit(main())
