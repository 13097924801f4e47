"""The installer reads the lock and hands pip's configuration on."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def setup() -> ModuleType:
    """infra/setup.py, which is a script and no package."""
    spec = importlib.util.spec_from_file_location("infra_setup", ROOT / "infra" / "setup.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_uv_is_told_what_pip_was_configured_with(setup: ModuleType) -> None:
    """Index, certificate, links and proxy reach uv; the environment wins over a file; the rest stays with pip."""
    config = """\
:env:.index-url='https://env.example/simple'
global.cert='/etc/ssl/ours.pem'
global.index-url='https://file.example/simple'
global.extra-index-url='\\nhttps://one.example/simple\\nhttps://two.example/simple'
install.find-links='/wheels https://links.example'
global.default-timeout='180'
global.proxy='http://proxy.example:3128'
global.disable-pip-version-check='1'
"""
    assert setup.uv_environment(config) == {
        "UV_DEFAULT_INDEX": "https://env.example/simple",
        "SSL_CERT_FILE": "/etc/ssl/ours.pem",
        "UV_INDEX": "https://one.example/simple https://two.example/simple",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": "/wheels,https://links.example",
        "UV_HTTP_TIMEOUT": "180",
        "HTTPS_PROXY": "http://proxy.example:3128",
        "HTTP_PROXY": "http://proxy.example:3128",
    }


@pytest.mark.parametrize("package", ["uv", "hatchling", "aeventkit"])
def test_the_lock_pins_one_package_with_hashes(setup: ModuleType, package: str) -> None:
    """Exactly one package is cut out of the lock, with at least one hash."""
    lines = setup.requirement(setup.LOCK.read_text(), package).splitlines()
    assert lines[0].startswith(f"{package}==")
    assert len(lines) > 1
    assert all(line.startswith("    --hash=sha256:") for line in lines[1:])


def test_the_lock_names_no_index(setup: ModuleType) -> None:
    """Where packages come from is the machine's affair."""
    assert "://" not in setup.LOCK.read_text()


def test_a_missing_pin_says_what_to_do(setup: ModuleType) -> None:
    """A package that the lock does not pin ends the installation with the next command."""
    with pytest.raises(SystemExit, match="make lock"):
        setup.requirement("a==1 \\\n    --hash=sha256:0\n", "uv")


def test_an_old_python_is_refused(setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interpreter that is too old is named, with the one that is needed."""
    monkeypatch.setattr(sys, "version_info", (3, 10, 0))
    with pytest.raises(SystemExit, match=r"Python 3\.11 or newer"):
        setup.check_interpreter()


def test_setup_stores_all_bytecode(setup: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packages and our own modules are compiled once, at setup, also where Python itself is told to store nothing."""
    commands: list[tuple[str, ...]] = []
    with monkeypatch.context() as patch:
        patch.setattr(setup, "run", lambda *command, **_: commands.append(command))
        patch.setattr(setup, "PYTHON", Path(sys.executable))
        setup.install()
    assert any({"sync", "--compile-bytecode"} <= set(command) for command in commands)
    for package in setup.OWN:
        (tmp_path / package).mkdir()
        (tmp_path / package / "module.py").write_text("X = 1\n")
    monkeypatch.setattr(setup, "ROOT", tmp_path)
    monkeypatch.setattr(setup, "PYTHON", Path(sys.executable))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    setup.compile_own()
    stored = [Path(importlib.util.cache_from_source(str(tmp_path / p / "module.py"))) for p in setup.OWN]
    assert [path for path in stored if not path.exists()] == []


def test_setup_compiles_every_package_that_is_installed(setup: ModuleType) -> None:
    """A package of this repository, a floor of the platform, is one whose bytecode setup stores."""
    packages = {p.parent.name for p in ROOT.glob("*/__init__.py")}
    assert set(setup.OWN) == packages - {"tests"}
