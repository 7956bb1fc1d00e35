"""The component as Seldon's SDK serves it, with limits that the SDK does not have."""

import hashlib
import hmac
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from flask import Response, jsonify, request
from seldon_core.wrapper import METRICS_ENDPOINT, get_metrics_microservice, get_rest_microservice
from werkzeug.exceptions import BadRequest, HTTPException

from serving.feedback.component import FeedbackComponent, FeedbackError
from serving.feedback.ledger import Ledger
from serving.feedback.reward_metrics import RewardMetrics

LARGEST_BODY = 100_000
"""Bytes; a client may repeat the request and the response, of at most a hundred rentals, in its feedback."""

FOLLOW_SECONDS = 5
"""Time between two looks at the lake where nobody asks: it has four new files a second at most."""

UNREADABLE = "the body cannot be read: send JSON in UTF-8, its parts not nested deeply"

_logger = logging.getLogger(__name__)

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def create_app() -> Application:
    """Return the WSGI application: Seldon's routes and the metrics, for the lake below ``RENTALS_HOME``."""
    home = Path(os.environ["RENTALS_HOME"])
    ledger = Ledger(home / "lake")
    threading.Thread(target=_follow, args=[ledger], name="follow-the-lake", daemon=True).start()
    metrics = RewardMetrics(ledger)
    rest = get_rest_microservice(FeedbackComponent(home / "lake", ledger), metrics)
    rest.before_request(lambda: _check_request(home / "api-keys"))
    # The SDK answers these with 500.
    rest.register_error_handler(HTTPException, _refused)
    rest.register_error_handler(RecursionError, lambda _: _refused(BadRequest(UNREADABLE)))
    exposed = get_metrics_microservice(metrics)

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        # The SDK gives metrics a server of their own, whose port would be one more to find.
        app = exposed if environ["PATH_INFO"] == METRICS_ENDPOINT else rest
        answer: Iterable[bytes] = app(environ, start_response)
        return answer

    return application


def _follow(ledger: Ledger) -> None:
    """Keep the ledger up to date, so that who asks after a quiet day does not wait for all of it."""
    while True:
        try:
            ledger.refresh()
        except (OSError, sqlite3.Error):
            _logger.exception("the lake cannot be read; trying again in %s s", FOLLOW_SECONDS)
        time.sleep(FOLLOW_SECONDS)


def _check_request(keys: Path) -> None:
    """Refuse what the SDK would take, or fail at.

    Raises:
        FeedbackError: with the remedy.
    """
    if "Origin" in request.headers:
        # The SDK would let the pages of every site send feedback from a browser of this machine.
        raise FeedbackError("feedback is not taken from web pages: send it from a server", 403)
    if request.method in ("GET", "HEAD") and "feedback" not in request.path:
        return
    if request.method != "POST":
        raise FeedbackError("this address takes POST", 405)
    _check_key(keys)
    if request.content_length is None:
        raise FeedbackError("send the header Content-Length", 411)
    if request.content_length > LARGEST_BODY:
        raise FeedbackError(f"the body is larger than {LARGEST_BODY} bytes: send less", 413)
    if not request.is_json:
        raise FeedbackError("send JSON in the body, with the header Content-Type: application/json", 415)
    if request.args:
        raise FeedbackError("send all in the body: parameters of the address are not read")
    try:
        message = request.get_json()
    except (BadRequest, RecursionError, ValueError) as error:
        raise FeedbackError(UNREADABLE) from error
    if not isinstance(message, dict):
        raise FeedbackError("the body must be a Feedback message, a JSON object")


def _check_key(keys: Path) -> None:
    """Ask for a key of the API's, once there is one (``serving.api_keys``)."""
    try:
        hashes = keys.read_bytes().split()
    except FileNotFoundError:
        return
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    offered = hashlib.sha256(key.encode()).hexdigest().encode() if scheme.lower() == "bearer" else b""
    if not sum(hmac.compare_digest(offered, known) for known in hashes):
        raise FeedbackError(
            "this route needs a key: send the header Authorization: Bearer KEY with one of "
            "`python -m serving key`",
            401,
        )


def _refused(error: HTTPException) -> tuple[Response, int]:
    remedy = FeedbackError(error.description or error.name)
    return jsonify(remedy.to_dict()), error.code or 500
