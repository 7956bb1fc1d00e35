import numpy as np
import pytest
from scipy import integrate

from serving.evidence import log_evidence
from serving.simulation import figures, simulate


@pytest.mark.parametrize(("count", "total", "share"), [(0, 0, 0.3), (3, 9, 0.2), (1, 40, 0.1), (30, 40, 0.5)])
def test_evidence_is_the_mean_likelihood_ratio_of_the_larger_shares(
    count: int, total: int, share: float
) -> None:
    def ratio(other: float) -> float:
        return (other / share) ** count * ((1 - other) / (1 - share)) ** (total - count)

    mean = integrate.quad(ratio, share, 1)[0] / (1 - share)
    assert log_evidence(count, total, share) == pytest.approx(np.log(mean), abs=1e-6)


def test_evidence_grows_with_the_arms_events_and_is_finite_for_many() -> None:
    by_count = log_evidence(np.arange(101), np.full(101, 100), np.full(101, 0.2))
    assert (np.diff(by_count) > 0).all()
    assert log_evidence(0, 100, 0.2) < 0 < log_evidence(40, 100, 0.2)
    assert np.isfinite(log_evidence(10_000_000, 20_000_000, 0.4))
    # Where the other arm had no requests there is nothing to compare.
    assert np.isnan(log_evidence(3, 3, 1.0))


def test_looking_often_raises_no_false_alarms_and_a_loss_is_found() -> None:
    found = figures(rollouts=1_000)
    level = found["level"]
    assert found["false_rollbacks"] <= level
    assert found["false_rollbacks_at_5_percent"] <= level
    assert found["false_promotions_of_a_20%_loss"] <= level
    assert found["false_rollbacks_of_a_fixed_test"] > 4 * level
    requests = found["requests_of_both_arms_until_a_loss_is_found"]
    assert 0 < requests["20%"]["median"] < requests["5%"]["median"] < requests["1%"]["median"] < np.inf


def test_the_simulated_rewards_are_those_asked_for() -> None:
    seen = simulate(loss=0.5, every=1000, canary_share=0.25, rollouts=20)
    trials, hits = seen.canary_trials[:, -1].sum(), seen.canary_hits[:, -1].sum()
    assert trials / (trials + seen.champion_trials[:, -1].sum()) == pytest.approx(0.25, rel=0.01)
    assert hits / trials == pytest.approx(0.05, rel=0.02)
    assert seen.champion_hits[:, -1].sum() / seen.champion_trials[:, -1].sum() == pytest.approx(0.1, rel=0.02)
