"""The deployment files are kept in step with the binary: commands, flags, configuration, endpoints."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from harness.sluice import REPOSITORY, Sluice

UNITS = sorted((REPOSITORY / "deploy").rglob("*.service"))
MANIFESTS = sorted((REPOSITORY / "deploy").rglob("*.yaml"))
DOCKERFILE = REPOSITORY / "Dockerfile"


def unit_arguments(path: Path) -> list[list[str]]:
    """The arguments of sluice in each `Exec…=` line of a systemd unit, without its path."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [shlex.split(line.split("=", 1)[1].lstrip("-+!:@")) for line in text.splitlines() if re.match(r"Exec\w+=", line)]
    return [line[1:] for line in lines if line[0].endswith("sluice")]


def dockerfile_arguments(path: Path) -> list[list[str]]:
    """The arguments of sluice in ENTRYPOINT and CMD (of the form `["…"]`), joined as Docker does."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    words = [word for line in re.findall(r"^(?:ENTRYPOINT|CMD)\s+(\[.*\])", text, re.M) for word in re.findall(r'"([^"]*)"', line)]
    return [words[1:]] if words and words[0].endswith("sluice") else []


def manifest_arguments(path: Path) -> list[list[str]]:
    """The `args:` lists of a Kubernetes manifest, in either style."""
    text = path.read_text(encoding="utf-8")
    flow = [re.findall(r"[^\s,\"'\[\]]+", found) for found in re.findall(r"\bargs:\s*(\[[^\]]*\])", text)]
    block = [re.findall(r"-\s+[\"']?([^\s\"']+)", found) for found in re.findall(r"\bargs:\s*\n((?:\s+-\s+.*\n)+)", text)]
    return flow + block


def test_the_files_are_there() -> None:
    assert UNITS and MANIFESTS and DOCKERFILE.is_file(), "no deploy/*.service, deploy/**/*.yaml or Dockerfile"
    assert all(unit_arguments(path) for path in UNITS)
    assert any(manifest_arguments(path) for path in MANIFESTS)
    assert dockerfile_arguments(DOCKERFILE)


def test_every_command_and_flag_in_them_is_one_of_the_binary(binary: Path, tmp_path: Path) -> None:
    sluice = Sluice(tmp_path, {})
    used = [(path, line) for path in UNITS for line in unit_arguments(path)]
    used += [(path, line) for path in MANIFESTS for line in manifest_arguments(path)]
    used += [(DOCKERFILE, line) for line in dockerfile_arguments(DOCKERFILE)]
    assert used
    for path, (command, *arguments) in used:
        shown = sluice.run(command, "--help")
        assert shown.code == 0, f"{path.name}: `sluice {command}` is no command"
        flags = set(re.findall(r"--[a-z][a-z-]*", shown.out))
        for flag in (argument.split("=")[0] for argument in arguments if argument.startswith("--")):
            assert flag in flags, f"{path.name}: `sluice {command}` has no flag {flag}"


def shipped_configurations() -> list[Path]:
    """The connectors.yaml files among the deployment files."""
    return [path for path in MANIFESTS if re.search(r"^connectors:", path.read_text(encoding="utf-8"), re.M)]


def test_the_configurations_in_them_are_right(binary: Path, tmp_path: Path) -> None:
    shipped = shipped_configurations()
    assert shipped, "no configuration is among the deployment files"
    sluice = Sluice(tmp_path, {})
    secret = tmp_path / "secret"
    secret.write_text("x", encoding="utf-8")
    for path in shipped:
        text = re.sub(r"\$\{file:[^}]+\}", f"${{file:{secret}}}", path.read_text(encoding="utf-8"))
        finished = sluice.run("check", "--offline", "--config", sluice.write_text(text), environment=literals())
        assert finished.code == 0, f"{path.name}: {finished}"


def literals() -> dict[str, str]:
    """The environment that the kustomization gives to the pods."""
    text = "".join(path.read_text(encoding="utf-8") for path in MANIFESTS if path.name == "kustomization.yaml")
    return dict(re.findall(r"^\s+- ([A-Z_0-9]+)=(\S+)$", text, re.M))


@pytest.mark.parametrize("endpoint", ["/healthz", "/readyz"])
def test_probes_ask_the_endpoints_that_there_are(endpoint: str) -> None:
    probes = [probe for path in MANIFESTS for probe in re.findall(r"\bpath:\s*[\"']?(/\w+)", path.read_text(encoding="utf-8"))]
    assert endpoint in probes, f"no manifest has a probe of {endpoint}"
    assert set(probes) <= {"/healthz", "/readyz", "/metrics"}, probes
