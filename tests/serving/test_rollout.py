"""What a rollout refuses, and what it reads; with real predictors it is tested in test_local_runtime.py."""

from datetime import UTC, datetime, timedelta

import pytest

from monitoring.prediction_log import Feedback, Prediction, PredictionLog
from serving.arms import prediction_log_reader
from serving.decision_log import DecisionLog
from serving.manifest import ManifestError, render, save
from serving.rollout import RolloutError, rollout
from serving.runtime import applied_path
from serving.settings import ServingSettings


def test_a_rollout_needs_a_champion(settings: ServingSettings) -> None:
    with pytest.raises(RolloutError, match="nothing is served"):
        rollout(4, settings)


def test_the_champion_is_no_canary(settings: ServingSettings) -> None:
    save(render({"v3": 100}, settings), applied_path(settings))

    with pytest.raises(RolloutError, match="v3 is the champion already"):
        rollout(3, settings)


def test_a_version_without_a_model_is_refused(settings: ServingSettings) -> None:
    save(render({"v3": 100}, settings), applied_path(settings))

    with pytest.raises(ManifestError, match="holds no model"):
        rollout(4, settings)
    assert not DecisionLog(settings.decisions).read()


@pytest.mark.parametrize("steps", [(), (10,), (50, 10, 100), (-1, 100), (100, 100)])
def test_steps_must_grow_to_100(settings: ServingSettings, steps: tuple[int, ...]) -> None:
    with pytest.raises(RolloutError, match="must grow"):
        rollout(4, settings, steps)


def test_arms_are_counted_by_predictor_since_the_step(settings: ServingSettings) -> None:
    since = datetime.now(UTC)

    def prediction(
        number: int, predictor: str, ok: bool = True, before: bool = False, user: str = ""
    ) -> Prediction:
        return Prediction(
            request_id=f"q{number}",
            user_id=user or f"u{number}",
            model_name="m",
            model_version=predictor[1:],
            predictor=predictor,
            ok=ok,
            features={},
            rental_ids=["a", "b"] if ok else [],
            scores=[2.0, 1.0] if ok else [],
            predicted_ratings=[4.0, 3.0] if ok else [],
            latency_ms=float(number),
            timestamp=since + timedelta(seconds=-1 if before else 1),
        )

    with PredictionLog(settings.lake) as log:
        for entry in (
            prediction(1, "v3", before=True),
            prediction(2, "v3"),
            prediction(3, "v3"),
            prediction(4, "v4", ok=False),
            prediction(4, "v3"),
            prediction(5, "v4"),
            # Asks again, likes again, and is one user.
            prediction(6, "v4", user="u5"),
        ):
            log.record(entry)
        for request_id, rating in (("q2", 5.0), ("q3", 2.0), ("q5", None), ("q6", 4.0)):
            log.feedback(Feedback(request_id, "u0", "a", rating, since + timedelta(seconds=2)))

    champion, canary = prediction_log_reader(settings)("v3", "v4", since)

    assert (champion.requests, champion.errors, champion.hits, champion.trials) == (3, 0, 1, 3)
    assert (canary.requests, canary.errors, canary.hits, canary.trials) == (3, 1, 1, 1)
    assert champion.latency_p95_ms == pytest.approx(3.9)
    assert canary.predicted_ratings == [4.0, 3.0] * 2
