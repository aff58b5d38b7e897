"""docker-compose.yml cannot be run everywhere; what can be checked without Docker is checked here."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
PARTIES = [f"party{number}" for number in range(4)]
SAMPLE = set(re.findall(r"^([A-Z][A-Z0-9_]*)=", (ROOT / ".env.sample").read_text(), re.MULTILINE))


def test_it_follows_the_compose_specification():
    done = subprocess.run(
        [
            Path(sys.executable).with_name("check-jsonschema"),
            "--builtin-schema",
            "vendor.compose-spec",
            ROOT / "docker-compose.yml",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("service", SERVICES)
def test_what_a_service_refers_to_is_declared(service):
    body = SERVICES[service]
    for other, how in body.get("depends_on", {}).items():
        assert other in SERVICES
        if how["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[other], f"{service} waits for the health of {other}"
    for volume in body.get("volumes", []):
        assert volume.startswith("./") or volume.split(":")[0] in COMPOSE["volumes"]
    assert set(body.get("networks", [])) <= COMPOSE["networks"].keys()


@pytest.mark.parametrize("service", SERVICES)
def test_ports_are_offered_to_this_machine_alone(service):
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[service].get("ports", []))


def test_each_party_has_its_own_volume_environment_and_nothing_of_the_portal():
    for party in PARTIES:
        body = SERVICES[party]
        assert body["volumes"] == [f"{party}:/party"]
        assert body["env_file"] == [f"{party}.env", f"redis/{party}.env"]
        assert "environment" not in body
        assert "data" not in body["networks"], "a party keeps no hand in the portal's database"


@pytest.mark.parametrize("service", SERVICES)
def test_its_command_exists(service):
    command = SERVICES[service].get("command", [])
    if command[:2] == ["python", "-m"]:
        assert importlib.util.find_spec(command[2]) is not None
    elif command[:2] == ["python", "manage.py"]:
        from django.core.management import get_commands

        assert command[2] in get_commands()
    elif "build" in SERVICES[service]:
        pytest.fail(f"{service} runs {command}, which is neither")


def test_every_name_it_sets_is_explained():
    used = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text()))
    for body in SERVICES.values():
        if "build" in body:
            used |= body.get("environment", {}).keys()
    assert used <= SAMPLE


def test_every_name_the_programs_read_is_in_the_sample_and_the_other_way_round():
    reads = re.compile(
        r"""(?:env\.\w+|environ(?:\.get|\.setdefault|\.pop)?)\s*[\[(]\s*["']([A-Z][A-Z0-9_]+)["']"""
    )
    read = set()
    for folder in ("platform", "workers", "providers", "analytics", "mpcnode", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            read |= set(reads.findall(path.read_text()))
    read |= set(reads.findall((ROOT / "gunicorn.conf.py").read_text()))
    of_others = {
        "DJANGO_SETTINGS_MODULE",
        "XDG_CONFIG_HOME",
        "PATH",
        "OPENBLAS_NUM_THREADS",
        "OMP_NUM_THREADS",
        "PROMETHEUS_MULTIPROC_DIR",
        "PYTHONPATH",
        "JAX_PLATFORMS",
    }
    assert read - of_others <= SAMPLE
    only_here = {"POSTGRES_PASSWORD"}
    assert SAMPLE - only_here <= read
