"""Answers of the API: features, a predictor's answer, its check, and what is done where one is late or wrong.

An answer takes at most ``answer_seconds``. What it has to do without is named in it, step by step.
"""

import asyncio
import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from feature_repo.names import RECOMMENDER_USER_FEATURES
from monitoring.prediction_log import Prediction, PredictionLog
from serving.answers import Inputs, ModelAnswerError, Ranking, check_answer, check_ratings, model_inputs
from serving.messages import (
    Degradation,
    DegradedStep,
    Pair,
    PredictedRating,
    PredictedRatings,
    Question,
    Reason,
    Recommendations,
    RecommendedRental,
)
from serving.online_features import (
    NO_RENTAL_FEATURES,
    NO_REQUEST_FEATURES,
    FeaturesUnavailableError,
    FeatureValues,
    OnlineFeatureReader,
)
from serving.popularity import POPULARITY, PopularRentals
from serving.predictors import Attempt, LateError, PredictorError, Predictors
from serving.settings import ServingSettings
from serving.triton import FILTERED, PAIRS, model_version

ITEM_FEATURES = ("category", "area", "price", "capacity")
"""Features, after ``rental_``, that tell a person what a recommended rental is."""

NAMED = ("purpose", "size")
"""What a question may name of the wanted rental, and subjects of reasons."""

RECENT_RENTALS = "user_recent_rentals"
"""The user's feature that lists the latest rentals, a JSON array."""

_Answered = tuple[str, Ranking]
"""Who answered, and the answer."""

MOST_AT_ONCE = 8
"""Questions of one request for ratings that wait for predictors at a time."""


class NoAnswerError(RuntimeError):
    """No predictor gave an answer that can be shown."""


class _Request:
    """One request of a user on its way: its id, the time that is left, and what it does without."""

    def __init__(self, deadline: float) -> None:
        self.id = uuid.uuid4().hex
        self.degraded: list[Degradation] = []
        self.features_failure: str | None = None
        self._deadline = deadline

    def left(self, most: float) -> float:
        """Seconds that are left, at most ``most``."""
        return min(most, self._deadline - time.monotonic())

    def without(self, step: DegradedStep, reason: object) -> None:
        self.degraded.append(Degradation(step=step, reason=str(reason)))


class Recommender:
    """Answers by the predictors behind the gateway; every attempt goes to the prediction log."""

    def __init__(
        self,
        settings: ServingSettings,
        predictors: Predictors,
        features: OnlineFeatureReader,
        log: PredictionLog,
    ) -> None:
        self._settings = settings
        self._predictors = predictors
        self._features = features
        self._popular = PopularRentals(settings.popularity)
        self._log = log

    async def recommend(self, user_id: str, question: Question) -> Recommendations:
        """Return the best rentals for a user, or fewer where the model or the filters leave fewer.

        Raises:
            NoAnswerError: no predictor answers properly, and nothing is known of what is popular.
        """
        request = _Request(self._deadline())
        features = await self._user(request, user_id, question.purpose)
        if question.exclude_rented:
            rented = json.loads(str(features.get(RECENT_RENTALS) or "[]"))
            question = question.model_copy(update={"exclude": [*question.exclude, *rented]})
        inputs = model_inputs(user_id, question.purpose, question.size, features)
        filters = _filters(question)
        graph = FILTERED if filters else ""

        def check(outputs: dict[str, np.ndarray]) -> Ranking:
            ranking = check_answer(outputs, question.k)
            if not ranking.rental_ids and not filters:
                raise ModelAnswerError("no rental came back, and none was filtered out")
            return ranking

        try:
            predictor, ranking = await self._ask(request, {**inputs, **filters}, inputs, graph, check)
        except NoAnswerError as error:
            popular = self._popular.best(question)
            if popular is None:
                raise
            request.without("popularity", error)
            predictor, ranking = POPULARITY, popular
            self._record(request, predictor, inputs, ranking, 0.0)
        # A model has its view of people who name none, too; to them it would be no reason.
        unnamed = {name for name in NAMED if getattr(question, name) is None}
        attributes: Sequence[Mapping[str, Any]] = await self._rentals(request, ranking.rental_ids)
        rows = zip(
            ranking.rental_ids,
            ranking.predicted_ratings,
            ranking.scores,
            ranking.reasons,
            attributes,
            strict=True,
        )
        return Recommendations(
            request_id=request.id,
            user_id=user_id,
            model_version=model_version(predictor),
            predictor=predictor,
            cold_start=all(features[feature.name] is None for feature in RECOMMENDER_USER_FEATURES),
            degraded=request.degraded,
            items=[
                RecommendedRental(
                    rental_id=rental_id,
                    predicted_rating=rating,
                    score=score,
                    reasons=[
                        Reason(subject=subject, factor=factor)
                        for subject, factor in reasons
                        if subject not in unnamed
                    ],
                    **{name: values[f"rental_{name}"] for name in ITEM_FEATURES},
                )
                for rental_id, rating, score, reasons, values in rows
            ],
        )

    async def predict(self, pairs: Sequence[Pair]) -> PredictedRatings:
        """Return the predicted rating of each pair, in order; the pairs of one user come from one predictor.

        Raises:
            NoAnswerError: no predictor answers for one of them.
        """
        deadline = self._deadline()
        groups: dict[tuple[str, str | None, float | None], list[int]] = {}
        for place, pair in enumerate(pairs):
            groups.setdefault((pair.user_id, pair.purpose, pair.size), []).append(place)
        free = asyncio.Semaphore(MOST_AT_ONCE)

        async def ask(
            user_id: str, purpose: str | None, size: float | None, places: list[int]
        ) -> tuple[_Request, str, Ranking]:
            rental_ids = [pairs[place].rental_id for place in places]
            request = _Request(deadline)
            async with free:
                features = await self._user(request, user_id, purpose)
                inputs = model_inputs(user_id, purpose, size, features)
                asked: Inputs = {**inputs, "rental_id": rental_ids}
                predictor, ranking = await self._ask(
                    request, asked, inputs, PAIRS, lambda outputs: check_ratings(outputs, rental_ids)
                )
                return request, predictor, ranking

        questions = (ask(*key, places) for key, places in groups.items())
        # All are waited for, so that none goes on after the answer.
        answers = await asyncio.gather(*questions, return_exceptions=True)
        found: dict[int, PredictedRating] = {}
        degraded: dict[tuple[str, str], Degradation] = {}
        for (key, places), answer in zip(groups.items(), answers, strict=True):
            if isinstance(answer, BaseException):
                raise answer
            request, predictor, ranking = answer
            degraded |= {(each.step, each.reason): each for each in request.degraded}
            rows = zip(places, ranking.rental_ids, ranking.predicted_ratings, ranking.scores, strict=True)
            for place, rental_id, rating, score in rows:
                found[place] = PredictedRating(
                    request_id=request.id,
                    user_id=key[0],
                    rental_id=rental_id,
                    predicted_rating=rating,
                    score=score,
                    model_version=model_version(predictor),
                    predictor=predictor,
                )
        return PredictedRatings(
            degraded=list(degraded.values()),
            predictions=[found[place] for place in range(len(pairs))],
        )

    def _deadline(self) -> float:
        return time.monotonic() + self._settings.answer_seconds

    async def _user(self, request: _Request, user_id: str, purpose: str | None) -> FeatureValues:
        """The user's features; those of a moment ago, or none, where the store does not answer in time."""
        try:
            seconds = request.left(self._settings.features_seconds)
            return await self._features.user(user_id, purpose, seconds)
        except FeaturesUnavailableError as error:
            request.features_failure = str(error)
            if kept := self._features.kept(user_id, purpose):
                request.without("cached features", error)
                return kept
            request.without("no features", error)
            return NO_REQUEST_FEATURES

    async def _rentals(self, request: _Request, rental_ids: list[str]) -> Sequence[FeatureValues]:
        try:
            seconds = request.left(self._settings.features_seconds)
            return await self._features.rentals(rental_ids, seconds)
        except FeaturesUnavailableError as error:
            request.without("no attributes", error)
            return [NO_RENTAL_FEATURES] * len(rental_ids)

    async def _ask(
        self,
        request: _Request,
        asked: Inputs,
        inputs: Inputs,
        graph: str,
        check: Callable[[dict[str, np.ndarray]], Ranking],
    ) -> _Answered:
        """Ask the user's predictor, and others while that fails; return the answer and its predictor."""
        attempt, first, failures = Attempt(asked), "", list[str]()
        others: list[str] = []
        while True:
            try:
                ranking = await self._attempt(request, attempt, inputs, graph, check)
                if failures and attempt.predictor != first:
                    request.without("other predictor", failures[0])
                return attempt.predictor, ranking
            except (PredictorError, ModelAnswerError) as error:
                if not failures:
                    first = attempt.predictor
                    # A connection may break by chance: it is asked once more, if nobody else can answer.
                    again = isinstance(error, PredictorError) and not isinstance(error, LateError)
                    others = self._predictors.others_than(first, again)
                failures.append(f"predictor {attempt.predictor} failed: {error}")
            if not others or request.left(1) <= 0:
                break
            attempt = Attempt(asked, pin=others.pop(0))
        raise NoAnswerError("; ".join(failures))

    async def _attempt(
        self,
        request: _Request,
        attempt: Attempt,
        inputs: Inputs,
        graph: str,
        check: Callable[[dict[str, np.ndarray]], Ranking],
    ) -> Ranking:
        seconds = request.left(self._settings.inference_seconds)
        if seconds <= 0:
            # Nobody was asked, so nobody is said to have failed.
            raise LateError("no time is left to ask it")
        began, ranking = time.perf_counter(), None
        try:
            ranking = check(await self._predictors.ask(attempt, graph, seconds))
            return ranking
        finally:
            milliseconds = (time.perf_counter() - began) * 1000
            self._record(request, attempt.predictor, inputs, ranking, milliseconds)

    def _record(
        self,
        request: _Request,
        predictor: str,
        inputs: Inputs,
        ranking: Ranking | None,
        milliseconds: float,
    ) -> None:
        self._log.record(
            Prediction(
                request_id=request.id,
                user_id=str(inputs["user_id"]),
                model_name=self._settings.model_name,
                model_version=model_version(predictor),
                predictor=predictor,
                ok=ranking is not None,
                features={name: value for name, value in inputs.items() if name != "user_id"},
                rental_ids=ranking.rental_ids if ranking else [],
                scores=ranking.scores if ranking else [],
                predicted_ratings=ranking.predicted_ratings if ranking else [],
                latency_ms=milliseconds,
                timestamp=datetime.now(UTC),
                features_failure=request.features_failure,
            )
        )


def _filters(question: Question) -> Inputs:
    """What is said of the rentals, by the name of the model's input."""
    lists = ("exclude", "only", "category", "area")
    given: Inputs = {name: values for name in lists if (values := getattr(question, name))}
    limits = {"price_from": question.price_from, "price_to": question.price_to}
    return given | {name: float(limit) for name, limit in limits.items() if limit is not None}
