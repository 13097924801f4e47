"""Text that others wrote is shown, never obeyed: on a terminal, in JSON, Markdown, pages and spreadsheets."""

import json
import unicodedata
from decimal import Decimal
from pathlib import Path

import markupsafe
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from jobs import console
from quant_assets.characters import json_text, markdown, one_line, spreadsheet, visible
from quant_assets.pages import rendering

HOSTILE = "a\x1b[31mred\x1b]0;title\x07\x9b1m\u202egnp\u2066\u200b\ufeff\u2028\r\x00\ud800z"
ACTS = {"Cc", "Cf", "Cs", "Zl", "Zp"}


@given(st.text(st.characters(), max_size=40))
def test_no_character_that_acts_is_left(text: str) -> None:
    """Whatever Unicode calls a control or format character is an escape; what can be seen stays."""
    shown = visible(text)
    assert not {c for c in shown if unicodedata.category(c) in ACTS} - {"\n", "\t"}
    assert "\n" not in one_line(text)
    if shown != text:
        assert "\\" in shown


@pytest.mark.parametrize("text", ["Müller & Söhne", "日本取引所", "ΔΣ ≤ 1", "a\tb\nc", "\\x1b", "Ünïcode 🚀", "שלום"])
def test_what_can_be_seen_is_as_it_was(text: str) -> None:
    """Names of companies in any script, and text that is an escape already."""
    assert visible(text) == text


@given(st.text(max_size=40))
def test_a_json_document_keeps_its_values(text: str) -> None:
    """Escapes of JSON are the same value to a script."""
    document = json.dumps({"x": text}, ensure_ascii=False)
    assert json.loads(json_text(document)) == {"x": text}


def printed(capsys: pytest.CaptureFixture[str], *, colour: bool) -> str:
    """What reached the terminal, without the colours that the console itself sends."""
    out = capsys.readouterr().out
    if colour:
        for style in ("\x1b[1m", "\x1b[0m", "\x1b[2m", "\x1b[3m", "\x1b[2;39m", "\x1b[92m", "\x1b[31m", "\x1b[1;31m"):
            out = out.replace(style, "")
    return out


@pytest.mark.parametrize("width", [200, 60])  # a table, and a block for each row
@pytest.mark.parametrize("colour", [False, True])
def test_a_terminal_gets_no_command_of_a_vendor(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int, *, colour: bool
) -> None:
    """Cells, names of columns, titles, sentences and markup in any of them."""
    monkeypatch.setattr(
        console,
        "console",
        console.Terminal(width=width, force_terminal=colour, color_system="standard" if colour else None),
    )
    rows = pl.DataFrame({"[/x]": ["[bold]b[/]", ":bomb:"], f"c{HOSTILE[:-2]}": [HOSTILE[:-2], "[/]"], "n": [1.5, 2]})
    console.frame(rows, "table", title=HOSTILE)
    console.say(f"[bold]{console.escape(HOSTILE)}[/]")
    console.say(f"{HOSTILE} [/nothing]")
    console.table([{"[/y]": HOSTILE}])
    console.console.print(Text(HOSTILE))
    out = printed(capsys, colour=colour)
    assert not {c for c in out if unicodedata.category(c) in ACTS} - {"\n"}, ascii(out)
    for shown in ("[/x]", "[bold]b[/]", ":bomb:", "[/y]", "\\x1b", "\\u202e"):
        assert shown in out.replace("\n", "").replace(" ", "")


def test_json_and_csv_are_safe_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """JSON has escapes, whoever reads it; a CSV on a terminal is shown, on a pipe it is exact."""
    rows = pl.DataFrame({"a": ["\x1b[31m\u202e\x9b"]})
    console.frame(rows, "json")
    text = capsys.readouterr().out
    assert text.isascii()
    assert json.loads(text) == rows.to_dicts()
    console.frame(rows, "csv")
    assert capsys.readouterr().out == rows.write_csv()
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    console.frame(rows, "csv")
    assert capsys.readouterr().out.isascii()


def test_markdown_shows_the_text() -> None:
    """No image is fetched, no link made, no row of a table added."""
    text = "![x](http://evil.example/p.png) | <img src=x> `a` \n\n# b"
    assert not {"![", "](", "<img", "| <", "\n"} & set(markdown(text).split("\\"))
    assert "\\!\\[x\\]\\(http://evil.example/p.png\\)" in markdown(text)
    assert "\n" not in markdown(text)


def test_a_page_shows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a template prints is escaped and shown; what the pages draw themselves is as it is."""
    (tmp_path / "shown" / "templates").mkdir(parents=True)
    (tmp_path / "shown" / "__init__.py").touch()
    (tmp_path / "shown" / "templates" / "a.html.j2").write_text("{{ a }}{{ b }}")
    monkeypatch.syspath_prepend(tmp_path)
    shown = rendering.render("a.html.j2", {"a": "<b>\u202e\x1b", "b": markupsafe.Markup("<i>")}, "shown")
    assert shown == "&lt;b&gt;\\u202e\\x1b<i>"


CELLS = [
    ("=1+1", "'=1+1"),
    ("+1", "'+1"),
    ("-1", "'-1"),
    ("@SUM(A1)", "'@SUM(A1)"),
    ("\t=1", "'\t=1"),
    ("\r=1", "'\r=1"),
    ("  =cmd|' /C calc'!A0", "'  =cmd|' /C calc'!A0"),
    ("\uff1d1+1", "'\uff1d1+1"),
    ("a=1", "a=1"),
    ("BRK-B", "BRK-B"),
    ("", ""),
    (None, None),
]


@pytest.mark.parametrize(("cell", "guarded"), CELLS)
def test_a_cell_that_a_spreadsheet_would_run_is_a_text(cell: str | None, guarded: str | None) -> None:
    """Of columns of text only: a negative number is a number."""
    rows = pl.DataFrame({"t": pl.Series([cell], dtype=pl.String), "n": [-1.5], "d": [Decimal("-2.50")]})
    assert spreadsheet(rows).row(0) == (guarded, -1.5, Decimal("-2.50"))


def test_names_of_columns_are_guarded_too() -> None:
    """A header is a cell."""
    assert spreadsheet(pl.DataFrame({"=1": [1], "a": [2]})).columns == ["'=1", "a"]
