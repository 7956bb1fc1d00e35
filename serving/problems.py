"""Errors of the HTTP API as problem details (RFC 9457)."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from serving.messages import Problem
from serving.recommend import NoAnswerError
from serving.security_headers import HEADERS

MEDIA_TYPE = "application/problem+json"
SHOWN_INPUT = 60
"""Characters of a bad value that its error repeats."""

DESCRIPTIONS = {
    400: "The body cannot be read",
    401: "The route writes, and the request brings no key",
    413: "The body is too large",
    422: "A value is missing, of a wrong type or off its range, or a name is unknown",
    429: "Too many requests within a minute; the header Retry-After says how long to wait",
    503: "No predictor, or no feature store, answers",
}
"""What each status of an error means, for the OpenAPI document."""

REMEDIES = {
    400: "the body cannot be read: send JSON in UTF-8, its parts not nested deeply",
    404: "there is nothing at this address: / lists those that there are",
    405: "this address does not take this method: the header Allow names those that it takes",
}
"""What the framework says in a word or two, with the way out."""

_logger = logging.getLogger(__name__)


def problem(
    request: Request, status: int, detail: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """Return a problem of the general type, told apart by its status."""
    content: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": request.url.path[:SHOWN_INPUT],
    }
    # An error of ours is answered outside of all middleware.
    return JSONResponse(content, status, {**HEADERS, **(headers or {})}, media_type=MEDIA_TYPE)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the error answers of a route, for FastAPI's ``responses``."""
    return {status: {"model": Problem, "description": DESCRIPTIONS[status]} for status in statuses}


NO_HTTP: dict[int | str, dict[str, Any]] = {
    400: {
        "description": "The server cannot read the request: its first line is longer than 64 kB, say",
        "content": {"text/plain": {}},
    }
}
"""What uvicorn answers before any route is asked."""


def _under_their_media_type(document: dict[str, Any]) -> dict[str, Any]:
    """FastAPI documents every answer under the media type of the route's proper one."""
    operations = (operation for path in document["paths"].values() for operation in path.values())
    for status, response in (pair for each in operations for pair in each["responses"].items()):
        content = response.get("content", {})
        if status[0] in "45" and "application/json" in content:
            content[MEDIA_TYPE] = content.pop("application/json")
    return document


def install(app: FastAPI) -> None:
    """Have the application answer every error as a problem, and say so in its OpenAPI document."""
    generate = app.openapi
    app.openapi = lambda: app.openapi_schema or _under_their_media_type(generate())  # type: ignore[method-assign]

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return problem(request, HTTPStatus.UNPROCESSABLE_ENTITY, "; ".join(map(_sentence, error.errors())))

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        detail = REMEDIES.get(error.status_code, str(error.detail))
        return problem(request, error.status_code, detail, error.headers)

    @app.exception_handler(NoAnswerError)
    async def unanswered(request: Request, error: NoAnswerError) -> JSONResponse:
        return problem(
            request, HTTPStatus.SERVICE_UNAVAILABLE, f"{error}; try again, or see the predictors' logs"
        )

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        _logger.error("request failed", exc_info=error)
        return problem(request, HTTPStatus.INTERNAL_SERVER_ERROR, "the API failed; its log has the details")


def _sentence(fault: dict[str, Any]) -> str:
    if fault["type"] == "json_invalid":
        return f"the body is not JSON: {fault['ctx']['error']} at character {fault['loc'][-1]}"
    if fault["loc"] == ("body",) and isinstance(fault["input"], bytes):
        return "the body is not sent as JSON: send the header Content-Type: application/json"
    field = ".".join(str(part) for part in fault["loc"] if part not in ("query", "path", "body"))
    field = field or ("the question" if fault["loc"][0] == "query" else "the body")
    if fault["type"] == "value_error":
        return f"{field}: {fault['ctx']['error']}"
    if fault["type"] == "extra_forbidden":
        return f"{field}: unknown name: correct it or leave it out"
    given = repr(fault.get("input"))
    if len(given) > SHOWN_INPUT:
        given = f"{given[:SHOWN_INPUT]}… ({len(str(fault['input']))} characters)"
    return f"{field}: {fault['msg'][0].lower()}{fault['msg'][1:]}, got {given}"
