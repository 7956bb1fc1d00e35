"""What the documents tell people to type, and where they point to, is there."""

import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from feature_repo.settings import CHECKOUT

DOCUMENTS = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").glob("*.md"))]
CODE = re.compile(r"^```.*?^```|^ {4,}.*?$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
MAKE = re.compile(r"\bmake((?: [a-z][a-z-]+)+)")
MODULE = re.compile(r"\bpython -m ([\w.]+)(?: ([a-z][\w-]+))?")
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)")
OURS = ("feature_repo", "models", "serving", "monitoring", "flows", "deploy")


def commands(document: Path, kind: re.Pattern[str]) -> Iterator[re.Match[str]]:
    for code in CODE.findall(document.read_text()):
        yield from kind.finditer(re.sub(r"(^|\s)#.*", "", code))


@cache
def subcommands(module: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"], capture_output=True, text=True, check=True
    )
    choices = re.search(r"\{([\w,-]+)\}", done.stdout)
    return set(choices[1].split(",")) if choices else set()


@pytest.fixture(params=DOCUMENTS, ids=lambda path: path.name)
def document(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_every_target_of_make_is_there(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE))
    asked = {word for found in commands(document, MAKE) for word in found[1].split()}
    assert asked <= targets


def test_every_command_of_ours_is_there(document: Path) -> None:
    for found in commands(document, MODULE):
        module, command = found.groups()
        if module.split(".")[0] in OURS:
            assert importlib.util.find_spec(module), found[0]
            assert not command or command in subcommands(module), found[0]


def test_every_link_leads_somewhere(document: Path) -> None:
    for name, anchor in LINK.findall(document.read_text()):
        target = (document.parent / name).resolve() if name else document
        assert target.exists(), name
        if anchor and target.suffix == ".md":
            titles = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
            assert anchor in anchors, f"{name}#{anchor}"
