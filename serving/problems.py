"""Errors of the HTTP API as problem details (RFC 9457)."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from serving.recommend import NoAnswerError

MEDIA_TYPE = "application/problem+json"
SHOWN_INPUT = 60
"""Characters of a bad value that its error repeats."""

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
    return JSONResponse(content, status, headers, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Have the application answer every error as a problem."""

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
    field = (
        ".".join(str(part) for part in fault["loc"] if part not in ("query", "path", "body")) or "the body"
    )
    if fault["type"] == "extra_forbidden":
        return f"{field}: unknown name: correct it or leave it out"
    given = repr(fault.get("input"))
    if len(given) > SHOWN_INPUT:
        given = f"{given[:SHOWN_INPUT]}… ({len(str(fault['input']))} characters)"
    return f"{field}: {fault['msg'][0].lower()}{fault['msg'][1:]}, got {given}"
