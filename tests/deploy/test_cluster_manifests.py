"""The rendered manifests are whole, and each way to break them is refused."""

import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.__main__ import faults_of, main
from deploy.rendering import KUBERNETES, RenderingError, is_champion, overlays, render, write
from deploy.rules import pods_of
from flows import settings_file
from serving.kubernetes import PATH
from serving.manifest import ManifestError
from serving.settings import CHECKOUT, ServingSettings

Document = dict[str, Any]


def one(documents: list[Document], kind: str, name: str) -> Document:
    (found,) = (each for each in documents if (each["kind"], each["metadata"]["name"]) == (kind, name))
    return found


def container(document: Document) -> Document:
    (pods,) = pods_of(document)
    return pods.spec["containers"][0]


def test_every_overlay_is_without_fault(overlay: tuple[str, list[Document]]) -> None:
    name, documents = overlay

    assert name in overlays()
    assert list(faults_of(documents)) == []


def test_a_model_is_served_as_the_settings_of_the_overlay_say(overlay: tuple[str, list[Document]]) -> None:
    name, documents = overlay
    (champion,) = filter(is_champion, documents)
    (predictor,) = champion["spec"]["predictors"]

    assert (predictor["name"], predictor["traffic"]) == ("v3", 100)
    assert predictor["graph"]["modelUri"] == "pvc://rentals/models/v3"
    limits = container(champion)["resources"]["limits"]
    assert ("nvidia.com/gpu" in limits) == (name == "gpu")
    assert ("tolerations" in predictor["componentSpecs"][0]["spec"]) == (name == "gpu")


def test_the_settings_of_a_person_do_not_get_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RENTALS_REPLICAS", "7")
    monkeypatch.setenv("RENTALS_TRITON_MEMORY", "1Ti")
    settings = settings_file.read(KUBERNETES / "overlays" / "cpu" / "settings.env", ServingSettings)

    assert (settings.replicas, settings.triton_memory) == (2, "2Gi")


def test_own_images_come_from_the_registry_with_the_tag(documents: list[Document]) -> None:
    images = {
        each["image"]
        for document in documents
        for pods in pods_of(document)
        for each in pods.spec["containers"]
    }

    assert images == {
        "registry.test/r/rentals-api:1.2.3",
        "registry.test/r/rentals-flows:1.2.3",
        "registry.test/r/rentals-feedback:1.2.3",
        ServingSettings().triton_image,
        "redis:7.2.11-bookworm",
    }


def test_what_rollouts_change_is_apart_from_what_is_applied_again(
    documents: list[Document], tmp_path: Path
) -> None:
    platform, champion = (list(yaml.safe_load_all(path.read_text())) for path in write(documents, tmp_path))

    assert [each["metadata"]["name"] for each in champion] == ["rentals"]
    assert len(platform) == len(documents) - 1 and not any(map(is_champion, platform))
    assert platform[0]["kind"] == "Namespace"


def set_in(document: Document, path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for key in parents:
        document = document[int(key)] if isinstance(document, list) else document[key]
    document[last] = value


SERVICE_MONITOR = {
    "apiVersion": "monitoring.coreos.com/v1",
    "kind": "ServiceMonitor",
    "metadata": {"name": "api"},
    "spec": {},
}
SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"password": "cGFzcw=="}}
PASSWORD = {"name": "REDIS_PASSWORD", "value": "hunter2"}
ALL_RIGHTS = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
API = "spec.template.spec"

BROKEN: dict[str, tuple[Callable[[list[Document]], Any], str]] = {
    "an unknown kind": (
        lambda all_: all_.append(SERVICE_MONITOR),
        r"ServiceMonitor/api: kind monitoring.coreos.com/v1/ServiceMonitor is not known",
    ),
    "an old version of a kind": (
        lambda all_: set_in(one(all_, "Deployment", "api"), "apiVersion", "apps/v1beta2"),
        r"kind apps/v1beta2/Deployment is not known",
    ),
    "a misspelt field": (
        lambda all_: set_in(one(all_, "Deployment", "api"), "spec.replica", 2),
        r"Deployment/api: spec: Additional properties.*'replica'",
    ),
    "a field of a wrong type": (
        lambda all_: set_in(container(one(all_, "Deployment", "api")), "ports.0.containerPort", "http"),
        r"containerPort: 'http' is not of type",
    ),
    "a required field that is missing": (
        lambda all_: container(one(all_, "StatefulSet", "redis")).pop("name"),
        r"StatefulSet/redis: .*'name' is a required property",
    ),
    "an empty value": (
        lambda all_: set_in(one(all_, "NetworkPolicy", "api"), "spec.ingress", None),
        r"NetworkPolicy/api: spec.ingress: is empty",
    ),
    "a misspelt field of Seldon's": (
        lambda all_: set_in(one(all_, "SeldonDeployment", "rentals"), "spec.predictors.0.trafic", 100),
        r"SeldonDeployment/rentals: spec.predictors.0: .*'trafic'",
    ),
    "a wrong field inside a pod of Seldon's": (
        lambda all_: container(one(all_, "SeldonDeployment", "rentals-feedback")).update(imagePullpolicy="A"),
        r"SeldonDeployment/rentals-feedback: .*'imagePullpolicy'",
    ),
    "weights that lose traffic": (
        lambda all_: set_in(one(all_, "SeldonDeployment", "rentals"), "spec.predictors.0.traffic", 90),
        r"traffic sums to 90",
    ),
    "a pod of root": (
        lambda all_: set_in(one(all_, "Deployment", "api"), f"{API}.securityContext.runAsNonRoot", False),
        r"Deployment/api: securityContext.runAsNonRoot must be true",
    ),
    "a container that may become more": (
        lambda all_: container(one(all_, "SeldonDeployment", "rentals")).pop("securityContext"),
        r"SeldonDeployment/rentals: container rental-recommender: .*allowPrivilegeEscalation must be false",
    ),
    "a token that nobody needs": (
        lambda all_: set_in(one(all_, "Deployment", "api"), f"{API}.automountServiceAccountToken", True),
        r"Deployment/api: automountServiceAccountToken must be false",
    ),
    "no limit of memory": (
        lambda all_: container(one(all_, "Deployment", "api"))["resources"].pop("limits"),
        r"container api: resources.limits.memory missing",
    ),
    "no probe": (
        lambda all_: container(one(all_, "StatefulSet", "redis")).pop("readinessProbe"),
        r"container redis: readinessProbe missing",
    ),
    "an image of any version": (
        lambda all_: container(one(all_, "StatefulSet", "redis")).update(image="redis:latest"),
        r"image 'redis:latest' is not pinned",
    ),
    "a password written out": (
        lambda all_: container(one(all_, "Deployment", "api"))["env"].append(PASSWORD),
        r"variable REDIS_PASSWORD is written out",
    ),
    "a password in the settings": (
        lambda all_: next(each for each in all_ if each["metadata"]["name"].startswith("settings"))[
            "data"
        ].update(RENTALS_MLFLOW_TRACKING_URI="https://me:hunter2@mlflow"),
        r"ConfigMap/settings-\w+: holds an address with a password",
    ),
    "a secret itself": (lambda all_: all_.append(SECRET), r"Secret/s: a secret does not belong"),
    "settings that are not there": (
        lambda all_: set_in(
            container(one(all_, "Deployment", "api"))["envFrom"][0], "configMapRef.name", "x"
        ),
        r"Deployment/api: ConfigMap 'x' is not there",
    ),
    "a service of no pod": (
        lambda all_: set_in(one(all_, "Service", "api"), "spec.selector", {"app": "api"}),
        r"Service/api: selects no pod",
    ),
    "a budget of no pod": (
        lambda all_: set_in(
            one(all_, "PodDisruptionBudget", "predictors"), "spec.selector.matchLabels", {"a": "b"}
        ),
        r"PodDisruptionBudget/predictors: selects no pod",
    ),
    "pods that their own deployment does not find": (
        lambda all_: set_in(one(all_, "Deployment", "api"), "spec.selector.matchLabels", {"app": "api"}),
        r"Deployment/api: its selector does not select its own pods",
    ),
    "an autoscaler of nothing": (
        lambda all_: set_in(one(all_, "HorizontalPodAutoscaler", "api"), "spec.scaleTargetRef.name", "apis"),
        r"scales Deployment/apis, which is not there",
    ),
    "all rights": (
        lambda all_: set_in(one(all_, "Role", "rollout"), "rules", ALL_RIGHTS),
        r"Role/rollout: gives rights by '\*'",
    ),
    "a network that is open": (
        lambda all_: all_.remove(one(all_, "NetworkPolicy", "nobody")),
        r"NetworkPolicy: none denies all",
    ),
    "the same name twice": (
        lambda all_: all_.append(one(all_, "Service", "api")),
        r"Service/api: is there 2 times",
    ),
    "another namespace": (
        lambda all_: set_in(one(all_, "Service", "redis"), "metadata.namespace", "default"),
        r"Service/redis: namespace 'default' must be 'rentals'",
    ),
}


@pytest.mark.parametrize("way", BROKEN)
def test_broken_manifests_are_refused(documents: list[Document], way: str) -> None:
    breaking, said = BROKEN[way]
    breaking(documents)

    faults = list(faults_of(documents))

    assert any(re.search(said, fault) for fault in faults), faults


def test_an_unknown_field_is_refused_in_every_object(documents: list[Document]) -> None:
    for document in documents:
        if "spec" in document:
            document["spec"]["xyzzy"] = 1
    told = "\n".join(faults_of(documents))

    missed = [
        f"{each['kind']}/{each['metadata']['name']}"
        for each in documents
        if "spec" in each and f"{each['kind']}/{each['metadata']['name']}: " not in told
    ]
    assert missed == []


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of the sources, to be broken."""
    shutil.copytree(KUBERNETES, tmp_path / "deploy" / "kubernetes")
    (tmp_path / "serving" / "feedback").mkdir(parents=True)
    shutil.copy(CHECKOUT / "serving" / "feedback" / "deployment.yaml", tmp_path / "serving" / "feedback")
    shutil.copytree(CHECKOUT / "monitoring", tmp_path / "monitoring")
    return tmp_path / "deploy" / "kubernetes"


def test_a_key_that_stands_twice_is_refused(sources: Path) -> None:
    path = sources / "base" / "storage.yaml"
    path.write_text(path.read_text().replace("kind:", "kind: Pod\nkind:"))

    with pytest.raises(RenderingError, match="already defined"):
        render(sources / "overlays" / "cpu", 1, "r", "1")


def test_a_manifest_that_is_not_there_is_told(sources: Path) -> None:
    (sources / "base" / "redis.yaml").unlink()

    with pytest.raises(RenderingError, match=r"redis\.yaml"):
        render(sources / "overlays" / "cpu", 1, "r", "1")


def test_a_version_that_is_no_name_is_told() -> None:
    with pytest.raises(ManifestError, match="DNS label"):
        render(KUBERNETES / "overlays" / "cpu", "4 beta", "r", "1")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("RENTALS_REPLIKAS=2", "RENTALS_REPLIKAS: no room has this setting; did you mean RENTALS_REPLICAS?"),
        ("RENTALS_REPLICAS=two", "RENTALS_REPLICAS: input should be a valid integer"),
        ("RENTALS_TRITON_TOLERATIONS=[", "RENTALS_TRITON_TOLERATIONS: is not JSON"),
        (
            "RENTALS_TRAINER_ACCELERATOR=quantum",
            "RENTALS_TRAINER_ACCELERATOR: input should be 'auto', 'cpu' or 'gpu'",
        ),
    ],
)
def test_a_wrong_line_of_the_settings_is_told(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "settings.env").write_text(f"{line}\n")

    assert any(said in fault for fault in settings_file.faults(tmp_path / "settings.env"))


def test_the_command_checks_and_writes_all_overlays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RENTALS_HOME", str(tmp_path))

    assert main(["render", "--version", "4"]) == 0

    written = capsys.readouterr().out.split()
    assert written == [
        str(tmp_path / "manifests" / overlay / name)
        for overlay in ("cpu", "gpu")
        for name in ("platform.yaml", "champion.yaml")
    ]
    assert main(["check", "--overlay", "cpu", "--version", "x y"]) == 1
    assert "DNS label" in capsys.readouterr().err


def test_the_rollout_may_do_what_it_asks_for_and_nothing_else(documents: list[Document]) -> None:
    _, _, group, _, _, _, plural, _ = PATH.split("/")

    assert one(documents, "Role", "rollout")["rules"] == [
        {
            "apiGroups": [group],
            "resources": [plural],
            "resourceNames": [ServingSettings().deployment_name],
            "verbs": ["get", "patch"],
        }
    ]
    bound = {
        (each["roleRef"]["name"], subject["name"])
        for each in documents
        if each["kind"] == "RoleBinding"
        for subject in each["subjects"]
    }
    assert bound == {("rollout", "rollout"), ("flows", "flows"), ("flows", "rollout")}


def selected(part: Document) -> Iterator[str]:
    """Short names of those whom a side of a network policy lets talk."""
    inside = part.get("podSelector", {})
    names = list(inside.get("matchLabels", {}).values())
    names += [value for each in inside.get("matchExpressions", []) for value in each["values"]]
    namespace = part.get("namespaceSelector", {}).get("matchLabels", {}).values()
    yield from (".".join([*namespace, name]) for name in names or ["*"])


def test_who_must_talk_may_talk_and_nobody_else(documents: list[Document]) -> None:
    reached, asked = set(), set()
    for policy in (each["spec"] for each in documents if each["kind"] == "NetworkPolicy"):
        for name in selected({"podSelector": policy["podSelector"]}):
            for rule in policy.get("ingress", []):
                for peer in (whom for part in rule["from"] for whom in selected(part)):
                    reached |= {(peer, name, port["port"]) for port in rule["ports"]}
            for rule in policy.get("egress", []):
                for peer in (whom for part in rule.get("to", [{}]) for whom in selected(part)):
                    asked |= {(name, peer, port["port"]) for port in rule["ports"]}
    gateway, metrics, names = "istio-system.ingressgateway", "monitoring.*", "kube-system.kube-dns"

    assert reached == {
        (gateway, "api", 8080),
        (metrics, "api", 8080),
        ("api", "redis", 6379),
        ("metaflow-task", "redis", 6379),
        (gateway, "rentals", 9000),
        (metrics, "rentals", 8002),
        (gateway, "rentals-feedback", 9000),
        (metrics, "rentals-feedback", 9000),
    }
    assert asked == {
        *((name, names, 53) for name in ("api", "rollout", "metaflow-task")),
        ("api", "redis", 6379),
        ("api", gateway, 8080),
        *(("rollout", metrics, port) for port in (9090, 9091)),
        *(("rollout", "*", port) for port in (443, 6443)),
        ("metaflow-task", "redis", 6379),
        *(("metaflow-task", metrics, port) for port in (9090, 9091)),
        ("metaflow-task", "argo-events.*", 12000),
        *(("metaflow-task", "*", port) for port in (443, 6443)),
    }


def test_the_autoscaler_asks_for_what_the_adapter_makes_of_the_api_s_counter(
    documents: list[Document],
) -> None:
    rule = yaml.safe_load((KUBERNETES / "prometheus-adapter.yaml").read_text())["rules"]["custom"][0]
    metric = one(documents, "HorizontalPodAutoscaler", "api")["spec"]["metrics"][0]

    assert metric["pods"]["metric"]["name"] == rule["name"]["as"]
    series = rule["seriesQuery"].partition("{")[0]
    assert f'"{series.removesuffix("_total")}"' in (CHECKOUT / "serving" / "metrics.py").read_text()


@pytest.mark.skipif(not (CHECKOUT.parent / "shared" / "crds").is_dir(), reason="../shared/crds is not there")
def test_our_schema_of_seldon_s_kind_takes_no_field_that_seldon_s_does_not() -> None:
    definition = yaml.safe_load(
        next((CHECKOUT.parent / "shared" / "crds").glob("seldondeployments.*.yaml")).read_text()
    )
    (version,) = definition["spec"]["versions"]
    ours = yaml.safe_load((KUBERNETES / "schemas" / "seldondeployment.yaml").read_text())
    theirs = version["schema"]["openAPIV3Schema"]

    def compare(mine: Document, other: Document, path: str) -> Iterator[str]:
        if "$ref" in mine:
            return
        for name, part in mine.get("properties", {}).items():
            if name in other.get("properties", {}):
                yield from compare(part, other["properties"][name], f"{path}.{name}")
            else:
                yield f"{path}.{name}"
        if not {*other.get("required", [])} <= {*mine.get("required", [])}:
            yield f"{path}: required {other['required']}"
        if "items" in mine:
            yield from compare(mine["items"], other["items"], f"{path}[]")

    assert list(compare(ours, theirs, "")) == []


def test_prometheus_gets_the_alerts_and_grafana_the_dashboard(documents: list[Document]) -> None:
    alerts = one(documents, "ConfigMap", "rentals-alerts")
    dashboard = one(documents, "ConfigMap", "rentals-dashboard")

    assert alerts["data"]["alerts.yaml"] == (CHECKOUT / "monitoring" / "alerts.yaml").read_text()
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert {each["metadata"]["namespace"] for each in (alerts, dashboard)} == {"monitoring"}


def test_the_password_of_redis_and_its_address_come_from_a_secret(documents: list[Document]) -> None:
    variables = {
        each["name"]: each["valueFrom"]["secretKeyRef"]
        for document in (one(documents, "Deployment", "api"), one(documents, "StatefulSet", "redis"))
        for each in container(document)["env"]
        if "valueFrom" in each
    }
    assert variables == {
        "RENTALS_ONLINE_STORE_URL": {"name": "rentals-redis", "key": "url"},
        "REDISCLI_AUTH": {"name": "rentals-redis", "key": "password"},
    }


def test_without_kubectl_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))

    with pytest.raises(RenderingError, match="make setup"):
        render(KUBERNETES / "overlays" / "cpu", 1, "r", "1")
