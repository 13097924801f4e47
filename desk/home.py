"""Where state lives."""

import os
from pathlib import Path


def home() -> Path:
    """The folder where state lives: $QUANT_HOME, or .quant in the current folder."""
    return Path(os.environ.get("QUANT_HOME", ".quant")).absolute()


def own_deployment(home: Path) -> Path | None:
    """The deployment.yaml in a home or, where the home is a package's .quant, beside it; None where there is none."""
    beside = [home.parent / "deployment.yaml"] if home.name == ".quant" else []
    return next((p for p in (home / "deployment.yaml", *beside) if p.exists()), None)
