"""The control API as the page asks it."""

from typing import Any

import httpx

ANSWER_SECONDS = 20.0
"""Longest wait for what is only read."""

ACT_SECONDS = 300.0
"""Longest wait for an act: a rollback may have to start a predictor first."""

UNKNOWN_KEY = "this key is not known: `python -m serving key` makes one"


class ProblemError(RuntimeError):
    """The API refuses, or does not answer; the message is for a person."""


class ControlApi:
    """The control API at an address."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=ANSWER_SECONDS, trust_env=False)

    def read(self, path: str, **parameters: str | int) -> Any:
        """Return what a path tells.

        Raises:
            ProblemError: it tells a problem, such as that there is nothing yet.
        """
        return self._answer("GET", path, params=parameters)

    def act(self, path: str, key: str, **body: Any) -> str:
        """Do something with a person's key, and return what happened, in words.

        Raises:
            ProblemError: the key is not known, or something speaks against it.
        """
        if not key.isascii():
            raise ProblemError(UNKNOWN_KEY)
        headers = {"Authorization": f"Bearer {key}"}
        done = self._answer("POST", path, json=body, headers=headers, timeout=ACT_SECONDS)
        return str(done["done"])

    def _answer(self, method: str, path: str, **arguments: Any) -> Any:
        try:
            answer = self._client.request(method, path, **arguments)
            document = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise ProblemError(
                f"the control API at {self._client.base_url} does not answer ({type(error).__name__}): "
                "start it again by make control-room"
            ) from error
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            raise ProblemError(UNKNOWN_KEY)
        if not answer.is_success:
            raise ProblemError(str(document.get("detail", document)))
        return document
