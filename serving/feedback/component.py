"""The component: takes rewards as Seldon's feedback route does, and lands them in the lake."""

import time
from math import isfinite
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from seldon_core.flask_utils import SeldonMicroserviceException
from seldon_core.proto.prediction_pb2 import Feedback, SeldonMessage
from seldon_core.user_model import SeldonComponent

from serving.feedback import lake
from serving.feedback.ledger import Answer, Ledger

LONGEST_ID = 128
"""Characters of an id, those that the API takes."""

LOG_SECONDS = 1.0
"""Longest wait for an answer's row in the lake, where the API writes it a quarter of a second after."""

POLL_SECONDS = 0.1
"""Time between two looks at the lake for it."""


class FeedbackError(SeldonMicroserviceException):
    """Feedback that is refused, with the remedy."""


class FeedbackComponent(SeldonComponent):
    """Takes ``Feedback`` messages and keeps what each predictor's answers have earned.

    ``response.meta.puid`` is the request_id of an answer, ``reward`` is from 0 to 1 (the ratings 1 to 5), and
    ``truth``, if there is any, is the rental that the reward is for. The same message again counts once.
    """

    def __init__(self, folder: Path, ledger: Ledger) -> None:
        super().__init__()
        self._folder, self._ledger = folder, ledger

    def send_feedback_raw(self, feedback: Feedback) -> SeldonMessage:
        """Land the reward of a rental of an answer. Seldon's ``send_feedback`` is not given the answer's id.

        Raises:
            FeedbackError: 400 where the message lacks something or is off a scale, 404 for an unknown answer.
        """
        request_id, rental_id = _request_id(feedback), _rental_id(feedback)
        if not (isfinite(feedback.reward) and 0 <= feedback.reward <= 1):
            raise FeedbackError(f"reward: must be from 0 to 1, got {feedback.reward:g}")
        rating = lake.rating_of(feedback.reward)
        answer = self._find_answer(request_id)
        # What is said again is written again, as it may have been something else in between; readers of the
        # lake take it once.
        lake.append_feedback(self._folder, request_id, answer.user_id, rental_id, rating)
        self._ledger.record(request_id, rental_id, lake.reward_of(rating))
        response = SeldonMessage()
        response.meta.puid = request_id
        response.meta.tags["predictor"].string_value = answer.predictor
        return response

    def _find_answer(self, request_id: str) -> Answer:
        deadline = time.monotonic() + LOG_SECONDS
        while (answer := self._ledger.answer(request_id)) is None:
            if time.monotonic() > deadline:
                raise FeedbackError(
                    f"response.meta.puid: no answer has the id {request_id!r}: take it from the answer",
                    404,
                    reason="UNKNOWN_REQUEST",
                )
            time.sleep(POLL_SECONDS)
            self._ledger.refresh()
        return answer


def _request_id(feedback: Feedback) -> str:
    found = {message.meta.puid for message in (feedback.request, feedback.response)} - {""}
    if len(found) > 1:
        raise FeedbackError("request.meta.puid and response.meta.puid differ: send one answer's feedback")
    if not found:
        raise FeedbackError("response.meta.puid: missing: send the request_id of the answer")
    return _checked("response.meta.puid", found.pop())


def _rental_id(feedback: Feedback) -> str | None:
    """The truth as text, or as the one text of an array."""
    kind = feedback.truth.WhichOneof("data_oneof")
    found: Any = None
    if kind == "strData":
        found = feedback.truth.strData
    elif kind == "data":
        found = json_format.MessageToDict(feedback.truth.data).get("ndarray")
        while isinstance(found, list) and len(found) == 1:
            found = found[0]
    if kind is None:
        return None
    if not isinstance(found, str) or not found:
        raise FeedbackError(
            'truth: must be the rental that the reward is for: {"data": {"ndarray": [["RENTAL_ID"]]}}, or '
            "left out where it is for the answer as a whole"
        )
    return _checked("truth", found)


def _checked(field: str, text: str) -> str:
    if len(text) > LONGEST_ID:
        raise FeedbackError(f"{field}: must have at most {LONGEST_ID} characters, got {len(text)}")
    return text
