import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from serving.manifest import ManifestError, dump, known_part, load, parse, render, save
from serving.seldon import SeldonDeployment
from serving.settings import CHECKOUT, ServingSettings

CRDS = CHECKOUT.parent / "shared" / "crds"


@pytest.fixture
def deployment(settings: ServingSettings) -> SeldonDeployment:
    return render({"v3": 90, "v4": 10}, settings, shadow="v5")


def faults_of(text: str) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        parse(text)
    for fault in caught.value.faults:
        assert fault in str(caught.value)
    return caught.value.faults


def test_a_rendered_manifest_reads_back_as_the_same(deployment: SeldonDeployment, tmp_path: Path) -> None:
    save(deployment, tmp_path / "deployment.yaml")

    assert load(tmp_path / "deployment.yaml") == deployment
    assert deployment.weights == {"v3": 90, "v4": 10}
    assert deployment.shadow is not None and deployment.shadow.name == "v5"


def test_requests_go_straight_to_triton(deployment: SeldonDeployment, settings: ServingSettings) -> None:
    assert deployment.metadata.annotations["seldon.io/no-engine"] == "true"
    graph = deployment.spec.predictors[0].graph
    assert (graph.name, graph.implementation) == (settings.model_name, "TRITON_SERVER")
    assert graph.modelUri == (settings.models / "v3").as_uri()


def test_a_gpu_is_asked_of_the_container_named_like_the_graph(settings: ServingSettings) -> None:
    predictor = render({"v3": 100}, settings.model_copy(update={"triton_gpus": 1})).spec.predictors[0]

    container = predictor.componentSpecs[0].spec.containers[0]
    assert container.name == predictor.graph.name
    assert container.resources is not None and container.resources.limits["nvidia.com/gpu"] == 1


PLACED = {
    "triton_node_selector": {"accelerator": "nvidia"},
    "triton_tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
}


def test_predictors_run_where_the_settings_say(
    settings: ServingSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in PLACED.items():
        monkeypatch.setenv(f"RENTALS_{name.upper()}", json.dumps(value))
    pod = render({"v3": 100}, ServingSettings(home=settings.home)).spec.predictors[0].componentSpecs[0].spec

    assert pod.nodeSelector == PLACED["triton_node_selector"]
    assert [one.model_dump(exclude_unset=True) for one in pod.tolerations] == PLACED["triton_tolerations"]


def test_a_toleration_that_kubernetes_would_not_know_is_told_with_its_path(settings: ServingSettings) -> None:
    wrong = settings.model_copy(update={"triton_tolerations": [{"key": "gpu", "operator": "Exist"}]})
    with pytest.raises(ManifestError, match=r"tolerations\[0\]\.operator"):
        render({"v3": 100}, wrong)


def test_a_predictor_has_the_time_of_the_settings_to_load_its_model(settings: ServingSettings) -> None:
    patient = settings.model_copy(update={"predictor_start_seconds": 600})
    (container,) = render({"v3": 100}, patient).spec.predictors[0].componentSpecs[0].spec.containers

    assert container.startupProbe and container.readinessProbe and container.livenessProbe
    assert container.startupProbe.periodSeconds * container.startupProbe.failureThreshold == 600
    paths = [probe.httpGet.path for probe in (container.startupProbe, container.livenessProbe)]
    assert paths == ["/v2/health/ready", "/v2/health/live"]


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema, closed: a field which it does not name is a fault, as for a strict API server."""
    closed: dict[str, Any] = dict(schema)
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        closed["properties"] = {name: strict(part) for name, part in schema["properties"].items()}
        closed.setdefault("additionalProperties", False)
    if isinstance(schema.get("items"), dict):
        closed["items"] = strict(schema["items"])
    return closed


@pytest.mark.skipif(not CRDS.is_dir(), reason="../shared/crds is not there")
def test_a_rendered_manifest_passes_the_crd_strictly(settings: ServingSettings) -> None:
    deployment = render({"v3": 90, "v4": 10}, settings.model_copy(update=PLACED), shadow="v5")
    definition = yaml.safe_load(next(CRDS.glob("seldondeployments.*.yaml")).read_text())
    (version,) = definition["spec"]["versions"]
    schema = strict(version["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    document = yaml.safe_load(dump(deployment))

    jsonschema.validate(document, schema)

    document["spec"]["predictors"][0]["trafic"] = 1
    with pytest.raises(jsonschema.ValidationError, match="trafic"):
        jsonschema.validate(document, schema)


def test_weights_must_sum_to_100(settings: ServingSettings) -> None:
    with pytest.raises(ManifestError, match=r"sums to 95 \(v3 90, v4 5\); make the weights sum to 100"):
        render({"v3": 90, "v4": 5}, settings)


def test_the_weight_of_a_shadow_does_not_count(deployment: SeldonDeployment) -> None:
    faults = faults_of(
        dump(deployment).replace("shadow: true", "shadow: false").replace("traffic: 0", "traffic: 1")
    )

    assert "sums to 101" in faults[0]


def test_a_misspelt_field_is_named_with_what_was_meant(deployment: SeldonDeployment) -> None:
    faults = faults_of(dump(deployment).replace("implementation:", "implementaton:", 1))

    assert "spec.predictors[0].graph.implementaton: unknown field; did you mean 'implementation'?" in faults
    assert "spec.predictors[0].graph.implementation: field required" in faults


def test_all_faults_are_told_at_once(deployment: SeldonDeployment) -> None:
    text = dump(deployment).replace("traffic: 10", "traffic: 20").replace("name: v4", "name: V_4")
    faults = faults_of(text.replace("spec:\n", "spec:\n  replica: 2\n", 1))

    assert [fault.partition(":")[0] for fault in faults] == [
        "spec.replica",
        "spec.predictors",
        "spec.predictors[1].name",
    ]


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("name: v4", "name: v3", "the name 'v3' is used 2 times"),
        ("shadow: false", "shadow: true", "3 shadows"),
        ("traffic: 90", "traffic: ninety", "spec.predictors[0].traffic: input should be a valid integer"),
        (
            "traffic: 90",
            "traffic: 101",
            "spec.predictors[0].traffic: input should be less than or equal to 100",
        ),
        ("protocol: v2", "protocol: seldon", "spec.protocol: input should be 'v2'"),
        ("kind: SeldonDeployment", "kind: Deployment", "kind: input should be 'SeldonDeployment'"),
    ],
)
def test_each_rule_of_the_webhook_holds(deployment: SeldonDeployment, old: str, new: str, fault: str) -> None:
    assert any(fault in found for found in faults_of(dump(deployment).replace(old, new)))


def test_graph_names_must_not_differ(deployment: SeldonDeployment) -> None:
    document = yaml.safe_load(dump(deployment))
    document["spec"]["predictors"][1]["graph"]["name"] = "other"

    assert any("graph names differ" in fault for fault in faults_of(yaml.safe_dump(document)))


@pytest.mark.parametrize("text", ["a: [", "- a list", ""])
def test_text_that_is_no_manifest_is_refused(text: str) -> None:
    assert len(faults_of(text)) == 1


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"absent\.yaml"):
        load(tmp_path / "absent.yaml")


def test_a_repeated_key_is_told_and_does_not_win(deployment: SeldonDeployment) -> None:
    text = dump(deployment).replace("    traffic: 90", "    traffic: 10\n    traffic: 90")

    (fault,) = faults_of(text)
    assert "'traffic' stands here a second time" in fault and "line " in fault


@pytest.mark.parametrize(
    "text",
    [
        "a: &a {b: *a}",
        "&a {apiVersion: *a, kind: *a, metadata: *a, spec: *a}",
        "a: &a {x: 1}\nb: &b {<<: [*a, *a]}\nc: {<<: [*b, *b]}",
    ],
)
def test_aliases_by_which_a_few_lines_fill_the_memory_are_refused(text: str) -> None:
    (fault,) = faults_of(text)
    assert "aliases are not read here: write the value out (line 1" in fault or "(line 2" in fault


@pytest.mark.parametrize(
    "text",
    ["[" * 20_000, "a: 1" + "0" * 6000, "apiVersion: 2024-99-99", "a: [1,\nb: }", "a: \0", "!!set [x]"],
)
def test_what_is_no_yaml_is_told_in_one_line(text: str) -> None:
    (fault,) = faults_of(text)
    assert fault.startswith("is not ") and "\n" not in fault


def test_a_shadow_with_a_share_is_told(deployment: SeldonDeployment) -> None:
    document = deployment.model_dump(exclude_none=True)
    document["spec"]["predictors"][2]["traffic"] = 5

    assert faults_of(yaml.safe_dump(document)) == [
        "spec.predictors[2].traffic: a shadow gets a copy of all traffic; make its share 0"
    ]


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "correct the path"), (b"a: \xff", "UTF-8"), (b"#" * 1_600_000, "larger than 1500000 bytes")],
)
def test_a_file_that_cannot_be_a_manifest_is_told(tmp_path: Path, content: bytes | None, told: str) -> None:
    path = tmp_path / "deployment.yaml"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ManifestError, match=told):
        load(path)


def test_predictors_run_without_rights_that_they_do_not_need(settings: ServingSettings) -> None:
    pod = render({"v3": 100}, settings).spec.predictors[0].componentSpecs[0].spec
    (container,) = pod.containers

    assert pod.automountServiceAccountToken is False
    assert pod.securityContext is not None and pod.securityContext.runAsNonRoot
    security = container.securityContext
    assert security is not None and security.readOnlyRootFilesystem and not security.allowPrivilegeEscalation
    assert security.capabilities == {"drop": ["ALL"]}
    assert [mount.mountPath for mount in container.volumeMounts] == ["/tmp"]  # noqa: S108


def test_volumes_and_users_that_a_cluster_adds_are_read_over(deployment: SeldonDeployment) -> None:
    document = yaml.safe_load(dump(deployment))
    for predictor in document["spec"]["predictors"]:
        pod = predictor["componentSpecs"][0]["spec"]
        pod["securityContext"] = {"runAsUser": 8888, "fsGroup": 8888}
        pod["volumes"].append({"name": "seldon-podinfo", "downwardAPI": {"defaultMode": 420}})

    assert known_part(document, "the cluster's").weights == deployment.weights
