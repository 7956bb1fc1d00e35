"""The bill of materials of the environment in which the tests run."""

import json
from importlib.metadata import version

import pytest

from models.bill_of_materials import bill_of_materials


@pytest.fixture(scope="module")
def text() -> str:
    return bill_of_materials()


@pytest.fixture(scope="module")
def bill(text) -> dict:
    return json.loads(text)


def test_it_is_valid_cyclonedx(text):
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None


def test_what_trains_and_serves_is_in_it_with_the_installed_version(bill):
    versions = {component["name"]: component["version"] for component in bill["components"]}
    for name in ("torch", "pytorch-lightning", "onnx", "onnxruntime", "numpy", "pandas", "mlflow-skinny"):
        assert versions[name] == version(name)
    assert "rentals" not in versions and bill["metadata"]["component"]["name"] == "rentals"


def test_most_packages_say_their_licence(bill):
    licensed = [component for component in bill["components"] if component.get("licenses")]
    assert len(licensed) > 0.9 * len(bill["components"])
    (numpy,) = [component for component in licensed if component["name"] == "numpy"]
    assert "BSD-3-Clause" in json.dumps(numpy["licenses"])


def test_dependencies_are_those_of_this_platform_and_without_extras(bill):
    needs = {
        entry["ref"].split("@")[0].removeprefix("pkg:pypi/"): [
            ref.split("@")[0].removeprefix("pkg:pypi/") for ref in entry.get("dependsOn", [])
        ]
        for entry in bill["dependencies"]
    }
    assert {"torch", "mlflow-skinny"} <= set(needs["rentals"])
    assert "numpy" in needs["pandas"]
    assert "pytest" not in needs["rentals"], "an extra"


def test_nothing_of_this_machine_is_in_it(text):
    assert "file://" not in text and "/site-packages" not in text
