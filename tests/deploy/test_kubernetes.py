"""deploy/kubernetes: every object by its schema, and what must add up between them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from app.config.loading import ConfigError
from tests.deploy.durations import settings_of, stopping

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes"
CONFIGURATION = (FOLDER / "gateway.yaml").read_text()
GIVEN = {"HEADGATE_STORE": "redis://redis:6379", "HEADGATE_KEY_SHA256": "a1" * 32}
KUSTOMIZATION: dict[str, Any] = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
OLDEST = "1.29"  # that docs/kubernetes.md promises
VERSION = kubernetes_validate.latest_version()


def objects(*folders: Path) -> Iterator[dict[str, Any]]:
    for folder in folders:
        for name in yaml.safe_load((folder / "kustomization.yaml").read_text()).get(
            "resources", ()
        ):
            yield from yaml.safe_load_all((folder / name).read_text())


OBJECTS = {
    (one["kind"], one["metadata"]["name"]): one
    for one in objects(FOLDER, *sorted((FOLDER / "components").iterdir()))
}
DEPLOYMENT = OBJECTS["Deployment", "headgate"]["spec"]
POD = DEPLOYMENT["template"]["spec"]
[CONTAINER] = POD["containers"]


@pytest.mark.parametrize("name", OBJECTS)
def test_every_object_follows_its_schema(name: tuple[str, str]) -> None:
    for version in (OLDEST, VERSION):
        kubernetes_validate.validate(OBJECTS[name], version, strict=True)


def test_the_schemas_refuse_a_wrong_word() -> None:
    service = OBJECTS["Service", "headgate"]
    wrong = {**service, "spec": {**service["spec"], "slector": {}}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSION, strict=True)


def test_every_file_is_named_by_a_kustomization() -> None:
    named = {FOLDER / "gateway.yaml"}
    for file in FOLDER.rglob("kustomization.yaml"):
        found = yaml.safe_load(file.read_text())
        named |= {file, *(file.parent / name for name in found.get("resources", ()))}
    assert set(FOLDER.rglob("*.yaml")) == named


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kustomize_puts_it_together_with_all_components(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "kubernetes")
    file = tmp_path / "kubernetes" / "kustomization.yaml"
    components = [f"components/{path.name}" for path in sorted((FOLDER / "components").iterdir())]
    file.write_text(yaml.safe_dump({**KUSTOMIZATION, "components": components}))
    done = subprocess.run(
        ("kubectl", "kustomize", file.parent), capture_output=True, text=True, check=True
    )
    made = {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(done.stdout)}
    for one in made.values():
        kubernetes_validate.validate(one, VERSION, strict=True)
        assert one["metadata"]["namespace"] == "headgate"
    metrics = made["HorizontalPodAutoscaler", "headgate"]["spec"]["metrics"]
    assert [metric["type"] for metric in metrics] == ["Resource", "Pods"]
    mounted = made["Deployment", "headgate"]["spec"]["template"]["spec"]["volumes"][0]
    assert ("ConfigMap", mounted["configMap"]["name"]) in made


def test_a_pod_is_not_killed_while_a_stream_may_still_run() -> None:
    [_, seconds] = CONTAINER["lifecycle"]["preStop"]["exec"]["command"]
    longest = float(seconds) + stopping(settings_of(CONFIGURATION, **GIVEN))
    assert POD["terminationGracePeriodSeconds"] > longest


def test_a_stream_of_a_provider_fits_into_the_grace() -> None:
    settings = settings_of(CONFIGURATION, **GIVEN)
    totals = [p.timeouts.total for p in settings.providers.values() if hasattr(p, "timeouts")]
    assert totals
    assert all(settings.server.shutdown_grace >= total for total in totals)


def test_not_ready_is_noticed_before_listening_ends() -> None:
    probe = CONTAINER["readinessProbe"]
    noticed = probe["periodSeconds"] * probe["failureThreshold"] + probe["timeoutSeconds"]
    assert noticed < float(settings_of(CONFIGURATION, **GIVEN).server.shutdown_delay)


def test_the_ports_are_those_of_the_configuration() -> None:
    server = settings_of(CONFIGURATION, **GIVEN).server
    ports = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
    assert server.management is not None
    assert ports == {"http": server.port, "management": server.management.port}


def test_an_update_and_a_drain_leave_everybody_served() -> None:
    assert DEPLOYMENT["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert OBJECTS["PodDisruptionBudget", "headgate"]["spec"]["maxUnavailable"] == 1
    assert OBJECTS["HorizontalPodAutoscaler", "headgate"]["spec"]["minReplicas"] >= 2
    down = OBJECTS["HorizontalPodAutoscaler", "headgate"]["spec"]["behavior"]["scaleDown"]
    assert down["stabilizationWindowSeconds"] >= 300
    assert down["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 120}]


def test_every_selector_finds_its_pods() -> None:
    labels = DEPLOYMENT["template"]["metadata"]["labels"].items()
    for kind in ("PodDisruptionBudget", "NetworkPolicy"):
        spec = OBJECTS[kind, "headgate"]["spec"]
        selector = spec.get("selector") or spec["podSelector"]
        assert selector["matchLabels"].items() <= labels
    assert OBJECTS["Service", "headgate"]["spec"]["selector"].items() <= labels
    for constraint in POD["topologySpreadConstraints"]:
        assert constraint["labelSelector"]["matchLabels"].items() <= labels


def test_a_pod_may_do_nothing_but_its_work() -> None:
    allowed = CONTAINER["securityContext"]
    assert allowed["readOnlyRootFilesystem"] is True
    assert allowed["allowPrivilegeEscalation"] is False
    assert allowed["capabilities"] == {"drop": ["ALL"]}
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["securityContext"]["runAsUser"] == 10001
    assert POD["automountServiceAccountToken"] is False


def test_the_machines_metadata_is_out_of_reach() -> None:
    rules = OBJECTS["NetworkPolicy", "headgate"]["spec"]["egress"]
    blocks = [to["ipBlock"] for rule in rules for to in rule["to"] if "ipBlock" in to]
    assert blocks
    assert all("169.254.0.0/16" in block["except"] for block in blocks)


def test_no_secret_lies_here_and_without_one_nobody_is_let_in() -> None:
    assert not [kind for kind, _ in OBJECTS if kind == "Secret"]
    assert CONTAINER["envFrom"] == [{"secretRef": {"name": "headgate"}}]
    with pytest.raises(ConfigError, match="HEADGATE_KEY_SHA256"):
        settings_of(CONFIGURATION, HEADGATE_STORE="redis://redis:6379")
