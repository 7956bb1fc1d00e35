"""A small Python client of the HTTP API, for programs with and without an event loop.

Both keep their connections open, and try again what does no harm twice: questions, not feedback.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError
from tenacity import AsyncRetrying, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from serving.messages import (
    Accepted,
    Features,
    Pair,
    PredictedRatings,
    Recommendations,
    RentalFeatures,
    UserFeatures,
)

DEFAULT_SECONDS = 10.0
"""Longest wait of a try for an answer; the API itself gives up on its predictors well before."""

ATTEMPTS = 3
"""Tries of a question by default: the API is restarted within a second."""

LONGEST_PAUSE = 2.0
"""Seconds between two tries at most; each is drawn, so that clients do not come back together."""

PASSING = (None, 429, 502, 503, 504)
"""Statuses, None for no answer at all, that may be otherwise a moment later."""

T = TypeVar("T", bound=BaseModel)


class RecommenderError(RuntimeError):
    """The API does not answer or refuses; ``status`` is None when it could not be reached."""

    def __init__(self, message: str, status: int | None = None) -> None:
        self.status = status
        super().__init__(message)


@dataclass(frozen=True)
class _Call(Generic[T]):
    """One request, and what its answer is."""

    answer: type[T]
    method: str
    path: str
    arguments: dict[str, Any] = field(default_factory=dict)
    is_repeatable: bool = True


def _recommendations(
    user_id: str, k: int, purpose: str | None, size: float | None, filters: dict[str, Any]
) -> _Call[Recommendations]:
    named = {"k": k, "purpose": purpose, "size": size, **filters}
    parameters = {
        name: value if isinstance(value, str | int | float) else list(value)
        for name, value in named.items()
        if value is not None
    }
    path = f"/users/{_quoted(user_id)}/recommendations"
    return _Call(Recommendations, "GET", path, {"params": parameters})


def _predict(pairs: Iterable[Pair]) -> _Call[PredictedRatings]:
    body = {"pairs": [pair.model_dump() for pair in pairs]}
    return _Call(PredictedRatings, "POST", "/ratings:predict", {"json": body})


def _feedback(request_id: str, user_id: str, rental_id: str, rating: float | None) -> _Call[Accepted]:
    message = {"request_id": request_id, "user_id": user_id, "rental_id": rental_id, "rating": rating}
    return _Call(Accepted, "POST", "/feedback", {"json": message}, is_repeatable=False)


class RecommenderClient:
    """Asks the API; closes its connections as a context manager."""

    def __init__(
        self,
        base_url: str,
        seconds: float = DEFAULT_SECONDS,
        api_key: str | None = None,
        attempts: int = ATTEMPTS,
    ) -> None:
        """Take the address of the API.

        Args:
            base_url: where it listens.
            seconds: longest wait of one try for an answer.
            api_key: what its writing routes ask for; None takes ``RENTALS_API_KEY``, if it is set.
            attempts: tries of a question that fails in a way that may pass.
        """
        self._attempts = attempts
        self._client = httpx.Client(**_options(base_url, seconds, api_key))

    def __enter__(self) -> "RecommenderClient":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def recommendations(
        self,
        user_id: str,
        k: int = 10,
        purpose: str | None = None,
        size: float | None = None,
        **filters: str | float | Iterable[str] | None,
    ) -> Recommendations:
        """Return the ``k`` best rentals for a user, at most 100.

        Args:
            user_id: who asks.
            k: number of rentals; fewer come where the filters leave fewer.
            purpose: what for.
            size: in which size, in the codes of the ratings.
            filters: ``exclude`` or ``only`` with rental ids, ``category`` or ``area`` with allowed values,
                ``exclude_rented`` with True, ``price_from`` and ``price_to`` with prices.

        Raises:
            RecommenderError: the API refuses the question or cannot answer.
        """
        return self._ask(_recommendations(user_id, k, purpose, size, filters))

    def predict(self, pairs: Iterable[Pair]) -> PredictedRatings:
        """Return the rating that each pair's user would give to its rental, in order; at most 100.

        Raises:
            RecommenderError: as for ``recommendations``.
        """
        return self._ask(_predict(pairs))

    def features(self, user_id: str) -> Features:
        """Return the user's online features by name.

        Raises:
            RecommenderError: as for ``recommendations``.
        """
        return self._ask(_Call(UserFeatures, "GET", f"/users/{_quoted(user_id)}/features")).features

    def rental_features(self, rental_id: str) -> Features:
        """Return the rental's online features by name.

        Raises:
            RecommenderError: as for ``recommendations``.
        """
        return self._ask(_Call(RentalFeatures, "GET", f"/rentals/{_quoted(rental_id)}/features")).features

    def feedback(self, request_id: str, user_id: str, rental_id: str, rating: float | None = None) -> None:
        """Tell what a user thinks of a recommended rental: a rating (1..5), or None for a click.

        Raises:
            RecommenderError: as for ``recommendations``.
        """
        self._ask(_feedback(request_id, user_id, rental_id, rating))

    def _ask(self, call: _Call[T]) -> T:
        for attempt in Retrying(**_retries(call, self._attempts)):
            with attempt:
                try:
                    response = self._client.request(call.method, call.path, **call.arguments)
                except httpx.HTTPError as error:
                    raise _unreachable(self._client.base_url, error) from error
                return _answer(call, response)
        raise AssertionError("the last attempt returns or raises")


class AsyncRecommenderClient:
    """The same within an event loop: each method of ``RecommenderClient``, to be awaited."""

    def __init__(
        self,
        base_url: str,
        seconds: float = DEFAULT_SECONDS,
        api_key: str | None = None,
        attempts: int = ATTEMPTS,
    ) -> None:
        """Take what ``RecommenderClient`` takes."""
        self._attempts = attempts
        self._client = httpx.AsyncClient(**_options(base_url, seconds, api_key))

    async def __aenter__(self) -> "AsyncRecommenderClient":
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def recommendations(
        self,
        user_id: str,
        k: int = 10,
        purpose: str | None = None,
        size: float | None = None,
        **filters: str | float | Iterable[str] | None,
    ) -> Recommendations:
        """Return the ``k`` best rentals for a user; see ``RecommenderClient``."""
        return await self._ask(_recommendations(user_id, k, purpose, size, filters))

    async def predict(self, pairs: Iterable[Pair]) -> PredictedRatings:
        """Return the predicted rating of each pair; see ``RecommenderClient``."""
        return await self._ask(_predict(pairs))

    async def features(self, user_id: str) -> Features:
        """Return the user's online features by name."""
        answer = await self._ask(_Call(UserFeatures, "GET", f"/users/{_quoted(user_id)}/features"))
        return answer.features

    async def rental_features(self, rental_id: str) -> Features:
        """Return the rental's online features by name."""
        answer = await self._ask(_Call(RentalFeatures, "GET", f"/rentals/{_quoted(rental_id)}/features"))
        return answer.features

    async def feedback(
        self, request_id: str, user_id: str, rental_id: str, rating: float | None = None
    ) -> None:
        """Tell what a user thinks of a recommended rental; see ``RecommenderClient``."""
        await self._ask(_feedback(request_id, user_id, rental_id, rating))

    async def _ask(self, call: _Call[T]) -> T:
        async for attempt in AsyncRetrying(**_retries(call, self._attempts)):
            with attempt:
                try:
                    response = await self._client.request(call.method, call.path, **call.arguments)
                except httpx.HTTPError as error:
                    raise _unreachable(self._client.base_url, error) from error
                return _answer(call, response)
        raise AssertionError("the last attempt returns or raises")


def _options(base_url: str, seconds: float, api_key: str | None) -> dict[str, Any]:
    """What both of httpx's clients are made with."""
    key = api_key or os.environ.get("RENTALS_API_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return {"base_url": base_url, "timeout": seconds, "headers": headers, "trust_env": False}


def _retries(call: _Call[T], attempts: int) -> dict[str, Any]:
    return {
        "stop": stop_after_attempt(attempts if call.is_repeatable else 1),
        "wait": wait_random_exponential(0.1, max=LONGEST_PAUSE),
        "retry": retry_if_exception(
            lambda error: isinstance(error, RecommenderError) and error.status in PASSING
        ),
        "reraise": True,
    }


def _unreachable(url: httpx.URL, error: Exception) -> RecommenderError:
    return RecommenderError(f"{url} does not answer: {error or type(error).__name__}; is it up?")


def _answer(call: _Call[T], response: httpx.Response) -> T:
    try:
        answer = response.json()
    except ValueError as error:
        raise RecommenderError(
            f"HTTP {response.status_code} without JSON: is this the right address?", response.status_code
        ) from error
    if not response.is_success:
        detail = answer.get("detail") if isinstance(answer, dict) else None
        raise RecommenderError(f"HTTP {response.status_code}: {detail}", response.status_code)
    try:
        return call.answer.model_validate(answer)
    except ValidationError as error:
        raise RecommenderError(
            f"the answer is not that of this version of the API: {error}", response.status_code
        ) from error


def _quoted(identifier: str) -> str:
    return quote(identifier, safe="")
