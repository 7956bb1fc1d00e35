"""Every flow as Argo gets it, field by field, and as a Kubernetes job; compiled by the real tools."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from typing import Any

import pytest
import yaml

from flows import stand_ins
from flows.argo import NEEDED, STAND_INS, DeployError, deploy
from flows.settings import CHECKOUT, ROOMS

pytestmark = pytest.mark.slow

CLUSTER = {
    "RENTALS_CLUSTER_IMAGE": "registry.example/rentals:1",
    "RENTALS_CLUSTER_SERVICE_ACCOUNT": "flows",
    "RENTALS_CLUSTER_ROLLOUT_ACCOUNT": "rollout",
    "RENTALS_CLUSTER_SECRETS": '["rentals-passwords"]',
    "RENTALS_CLUSTER_VARIABLES": '{"RENTALS_MLFLOW_TRACKING_URI": "http://mlflow"}',
    "RENTALS_CLUSTER_HOME_CLAIM": "shared",
    "RENTALS_CLUSTER_HOME": "/mnt/rentals",
    "RENTALS_CLUSTER_CPU": "1.5",
    "RENTALS_CLUSTER_NODE_SELECTOR": '{"pool": "flows"}',
    "RENTALS_CLUSTER_TOLERATIONS": '[{"key": "flows", "operator": "Exists"}]',
    "RENTALS_CLUSTER_GPUS": "2",
    "RENTALS_CLUSTER_GPU_NODE_SELECTOR": '{"gpu": "l4"}',
    "RENTALS_CLUSTER_RETRIES": "3",
    "RENTALS_CLUSTER_FEATURES_CRON": "30 1 * * 1",
    "RENTALS_CLUSTER_PRECOMPUTE_CRON": "",
}
FLOW, GPU = {"key": "flows", "operator": "Exists"}, {"key": "nvidia.com/gpu", "operator": "Exists"}
DAY = 24 * 3600

Resource = dict[str, Any]


@pytest.fixture(scope="module")
def resources(tmp_path_factory, python, s3) -> dict[str, Resource]:
    """What would be deployed, by name and kind."""
    home = tmp_path_factory.mktemp("argo") / "home"
    said = python("-m", "flows", "deploy", "--dry-run", RENTALS_HOME=str(home), **CLUSTER, **s3)
    assert "16 resources are in" in said and str(home / "argo") in said
    return {file.stem: yaml.safe_load(file.read_text()) for file in (home / "argo").iterdir()}


def steps(template: Resource) -> dict[str, Resource]:
    """The templates of a workflow that are pods of steps, by step."""
    found = [one for one in template["spec"]["templates"] if "metaflow/step_name" in str(one.get("metadata"))]
    return {one["metadata"]["annotations"]["metaflow/step_name"]: one for one in found}


def variables(step: Resource) -> dict[str, str]:
    return {one["name"]: one.get("value") for one in step["container"]["env"]}


def test_every_flow_is_deployed_and_drift_has_a_training_of_its_own(resources):
    assert {name for name in resources if name.endswith(".workflowtemplate")} == {
        f"{flow}.workflowtemplate"
        for flow in (
            "featuresflow",
            "trainflow",
            "trainflow-on-drift",
            "refreshflow",
            "rolloutflow",
            "rolloutflow-on-refresh",
            "monitorflow",
            "precomputeflow",
            "searchflow",
        )
    }
    flow = resources["trainflow-on-drift.workflowtemplate"]["metadata"]["annotations"]["metaflow/flow_name"]
    assert flow == "TrainFlow"


def test_the_clock_starts_what_nothing_else_does(resources):
    clocks = {name: one["spec"] for name, one in resources.items() if one["kind"] == "CronWorkflow"}
    # A search and, by the settings here, a precomputation start by hand alone.
    assert {name: (one["schedule"], one["timezone"]) for name, one in clocks.items()} == {
        "featuresflow.cronworkflow": ("30 1 * * 1", "Etc/UTC"),
        "refreshflow.cronworkflow": ("0 3 * * 1", "Etc/UTC"),
        "monitorflow.cronworkflow": ("0 6 * * *", "Etc/UTC"),
    }
    for name, clock in clocks.items():
        assert not clock["suspend"]
        assert clock["workflowSpec"]["workflowTemplateRef"]["name"] == name.removesuffix(".cronworkflow")


def test_only_the_step_that_rolls_out_has_the_account_that_may(resources):
    rolling = {
        (name, step)
        for name, resource in resources.items()
        if resource["kind"] == "WorkflowTemplate"
        for step, pod in steps(resource).items()
        if pod["serviceAccountName"] == "rollout"
    }
    assert rolling == {
        (f"{name}.workflowtemplate", "start") for name in ("rolloutflow", "rolloutflow-on-refresh")
    }


def test_every_pod_has_what_the_settings_say(resources):
    pods = [
        pod
        for resource in resources.values()
        if resource["kind"] == "WorkflowTemplate"
        for pod in steps(resource).values()
    ]
    assert len(pods) == 4 + 6 + 6 + 3 + 2 + 2 + 3 + 3 + 13
    for pod in pods:
        container, environment = pod["container"], variables(pod)
        assert container["image"] == "registry.example/rentals:1"
        assert pod["serviceAccountName"] in ("flows", "rollout")
        assert container["envFrom"] == [
            {
                "configMapRef": None,
                "prefix": None,
                "secretRef": {"name": "rentals-passwords", "optional": None},
            }
        ]
        assert {"name": "shared", "persistentVolumeClaim": {"claimName": "shared"}} in pod["volumes"]
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounts["shared"] == environment["RENTALS_HOME"] == "/mnt/rentals"
        assert environment["RENTALS_MLFLOW_TRACKING_URI"] == "http://mlflow"
        assert environment["METAFLOW_DEFAULT_DATASTORE"] == "s3"
        assert re.fullmatch("[0-9a-f]{40}(-dirty)?|not under git", environment["RENTALS_GIT_COMMIT"])
        assert pod["nodeSelector"]["pool"] == "flows" and FLOW in pod["tolerations"]
        assert float(container["resources"]["requests"]["cpu"]) >= 1.5
        assert 3600 <= pod["activeDeadlineSeconds"] <= 2 * DAY
        assert all(not name.startswith("AWS_") for name in environment), "credentials come by secrets"


def test_only_the_step_that_trains_takes_gpus(resources):
    for name in ("trainflow.workflowtemplate", "trainflow-on-drift.workflowtemplate"):
        fit = steps(resources[name])["fit"]
        assert fit["container"]["resources"]["limits"] == {"nvidia.com/gpu": "2"}
        assert fit["nodeSelector"] == {"pool": "flows", "gpu": "l4"}
        assert fit["tolerations"] == [FLOW, GPU | {"effect": "NoSchedule"}]
        assert (fit["activeDeadlineSeconds"], fit["retryStrategy"]["limit"]) == (DAY // 2, 3)
    for resource in resources.values():
        for step, pod in steps(resource).items() if resource["kind"] == "WorkflowTemplate" else ():
            if step != "fit":
                assert not pod["container"]["resources"]["limits"]
                assert (pod["nodeSelector"], pod["tolerations"]) == ({"pool": "flows"}, [FLOW])


def test_heavy_steps_ask_for_more(resources):
    asked = {
        (name.partition(".")[0], step): (float(requests["cpu"]), float(requests["memory"].rstrip("M")))
        for name, resource in resources.items()
        if resource["kind"] == "WorkflowTemplate"
        for step, pod in steps(resource).items()
        for requests in [pod["container"]["resources"]["requests"]]
    }
    assert asked["featuresflow", "compute"] == asked["trainflow", "start"] == (4, 16384)
    assert asked["trainflow", "fit"] == asked["monitorflow", "start"] == (2, 8192)
    assert asked["searchflow", "screen"] == (1.5, 6144)
    assert asked["trainflow", "end"] == (1.5, 4096)


def test_steps_are_repeated_unless_that_would_do_something_twice(resources):
    once = {
        (resource["metadata"]["name"], step)
        for resource in resources.values()
        if resource["kind"] == "WorkflowTemplate"
        for step, pod in steps(resource).items()
        if not pod.get("retryStrategy")
    }
    assert once == {
        *(("trainflow", "register"), ("trainflow-on-drift", "register")),
        *(("monitorflow", "act"), ("refreshflow", "export")),
    }
    trial = steps(resources["searchflow.workflowtemplate"])["screen"]
    # Once as the step itself says, and up to three times to write down for @catch that it failed.
    assert trial["retryStrategy"]["limit"] == 1 + 3
    assert variables(trial)["OMP_NUM_THREADS"] == "1", "the step's own variables stay"
    compute = steps(resources["featuresflow.workflowtemplate"])["compute"]
    assert compute["retryStrategy"]["limit"] == 1, "what a step says itself goes first"


def test_features_start_the_training_and_that_the_rollout(resources):
    chain = {"trainflow": "FeaturesFlow", "rolloutflow": "TrainFlow", "rolloutflow-on-refresh": "RefreshFlow"}
    for flow, before in chain.items():
        sensor = resources[f"{flow}.sensor"]["spec"]
        (dependency,), (trigger,) = sensor["dependencies"], sensor["triggers"]
        filters = {one["expr"]: one["fields"][0]["path"] for one in dependency["filters"]["exprs"]}
        assert filters == {
            f"name == 'metaflow.{before}.end'": "body.payload.name",
            "field == 'True'": "body.payload.auto-generated-by-metaflow",
        }
        started = trigger["template"]["k8s"]["source"]["resource"]
        assert started["kind"] == "Workflow"
        assert started["spec"]["workflowTemplateRef"] == {"name": flow}
        (whole,) = trigger["template"]["k8s"]["parameters"]
        assert whole["src"]["dataKey"] == "body.payload", "the step learns which run it was"
        names = [one["name"] for one in started["spec"]["arguments"]["parameters"]]
        assert whole["dest"] == f"spec.arguments.parameters.#(name={names[-1]}).value"
        start = steps(resources[f"{flow}.workflowtemplate"])["start"]
        assert f"{{{{workflow.parameters.{names[-1]}}}}}" in variables(start).values()


def test_the_training_on_drift_takes_its_reason_and_the_end_of_its_window_from_the_event(resources):
    sensor = resources["trainflow-on-drift.sensor"]["spec"]
    (dependency,), (trigger,) = sensor["dependencies"], sensor["triggers"]
    assert dependency["eventName"] == STAND_INS["METAFLOW_ARGO_EVENTS_EVENT"]
    assert dependency["eventSourceName"] == STAND_INS["METAFLOW_ARGO_EVENTS_EVENT_SOURCE"]
    (name,) = dependency["filters"]["exprs"]
    assert name["expr"] == "name == 'rentals-drift'"
    taken = {
        one["dest"]: re.findall(r'hasKey \$\.Input\.body\.payload "(\w+)"', one["src"]["dataTemplate"] or "")
        for one in trigger["template"]["k8s"]["parameters"]
    }
    assert taken["spec.arguments.parameters.#(name=until).value"] == ["until"]
    assert taken["spec.arguments.parameters.#(name=reason).value"] == ["reason"]
    started = trigger["template"]["k8s"]["source"]["resource"]["spec"]["workflowTemplateRef"]
    assert started == {"name": "trainflow-on-drift"}


def test_a_pod_runs_the_code_that_was_deployed(resources, bucket, python, tmp_path):
    start = steps(resources["trainflow.workflowtemplate"])["start"]
    address = variables(start)["METAFLOW_CODE_URL"].removeprefix(f"s3://{stand_ins.BUCKET}/")
    with tarfile.open(fileobj=io.BytesIO(bucket.Object(address).get()["Body"].read())) as package:
        package.extractall(tmp_path, filter="data")
    ours = {
        str(file.relative_to(CHECKOUT))
        for room in ROOMS
        for file in (CHECKOUT / room).rglob("*")
        if file.is_file() and file.suffix != ".pyc"
    }
    code = tmp_path / ".mf_code"
    assert not {file for file in ours if not (code / file).is_file()}
    assert f"export PYTHONPATH=$(pwd)/{code.name}" in start["container"]["command"][-1]
    ask = f"import importlib; print(*[importlib.import_module(r).__file__ for r in {ROOMS}], sep=chr(10))"
    said = python("-P", "-c", ask, PYTHONPATH=str(code), RENTALS_HOME=str(tmp_path / "home"))
    assert said.split() == [str(code / room / "__init__.py") for room in ROOMS]


def test_a_run_with_kubernetes_makes_the_same_pods(tmp_path, s3):
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("METAFLOW_")}
    flow = [sys.executable, str(CHECKOUT / "flows" / "rollout.py"), "--datastore", "s3"]
    with stand_ins.cluster() as (cluster, sent):
        settings = {"RENTALS_HOME": str(tmp_path), "PYTHONPATH": str(CHECKOUT), **CLUSTER, **s3, **cluster}
        running = subprocess.Popen(
            [*flow, "run", "--with", "kubernetes:memory=5000", "--version", "3"],
            env={**inherited, "METAFLOW_DEFAULT_DATASTORE": "s3", **settings},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            while not sent and running.poll() is None:
                time.sleep(0.1)
        finally:
            # Nobody runs the job, for which Metaflow would wait.
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()
    job, *_ = sent
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    environment = {one["name"]: one.get("value") for one in container["env"]}
    assert job["kind"] == "Job"
    assert (container["image"], pod["serviceAccountName"]) == ("registry.example/rentals:1", "rollout")
    assert environment["RENTALS_HOME"] == "/mnt/rentals"
    assert (
        json.loads(environment["RENTALS_CLUSTER_NODE_SELECTOR"]) == pod["nodeSelector"] == {"pool": "flows"}
    )
    assert container["resources"]["requests"]["cpu"] == "1.5"
    assert container["resources"]["requests"]["memory"] == "5000M", "what --with says goes first"
    assert {"secretRef": {"name": "rentals-passwords"}} in container["envFrom"]


def test_nothing_is_deployed_while_a_setting_is_missing(monkeypatch):
    for name in NEEDED:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("METAFLOW_SERVICE_URL", "http://metadata")
    with pytest.raises(
        DeployError, match=r"METAFLOW_DATASTORE_SYSROOT_S3, METAFLOW_ARGO_EVENTS_EVENT, .*argo.md"
    ):
        deploy()
