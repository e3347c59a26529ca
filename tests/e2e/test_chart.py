"""The Helm chart: lints, renders what Kubernetes takes, and its configuration is one that sluice takes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness.certificates import Authority
from harness.sluice import REPOSITORY, Sluice
from services.tools import helm, output

CHART = REPOSITORY / "deploy/helm/sluice"
EVERYTHING = [
    "serviceMonitor.enabled=true",
    "prometheusRule.enabled=true",
    "secretName=sluice-secrets",
    "config.daemon.http.token=${file:secrets/token}",
    "config.daemon.http.tls.certificate_file=secrets/tls.crt",
    "config.daemon.http.tls.key_file=secrets/tls.key",
    "serviceMonitor.authorization.credentials.name=sluice-secrets",
    "serviceMonitor.tlsConfig.serverName=sluice",
    "replicas=3",
]


def rendered(*values: str) -> dict[str, Any]:
    """The manifests by kind."""
    sets = [word for value in values for word in ("--set", value)]
    text = output([helm(), "template", "lake", CHART, "--namespace", "x", "--kube-version", "1.30.0", *sets])
    return {manifest["kind"]: manifest for manifest in yaml.safe_load_all(text) if manifest}


def test_helm_finds_nothing_to_say() -> None:
    output([helm(), "lint", "--strict", CHART])
    for mistake in ("replicas=-1", "replica=2", "config.connectors=null", "image.pullPolicy=Sometimes"):
        with pytest.raises(AssertionError):
            rendered(mistake)
    with pytest.raises(AssertionError, match="minItems"):
        output([helm(), "template", "lake", CHART, "--set-json", "networkPolicy.from=[]"])


def test_what_could_not_work_is_refused_with_what_to_set() -> None:
    scraped = ["serviceMonitor.enabled=true", "config.daemon.http.token=a-token-of-some-length"]
    certificate = ["serviceMonitor.enabled=true", "config.daemon.http.tls.certificate_file=tls.crt"]
    local = ["config.connectors[0].name=orders", "config.connectors[0].storage.url=file:///var/lib/sluice/lake"]
    for values, words in (scraped, "serviceMonitor.authorization"), (certificate, "serviceMonitor.tlsConfig"), (local, "extraVolumes"):
        with pytest.raises(AssertionError, match=words):
            rendered(*values)
    rendered(*local, "extraVolumes[0].name=lake", "extraVolumeMounts[0].name=lake", "extraVolumeMounts[0].mountPath=/var/lib/sluice/lake")


def test_what_is_rendered_holds_together() -> None:
    plain, everything = rendered(), rendered(*EVERYTHING)
    assert set(plain) == {"ConfigMap", "Deployment", "Service", "ServiceAccount", "PodDisruptionBudget", "NetworkPolicy"}
    assert set(everything) == set(plain) | {"ServiceMonitor", "PrometheusRule"}
    for manifests in (plain, everything):
        pod = manifests["Deployment"]["spec"]["template"]
        labels = pod["metadata"]["labels"].items()
        for selector in (
            manifests["Deployment"]["spec"]["selector"]["matchLabels"],
            manifests["Service"]["spec"]["selector"],
            manifests["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
            manifests["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        ):
            assert selector and selector.items() <= labels
        container = pod["spec"]["containers"][0]
        assert container["securityContext"]["readOnlyRootFilesystem"] and pod["spec"]["securityContext"]["runAsNonRoot"]
        # daemon.memory is a share of this.
        assert container["resources"]["limits"]["memory"]
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["spec"]["volumes"]}
    assert everything["Deployment"]["spec"]["replicas"] == 3
    probe = everything["Deployment"]["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]["httpGet"]
    assert probe["scheme"] == "HTTPS" == everything["ServiceMonitor"]["spec"]["endpoints"][0]["scheme"].upper()
    assert everything["PrometheusRule"]["spec"] == yaml.safe_load((REPOSITORY / "deploy/monitoring/alerts.yaml").read_text())


def test_a_changed_configuration_rolls_the_pods() -> None:
    first, second = rendered(), rendered("config.daemon.shutdown_timeout=30s")
    annotations = [one["Deployment"]["spec"]["template"]["metadata"]["annotations"] for one in (first, second)]
    assert annotations[0] != annotations[1]


def test_the_drain_has_the_time_it_needs() -> None:
    manifests = rendered()
    timeout = yaml.safe_load(manifests["ConfigMap"]["data"]["connectors.yaml"])["daemon"]["shutdown_timeout"]
    assert manifests["Deployment"]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > int(timeout.removesuffix("s"))


@pytest.mark.parametrize("values", [[], EVERYTHING], ids=["plain", "everything"])
def test_sluice_takes_the_configuration_of_the_chart(binary: Path, tmp_path: Path, values: list[str]) -> None:
    manifests = rendered(*values)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/token").write_text("a-token-of-some-length")
    pair = Authority(tmp_path / "authority").issue("endpoints").read_bytes()
    for name in ("tls.crt", "tls.key"):
        (tmp_path / "secrets" / name).write_bytes(pair)
    sluice = Sluice(tmp_path, {})
    config = sluice.write_text(manifests["ConfigMap"]["data"]["connectors.yaml"])
    container = manifests["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    environment = {variable["name"]: variable["value"] for variable in container["env"]}
    finished = sluice.run("check", "--offline", "--config", config, environment=environment)
    assert finished.code == 0, finished
    assert re.search(r"^listen: 0\.0\.0\.0:9464$", yaml.safe_dump(yaml.safe_load(config.read_text())["daemon"]), re.M)


def test_the_rules_of_the_chart_are_those_of_the_folder() -> None:
    assert (CHART / "alerts.yaml").read_bytes() == (REPOSITORY / "deploy/monitoring/alerts.yaml").read_bytes()
