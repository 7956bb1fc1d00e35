"""What an A/B test of a manifest with fixed weights reports."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from monitoring.prediction_log import Feedback, Prediction, PredictionLog
from serving.__main__ import main
from serving.experiment import ExperimentError, Share, _difference, _share, report
from serving.manifest import render, save
from serving.runtime import applied_path
from serving.settings import ServingSettings

SINCE = datetime(2026, 5, 1, tzinfo=UTC)


def answer(number: int, predictor: str, ok: bool = True) -> Prediction:
    return Prediction(
        request_id=f"q{number}",
        user_id=f"u{number}",
        model_name="m",
        model_version=predictor[1:],
        predictor=predictor,
        ok=ok,
        features={},
        rental_ids=["a"] if ok else [],
        scores=[1.0] if ok else [],
        predicted_ratings=[4.0] if ok else [],
        latency_ms=float(number),
        timestamp=SINCE + timedelta(seconds=number),
    )


@pytest.fixture
def served(settings: ServingSettings) -> ServingSettings:
    """100 answers of v3, 10 of them liked, and 100 of v4, 30 liked and 2 failed."""
    save(render({"v3": 60, "v4": 40}, settings), applied_path(settings))
    with PredictionLog(settings.lake) as log:
        for number in range(200):
            log.record(answer(number, "v3" if number < 100 else "v4", ok=number < 198))
        for number in [*range(10), *range(100, 130)]:
            log.feedback(Feedback(f"q{number}", f"u{number}", "a", 5.0, SINCE + timedelta(seconds=300)))
    return settings


def test_each_predictor_stands_beside_the_first(served: ServingSettings) -> None:
    first, second = report(served, SINCE)

    assert (first.predictor, first.weight, first.requests) == ("v3", 60, 100)
    assert first.reward is not None and first.reward.value == 0.1
    assert first.reward_gain is None
    assert second.errors is not None and second.errors.value == 0.02
    assert second.reward is not None and second.reward.value == pytest.approx(30 / 98)
    assert second.reward_gain is not None
    assert second.reward_gain.value == pytest.approx(30 / 98 - 0.1)
    assert 0 < second.reward_gain.interval[0] < second.reward_gain.value < second.reward_gain.interval[1]
    assert first.latency_p95_ms == pytest.approx(np.percentile(np.arange(100), 95))


def test_what_was_before_does_not_count(served: ServingSettings) -> None:
    first, second = report(served, SINCE + timedelta(seconds=150))

    assert first.requests == 0 and first.errors is first.reward is None
    assert second.requests == 50 and second.reward_gain is None


def test_intervals_cover_what_is_true() -> None:
    draw = np.random.default_rng(0)
    true, other, trials = 0.08, 0.05, 400
    covered = []
    for hits, other_hits in zip(
        draw.binomial(trials, true, 2000), draw.binomial(trials, other, 2000), strict=True
    ):
        one, two = _share(int(hits), trials), _share(int(other_hits), trials)
        assert one and two
        low, high = _difference(one, two).interval
        covered.append(low <= true - other <= high)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.015)


def test_newcombes_own_example() -> None:
    """56 of 70 against 48 of 80: .2, from .0524 to .3339 (method 10, example a)."""
    one, two = _share(56, 70), _share(48, 80)
    assert one and two
    difference = _difference(one, two)
    assert difference == Share(pytest.approx(0.2), pytest.approx((0.0524, 0.3339), abs=5e-5))


def test_one_predictor_is_no_experiment(
    settings: ServingSettings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save(render({"v3": 100}, settings), applied_path(settings))
    with pytest.raises(ExperimentError, match="1 predictors answer users: apply a manifest with weights"):
        report(settings, SINCE)
    monkeypatch.setenv("RENTALS_HOME", str(settings.home))
    assert main(["experiment", "--since", "2026-05-01"]) == 1
    assert "apply a manifest with weights" in capsys.readouterr().err


def test_the_command_prints_json(
    served: ServingSettings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RENTALS_HOME", str(served.home))
    assert main(["experiment", "--since", "2026-05-01T00:00"]) == 0
    assert [one["predictor"] for one in json.loads(capsys.readouterr().out)] == ["v3", "v4"]
