"""The peers' own environments: each is built once per version of its pins, into the user's cache, outside the tree.

    python -m bench.peers.environment [NAME...]        (make bench-peers: all of them; building needs a package index)

A peer is a folder beside this file: requirements.in says what is measured, requirements.txt pins it with hashes, made
in the folder by `uv pip compile --generate-hashes --no-header --no-annotate --no-emit-index-url requirements.in -o
requirements.txt`.
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from infra.setup import uv_environment

PEERS = Path(__file__).parent


def cache() -> Path:
    """Where the benchmarks keep what is made once: the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "quant-assets"


def peer_python(name: str) -> Path:
    """The interpreter of the peer's environment, which is built first where these pins have none.

    Raises CalledProcessError, after uv's own words, where that fails.
    """
    pins = PEERS / name / "requirements.txt"
    home = cache() / f"{name}-{hashlib.sha256(pins.read_bytes()).hexdigest()[:12]}"
    ready, uv = home / "ready", str(Path(sys.executable).with_name("uv"))
    if not ready.exists():
        config = subprocess.run(
            (sys.executable, "-m", "pip", "config", "list"), capture_output=True, text=True, check=True
        ).stdout  # our own command
        environment = {**uv_environment(config), **os.environ, "VIRTUAL_ENV": str(home)}
        subprocess.run(
            (uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(home)), check=True, env=environment
        )  # our own command
        subprocess.run(
            (uv, "pip", "install", "--quiet", "--require-hashes", "--requirement", str(pins)),
            check=True,
            env=environment,
        )  # our own command
        ready.touch()
    return home / "bin" / "python"


def main() -> None:
    """Build the environments named, or all, and print where each one's interpreter is."""
    known = sorted(pins.parent.name for pins in PEERS.glob("*/requirements.txt"))
    wanted = sys.argv[1:] or known
    if unknown := sorted(set(wanted) - set(known)):
        raise SystemExit(f"bench: no peer {', '.join(unknown)}; there are {', '.join(known)}")
    for name in wanted:
        print(f"{name:8} {peer_python(name)}", flush=True)


if __name__ == "__main__":
    main()
