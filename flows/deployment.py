"""From a registered version to a served one."""

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serving.components import RuntimeState
    from serving.rollback import Rollback
    from serving.rollout import RolloutOutcome

TURN_SECONDS = 60
"""Time between two looks whether another rollout has ended; the pod's own limit ends the wait."""


class DeploymentError(RuntimeError):
    """A version cannot be put where it was asked for; the message names the remedy."""


def stage(version: int) -> str:
    """Put a registered version into the Triton model repository, and return the name of its predictor.

    Raises:
        RegistryError: there is no such version.
        ModelStorageError: it cannot be copied to where a cluster looks for it.
    """
    from models.registry import Registry
    from serving import model_storage, triton
    from serving.settings import ServingSettings

    settings = ServingSettings()
    repository = triton.write_repository(Registry().get(version).path, version, settings)
    model_storage.upload(repository, settings)
    return triton.predictor_name(version)


def begin_with(version: int) -> str:
    """Prepare the version with which a cluster begins: its model on the shared volume, and its alias.

    A rollout compares with a champion, so that the first one cannot come by it.

    Returns:
        The name of its predictor.

    Raises:
        RegistryError: there is no such version, or it has no model card.
        DeploymentError: another version is the champion.
    """
    from models.card import approval
    from models.registry import CHAMPION, Registry

    registry = Registry()
    champion = registry.alias(CHAMPION)
    if champion and champion.version != version:
        raise DeploymentError(
            f"version {champion.version} is the champion already: `make promote VERSION={version}` lets the "
            "other one earn its place"
        )
    predictor = stage(version)
    registry.promote(version, approval(CHAMPION, "by hand", ("the first version of a cluster",)))
    return predictor


def serve(version: int) -> "RuntimeState":
    """Serve one version with all the traffic, and make it the champion.

    Raises:
        RegistryError: it is not the champion yet and has no model card, so it cannot become it.
        LakeError: the home is half restored, cannot be written to, or has no room.
    """
    from feature_repo import lake
    from models.card import approval
    from models.registry import CHAMPION, Registry
    from serving import manifest, runtime
    from serving.settings import ServingSettings

    settings, registry = ServingSettings(), Registry()
    lake.check_room(settings.home)
    promotes = CHAMPION not in registry.get(version).aliases
    if promotes:
        registry.card(version)
    state = runtime.apply(manifest.render({stage(version): 100}, settings), settings)
    if promotes:
        registry.promote(version, approval("champion", "by hand", ("all traffic at once, without a canary",)))
    return state


def roll_out(version: int, steps: tuple[int, ...] | None = None, again: bool = False) -> "RolloutOutcome":
    """Let a registered version earn its traffic step by step; it is the champion if it does.

    Args:
        version: its number in the registry.
        steps: growing percentages, the last one 100; those of the settings by default.
        again: roll out a version that was rolled back before.

    Raises:
        RegistryError: it has no model card, so it could not become the champion.
        RolloutError: nothing is served, it was rolled back before, or another rollout is running.
    """
    from models.card import approval
    from models.registry import CHALLENGER, Registry
    from serving.rollout import ended, rollout
    from serving.settings import ServingSettings

    settings, registry = ServingSettings(), Registry()
    registry.card(version)
    outcome = ended(stage(version), settings, again) or rollout(version, settings, steps, again=again)
    if outcome.promoted:
        registry.promote(version, approval("champion", "the rollout", tuple(outcome.reasons)))
    elif CHALLENGER in registry.get(version).aliases:
        registry.remove_alias(CHALLENGER)
    return outcome


def roll_back(why: str, predictor: str | None = None) -> tuple["Rollback", str]:
    """Take the canary, or else the last promotion, back; the registry's aliases follow the traffic.

    Args:
        why: a person's reason.
        predictor: what the person means; something else is not taken back.

    Returns:
        What was taken back, and in words what the registry made of it.

    Raises:
        RollbackError: nothing was taken back.
        ManifestError: the model that is to serve instead is gone or damaged.
        NotAppliedError: it does not come up; what served before still does.
    """
    from flows.retraining import lost
    from flows.settings import FlowSettings
    from models.card import approval
    from models.registry import CHALLENGER, CHAMPION, Registry
    from models.registry_errors import RegistryError
    from serving.rollback import rollback
    from serving.rollback_request import by_hand
    from serving.settings import ServingSettings
    from serving.triton import model_version

    done, registry = rollback(ServingSettings(), why, predictor), Registry()
    version, champion = int(model_version(done.predictor)), int(model_version(done.champion))
    lost(version, by_hand(why), FlowSettings())
    try:
        if CHALLENGER in registry.get(version).aliases:
            registry.remove_alias(CHALLENGER)
        if CHAMPION not in registry.get(champion).aliases:
            registry.promote(champion, approval(CHAMPION, "by hand", (why,)))
    except RegistryError as error:
        # The traffic comes first, and has moved.
        return done, f"the registry still says otherwise: {error}"
    return done, f"version {champion} is the registry's {CHAMPION}"


def roll_out_in_turn(version: int, steps: tuple[int, ...] | None, again: bool) -> "RolloutOutcome":
    """Roll out; on Argo, where a training's rollout and a refresh's may meet, after any other one."""
    from flows.events import on_argo
    from serving.rollout import RolloutRunningError

    while True:
        try:
            return roll_out(version, steps, again)
        except RolloutRunningError:
            if not on_argo():
                raise
            time.sleep(TURN_SECONDS)
