"""Where state lives."""

import os
from pathlib import Path


def home() -> Path:
    """The folder where state lives: $QUANT_HOME, or .quant in the current folder."""
    return Path(os.environ.get("QUANT_HOME", ".quant")).absolute()
