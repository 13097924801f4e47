"""`quant doctor`: the bits are compared with those of every machine, and the answer says where they part."""

import json

import msgspec
import pytest
import typer

from desk.golden.market import Golden, expected
from jobs.commands import doctor
from quant_assets import portable

BROKEN = msgspec.structs.replace(expected(), layers={**expected().layers, "scores": "0123456789abcdef"})


@pytest.mark.parametrize(
    ("found", "architecture", "code", "said"),
    [
        (expected(), "x86_64", 0, "the same bits as everywhere"),
        (BROKEN, "x86_64", 20, "the bits differ, first in scores"),
        (BROKEN, "aarch64", 0, "this is aarch64, and bits are promised on x86_64 alone"),
    ],
)
def test_the_answer_and_its_exit_code(
    found: Golden, architecture: str, code: int, said: str, monkeypatch, capsys
) -> None:
    """Equal is 0; a difference is 20 and named, but on another architecture it is none that was promised against."""
    monkeypatch.setattr(doctor, "_made", lambda: found)
    monkeypatch.setattr(portable, "architecture", lambda: architecture)
    with pytest.raises(typer.Exit) as end:
        doctor.doctor()
    shown = " ".join(capsys.readouterr().out.split())
    assert (end.value.exit_code, said in shown, found.fingerprint in shown) == (code, True, True)
    assert said in doctor.fingerprint()


def test_json_for_a_script(monkeypatch, capsys) -> None:
    """The machine, what came out, what was expected and where they part, as one document."""
    monkeypatch.setattr(doctor, "_made", lambda: BROKEN)
    with pytest.raises(typer.Exit):
        doctor.doctor(as_json=True)
    answer = json.loads(capsys.readouterr().out)
    assert answer["first_difference"] == "scores"
    assert {"processor", "instruction sets", "numpy", "BLAS"} <= set(answer["machine"])
