"""The golden market: on every x86-64 the same hashes layer by layer, and the same decisions."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from desk.deployment import load
from desk.golden.market import FOLDER, Golden, expected, first_difference, golden
from desk.golden.processor import processor
from desk.workspace import Workspace
from quant_assets.features.catalogue import find_set
from quant_assets.features.publish import compute
from quant_assets.portable import PROMISED, architecture
from quant_assets.records import frame_hash

pytestmark = pytest.mark.skipif(architecture() != PROMISED, reason=f"bits are promised on {PROMISED} alone")
ALPHA158 = "efea7cafc3b86b74"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Golden]:
    """The market, made once, and what came out."""
    home = tmp_path_factory.mktemp("golden")
    return home, golden(home)


def test_every_layer_has_its_bits(made: tuple[Path, Golden]) -> None:
    """From the simulated rows to the decisions by the stored model; where this fails, the first layer named is the
    place to look.
    """
    _, found = made
    assert first_difference(found, expected()) == ""
    assert found == expected()


def test_the_compiled_factors_have_their_bits(made: tuple[Path, Golden]) -> None:
    """Alpha158, whose loops are compiled for the processor at hand."""
    home, _ = made
    ws, factors = Workspace(home, load(FOLDER / "deployment.yaml")), find_set("alpha158")
    values = compute(ws.store, factors, "golden", ws.cuts, [ws.cuts.calendar.on_or_before(ws.span[1])])
    assert frame_hash(values.select("sid", *factors.features).sort("sid"))[:16] == ALPHA158


def test_the_first_layer_that_differs_is_named() -> None:
    """In the order in which layers are made; the fingerprint moves with any of them."""
    wanted = expected()
    layers = list(wanted.layers)
    for broken in (layers[3], layers[-1]):
        found = msgspec.structs.replace(wanted, layers={**wanted.layers, broken: "0"})
        assert first_difference(found, wanted) == broken
        assert found.fingerprint != wanted.fingerprint
    assert first_difference(msgspec.structs.replace(wanted, last_decision="0"), wanted) == "last decision"


def test_the_processor_is_described() -> None:
    """Each line says something, and NumPy is the one that is loaded."""
    here = processor()
    assert all(here.values())
    assert here["numpy"] == np.__version__
    assert architecture() in {PROMISED, "aarch64"} or here["processor"]
