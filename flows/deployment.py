"""From a registered version to a served one."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serving.components import RuntimeState
    from serving.rollout import RolloutOutcome


def stage(version: int) -> str:
    """Put a registered version into the Triton model repository, and return the name of its predictor."""
    from models.registry import Registry
    from serving import triton
    from serving.settings import ServingSettings

    settings = ServingSettings()
    triton.write_repository(Registry().get(version).path, version, settings)
    return triton.predictor_name(version)


def serve(version: int) -> "RuntimeState":
    """Serve one version with all the traffic, and make it the champion."""
    from models.registry import Registry
    from serving import manifest, runtime
    from serving.settings import ServingSettings

    settings = ServingSettings()
    state = runtime.apply(manifest.render({stage(version): 100}, settings), settings)
    Registry().promote(version)
    return state


def roll_out(version: int, steps: tuple[int, ...]) -> "RolloutOutcome":
    """Let a registered version earn its traffic step by step; it is the champion if it does."""
    from models.registry import CHALLENGER, Registry
    from serving.rollout import rollout
    from serving.settings import ServingSettings

    stage(version)
    Registry().set_alias(CHALLENGER, version)
    outcome = rollout(version, steps=steps, settings=ServingSettings())
    if outcome.promoted:
        Registry().promote(version)
    else:
        Registry().remove_alias(CHALLENGER)
    return outcome
