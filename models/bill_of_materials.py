"""The bill of materials: every package of the environment that trained a model, as CycloneDX."""

import re
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import InvalidRequirement, Requirement

PROJECT = "rentals"
"""The distribution that is described, by its name in ``pyproject.toml``."""


def bill_of_materials() -> str:
    """Return the installed packages with versions, licences and dependencies, as CycloneDX 1.6 JSON.

    See https://cyclonedx.org/docs/1.6/json. Licences are what the packages say of themselves.
    """
    found = {_name(one.metadata["Name"]): one for one in distributions() if one.metadata["Name"]}
    components = {name: _component(one) for name, one in found.items() if name != PROJECT}
    project = Component(
        name=PROJECT, version=found[PROJECT].version, type=ComponentType.APPLICATION, bom_ref=PROJECT
    )
    bom = Bom(components=components.values())
    bom.metadata.component = project
    for name, component in {**components, PROJECT: project}.items():
        needed = {*_needs(found[name])} & components.keys()
        bom.register_dependency(component, [components[other] for other in sorted(needed)])
    return JsonV1Dot6(bom).output_as_string(indent=2)


def _component(one: Distribution) -> Component:
    name, version = _name(one.metadata["Name"]), one.version
    url = PackageURL("pypi", name=name, version=version)
    stated = _licence(one)
    licenses = [LicenseFactory().make_from_string(stated)] if stated else []
    return Component(name=name, version=version, purl=url, bom_ref=url.to_string(), licenses=licenses)


def _licence(one: Distribution) -> str:
    """The licence's name: some packages put its whole text in its place, others only a classifier."""
    said = one.metadata.json
    classified = (
        text.split(" :: ")[-1] for text in said.get("classifier", ()) if text.startswith("License ")
    )
    line = str(said.get("license", "")).strip()
    return str(said.get("license_expression") or next(classified, "" if "\n" in line else line))


def _needs(one: Distribution) -> Iterator[str]:
    for text in one.requires or []:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield _name(requirement.name)


def _name(name: str) -> str:
    """The normal form of PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()
