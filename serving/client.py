"""A small Python client of the HTTP API."""

import os
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ConfigDict

DEFAULT_SECONDS = 10.0
"""Longest wait for an answer; the API itself gives up on its predictors well before."""


class RecommenderError(RuntimeError):
    """The API does not answer or refuses; ``status`` is None when it could not be reached."""

    def __init__(self, message: str, status: int | None = None) -> None:
        self.status = status
        super().__init__(message)


class RecommendedRental(BaseModel):
    """One item of an answer."""

    rental_id: str
    predicted_rating: float
    score: float
    category: str | None = None
    area: str | None = None
    price: float | None = None
    capacity: float | None = None


class Recommendations(BaseModel):
    """The answer for one user, best rental first."""

    model_config = ConfigDict(protected_namespaces=())

    request_id: str
    user_id: str
    model_version: str
    predictor: str
    cold_start: bool
    """Whether nothing was known of the user."""

    degraded: str | None
    """Why the answer is less than it could be, if it is."""

    items: list[RecommendedRental]


class RecommenderClient:
    """Asks the API; closes its connections as a context manager."""

    def __init__(self, base_url: str, seconds: float = DEFAULT_SECONDS, api_key: str | None = None) -> None:
        """Take the address of the API.

        Args:
            base_url: where it listens.
            seconds: longest wait for an answer.
            api_key: what its writing routes ask for; None takes ``RENTALS_API_KEY``, if it is set.
        """
        key = api_key or os.environ.get("RENTALS_API_KEY")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(base_url=base_url, timeout=seconds, headers=headers, trust_env=False)

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
        **filters: str | Iterable[str],
    ) -> Recommendations:
        """Return the ``k`` best rentals for a user, at most 100.

        Args:
            user_id: who asks.
            k: number of rentals; fewer come where the filters leave fewer.
            purpose: what for.
            size: in which size, in the codes of the ratings.
            filters: ``exclude`` or ``only`` with rental ids, ``category`` or ``area`` with allowed values.

        Raises:
            RecommenderError: the API refuses the question or cannot answer.
        """
        context = {"purpose": purpose, "size": size}
        parameters: dict[str, Any] = {"k": k}
        parameters |= {name: value for name, value in context.items() if value is not None}
        for name, values in filters.items():
            parameters[name] = values if isinstance(values, str) else list(values)
        answer = self._ask("GET", f"/users/{_quoted(user_id)}/recommendations", params=parameters)
        return Recommendations.model_validate(answer)

    def features(self, user_id: str) -> dict[str, float | str | None]:
        """Return the user's online features by name.

        Raises:
            RecommenderError: as for ``recommendations``.
        """
        found: dict[str, float | str | None] = self._ask("GET", f"/users/{_quoted(user_id)}/features")[
            "features"
        ]
        return found

    def rental_features(self, rental_id: str) -> dict[str, float | str | None]:
        """Return the rental's online features by name.

        Raises:
            RecommenderError: as for ``recommendations``.
        """
        found: dict[str, float | str | None] = self._ask("GET", f"/rentals/{_quoted(rental_id)}/features")[
            "features"
        ]
        return found

    def feedback(self, request_id: str, user_id: str, rental_id: str, rating: float | None = None) -> None:
        """Tell what a user thinks of a recommended rental: a rating (1..5), or None for a click.

        Raises:
            RecommenderError: as for ``recommendations``.
        """
        message = {"request_id": request_id, "user_id": user_id, "rental_id": rental_id, "rating": rating}
        self._ask("POST", "/feedback", json=message)

    def _ask(self, method: str, path: str, **arguments: Any) -> Any:
        try:
            response = self._client.request(method, path, **arguments)
        except httpx.HTTPError as error:
            raise RecommenderError(f"{self._client.base_url} does not answer: {error}; is it up?") from error
        try:
            answer = response.json()
        except ValueError as error:
            raise RecommenderError(
                f"HTTP {response.status_code} without JSON: is this the right address?", response.status_code
            ) from error
        if not response.is_success:
            detail = answer.get("detail") if isinstance(answer, dict) else None
            raise RecommenderError(f"HTTP {response.status_code}: {detail}", response.status_code)
        return answer


def _quoted(identifier: str) -> str:
    return quote(identifier, safe="")
