"""What the wheel holds: one top-level package. `jobs`, `desk` and `resources` are names that others use, so in the
wheel they lie under `quant_assets.platform`, and what names them is written so. In this repository they stay as they
are.
"""

import io
import re
import tempfile
import tokenize
from pathlib import Path
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FLOORS = ("jobs", "desk", "resources")
INSIDE = "quant_assets.platform"
BESIDE = ("dagster.yaml", "requirements.lock")  # read from the folder above `jobs` and `desk`
# in an f-string, what follows a brace is code
_NAMED = re.compile(rf"(?<![\w./{{(])({'|'.join(FLOORS)})\.(?=[A-Za-z_])")
_LEFT_OUT = {"__pycache__"}


class Wheel(BuildHookInterface[BuilderConfig]):
    """Puts the upper floors into the wheel under their new name; an editable install is left alone."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """See Hatchling."""
        if version == "editable":
            return
        self._tree = tempfile.TemporaryDirectory(prefix="wheel-")
        write_tree(Path(self.root), Path(self._tree.name))
        build_data["force_include"][self._tree.name] = INSIDE.replace(".", "/")
        scripts = self.metadata.core.scripts  # the one dictionary from which the entry points are written
        scripts.update({name: moved_names(target) for name, target in scripts.items()})

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002  # Hatchling's
        """See Hatchling."""
        if version != "editable":
            self._tree.cleanup()


def write_tree(root: Path, to: Path) -> None:
    """Write the upper floors and the files that they read beside them, with every name moved.

    Raises ValueError for an import that cannot be moved.
    """
    (to / "__init__.py").write_text('"""The upper floors of the platform, as they are installed."""\n')
    files = [root / name for name in BESIDE]
    for floor in FLOORS:
        files += [p for p in sorted((root / floor).rglob("*")) if p.is_file() and not _LEFT_OUT & set(p.parts)]
    for path in files:
        place = to / path.relative_to(root)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(_moved(path, path.read_bytes()))


def _moved(path: Path, content: bytes) -> bytes:
    if path.suffix == ".py" or path.name.endswith(".py.txt"):
        try:
            return moved_code(content.decode()).encode()
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    return moved_names(content.decode()).encode() if path.suffix in {".txt", ".yaml"} else content


def moved_names(text: str) -> str:
    """The text with each name of a module of these floors as it is in the wheel."""
    return _NAMED.sub(rf"{INSIDE}.\1.", text)


def moved_code(source: str) -> str:
    """Python source with its imports and the modules that its strings name as they are in the wheel.

    Raises ValueError for `import jobs.cli`, which binds a name that the wheel does not have.
    """
    lines = source.splitlines(keepends=True)
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    edits = [edit for n, token in enumerate(tokens) for edit in _edits(lines, tokens, n, token)]
    for row, start, end, text in sorted(edits, reverse=True):
        line = lines[row]
        lines[row] = line[:start] + text + line[end:]
    return "".join(lines)


def _edits(
    lines: list[str], tokens: list[tokenize.TokenInfo], n: int, token: tokenize.TokenInfo
) -> list[tuple[int, int, int, str]]:
    """What changes at a token: the row, from and to which column, and the text in its place."""
    (first, start), (last, end) = token.start, token.end
    if token.type == tokenize.NAME:
        if token.string not in FLOORS or not _begins(tokens, n):
            return []
        if tokens[n - 1].string == "import":
            raise ValueError(f"line {first}: write `from {token.string} import …`; the wheel moves its package")
        return [(first - 1, start, end, f"{INSIDE}.{token.string}")]
    if tokenize.tok_name[token.type] not in {"STRING", "FSTRING_MIDDLE"}:
        return []
    spans = [
        (row, start if row == first - 1 else 0, end if row == last - 1 else len(lines[row]))
        for row in range(first - 1, last)
    ]
    return [(row, a, b, moved_names(lines[row][a:b])) for row, a, b in spans if _NAMED.search(lines[row][a:b])]


def _begins(tokens: list[tokenize.TokenInfo], n: int) -> bool:
    """Whether the name is what a statement imports from, or imports."""
    opened = n >= 2 and tokens[n - 2].type in {
        tokenize.NEWLINE,
        tokenize.NL,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.COMMENT,
        tokenize.ENCODING,
    }
    return n >= 1 and tokens[n - 1].string in {"from", "import"} and (n == 1 or opened)
