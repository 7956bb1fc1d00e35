"""The catalogue: what is registered in Feast, on one page: ``python -m feature_repo.catalogue``."""

import importlib
import os
import sys
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from feature_repo import history
from feature_repo.coverage import Coverage, coverage
from feature_repo.lake import LakeError
from feature_repo.names import ON_DEMAND_VIEWS, VIEWS
from feature_repo.settings import FeatureSettings

if TYPE_CHECKING:
    from feast import FeatureService, FeatureView, Field
    from feast.on_demand_feature_view import OnDemandFeatureView

TEMPLATE = Path(__file__).with_suffix(".html")
PAGE = "catalogue.html"

FEATURES = {
    feature.name: feature
    for views in (VIEWS, ON_DEMAND_VIEWS)
    for features in views.values()
    for feature in features
}
"""What is said about each feature: Feast's registry keeps it as data of stored features only."""


@dataclass(frozen=True)
class Row:
    """One feature on the page."""

    name: str
    description: str
    type: str
    unit: str
    validity: str
    initial: str
    services: tuple[str, ...]
    """Those that give it, but not all of its view."""

    coverage: Coverage | None
    """None where it was not computed."""


@dataclass(frozen=True)
class Section:
    """One feature view on the page."""

    name: str
    description: str
    owner: str
    facts: tuple[tuple[str, tuple[str, ...]], ...]
    """What else is registered of it: a label and its values."""

    services: tuple[str, ...]
    stored: bool
    """Whether its features are stored; else they are computed at request time."""

    features: tuple[Row, ...]

    @property
    def entities(self) -> int | None:
        """How many entities have features; None where they were not counted."""
        return next((row.coverage.entities for row in self.features if row.coverage), None)


def sections(settings: FeatureSettings) -> list[Section]:
    """Describe every registered view, with its coverage where the lake has its history."""
    # Feast says that its Spark source is young, and its import sets a filter, so ours comes after.
    importlib.import_module("feast.infra.offline_stores.contrib.spark_offline_store.spark_source")
    warnings.filterwarnings("ignore", "The spark data source", RuntimeWarning)
    from feature_repo import definitions

    computed = is_computed(settings)
    stored = []
    for view in definitions.views:
        kinds = {field.name: FEATURES[field.name].kind for field in view.features}
        found = coverage(settings.lake / view.name, view.join_keys[0], kinds) if computed else {}
        stored.append(_stored(view, definitions.services, found, settings.home))
    return stored + [_on_demand(view, definitions.services) for view in definitions.on_demand_views]


def is_computed(settings: FeatureSettings) -> bool:
    """Whether the lake has a whole history of features."""
    try:
        history.as_of(settings)
    except LakeError:
        return False
    return True


def _stored(
    view: "FeatureView", services: "list[FeatureService]", found: dict[str, Coverage], home: Path
) -> Section:
    source: Any = view.batch_source
    facts = {
        "entity": [f"{name} (by {key})" for name, key in zip(view.entities, view.join_keys, strict=True)],
        "history": [
            f"{os.path.relpath(str(source.path), home)} ({source.file_format}), by {source.timestamp_field}"
        ],
        "push source": [view.stream_source.name] if view.stream_source else [],
        "time to live": [_time_to_live(view.ttl)],
    }
    return _section(view, facts, services, found, stored=True)


def _on_demand(view: "OnDemandFeatureView", services: "list[FeatureService]") -> Section:
    projections = view.source_feature_view_projections.values()
    transformation: Any = view.feature_transformation
    facts = {
        "stored inputs": [feature.name for source in projections for feature in source.features],
        "inputs of the request": [
            f"{field.name}: {source.description}"
            for source in view.source_request_sources.values()
            for field in source.schema
        ],
        "function": [transformation.udf_string],
    }
    return _section(view, facts, services, {}, stored=False)


def _section(
    view: "FeatureView | OnDemandFeatureView",
    facts: dict[str, list[str]],
    services: "list[FeatureService]",
    found: dict[str, Coverage],
    stored: bool,
) -> Section:
    every = {field.name for field in view.features}
    users = {service.name: _used(service, view.name) for service in services}
    users = {name: used for name, used in users.items() if used}
    partly = {name: used for name, used in users.items() if used != every}
    facts["services"] = [
        f"{name} ({len(used)} of {len(every)})" if name in partly else name for name, used in users.items()
    ]
    return Section(
        name=view.name,
        description=view.description,
        owner=view.owner,
        facts=tuple((label, tuple(values)) for label, values in facts.items() if values),
        services=tuple(users),
        stored=stored,
        features=tuple(
            _row(field, tuple(name for name, used in partly.items() if field.name in used), found)
            for field in view.features
        ),
    )


def _row(field: "Field", services: tuple[str, ...], found: dict[str, Coverage]) -> Row:
    feature = FEATURES[field.name]
    return Row(
        name=field.name,
        description=feature.description,
        type=f"{field.dtype}, {feature.kind}"
        if feature.kind in ("counts", "list", "time")
        else str(field.dtype),
        unit=feature.unit,
        validity=feature.validity,
        initial="" if feature.initial is None else f"{feature.initial:g}",
        services=services,
        coverage=found.get(field.name),
    )


def _used(service: "FeatureService", view: str) -> set[str]:
    """Names of the features of ``view`` that ``service`` gives."""
    projections: Iterable = service.feature_view_projections
    return {field.name for source in projections if source.name == view for field in source.features}


def _time_to_live(ttl: timedelta | None) -> str:
    return str(ttl) if ttl else "none: a value holds until the next one"


def render(found: list[Section], as_of: str) -> str:
    """Return the page; whatever the registry holds is text there, never markup."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(TEMPLATE.read_text()).render(sections=found, as_of=as_of)


def summary(found: list[Section]) -> str:
    """Return a line for each view, as text."""
    lines = [f"{'view':20} {'features':>8} {'entities':>10}  services"]
    for section in found:
        entities = "at request" if not section.stored else "not yet"
        if section.entities is not None:
            entities = f"{section.entities:,}"
        services = ", ".join(section.services)
        lines.append(f"{section.name:20} {len(section.features):8} {entities:>10}  {services}")
    return "\n".join(lines)


def main() -> None:
    """Write the page under the settings' home and say where it is."""
    settings = FeatureSettings()
    found = sections(settings)
    as_of = f"{history.as_of(settings):%Y-%m-%d %H:%M} UTC" if is_computed(settings) else ""
    page = settings.home / PAGE
    page.parent.mkdir(parents=True, exist_ok=True)
    temporary = page.with_name(f".{PAGE}.{os.getpid()}")
    temporary.write_text(render(found, as_of))
    temporary.replace(page)
    sys.stdout.write(f"{summary(found)}\n\n{page}\n")


if __name__ == "__main__":
    main()
