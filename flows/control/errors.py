"""Which errors the control API answers in their own words, as problems after RFC 9457."""

import logging
import sqlite3
from http import HTTPStatus

import pyarrow as pa
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from feature_repo.lake import LakeError
from models.registry_errors import RegistryError
from monitoring.log_files import LogFileError
from serving import problems
from serving.backend import ChangedByOthersError, NotAppliedError
from serving.components import StateError
from serving.gateway import GatewayError
from serving.kubernetes import ClusterError
from serving.manifest import ManifestError
from serving.model_storage import ModelStorageError
from serving.rollback import RollbackError
from serving.rollout_database import RolloutDatabaseError
from serving.runtime import RuntimeFailure
from serving.supervision import SupervisionError

_logger = logging.getLogger(__name__)


class NothingThereError(LookupError):
    """What was asked for is not there; the message names the remedy."""


class RefusedError(RuntimeError):
    """Something speaks against what a person wants; the message says what."""


class ReportError(RuntimeError):
    """A report cannot be read; the message names the remedy."""


UNREADABLE = (sqlite3.Error, OSError, pa.ArrowException)
"""Errors of a file that is damaged or out of reach; their message names no remedy."""

STATUSES: dict[type[Exception], HTTPStatus] = {
    NothingThereError: HTTPStatus.NOT_FOUND,
    RefusedError: HTTPStatus.CONFLICT,
    RollbackError: HTTPStatus.CONFLICT,
    ChangedByOthersError: HTTPStatus.CONFLICT,
    ClusterError: HTTPStatus.SERVICE_UNAVAILABLE,
    GatewayError: HTTPStatus.SERVICE_UNAVAILABLE,
    LakeError: HTTPStatus.SERVICE_UNAVAILABLE,
    LogFileError: HTTPStatus.SERVICE_UNAVAILABLE,
    ManifestError: HTTPStatus.SERVICE_UNAVAILABLE,
    ModelStorageError: HTTPStatus.SERVICE_UNAVAILABLE,
    NotAppliedError: HTTPStatus.SERVICE_UNAVAILABLE,
    ReportError: HTTPStatus.SERVICE_UNAVAILABLE,
    RegistryError: HTTPStatus.SERVICE_UNAVAILABLE,
    RolloutDatabaseError: HTTPStatus.SERVICE_UNAVAILABLE,
    RuntimeFailure: HTTPStatus.SERVICE_UNAVAILABLE,
    StateError: HTTPStatus.SERVICE_UNAVAILABLE,
    SupervisionError: HTTPStatus.SERVICE_UNAVAILABLE,
}
"""Errors whose message tells a person what to do, and the status of the answer."""


def install(app: FastAPI) -> None:
    """Have the application answer these errors, and all others as the API of the recommendations does."""
    problems.install(app)
    for kind in STATUSES:
        app.add_exception_handler(kind, _told)
    for kind in UNREADABLE:
        app.add_exception_handler(kind, _unreadable)


async def _told(request: Request, error: Exception) -> JSONResponse:
    status = next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)
    return problems.problem(request, status, str(error))


def in_words(error: Exception) -> str:
    """Return what is told of a file that cannot be read."""
    return f"a file cannot be read ({type(error).__name__}: {error}): restore it, or move it away"


async def _unreadable(request: Request, error: Exception) -> JSONResponse:
    _logger.error("a file cannot be read", exc_info=error)
    return problems.problem(request, HTTPStatus.SERVICE_UNAVAILABLE, in_words(error))
