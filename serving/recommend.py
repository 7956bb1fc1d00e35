"""Recommendations for one user: features, the model's answer, its check, and a second try elsewhere."""

import math
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np

from feature_repo.names import RECOMMENDER_REQUEST_FEATURES, RECOMMENDER_USER_FEATURES
from feature_repo.schema import RATING_SCALE
from feature_repo.views import size_label
from monitoring.prediction_log import Prediction, PredictionLog
from serving.envoy import PREDICTOR_HEADER, USER_HEADER, seldon_prefix
from serving.inference_protocol import InferenceFormatError, decode_response, encode_request
from serving.online_features import (
    NO_RENTAL_FEATURES,
    NO_REQUEST_FEATURES,
    FeaturesUnavailableError,
    FeatureValues,
    OnlineFeatureReader,
)
from serving.runtime import applied
from serving.settings import ServingSettings
from serving.triton import FILTERED, model_version

OUTPUTS = ("rental_id", "score", "predicted_rating")
"""What a model answers for one user: three tensors of the shape [1, K], best rental first."""

ITEM_FEATURES = ("rental_category", "rental_area", "rental_price", "rental_capacity")
"""Features that tell a person what a recommended rental is."""

SCALE_TOLERANCE = 1e-3
"""How far a predicted rating may lie off the scale by rounding."""

NO_FILTERS: Mapping[str, list[str]] = {}

UNKNOWN_PREDICTOR = "unknown"
"""Predictor of an answer which did not come from one, such as that of a gateway which is down."""


class ModelAnswerError(RuntimeError):
    """A predictor's answer cannot be shown to a user."""


class NoAnswerError(RuntimeError):
    """No predictor gave an answer that can be shown."""


@dataclass(frozen=True)
class Ranking:
    """A checked answer of a model: rentals, best first."""

    rental_ids: list[str]
    scores: list[float]
    predicted_ratings: list[float]


@dataclass(frozen=True)
class Recommendation:
    """What the API answers."""

    request_id: str
    user_id: str
    model_version: str
    predictor: str
    cold_start: bool
    degraded: str | None
    items: list[dict[str, Any]]


def model_inputs(
    user_id: str, purpose: str | None, size: float | None, features: FeatureValues
) -> dict[str, float | str]:
    """One value per input of the model: a missing number is NaN, missing text is empty.

    An unknown user gets what a known one had before the first rental, as the model has learned it.
    """
    inputs: dict[str, float | str] = {
        "user_id": user_id,
        "purpose": purpose or "",
        "size": "" if size is None else size_label(size),
    }
    for feature in RECOMMENDER_REQUEST_FEATURES:
        value = features.get(feature.name)
        if feature.kind == "numeric":
            initial = math.nan if feature.initial is None else feature.initial
            inputs[feature.name] = initial if value is None else float(value)
        else:
            inputs[feature.name] = "" if value is None else str(value)
    return inputs


def check_answer(outputs: Mapping[str, np.ndarray]) -> Ranking:
    """Return the ranking of one user; places without an id, where filters left fewer rentals, are dropped.

    Raises:
        ModelAnswerError: an output is missing, is not finite or is off the scale of ratings.
    """
    if missing := [name for name in OUTPUTS if name not in outputs]:
        raise ModelAnswerError(f"the answer lacks {', '.join(missing)}")
    rental_ids, scores, ratings = (outputs[name].reshape(-1) for name in OUTPUTS)
    if not len(rental_ids) or len({len(rental_ids), len(scores), len(ratings)}) > 1:
        raise ModelAnswerError(f"{len(rental_ids)} rentals, {len(scores)} scores, {len(ratings)} ratings")
    there = rental_ids != ""
    rental_ids, scores, ratings = rental_ids[there], scores[there], ratings[there]
    if not len(rental_ids):
        return Ranking([], [], [])
    if not (np.isfinite(scores).all() and np.isfinite(ratings).all()):
        raise ModelAnswerError("scores or predicted ratings are not finite")
    low, high = RATING_SCALE
    if ratings.min() < low - SCALE_TOLERANCE or ratings.max() > high + SCALE_TOLERANCE:
        raise ModelAnswerError(
            f"predicted ratings {ratings.min():g}..{ratings.max():g} are off the scale {low:g}..{high:g}"
        )
    return Ranking(list(rental_ids), scores.astype(float).tolist(), ratings.astype(float).tolist())


class Recommender:
    """Answers by the predictors behind the gateway; every attempt goes to the prediction log."""

    def __init__(
        self,
        settings: ServingSettings,
        gateway_url: str,
        features: OnlineFeatureReader,
        log: PredictionLog,
    ) -> None:
        self._settings = settings
        self._features = features
        self._log = log
        prefix = seldon_prefix(settings.namespace, settings.deployment_name)
        self._model_url = f"{gateway_url}{prefix}v2/models/{settings.model_name}"
        self._client = httpx.AsyncClient(timeout=settings.inference_seconds, trust_env=False)

    async def close(self) -> None:
        """Close the connections to the gateway."""
        await self._client.aclose()

    async def is_ready(self) -> bool:
        """Whether the gateway reaches a model that is ready."""
        try:
            return (await self._client.get(f"{self._model_url}/ready")).is_success
        except httpx.HTTPError:
            return False

    async def recommend(
        self,
        user_id: str,
        k: int,
        purpose: str | None,
        size: float | None = None,
        filters: Mapping[str, list[str]] = NO_FILTERS,
    ) -> Recommendation:
        """Return the ``k`` best rentals for a user, or fewer where the model or the filters leave fewer.

        Args:
            user_id: who asks.
            k: number of rentals.
            purpose: what for, None where that is not said.
            size: in which size, in the codes of the ratings; None where that is not said.
            filters: texts by the name of the model's input, such as ``exclude``.

        Raises:
            NoAnswerError: neither the predictor of this user nor another one answers properly.
        """
        request_id = uuid.uuid4().hex
        features, features_failure = NO_REQUEST_FEATURES, None
        try:
            features = await self._features.user(user_id, purpose)
        except FeaturesUnavailableError as error:
            features_failure = str(error)
        degraded = features_failure
        inputs = model_inputs(user_id, purpose, size, features)
        question = (request_id, inputs, filters, features_failure, k)
        predictor, ranking, failure = await self._attempt(*question, None)
        if ranking is None and (other := self._other_predictor(predictor)):
            degraded = f"predictor {predictor} failed: {failure}"
            predictor, ranking, failure = await self._attempt(*question, other)
        if ranking is None:
            raise NoAnswerError(f"predictor {predictor} failed: {failure}")
        attributes: list[FeatureValues] = [NO_RENTAL_FEATURES] * len(ranking.rental_ids)
        try:
            attributes = await self._features.rentals(ranking.rental_ids)
        except FeaturesUnavailableError as error:
            degraded = degraded or str(error)
        return Recommendation(
            request_id=request_id,
            user_id=user_id,
            model_version=model_version(predictor),
            predictor=predictor,
            cold_start=all(features[feature.name] is None for feature in RECOMMENDER_USER_FEATURES),
            degraded=degraded,
            items=[
                {
                    "rental_id": rental_id,
                    "predicted_rating": rating,
                    "score": score,
                    **{name.removeprefix("rental_"): values[name] for name in ITEM_FEATURES},
                }
                for rental_id, rating, score, values in zip(
                    ranking.rental_ids, ranking.predicted_ratings, ranking.scores, attributes, strict=True
                )
            ],
        )

    async def _attempt(
        self,
        request_id: str,
        inputs: dict[str, float | str],
        filters: Mapping[str, list[str]],
        features_failure: str | None,
        k: int,
        pin: str | None,
    ) -> tuple[str, Ranking | None, str]:
        """Ask one predictor; return its name and a ranking of at most ``k``, or why there is none."""
        started = time.perf_counter()
        predictor, ranking, failure = pin or UNKNOWN_PREDICTOR, None, ""
        try:
            body, headers = encode_request({**inputs, **filters})
            model_url = self._model_url + (FILTERED if filters else "")
            # Ids may hold what a header may not.
            headers[USER_HEADER] = quote(str(inputs["user_id"]), safe="")
            if pin:
                headers[PREDICTOR_HEADER] = pin
            response = await self._client.post(f"{model_url}/infer", content=body, headers=headers)
            predictor = response.headers.get(PREDICTOR_HEADER, predictor)
            if not response.is_success:
                raise ModelAnswerError(f"HTTP {response.status_code}: {response.text[:200]}")
            answer = check_answer(decode_response(response.content, response.headers))
            if not answer.rental_ids and not filters:
                raise ModelAnswerError("no rental came back, and none was filtered out")
            ranking = Ranking(answer.rental_ids[:k], answer.scores[:k], answer.predicted_ratings[:k])
        except (httpx.HTTPError, InferenceFormatError, ModelAnswerError) as error:
            failure = str(error) or type(error).__name__
        shown = ranking or Ranking([], [], [])
        self._log.record(
            Prediction(
                request_id=request_id,
                user_id=str(inputs["user_id"]),
                model_name=self._settings.model_name,
                model_version=model_version(predictor),
                predictor=predictor,
                ok=ranking is not None,
                features={name: value for name, value in inputs.items() if name != "user_id"},
                rental_ids=shown.rental_ids,
                scores=shown.scores,
                predicted_ratings=shown.predicted_ratings,
                latency_ms=(time.perf_counter() - started) * 1000,
                timestamp=datetime.now(UTC),
                features_failure=features_failure,
            )
        )
        return predictor, ranking, failure

    def _other_predictor(self, failed: str) -> str | None:
        """The predictor with the most traffic but for the failed one."""
        deployment = applied(self._settings)
        weights = deployment.weights if deployment else {}
        others = {name: weight for name, weight in weights.items() if name != failed}
        return max(others, key=others.__getitem__) if others else None
