"""What a rollout asks of the place where the model is served: this machine, or a cluster."""

from collections.abc import Mapping
from typing import Protocol

from serving import components, runtime
from serving.arms import ArmReader, gateway_reader, prediction_log_reader
from serving.gateway import PredictorStats
from serving.manifest import render
from serving.seldon import FULL_TRAFFIC, SeldonDeployment
from serving.settings import ServingSettings


class NotAppliedError(RuntimeError):
    """The wanted weights are not in force; what served before still does."""


class ChangedByOthersError(RuntimeError):
    """Somebody else changed the weights during a rollout; they are left as they are."""


class Backend(Protocol):
    """Serves predictors with weights, and counts what they answer."""

    def applied(self) -> SeldonDeployment | None:
        """Return the deployment in force, None where nothing is served."""

    def check(self, canary: str) -> None:
        """Raise ManifestError where the canary cannot be served at all."""

    def apply(self, weights: Mapping[str, int]) -> None:
        """Give each predictor its percent of the traffic, champion first, and remove all others.

        One with 0 % is a shadow: it gets a copy of every request and answers nobody. When this returns, the
        weights are in force, and no request reaches a predictor that is not named.

        Raises:
            NotAppliedError: they are not.
            ChangedByOthersError: the weights are no longer those that the rollout has set.
        """

    def requests(self, predictors: tuple[str, ...]) -> Mapping[str, int]:
        """Return how many requests each predictor has got by its weight so far."""

    def arms(self, share: int) -> ArmReader:
        """Return a reader of what is seen of the champion and of a canary with ``share`` percent."""


def live(weights: Mapping[str, int]) -> dict[str, int]:
    """Return the predictors that answer users."""
    return {name: percent for name, percent in weights.items() if percent}


def render_weights(weights: Mapping[str, int], settings: ServingSettings) -> SeldonDeployment:
    """Return the deployment in which a predictor with 0 % is the shadow."""
    shadow = next((name for name, percent in weights.items() if not percent), None)
    return render(live(weights), settings, shadow)


class LocalBackend:
    """The runtime of this machine (``serving.runtime``)."""

    def __init__(self, settings: ServingSettings) -> None:
        self._settings = settings

    def applied(self) -> SeldonDeployment | None:
        """Return what the applied manifest says."""
        return runtime.applied(self._settings)

    def check(self, canary: str) -> None:
        """Look at the canary's model repository."""
        components.check_served(render({canary: FULL_TRAFFIC}, self._settings), self._settings)

    def apply(self, weights: Mapping[str, int]) -> None:
        """Start what is missing, change the routes, stop what is left over."""
        try:
            runtime.apply(render_weights(weights, self._settings), self._settings)
        except runtime.RuntimeFailure as failure:
            raise NotAppliedError(str(failure)) from failure

    def requests(self, predictors: tuple[str, ...]) -> Mapping[str, int]:
        """Return what Envoy counted on the weighted route."""
        return {name: one.weighted for name, one in self._stats(predictors).items()}

    def arms(self, share: int) -> ArmReader:
        """Read the prediction log and the feedback; of a shadow, which is in neither, Envoy's counters."""
        return prediction_log_reader(self._settings) if share else gateway_reader(self._stats)

    def _stats(self, predictors: tuple[str, ...]) -> Mapping[str, PredictorStats]:
        state = components.load_state(self._settings)
        if state is None:
            raise NotAppliedError("nothing is running: apply a manifest with the champion first")
        return runtime.open_gateway(state, self._settings).stats(predictors)
