"""Keep a home of a release: run it with that release's code, and pack it with what that made of one more session.

    git worktree add --detach /tmp/release COMMIT
    .venv/bin/python tests/homes/make.py /tmp/release tests/homes/0.1.0.tar.xz

A home is history, four sessions that were traded, and `next.json`: the ids and figures of the fifth, which was traded
in a copy. Dagster's instance, the model registry and the vendor's cache are left out: each is made again.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

DEPLOYMENT = """\
clock: session
start: 2024-05-21
source: {kind: simulated, first: 2024-01-02, last: 2024-06-28, names: 24, seed: 60, signal: 0.1, splits: 1.0,
         payers: 1.0, delistings: 0.5, listings: 0.6, symbol_changes: 0.6, restatements: 0.02, malformed: 0.003}
strategies:
  - name: small
    universe: {name: small, size: 16, lookback: 10, min_price: 1.0}
    holdings: 8
    model: {rounds: 20, validation: 10, min_sessions: 25,
            params: {objective: regression, num_leaves: 7, learning_rate: 0.1, min_data_in_leaf: 10}}
    limits: {max_weight: 0.2, min_members: 5, max_psi: 9.0, min_coverage: 0.8}
books:
  - {name: research, strategy: small, account: R, capital: "250000"}
  - {name: paper, strategy: small, account: P, capital: "250000", broker: paper, armed: true}
"""
SESSIONS = 4
LEFT_OUT = {"dagster", "mlflow", "vendor", "reports"}
QUERY = {
    "decisions": "select decision_id from decisions where session = '{0}' order by decision_id",
    "fills": "select exec_id, quantity, price, fee from fills where session = '{0}' order by exec_id",
    "nav": "select book, equity, pnl from nav where session = '{0}' and book = 'paper'",
}


def command(release: Path, home: Path, *arguments: str) -> str:
    """What a command of the release prints."""
    environment = {**os.environ, "QUANT_HOME": str(home), "PYTHONPATH": str(release)}
    ran = subprocess.run(
        [sys.executable, "-m", "jobs.cli", *arguments],
        cwd=release,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode not in {0, 10, 20}:
        raise SystemExit(f"quant {' '.join(arguments)}: exit code {ran.returncode}\n{ran.stderr}")
    return ran.stdout


def traded(release: Path, home: Path) -> str:
    """Run the next session; its date."""
    command(release, home, "run", "daily")
    return json.loads(command(release, home, "sql", "select max(session) as d from decisions", "--format", "json"))[0][
        "d"
    ]


def main(release: Path, archive: Path) -> None:
    """Make the home and pack it."""
    with tempfile.TemporaryDirectory() as folder:
        home, copy = Path(folder) / "home", Path(folder) / "copy"
        home.mkdir()
        (home / "deployment.yaml").write_text(DEPLOYMENT)
        command(release, home, "backfill")
        for _ in range(SESSIONS):
            traded(release, home)
        shutil.copytree(home, copy)
        session = traded(release, copy)
        rows = {
            k: json.loads(command(release, copy, "sql", q.format(session), "--format", "json"))
            for k, q in QUERY.items()
        }
        (home / "next.json").write_text(json.dumps({"session": session, **rows}, indent=1))
        with tarfile.open(archive, "w:xz", preset=9) as packed:
            for path in sorted(home.rglob("*")):
                inside = path.relative_to(home)
                if inside.parts[0] not in LEFT_OUT and path.is_file() and path.suffix != ".lock":
                    packed.add(path, str(inside))
    print(f"{archive}: {archive.stat().st_size:,} bytes, {session} is next")  # noqa: T201  # a script


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), Path(sys.argv[2]))
