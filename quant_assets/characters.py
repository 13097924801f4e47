"""Text that others wrote, made harmless where it leaves: on a terminal, in Markdown, in a spreadsheet. What is stored
is never changed.
"""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

# Characters that a reader does not see or that act on what is around them: control characters but tab and newline,
# soft hyphens and fillers, zero widths, marks of writing direction, line separators, annotations, tags, and halves of
# surrogate pairs, which no terminal can print.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff\ud800-\udfff]"
)
_MARKDOWN = re.compile(r"[\\`*_{}\[\]()<>#+!|~$^=-]")
_FORMULA = r"^[\s\x00]*[=+\-@\uff1d\uff0b\uff0d\uff20\t\r]"  # full-width ones count in some spreadsheets


def visible(text: str) -> str:
    r"""The text with each hidden character as its escape (`\x1b`, `\u202e`); everything else as it is."""
    return _HIDDEN.sub(lambda found: _escape(found[0]), text)


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def one_line(text: str) -> str:
    r"""`visible`, with line ends and tabs as `\n` and `\t`: a cell of a table never looks like two."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


def markdown(text: str) -> str:
    """The text as Markdown that shows it: no link, image, table or HTML comes of it."""
    return _MARKDOWN.sub(lambda found: f"\\{found[0]}", one_line(text))


def json_text(document: str) -> str:
    """A JSON document with every hidden character as its escape: the same values, safe to print."""
    return _HIDDEN.sub(lambda found: _json_escape(found[0]), document)


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))


def spreadsheet(rows: "pl.DataFrame") -> "pl.DataFrame":
    """The rows as a spreadsheet may open them: a text that it would take for a formula (`=`, `+`, `-` or `@` first,
    also after blanks) has a `'` before it, names of columns too. Columns of numbers and times are as they were.
    """
    import polars as pl

    texts = [pl.col(c) for c, t in rows.schema.items() if t == pl.String]
    guarded = rows.with_columns(
        pl.when(text.str.contains(_FORMULA)).then(pl.concat_str(pl.lit("'"), text)).otherwise(text).name.keep()
        for text in texts
    )
    return guarded.rename({c: f"'{c}" for c in guarded.columns if re.search(_FORMULA, c)})
