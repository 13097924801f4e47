"""What this machine is, and which routines the libraries chose on it: where bits differ, the first place to look."""

import ctypes
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np

SETS = ("sse4_2", "avx", "avx2", "fma", "avx512f", "avx512dq", "avx512vl", "avx512_vnni", "avx512_bf16", "sve", "asimd")
LIBRARIES = ("numpy", "polars", "numba", "lightgbm", "polars-talib")


def processor() -> Mapping[str, str]:
    """Names and what they are here: processor, instruction sets, C library, versions and what they dispatch to."""
    model, flags = _cpuinfo(Path("/proc/cpuinfo"))
    return {
        "processor": f"{model or platform.processor() or 'unknown'} ({platform.machine()})",
        "instruction sets": ", ".join(s for s in SETS if s in flags) or "not told by this system",
        "C library": " ".join(platform.libc_ver()) or "unknown",
        "Python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
        "NumPy dispatches": _numpy(),
        "BLAS": _blas(),
    }


def _cpuinfo(path: Path) -> tuple[str, set[str]]:
    """The model's name and the flags of the first processor; empty where the system does not tell."""
    if not path.exists():
        return "", set()
    lines = {
        key.strip(): value.strip()
        for key, _, value in (line.partition(":") for line in path.read_text().split("\n\n")[0].splitlines())
    }
    return lines.get("model name", ""), set((lines.get("flags") or lines.get("Features") or "").split())


def _numpy() -> str:
    """Baseline, and what of the dispatched sets is found and not switched off."""
    found = np.show_config(mode="dicts") or {}
    sets = found.get("SIMD Extensions", {})
    return f"{', '.join(sets.get('baseline', []))}; found {', '.join(sets.get('found', [])) or 'none beyond it'}"


def _blas() -> str:
    """The kernel that OpenBLAS chose, where NumPy brings one: nothing on the decision path calls it."""
    for library in (Path(np.__file__).parent.parent / "numpy.libs").glob("*openblas*"):
        asked = ctypes.CDLL(str(library))
        for name in ("scipy_openblas_get_corename64_", "openblas_get_corename64_", "openblas_get_corename"):
            if hasattr(asked, name):
                core = getattr(asked, name)
                core.restype = ctypes.c_char_p
                return f"OpenBLAS, kernel {core().decode()}"
    return "unknown"
