"""The units and images run with what they need and no more: read from the files, and scored by systemd where it is."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
UNITS = sorted((ROOT / "infra" / "systemd").glob("*.service"))
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "infra" / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
EXPOSURE = 1.5  # of 10; the units of before had 8.5 and 9.2
REQUIRED = {
    "UMask": "0077",
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "CapabilityBoundingSet": "",
    "RestrictNamespaces": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectControlGroups": "yes",
    "SystemCallArchitectures": "native",
    "LimitCORE": "0",
}


def unit(path: Path) -> dict[str, str]:
    """The keys of [Service]; of a key that is repeated the last."""
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # pyright: ignore[reportAttributeAccessIssue]  # names as they are written
    parser.read(path)
    return dict(parser["Service"])


@pytest.mark.parametrize("path", UNITS, ids=lambda p: p.stem)
def test_a_unit_has_what_hardens_it(path: Path) -> None:
    """As its own user, with memory and tasks bounded; what it may write is the home."""
    found = unit(path)
    assert {k: found.get(k) for k in REQUIRED} == REQUIRED
    assert found["User"] == "quant"
    assert {"MemoryMax", "TasksMax", "SystemCallFilter", "RestrictAddressFamilies"} <= found.keys()
    assert found.get("ReadWritePaths", "/var/lib/quant") == "/var/lib/quant"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("path", UNITS, ids=lambda p: p.stem)
def test_systemd_scores_a_unit_as_safe(path: Path) -> None:
    """`systemd-analyze security` gives 0 to what can do nothing, 10 to what can do everything."""
    scored = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--no-pager", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    (exposure,) = re.findall(r"exposure level for \S+: ([\d.]+)", scored.stdout)
    assert float(exposure) <= EXPOSURE


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_has_what_hardens_it(name: str) -> None:
    """No capability, no new privilege, nothing writable but its volumes, not root, bounded, and watched."""
    found = SERVICES[name]
    assert found["read_only"] is True
    assert found["cap_drop"] == ["ALL"]
    assert found["security_opt"] == ["no-new-privileges:true"]
    assert found["user"] not in {"root", "0", "0:0"}
    assert {"mem_limit", "cpus", "pids_limit", "healthcheck"} <= found.keys()
    assert "privileged" not in found
    assert not any("docker.sock" in str(v) for v in found.get("volumes", []))


def test_images_are_named_by_their_digests_and_secrets_are_not_in_files() -> None:
    """The person who builds names the digest; a value that is secret comes from the environment or is missing."""
    dockerfile = (ROOT / "infra" / "Dockerfile").read_text()
    assert re.findall(r"^FROM (.*)$", dockerfile, re.MULTILINE) == ["${PYTHON_IMAGE}"]
    assert "*@sha256:*" in dockerfile
    assert "USER 10001:10001" in dockerfile
    for found in SERVICES.values():
        assert found.get("image", "${IMAGE:?}").startswith("${")
        assert ":?" in found.get("image", ":?")
        for key, value in found["environment"].items():
            if re.search("PASSWORD|TOKEN|URL|SECRET", key):
                assert "${" in value
    example = (ROOT / "infra" / "systemd" / "quant.env.example").read_text()
    assert not re.search(r"^[^#]*(PASSWORD|TOKEN|URL|SECRET)=\S", example, re.MULTILINE)


def test_records_are_reached_by_nobody_else() -> None:
    """PostgreSQL publishes no port and is on a network of its own."""
    assert "ports" not in SERVICES["postgres"]
    assert SERVICES["postgres"]["networks"] == ["records"]
    assert COMPOSE["networks"]["records"] == {"internal": True}
