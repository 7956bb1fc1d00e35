"""Whether an object is one that its kind has: unknown fields, wrong types and unknown kinds are faults.

Kinds of Kubernetes by the schemas of ``kubernetes-validate``, which are Kubernetes' own; others by a file in
``kubernetes/schemas``. Nothing is fetched.
"""

import functools
from collections.abc import Iterator
from typing import Any

import jsonschema
import yaml
from kubernetes_validate.utils import schema_contents
from referencing import Registry, Resource

from deploy.rendering import KUBERNETES, Document
from serving import manifest

VERSION = "1.32"
"""The oldest Kubernetes that the manifests are meant for."""

KUBERNETES_SCHEMAS = f"kubernetes-json-schema/v{VERSION}.0-local-strict"
"""Folder of ``kubernetes-validate``, which itself reads it for each object anew and tells one fault of it."""

SCHEMAS = KUBERNETES / "schemas"


def faults(document: Document) -> Iterator[str]:
    """Give what is wrong with one object by itself."""
    if missing := [key for key in ("apiVersion", "kind", "metadata") if not document.get(key)]:
        yield f"{', '.join(missing)} missing: every object has them"
        return
    yield from (f"{path}: is empty: remove it, or give it a value" for path in _nothing(document, ""))
    api_version, kind = document["apiVersion"], document["kind"]
    validator = _validator(api_version, kind)
    if validator is None:
        yield f"kind {api_version}/{kind} is not known: correct it, or put its schema into {SCHEMAS}"
        return
    yield from (_told(error) for error in validator.iter_errors(document))
    yield from _webhook(document)


def _told(error: jsonschema.ValidationError) -> str:
    return f"{'.'.join(map(str, error.absolute_path)) or 'the object'}: {error.message}"


def _nothing(value: Any, path: str) -> Iterator[str]:
    """Places of nulls, which a schema of Kubernetes takes for fields that are not there."""
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _nothing(part, f"{path}.{key}".lstrip("."))
    elif value is None:
        yield path


def _webhook(document: Document) -> Iterator[str]:
    """What Seldon's admission webhook would refuse of a deployment of Triton, by our own types."""
    predictors = document.get("spec", {}).get("predictors", [])
    if any(one.get("graph", {}).get("implementation") for one in predictors):
        try:
            manifest.check(_typed(document), "")
        except manifest.ManifestError as error:
            yield from error.faults


def _typed(document: Document) -> Document:
    metadata = {key: document["metadata"].get(key, {}) for key in ("labels", "annotations")}
    names = {key: document["metadata"].get(key, "") for key in ("name", "namespace")}
    return {**document, "metadata": names | metadata}


@functools.cache
def _validator(api_version: str, kind: str) -> jsonschema.Draft202012Validator | None:
    """The validator of a kind, None for one that nobody knows."""
    schema = _others().get((api_version, kind))
    group, _, version = api_version.rpartition("/")
    # As kubernetes-validate names its files: apps/v1 is "apps-v1", networking.k8s.io/v1 is "networking-v1".
    name = "-".join(filter(None, [kind.lower(), group.partition(".")[0], version]))
    try:
        schema = schema or schema_contents(f"{KUBERNETES_SCHEMAS}/{name}.json", VERSION)
    except FileNotFoundError:
        return None
    return jsonschema.Draft202012Validator(schema, registry=_definitions())


@functools.cache
def _definitions() -> Registry[Any]:
    file = f"{KUBERNETES_SCHEMAS}/_definitions.json"
    return Resource.from_contents(schema_contents(file, VERSION)) @ Registry()


@functools.cache
def _others() -> dict[tuple[str, str], dict[str, Any]]:
    """Schemas of kinds that are not Kubernetes' own, by ``apiVersion`` and ``kind``."""
    found = {}
    for path in sorted(SCHEMAS.glob("*.yaml")):
        schema = yaml.safe_load(path.read_text())
        found[schema["properties"]["apiVersion"]["const"], schema["properties"]["kind"]["const"]] = schema
    return found
