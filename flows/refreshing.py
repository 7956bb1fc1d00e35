"""What the refreshing flow composes: the champion's weights with the catalogue of today.

A version serves the catalogue that is in its graph: rentals listed since are out of its reach, and the
features of the others grow old. Exporting the same weights again costs seconds and no training.
"""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from feature_repo import lake
from feature_repo.settings import FeatureSettings
from flows.gating import CATALOGUE_OF, HALF_ROWS, OTHERS, catalogue_of
from flows.settings import FlowSettings
from flows.training import computed_until, with_size_labels
from models.settings import GateSettings

if TYPE_CHECKING:
    from models.registry import ModelVersion


REFRESHED_FROM = "refreshed_from"
"""Key of the lineage that names the version with the same weights and the former catalogue."""


class RefreshError(RuntimeError):
    """The champion cannot be refreshed; the message names the remedy."""


class NothingToRefreshError(RefreshError):
    """There is nothing to do, or something else comes first: a normal end of the flow."""


@dataclass(frozen=True)
class Inputs:
    """The whole catalogue as of ``until``, and the latest requests with their features as of each."""

    catalogue: pd.DataFrame
    requests: pd.DataFrame
    until: pd.Timestamp


def same_weights(version: "ModelVersion") -> list[str]:
    """Return the versions that have the weights of ``version``, itself first, then those it was made from."""
    from models.registry import Registry

    registry, found = Registry(), [str(version.version)]
    while older := version.lineage.get(REFRESHED_FROM):
        version = registry.get(int(older))
        found.append(older)
    return found


def inputs(features: FeatureSettings, until: pd.Timestamp | None) -> Inputs:
    """Join the catalogue, and as many requests as the checks need, with their features through Feast.

    Args:
        features: where the lake and the store are.
        until: None takes the end of the features.

    Raises:
        LakeError: the features do not reach ``until``, or there are no ratings before it.
    """
    from feature_repo import spark, store

    until = computed_until(features, until)
    ratings = lake.read(features.lake, "ratings", until).sort_values("event_timestamp", kind="stable")
    if ratings.empty:
        raise lake.LakeError(f"no rating was known before {until:%Y-%m-%d}: give a later --until")
    spark.session(features)
    opened = store.open_store(features)
    rentals = lake.read(features.lake, "rentals", until)
    requests = ratings.tail(max(GateSettings().parity_rows, OTHERS, HALF_ROWS))
    return Inputs(
        catalogue=store.catalogue_as_of(opened, rentals, [until]),
        requests=with_size_labels(store.as_of_events(opened, requests)),
        until=until,
    )


def refresh(given: Inputs, run: str, reason: str, settings: GateSettings) -> int:
    """Register the champion's weights with the given catalogue, as challenger, and return the version.

    It keeps the champion's lineage, figures and card: only its catalogue is another, which the lineage names.

    Args:
        given: the catalogue, and requests for the checks.
        run: the flow's run.
        reason: why; kept with the version.
        settings: the limit of the parity.

    Raises:
        NothingToRefreshError: the catalogue is not newer, or a version waits for its rollout.
        RefreshError: the graph fails a check.
        RegistryError, CheckpointError: there is no champion, or this code cannot read it.
    """
    from models.adversarial import adversarial_faults
    from models.card import approval
    from models.checkpoint import FILE, Checkpoint, restore
    from models.export import export_all
    from models.inference import MODEL_FILE
    from models.parity import parity
    from models.registry import CHALLENGER, Registry

    registry = Registry()
    champion, waiting = registry.champion(), registry.alias(CHALLENGER)
    if waiting and waiting.lineage.get("metaflow_run") != run:
        raise NothingToRefreshError(
            f"version {waiting.version} waits for its rollout, which a refresh would overtake: "
            f"`python flows/rollout.py run --version {waiting.version}` first"
        )
    if given.until <= catalogue_of(champion):
        raise NothingToRefreshError(
            f"version {champion.version} has the catalogue of {catalogue_of(champion):%Y-%m-%d} already: run "
            "`make features` with newer ratings first"
        )
    model = restore(champion.artifact(FILE).read_bytes()).model
    model.encoding.columns.check_events(given.requests)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        onnx = export_all(model, given.catalogue, folder, others=given.requests.tail(OTHERS))
        difference = parity(model, given.catalogue, onnx, given.requests.tail(settings.parity_rows))
        faults = list(adversarial_faults(onnx))
        if not difference < settings.parity_limit:
            faults.append(f"its graph differs from PyTorch by {difference:.1e}")
        if faults:
            raise RefreshError(
                f"version {champion.version} fails with the catalogue of {given.until:%Y-%m-%d}: "
                f"{'; '.join(faults)}; train anew by `make train`"
            )
        changed = {
            CATALOGUE_OF: f"{given.until:%Y-%m-%d}",
            REFRESHED_FROM: str(champion.version),
            "metaflow_run": run,
            "reason": reason,
            "onnx_max_abs_diff": difference,
        }
        words = f"the weights of version {champion.version} with the catalogue of {given.until:%Y-%m-%d}"
        card = registry.card(champion.version)
        version = registry.register(
            folder / MODEL_FILE,
            None,
            champion.lineage | changed,
            card=replace(
                card,
                version=0,
                lineage=card.lineage | {name: str(value) for name, value in changed.items()},
                events=card.events | {"rentals in the catalogue": len(given.catalogue)},
                approvals=(approval("challenger", "the refreshing flow", (words,)),),
            ),
            files={FILE: Checkpoint(model, given.catalogue).to_bytes()},
            beside=[file for file in folder.iterdir() if file.name != MODEL_FILE],
        )
    registry.set_alias(CHALLENGER, version)
    return version


def try_refresh(given: Inputs, run: str, reason: str) -> tuple[int | None, str]:
    """Refresh where there is something to, and return the version, if any, with what came of it in words.

    Raises:
        RefreshError, RegistryError, CheckpointError: as ``refresh``.
    """
    from flows.brake import stopped
    from flows.events import on_argo

    # A person who asks for a refresh means it; a schedule obeys the stop as the loop does.
    if on_argo() and (why := stopped(FlowSettings())) is not None:
        return None, f"nothing was refreshed: the loop is stopped ({why})"
    try:
        version = refresh(given, run, reason, GateSettings())
    except NothingToRefreshError as nothing:
        return None, str(nothing)
    return version, (
        f"version {version} has {len(given.catalogue):,} rentals as of {given.until:%Y-%m-%d}: "
        f"`python flows/rollout.py run --version {version}`"
    )
