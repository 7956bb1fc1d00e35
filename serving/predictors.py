"""The predictors behind the gateway, as the API asks them: each attempt has a deadline."""

from dataclasses import dataclass
from urllib.parse import quote

import aiohttp
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


class LateError(PredictorError):
    """A predictor has not answered in time."""


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
        # It belongs to an event loop, so it is opened in the one that asks first.
        self._opened: aiohttp.ClientSession | None = None

    @property
    def _session(self) -> aiohttp.ClientSession:
        # httpx would take some 0.5 ms more of the processor for each question, and what is not said to be
        # wanted as it is, Triton compresses.
        self._opened = self._opened or aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), headers={"Accept-Encoding": "identity"}
        )
        return self._opened

    async def close(self) -> None:
        """Close the connections to the gateway."""
        if self._opened:
            await self._opened.close()

    async def is_ready(self) -> bool:
        """Whether the gateway reaches a model that is ready."""
        timeout = aiohttp.ClientTimeout(total=self._settings.inference_seconds)
        try:
            async with self._session.get(f"{self._model_url}/ready", timeout=timeout) as response:
                return response.ok
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def ask(self, attempt: Attempt, graph: str, seconds: float) -> dict[str, np.ndarray]:
        """Return the outputs of one of the model's graphs by name, and note who answered.

        Args:
            attempt: the inputs, ``user_id`` among them.
            graph: the end of the graph's name in Triton, such as ``triton.PAIRS``.
            seconds: longest wait, above zero.

        Raises:
            PredictorError: with the reason.
        """
        body, headers = encode_request(attempt.inputs)
        # Ids may hold what a header may not.
        headers[USER_HEADER] = quote(str(attempt.inputs["user_id"]), safe="")
        if attempt.pin:
            headers[PREDICTOR_HEADER] = attempt.pin
        url = f"{self._model_url}{graph}/infer"
        timeout = aiohttp.ClientTimeout(total=seconds)
        try:
            async with self._session.post(url, data=body, headers=headers, timeout=timeout) as response:
                content = await response.read()
            attempt.predictor = response.headers.get(PREDICTOR_HEADER, attempt.predictor)
            if not response.ok:
                raise PredictorError(f"HTTP {response.status}: {content[:200].decode(errors='replace')}")
            return decode_response(content, response.headers)
        except TimeoutError as error:
            raise LateError(f"no answer within {seconds:.3g} s") from error
        except (aiohttp.ClientError, InferenceFormatError) as error:
            raise PredictorError(str(error) or type(error).__name__) from error

    def others_than(self, failed: str, again: bool) -> list[str]:
        """Return the predictors to ask after one has failed, the one with the most traffic first.

        One that never answered has not said its name: most likely it is the one with the most traffic.

        Args:
            failed: its name, or ``UNKNOWN_PREDICTOR``.
            again: whether the failed one itself comes last, or not at all.
        """
        deployment = applied(self._settings)
        weights = deployment.weights if deployment else {}
        ordered = sorted(weights, key=weights.__getitem__, reverse=True)
        if failed == UNKNOWN_PREDICTOR and ordered:
            failed = ordered[0]
        # One that has left the manifest meanwhile is not asked again.
        return [
            *(name for name in ordered if name != failed),
            *([failed] if again and failed in weights else []),
        ]
