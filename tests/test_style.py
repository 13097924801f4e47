"""What can be counted of docs/style.md."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = re.findall(r"^\| `([\w/.]+)` \| (.+?) \| (.+?) \|$", (ROOT / "docs/style.md").read_text(), re.MULTILINE)


def unwrapped(text: str) -> str:
    """Text without the breaks that lines and string literals make."""
    return re.sub(r"\s+", " ", re.sub(r'"\s*\n\s*f?"', "", text))


def test_the_page_has_twenty_examples() -> None:
    """Twenty sentences, before and after."""
    assert len(EXAMPLES) == 20


@pytest.mark.parametrize(("path", "before", "after"), EXAMPLES, ids=lambda text: text[:40])
def test_the_examples_are_real(path: str, before: str, after: str) -> None:
    """Each new sentence is in its file, and each old one is not."""
    text = unwrapped((ROOT / path).read_text())
    assert after in text
    assert before not in text
