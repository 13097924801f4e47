"""Builds .venv from requirements.lock, and nothing that is not in it. Needs this interpreter's own library only.

pip, which every venv brings, installs the pinned uv; uv installs the rest and is told what pip was configured
with (index, certificates, proxy), so that a machine needs to be configured once.
"""

from __future__ import annotations  # an older Python must get as far as being told so

import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOCK = ROOT / "requirements.lock"
OLDEST = (3, 11)
OWN = ("quant_assets", "resources", "desk", "jobs")

# pip's setting -> uv's variables and how a list of values is written there
PIP_TO_UV = {
    "index-url": (("UV_DEFAULT_INDEX",), " "),
    "extra-index-url": (("UV_INDEX",), " "),
    "find-links": (("UV_FIND_LINKS",), ","),
    "no-index": (("UV_NO_INDEX",), " "),
    "trusted-host": (("UV_INSECURE_HOST",), " "),
    "timeout": (("UV_HTTP_TIMEOUT",), " "),
    "cert": (("SSL_CERT_FILE",), " "),
    "client-cert": (("SSL_CLIENT_CERT",), " "),
    "proxy": (("HTTPS_PROXY", "HTTP_PROXY"), " "),
}


def uv_environment(pip_config: str) -> dict[str, str]:
    """The environment that tells uv what `pip config list` printed; what stands in the environment wins over files."""
    found: dict[str, str] = {}
    for line in sorted(pip_config.splitlines(), key=lambda text: text.startswith(":env:")):
        match = re.fullmatch(r"(?:global|install|:env:)\.([a-z-]+)=(.*)", line.strip())
        if not match:
            continue
        name, value = match[1].removeprefix("default-"), str(ast.literal_eval(match[2]))
        variables, separator = PIP_TO_UV.get(name, ((), " "))
        found.update(dict.fromkeys(variables, separator.join(value.split())))
    if "UV_INDEX" in found:
        found["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # as pip does it; the hashes of the lock decide what is let in
    return found


def requirement(lock: str, name: str) -> str:
    """The lines of `lock` that pin one package with its hashes."""
    match = re.search(rf"^{re.escape(name)}==.*?(?=^\S|\Z)", lock, re.MULTILINE | re.DOTALL)
    if not match:
        raise SystemExit(f"setup: {LOCK.name} does not pin {name}; make it again with `make lock`")
    return match[0]


def check_interpreter() -> None:
    """Leave with what to install where this Python cannot build the environment."""
    if sys.version_info < OLDEST:
        raise SystemExit(
            f"setup: Python {OLDEST[0]}.{OLDEST[1]} or newer is needed; {sys.executable} is {sys.version.split()[0]}.\n"
            f"       Debian 12 has it as /usr/bin/python3; choose one with `make PYTHON=/usr/bin/python3 …`"
        )
    try:
        import ensurepip  # noqa: F401  # pyright: ignore[reportUnusedImport]  # Debian ships venv without it
        import venv  # noqa: F401  # pyright: ignore[reportUnusedImport]  # either may be missing
    except ImportError as missing:
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        raise SystemExit(
            f"setup: {sys.executable} cannot make virtual environments (no module {missing.name}).\n"
            f"       Debian and Ubuntu: apt-get install python{version}-venv   (or python3-venv)"
        ) from None


def run(*command: str, environment: dict[str, str] | None = None) -> None:
    """Run, showing what it prints. Leaves with its exit code where it fails."""
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:  # our own commands
        for line in process.stderr or ():
            if not line.startswith((" + ", " - ", " ~ ")):  # uv's list of all packages; the downloads stay
                print(f"  {line}", end="", flush=True)
    if process.returncode:
        raise SystemExit(
            f"setup: failed ({process.returncode}): {' '.join(command)}\n"
            "       The environment is incomplete; run the same make target again to go on."
        )


def install() -> None:
    """Everything in the lock, then this project."""
    if not PYTHON.exists():
        run(sys.executable, "-m", "venv", "--clear", str(VENV))
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as pinned:
        pinned.write(requirement(LOCK.read_text(), "uv"))
        pinned.flush()
        run(
            str(PYTHON),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--require-hashes",
            "--no-deps",
            "--requirement",
            pinned.name,
        )
    config = subprocess.run(
        (str(PYTHON), "-m", "pip", "config", "list"), capture_output=True, text=True, check=True
    ).stdout  # our own command
    environment = {**uv_environment(config), **os.environ, "VIRTUAL_ENV": str(VENV)}
    uv = str(VENV / "bin" / "uv")
    run(uv, "pip", "sync", "--require-hashes", "--compile-bytecode", LOCK.name, environment=environment)
    run(
        uv, "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--editable", ".", environment=environment
    )


def compile_own() -> None:
    """Store the bytecode of this project's packages, also where PYTHONDONTWRITEBYTECODE is set.

    Without it, every command compiles every module again: 5 to 10 seconds of CPU for a daily run.
    """
    run(str(PYTHON), "-m", "compileall", "-q", *OWN)


def lend_openmp() -> None:
    """Let LightGBM load where the system has no OpenMP runtime (Debian slim).

    scikit-learn's wheel contains one, under another soname.
    """
    if loads("lightgbm"):
        return
    site = next((VENV / "lib").glob("python*")) / "site-packages"
    bundled = next(iter(site.glob("scikit_learn.libs/libgomp-*")), None)
    if bundled:
        lent = site / "libgomp.so.1"
        lent.write_bytes(
            bundled.read_bytes().replace(
                bundled.name.encode() + b"\0", b"libgomp.so.1".ljust(len(bundled.name) + 1, b"\0")
            )
        )
        (site / "libgomp.pth").write_text(f"import ctypes; ctypes.CDLL({str(lent)!r})\n")
    if not bundled or not loads("lightgbm"):
        raise SystemExit(
            "setup: LightGBM does not load: the OpenMP runtime is missing.\n"
            "       Debian and Ubuntu: apt-get install libgomp1    macOS: brew install libomp"
        )
    print(
        "setup: no OpenMP runtime on this system; LightGBM uses the one from scikit-learn's wheel "
        "(system-wide: apt-get install libgomp1)"
    )


def loads(module: str) -> bool:
    """Whether the environment can import `module`."""
    return (
        subprocess.run((str(PYTHON), "-c", f"import {module}"), capture_output=True, check=False).returncode == 0
    )  # our own command


def main() -> None:
    """Build or update the environment, and say what it cost."""
    check_interpreter()
    packages = len(re.findall(r"^\S+==", LOCK.read_text(), re.MULTILINE))
    free = shutil.disk_usage(ROOT).free / 1e9
    print(
        f"setup: {packages} pinned packages into .venv "
        f"(about 0.5 GB to download, 2.2 GB on disk; {free:.0f} GB free). Once per lock.",
        flush=True,
    )
    started = time.monotonic()
    install()
    compile_own()
    lend_openmp()
    print(f"setup: done in {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
