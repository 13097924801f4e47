"""What the command line prints: numbers in their formats, columns that fit, commands in the order of a day."""

import pytest

from jobs import console
from jobs.cli import PANELS, InOrder, app
from jobs.console import FORMATS, number


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("equity", 1013257.2, "1,013,257.20"),
        ("pnl", -8831.375, "-8,831.38"),
        ("coverage", 0.985, "98.5%"),
        ("ic", 0.05512, "0.0551"),
        ("ic_t", -0.85, "-0.85"),
        ("rows", 148127.0, "148,127"),
        ("breaks_open", 0, "0"),
        ("some_ratio", 0.1234567, "0.123457"),
        ("first", "2025-06-02", "2025-06-02"),
    ],
)
def test_a_number_has_the_format_of_its_name(name: str, value: object, text: str) -> None:
    """Money in cents, shares in per cent, counts whole; text as it is."""
    assert number(name, value) == text


def test_no_number_has_two_formats() -> None:
    """Each name is in one place."""
    names = [name for group in FORMATS.values() for name in group]
    assert len(names) == len(set(names))


def test_stages_fit_the_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Many numbers are folded in their own column: no line is longer than the terminal, and none is lost."""
    monkeypatch.setattr(console, "console", console.Console(width=80))
    numbers = ", ".join(f"n{i} {i}" for i in range(60))
    console.console.print(console._stages([("done", "a_stage", numbers), ("refused", "another", "why")]))
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert all(f"n{i} {i}" in " ".join(out.split()) for i in range(60))


def test_help_has_every_command_in_its_order() -> None:
    """The panels name each command once, and `--help` lists them so."""
    listed = [name for commands in PANELS.values() for name in commands]
    known = {c.name for c in app.registered_commands} | {g.name for g in app.registered_groups}
    assert len(listed) == len(set(listed))
    assert set(listed) == known
    assert InOrder.list_commands(InOrder(), None) == listed
