from dataclasses import replace

import numpy as np
import pytest

from serving.decision import Arm, Verdict, decide
from serving.settings import DecisionThresholds

THRESHOLDS = DecisionThresholds(minimum_requests=100)


def healthy(requests: int = 1000, seed: int = 0) -> Arm:
    random = np.random.default_rng(seed)
    return Arm(
        requests=requests,
        errors=0,
        latency_p95_ms=float(np.percentile(random.gamma(4, 5, requests), 95)) if requests else None,
        predicted_ratings=random.normal(4, 0.3, requests).tolist(),
        hits=requests // 10,
        trials=requests,
    )


CHAMPION = healthy()


def test_a_canary_like_the_champion_is_promoted() -> None:
    decision = decide(CHAMPION, healthy(200, seed=1), THRESHOLDS)

    assert decision.verdict is Verdict.PROMOTE
    assert decision.figures["canary_requests"] == 200


@pytest.mark.parametrize("requests", [0, 1, 99])
def test_too_few_requests_prove_nothing(requests: int) -> None:
    decision = decide(CHAMPION, healthy(requests, seed=1), THRESHOLDS)

    assert decision.verdict is Verdict.HOLD
    assert decision.reasons == [f"{requests} of 100 requests seen"]


def test_a_canary_that_fails_from_the_start_is_not_waited_for() -> None:
    decision = decide(CHAMPION, Arm(requests=5, errors=5), THRESHOLDS)

    assert decision.verdict is Verdict.ROLLBACK
    assert decision.reasons == ["100.0% of answers failed, above 5.0%"]


def test_a_few_early_failures_are_waited_out() -> None:
    assert decide(CHAMPION, Arm(requests=6, errors=4), THRESHOLDS).verdict is Verdict.HOLD


def test_failures_above_the_champions_end_a_canary_below_the_hard_limit() -> None:
    canary = replace(healthy(1000, seed=1), errors=20)

    decision = decide(CHAMPION, canary, THRESHOLDS)

    assert decision.verdict is Verdict.ROLLBACK
    assert "significantly above the champion's 0.0%" in decision.reasons[0]


def test_failures_that_the_champion_has_as_well_do_not_count_against_the_canary() -> None:
    champion, canary = replace(CHAMPION, errors=20), replace(healthy(1000, seed=1), errors=20)

    assert decide(champion, canary, THRESHOLDS).verdict is Verdict.PROMOTE


def test_much_slower_answers_end_a_canary() -> None:
    slow = replace(healthy(seed=1), latency_p95_ms=CHAMPION.latency_p95_ms + 100)

    decision = decide(CHAMPION, slow, THRESHOLDS)

    assert decision.verdict is Verdict.ROLLBACK
    assert "the champion's within" in decision.reasons[0]


def test_a_difference_nobody_feels_is_no_reason() -> None:
    champion, canary = replace(CHAMPION, latency_p95_ms=1.0), replace(healthy(seed=1), latency_p95_ms=40.0)

    assert decide(champion, canary, THRESHOLDS).verdict is Verdict.PROMOTE


def test_ratings_that_jump_end_a_canary_and_ratings_that_shift_do_not() -> None:
    def shifted(by: float) -> Arm:
        return replace(
            healthy(seed=1), predicted_ratings=[value + by for value in CHAMPION.predicted_ratings]
        )

    assert decide(CHAMPION, shifted(0.1), THRESHOLDS).verdict is Verdict.PROMOTE
    decision = decide(CHAMPION, shifted(-1.5), THRESHOLDS)
    assert decision.verdict is Verdict.ROLLBACK
    assert "predicted ratings lie" in decision.reasons[0]


def test_fewer_rewards_end_a_canary_and_more_do_not() -> None:
    fewer, more = (replace(healthy(seed=1), hits=hits) for hits in (50, 200))

    assert (
        "of users liked an answer, significantly below 10.0%"
        in decide(CHAMPION, fewer, THRESHOLDS).reasons[0]
    )
    assert decide(CHAMPION, more, THRESHOLDS).verdict is Verdict.PROMOTE


def test_a_champion_without_traffic_is_no_obstacle() -> None:
    assert decide(Arm(0, 0), healthy(200), THRESHOLDS).verdict is Verdict.PROMOTE


def test_every_reason_is_named() -> None:
    canary = Arm(
        requests=200, errors=100, latency_p95_ms=500.0, predicted_ratings=[1.0] * 100, hits=0, trials=100
    )

    assert len(decide(CHAMPION, canary, THRESHOLDS).reasons) == 5


def test_an_equal_canary_is_seldom_taken_back() -> None:
    verdicts = [
        decide(healthy(900, seed=2 * n), healthy(100, seed=2 * n + 1), THRESHOLDS).verdict for n in range(100)
    ]

    assert verdicts.count(Verdict.ROLLBACK) <= 2


def test_a_canary_that_may_lose_the_margin_is_held_until_rewards_rule_it_out() -> None:
    margin = THRESHOLDS.model_copy(update={"reward_margin": 0.2})
    champion, canary = Arm(2000, 0, hits=200, trials=2000), Arm(2000, 0, hits=200, trials=2000)
    held = decide(champion, canary, margin)

    assert held.verdict is Verdict.HOLD
    assert held.reasons == ["a loss of 20% of the reward is not ruled out yet"]
    champion, canary = (Arm(20_000, 0, hits=2000, trials=20_000) for _ in range(2))
    assert decide(champion, canary, margin).verdict is Verdict.PROMOTE
    assert decide(champion, Arm(20_000, 0, hits=1600, trials=20_000), margin).verdict is Verdict.ROLLBACK


def test_without_rewards_a_margin_is_never_ruled_out() -> None:
    margin = THRESHOLDS.model_copy(update={"reward_margin": 0.5})

    assert decide(replace(CHAMPION, hits=0), replace(healthy(seed=1), hits=0), margin).verdict is Verdict.HOLD


def test_the_levels_of_a_rollout_are_shared_by_its_steps() -> None:
    shared = THRESHOLDS.of_steps(4)

    assert shared.error_significance == THRESHOLDS.error_significance / 4
    assert shared.reward_significance == THRESHOLDS.reward_significance / 4
    assert shared.minimum_requests == THRESHOLDS.minimum_requests
