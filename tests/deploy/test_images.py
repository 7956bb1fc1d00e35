"""The images, which no engine builds here: what they copy is there, what they install is pinned."""

import io
import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path

import pytest
import yaml
from dockerfile_parse import DockerfileParser
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy.rendering import KUBERNETES
from serving import feedback_server, triton_server
from serving.components import API_SERVER
from serving.settings import CHECKOUT, ServingSettings

FOLDER = CHECKOUT / "deploy" / "images"
IMAGES = [path.name.removesuffix(".Dockerfile") for path in sorted(FOLDER.glob("*.Dockerfile"))]

Instructions = list[tuple[str, str]]


def instructions(image: str) -> Instructions:
    parser = DockerfileParser(fileobj=io.BytesIO((FOLDER / f"{image}.Dockerfile").read_bytes()))
    return [(each["instruction"], each["value"]) for each in parser.structure]


def values(image: str, *names: str) -> list[str]:
    return [value for name, value in instructions(image) if name in names]


def last_stage(image: str) -> Instructions:
    found = instructions(image)
    start = max(index for index, (name, _) in enumerate(found) if name == "FROM")
    return found[start:]


def pins(path: Path) -> dict[str, str]:
    lines = [line.partition("#")[0].strip() for line in path.read_text().splitlines()]
    return {
        canonicalize_name(name): version
        for name, _, version in (line.partition("==") for line in lines if line)
    }


def ignored(path: str) -> bool:
    """Whether `.dockerignore` keeps a path out of the build, by its last line that speaks of it."""
    out = False
    for line in (CHECKOUT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!")
        if pattern == "*" or path == pattern or path.startswith(f"{pattern}/"):
            out = not line.startswith("!")
    return out


def closure(wanted: list[str]) -> set[str]:
    """Names of all packages that pip installs for some requirements, as this environment has them."""
    found: set[str] = set()
    todo = [Requirement(line) for line in wanted]
    seen: set[tuple[str, str]] = set()
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        for extra in {"", *requirement.extras}:
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            found.add(name)
            for line in requires(name) or []:
                needed = Requirement(line)
                if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                    todo.append(needed)
    return found


def test_there_is_an_image_for_each_part() -> None:
    assert IMAGES == ["api", "feedback", "flows", "triton"]


@pytest.mark.parametrize("image", IMAGES)
def test_what_is_copied_exists_and_is_not_ignored(image: str) -> None:
    stages = [value.split(" AS ")[1] for value in values(image, "FROM") if " AS " in value]
    for value in values(image, "COPY", "ADD"):
        words = value.split()
        options = [word for word in words if word.startswith("--")]
        if options:
            assert [option.removeprefix("--from=") for option in options] == [*{*stages}], value
            continue
        for source in words[:-1]:
            assert (CHECKOUT / source).exists(), f"{image}: {source}"
            assert not ignored(source), f"{image}: {source}"


@pytest.mark.parametrize("path", [".rentals/api-keys", ".git/config", ".venv/bin/python", "tests", "docs"])
def test_nothing_private_and_nothing_needless_gets_into_a_build(path: str) -> None:
    assert ignored(path)


@pytest.mark.parametrize("image", IMAGES)
def test_it_runs_as_nobody_special_from_a_pinned_base_and_is_looked_at(image: str) -> None:
    for base in values(image, "FROM"):
        assert re.search(r":[\w.-]*\d+\.\d+[\w.-]*( AS \w+)?$", base), base
    last = dict(last_stage(image))
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", last["USER"])
    assert "HEALTHCHECK" in last


def installs(image: str) -> Iterator[list[str]]:
    for value in values(image, "RUN"):
        for command in value.split("&&"):
            words = shlex.split(command)
            if words[:2] == ["pip", "install"]:
                yield words[2:]


@pytest.mark.parametrize("image", [image for image in IMAGES if image != "triton"])
def test_each_installed_package_is_pinned(image: str) -> None:
    pinned, commands = pins(CHECKOUT / "constraints.txt"), [*installs(image)]
    assert commands
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["dependencies"]
    for words in commands:
        wanted: list[str] = []
        held = "--constraint" in words
        while words:
            word = words.pop(0)
            if word == "--constraint":
                assert words.pop(0) == "constraints.txt"
            elif word == "--requirement":
                file = CHECKOUT / "serving" / Path(words.pop(0)).name
                wanted += [line for line in file.read_text().splitlines() if not line.startswith("#")]
            elif word == ".":
                wanted += project
            elif not word.startswith("--"):
                wanted.append(word)
        if held:
            assert closure(wanted) <= pinned.keys()
        else:
            assert all("==" in line for line in wanted)


def test_the_api_needs_nothing_but_what_its_image_has(tmp_path: Path) -> None:
    lines = (CHECKOUT / "serving" / "api-requirements.txt").read_text().splitlines()
    allowed = closure([line for line in lines if not line.startswith("#")]) | {"rentals"}
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("lone_api.py"), *sorted(allowed)],
        env={
            "RENTALS_HOME": str(tmp_path),
            "RENTALS_GATEWAY_URL": "http://127.0.0.1:9",
            "PYTHONPATH": str(CHECKOUT),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    status, answer = json.loads(done.stdout.splitlines()[-1])
    assert (status, answer["user_id"]) == (200, "u1") and "torch" not in allowed


def command(image: str) -> list[str]:
    return json.loads(dict(last_stage(image))["CMD"])


def test_the_api_is_started_as_here() -> None:
    assert command("api") == [*API_SERVER, "--host", "0.0.0.0", "--port", "8080"]  # noqa: S104


def test_the_feedback_component_is_started_as_here_and_as_its_manifest_says() -> None:
    here = feedback_server.command(ServingSettings(), 9000)[2:]
    manifest = yaml.safe_load((CHECKOUT / "serving" / "feedback" / "deployment.yaml").read_text())
    pod = manifest["spec"]["predictors"][0]["componentSpecs"][0]["spec"]

    assert command("feedback") == [word.replace("127.0.0.1", "0.0.0.0") for word in here]  # noqa: S104
    assert pod["containers"][0]["command"] == command("feedback")


def test_triton_is_started_as_here_on_the_image_that_the_manifests_name() -> None:
    installation = triton_server.TritonInstallation(*[Path("/x")] * 3, libraries=(), binaries=Path("/x"))
    ports = triton_server.TritonPorts(1, 2, 3)
    here = triton_server.command(installation, Path("/x"), Path("/x"), Path("/x/models"), ports)
    places = re.compile(r"--(http|grpc|metrics)-(address|port)|--backend-directory|--model-repository")

    assert [word for word in here[1:] if not places.match(word)] == command("triton")[2:]
    assert values("triton", "FROM") == [ServingSettings().triton_image]


def test_users_of_the_images_are_those_of_the_pods() -> None:
    api = yaml.safe_load_all((KUBERNETES / "base" / "api.yaml").read_text())
    (deployment,) = (each for each in api if each["kind"] == "Deployment")
    security = deployment["spec"]["template"]["spec"]["securityContext"]

    users = {dict(last_stage(image))["USER"] for image in ("api", "feedback", "flows")}
    assert users == {f"{security['runAsUser']}:{security['runAsGroup']}"}


def test_the_linter_takes_them() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [linter, *sorted(FOLDER.glob("*.Dockerfile"))], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
