"""The workflows pass their linters, and what they name is there; no runner runs them here."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from serving.settings import CHECKOUT

FOLDER = CHECKOUT / ".github" / "workflows"
NAMES = sorted(path.name for path in FOLDER.glob("*.yaml"))
TARGETS = set(re.findall(r"^([a-z-]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE))


def workflow(name: str) -> dict[Any, Any]:
    return yaml.safe_load((FOLDER / name).read_text())


def triggers(name: str) -> dict[str, Any]:
    # YAML 1.1 takes the bare word for a truth value.
    return workflow(name)[True]


def steps(job: dict[str, Any]) -> list[dict[str, Any]]:
    return job.get("steps", [])


def linter(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name(name)
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)


def schema(kind: str, *paths: Path) -> subprocess.CompletedProcess[str]:
    return linter("check-jsonschema", "--builtin-schema", f"vendor.github-{kind}", *map(str, paths))


def test_workflows_and_actions_have_their_form() -> None:
    for done in (
        schema("workflows", *FOLDER.glob("*.yaml")),
        schema("actions", *FOLDER.parent.glob("actions/*/action.yaml")),
    ):
        assert done.returncode == 0, done.stdout


def test_the_linter_finds_nothing_unsafe() -> None:
    done = linter("zizmor", "--offline", str(FOLDER.parent))
    assert done.returncode == 0, done.stdout


def test_the_linters_would_find_something(tmp_path: Path) -> None:
    text = (FOLDER / "test.yaml").read_text()
    wrong = tmp_path / ".github" / "workflows" / "wrong.yaml"
    wrong.parent.mkdir(parents=True)
    wrong.write_text(text.replace("runs-on:", "run-on:"))
    assert schema("workflows", wrong).returncode != 0
    wrong.write_text(re.sub(r"@\w{40}", "@main", text))
    assert "unpinned-uses" in linter("zizmor", "--offline", str(wrong)).stdout


def made(job: dict[str, Any]) -> list[str]:
    """Targets that a job makes, in order."""
    commands = [step["run"].split() for step in steps(job) if step.get("run", "").startswith("make ")]
    return [word for command in commands for word in command[1:] if re.fullmatch("[a-z-]+", word)]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_made_is_a_target(name: str) -> None:
    assert {target for job in workflow(name)["jobs"].values() for target in made(job)} <= TARGETS


@pytest.mark.parametrize("name", NAMES)
def test_jobs_need_jobs_and_call_workflows_that_take_what_they_give(name: str) -> None:
    jobs = workflow(name)["jobs"]
    for job in jobs.values():
        assert {job["needs"]} <= jobs.keys() if "needs" in job else True
        if "uses" in job:
            called = Path(job["uses"]).name
            assert triggers(called)["workflow_call"]["inputs"].keys() == job["with"].keys()
            # A called workflow can have no more rights than the job that calls it.
            granted = workflow(called)["jobs"].values()
            assert all(each["permissions"] == job["permissions"] for each in granted)
        for step in (each for each in steps(job) if each.get("uses", "").startswith("./")):
            action = yaml.safe_load((CHECKOUT / step["uses"] / "action.yaml").read_text())
            assert action["inputs"].keys() == step["with"].keys()


@pytest.mark.parametrize("name", NAMES)
def test_every_job_has_the_least_rights_an_end_and_pinned_actions(name: str) -> None:
    assert workflow(name)["permissions"] == {}
    for job in workflow(name)["jobs"].values():
        assert job["permissions"] and "write-all" not in str(job["permissions"])
        assert "uses" in job or job["timeout-minutes"] <= 360
        for step in steps(job):
            assert re.search(r"@[0-9a-f]{40}$|^\./", step["uses"]) if "uses" in step else True


@pytest.mark.parametrize(
    ("name", "target"), [("serving.yaml", "deploy-serving"), ("promote.yaml", "promote")]
)
def test_production_comes_after_staging_and_by_an_approval_of_its_own(name: str, target: str) -> None:
    jobs = workflow(name)["jobs"]

    for environment in ("staging", "production"):
        assert jobs[environment]["environment"] == environment and made(jobs[environment]) == [target]
    assert jobs["production"]["needs"] == "staging"


def test_a_merge_deploys_and_only_a_person_promotes() -> None:
    assert triggers("pipeline.yaml") == triggers("serving.yaml") == {"push": {"branches": ["main"]}}
    assert made(workflow("pipeline.yaml")["jobs"]["deploy"]) == ["deploy-flows"]
    assert [*triggers("promote.yaml")] == ["workflow_dispatch"]


def test_images_are_scanned_before_they_are_pushed() -> None:
    (job,) = workflow("images.yaml")["jobs"].values()
    assert made(job) == ["images", "scan-images", "push-images"]


CLUSTER = """#!/bin/sh
echo "$@" >> "$CALLS"
case "$1 $2" in
  "create job") cat "$JOB" ;;
  "set env" | "patch --local") exec {kubectl} "$@" ;;
  "get job") printf "$SUCCEEDED" ;;
  "get seldondeployment") printf "$SERVES" ;;
  "get --filename") exit $ABSENT ;;
esac
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    """A program in the place of kubectl, which notes its calls and knows the rollout's job."""
    (cron,) = (
        each for each in yaml.safe_load_all((CHECKOUT / "deploy/kubernetes/base/rollout.yaml").read_text())
    )
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "r"}, **cron["spec"]["jobTemplate"]}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
    program = tmp_path / "kubectl"
    program.write_text(CLUSTER.format(kubectl=Path(sys.executable).with_name("kubectl")))
    program.chmod(0o755)
    return program


def make(cluster: Path, target: str, **variables: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    folder = cluster.parent
    calls = folder / "calls"
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "RENTALS_HOME": str(folder),
        "CALLS": str(calls),
        "JOB": str(folder / "job.yaml"),
    }
    done = subprocess.run(
        # The environment is there: nothing is to be installed by a test.
        ["make", "--old-file=.venv/.ready", target, f"KUBECTL={cluster}"],
        cwd=CHECKOUT,
        env=environment | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    return done, calls.read_text().splitlines() if calls.exists() else []


def test_promote_runs_the_rollout_of_the_version_and_says_whether_it_serves(cluster: Path) -> None:
    done, calls = make(cluster, "promote", VERSION="4", SERVES="v4")

    assert done.returncode == 0, done.stderr
    assert [call.split()[0] for call in calls] == ["create", "set", "create", "wait", "get"]
    assert calls[0].startswith("create job rollout-v4-") and "--from cronjob/rollout" in calls[0]
    job = yaml.safe_load((cluster.parent / "tmp" / "job.yaml").read_text())
    (container,) = job["spec"]["template"]["spec"]["containers"]
    variables = {each["name"]: each.get("value") for each in container["env"]}
    assert variables["VERSION"] == "4" and variables["RENTALS_ROLLOUT_BACKEND"] == "kubernetes"
    assert container["command"][-2:] == ["--version", "$(VERSION)"]


def test_promote_fails_where_the_version_was_taken_back(cluster: Path) -> None:
    done, _ = make(cluster, "promote", VERSION="4", SERVES="v3")

    assert done.returncode != 0 and "version 4 was not promoted: v3 serves" in done.stdout


@pytest.mark.parametrize("version", ["", "v4", "4;ls"])
def test_promote_asks_for_a_version(cluster: Path, version: str) -> None:
    done, calls = make(cluster, "promote", VERSION=version)

    assert done.returncode != 0 and "VERSION=<registered version>" in done.stdout and not calls


@pytest.mark.parametrize("succeeded", ["1", ""])
def test_a_persons_command_runs_as_a_job_with_the_rollouts_rights(cluster: Path, succeeded: str) -> None:
    command = """python -m flows rollback --why "it's slow, and \\"hot\\"" """
    done, calls = make(cluster, "on-cluster", COMMAND=command, SUCCEEDED=succeeded)

    assert (done.returncode == 0) is (succeeded == "1"), done.stderr
    assert [call.split()[0] for call in calls] == ["create", "patch", "create", "wait", "logs", "get"]
    job = yaml.safe_load((cluster.parent / "tmp" / "job.yaml").read_text())
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["python", "-m", "flows", "rollback", "--why", """it's slow, and "hot\""""]
    assert job["spec"]["template"]["spec"]["serviceAccountName"] == "rollout"
    assert job["spec"]["backoffLimit"] == 0, "what failed is not done again by itself"


@pytest.mark.parametrize(("absent", "created"), [("0", False), ("1", True)])
def test_a_deployment_that_serves_keeps_its_weights(cluster: Path, absent: str, created: bool) -> None:
    done, calls = make(cluster, "deploy-serving", OVERLAY="gpu", ABSENT=absent)

    assert done.returncode == 0, done.stderr
    folder = cluster.parent / "manifests" / "gpu"
    assert calls[0] == f"apply --filename {folder}/platform.yaml"
    assert (calls[-1] == f"create --filename {folder}/champion.yaml") == created
