"""The predictors behind the gateway, as the API asks them: each attempt has a deadline."""

import asyncio
from dataclasses import dataclass
from urllib.parse import quote

import httpx
import numpy as np

from serving.answers import Inputs
from serving.envoy import PREDICTOR_HEADER, USER_HEADER, seldon_prefix
from serving.inference_protocol import InferenceFormatError, decode_response, encode_request
from serving.runtime import applied
from serving.settings import ServingSettings

UNKNOWN_PREDICTOR = "unknown"
"""Predictor of an answer which did not come from one, such as that of a gateway which is down."""


class PredictorError(RuntimeError):
    """A predictor does not answer, or not in the protocol."""


@dataclass
class Attempt:
    """One question to one predictor; its name is known when it has answered."""

    inputs: Inputs
    pin: str | None = None
    """The predictor that must answer; None lets the gateway choose by the user's id."""

    predictor: str = UNKNOWN_PREDICTOR

    def __post_init__(self) -> None:
        self.predictor = self.pin or UNKNOWN_PREDICTOR


class Predictors:
    """Asks them over connections that are kept open."""

    def __init__(self, settings: ServingSettings, gateway_url: str) -> None:
        """Take the gateway's address; nothing is asked yet."""
        self._settings = settings
        prefix = seldon_prefix(settings.namespace, settings.deployment_name)
        self._model_url = f"{gateway_url}{prefix}v2/models/{settings.model_name}"
        self._client = httpx.AsyncClient(timeout=settings.inference_seconds, trust_env=False)

    async def close(self) -> None:
        """Close the connections to the gateway."""
        await self._client.aclose()

    async def is_ready(self) -> bool:
        """Whether the gateway reaches a model that is ready."""
        try:
            return (await self._client.get(f"{self._model_url}/ready")).is_success
        except httpx.HTTPError:
            return False

    async def ask(self, attempt: Attempt, graph: str, seconds: float) -> dict[str, np.ndarray]:
        """Return the outputs of one of the model's graphs by name, and note who answered.

        Args:
            attempt: the inputs, ``user_id`` among them.
            graph: the end of the graph's name in Triton, such as ``triton.PAIRS``.
            seconds: longest wait.

        Raises:
            PredictorError: with the reason.
        """
        body, headers = encode_request(attempt.inputs)
        # Ids may hold what a header may not.
        headers[USER_HEADER] = quote(str(attempt.inputs["user_id"]), safe="")
        if attempt.pin:
            headers[PREDICTOR_HEADER] = attempt.pin
        try:
            async with asyncio.timeout(max(seconds, 0)):
                response = await self._client.post(
                    f"{self._model_url}{graph}/infer", content=body, headers=headers
                )
            attempt.predictor = response.headers.get(PREDICTOR_HEADER, attempt.predictor)
            if not response.is_success:
                raise PredictorError(f"HTTP {response.status_code}: {response.text[:200]}")
            return decode_response(response.content, response.headers)
        except TimeoutError as error:
            raise PredictorError(f"no answer within {seconds:.3g} s") from error
        except (httpx.HTTPError, InferenceFormatError) as error:
            raise PredictorError(str(error) or type(error).__name__) from error

    def other_than(self, failed: str) -> str | None:
        """Return the predictor with the most traffic but for the failed one."""
        deployment = applied(self._settings)
        weights = deployment.weights if deployment else {}
        others = {name: weight for name, weight in weights.items() if name != failed}
        return max(others, key=others.__getitem__) if others else None
