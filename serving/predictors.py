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


SHORTEST = 0.001
"""Seconds; aiohttp takes zero for no limit at all."""


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
            seconds: longest wait.

        Raises:
            PredictorError: with the reason.
        """
        body, headers = encode_request(attempt.inputs)
        # Ids may hold what a header may not.
        headers[USER_HEADER] = quote(str(attempt.inputs["user_id"]), safe="")
        if attempt.pin:
            headers[PREDICTOR_HEADER] = attempt.pin
        url = f"{self._model_url}{graph}/infer"
        timeout = aiohttp.ClientTimeout(total=max(seconds, SHORTEST))
        try:
            async with self._session.post(url, data=body, headers=headers, timeout=timeout) as response:
                content = await response.read()
            attempt.predictor = response.headers.get(PREDICTOR_HEADER, attempt.predictor)
            if not response.ok:
                raise PredictorError(f"HTTP {response.status}: {content[:200].decode(errors='replace')}")
            return decode_response(content, response.headers)
        except TimeoutError as error:
            raise PredictorError(f"no answer within {seconds:.3g} s") from error
        except (aiohttp.ClientError, InferenceFormatError) as error:
            raise PredictorError(str(error) or type(error).__name__) from error

    def other_than(self, failed: str) -> str | None:
        """Return the predictor with the most traffic but for the failed one."""
        deployment = applied(self._settings)
        weights = deployment.weights if deployment else {}
        others = {name: weight for name, weight in weights.items() if name != failed}
        return max(others, key=others.__getitem__) if others else None
