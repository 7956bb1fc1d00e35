"""Errors of the HTTP API as problem details (RFC 9457)."""

import logging
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

_logger = logging.getLogger(__name__)


def problem(request: Request, status: int, detail: str) -> JSONResponse:
    """Return a problem of the general type, told apart by its status."""
    content: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": request.url.path[:SHOWN_INPUT],
    }
    return JSONResponse(content, status, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Have the application answer every error as a problem."""

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return problem(request, HTTPStatus.UNPROCESSABLE_ENTITY, "; ".join(map(_sentence, error.errors())))

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        return problem(request, error.status_code, str(error.detail))

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
    field = (
        ".".join(str(part) for part in fault["loc"] if part not in ("query", "path", "body")) or "the body"
    )
    given = repr(fault.get("input"))
    if len(given) > SHOWN_INPUT:
        given = f"{given[:SHOWN_INPUT]}… ({len(str(fault['input']))} characters)"
    return f"{field}: {fault['msg'][0].lower()}{fault['msg'][1:]}, got {given}"
