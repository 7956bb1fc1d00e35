"""Evidence that may be looked at after every value."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.betting import log_evidence, restarts, upper_bound

LEVEL = 0.05


def surely_more(rate: float, replays: int) -> float:
    """By more than this a share exceeds its rate by chance in one of a hundred runs."""
    return 2.33 * float(np.sqrt(rate * (1 - rate) / replays))


@pytest.mark.parametrize("draw", [lambda rng: rng.random(300) < 0.2, lambda rng: rng.beta(0.3, 1.2, 300)])
def test_watched_all_the_time_it_errs_at_most_as_often_as_its_level(draw) -> None:
    rng, replays = np.random.default_rng(0), 600
    alarms = [log_evidence(draw(rng).astype(float), 0.2).max() >= -np.log(LEVEL) for _ in range(replays)]
    assert np.mean(alarms) <= LEVEL + surely_more(LEVEL, replays)


def test_a_mean_past_the_bound_is_found() -> None:
    rng = np.random.default_rng(0)
    evidence = log_evidence((rng.random(400) < 0.35).astype(float), 0.2)
    assert evidence[-1] > np.log(1000)


def test_an_upper_bound_is_passed_as_seldom_as_it_says() -> None:
    rng, replays = np.random.default_rng(0), 300
    bounds = [upper_bound(rng.beta(0.5, 4.5, 200), LEVEL) for _ in range(replays)]
    assert np.mean(np.array(bounds) < 0.1) <= LEVEL
    assert np.median(bounds) < 0.16


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0.01, 0.99))
def test_a_higher_bound_never_has_more_evidence(values: list[float], bound: float) -> None:
    one, other = (log_evidence(np.array(values), each) for each in (bound, min(1.0, bound * 1.1)))
    assert (other <= one + 1e-9).all()


def test_each_subject_counts_once_in_each_test() -> None:
    values, subjects = np.array([0.0, 1, 1, 1, 0, 1]), np.array([0, 1, 1, 1, 0, 1])
    first, second = restarts(values, subjects, np.array([0, 2]), 0.5)
    assert (first.taken, first.mean, second.taken, second.mean) == (2, 0.5, 2, 0.5)
    assert second.first == 2
    alone = log_evidence(np.array([1.0, 0]), 0.5)
    assert second.log_evidence == pytest.approx(alone.max() - np.log(6))


def test_users_of_whom_some_say_much_raise_no_more_alarms_than_the_level() -> None:
    """Each with a mean of the own: taken for independent, what they say alarms far more often."""
    rng, replays, false, naive = np.random.default_rng(0), 300, 0, 0
    for _ in range(replays):
        of = np.repeat(np.arange(60), np.minimum(rng.geometric(0.1, 60), 40))
        of = of[rng.permutation(len(of))]
        values = (rng.random(len(of)) < rng.beta(1, 1, 60)[of]).astype(float)
        begins = np.arange(0, len(of), 100)
        by_user, by_row = (restarts(values, each, begins, 0.5) for each in (of, np.arange(len(of))))
        false += max(test.log_evidence for test in by_user) >= -np.log(LEVEL)
        naive += max(test.log_evidence for test in by_row) >= -np.log(LEVEL)
    assert false / replays <= LEVEL + surely_more(LEVEL, replays)
    assert naive / replays > 2 * LEVEL


def test_a_late_change_is_found_by_a_test_that_began_late() -> None:
    rng = np.random.default_rng(0)
    good, bad = rng.random(2000) < 0.2, rng.random(300) < 0.45
    values = np.concatenate([good, bad]).astype(float)
    tests = list(restarts(values, np.arange(2300), np.arange(0, 2300, 200), 0.25))
    strongest = max(tests, key=lambda test: test.log_evidence)
    assert strongest.first == 2000
    assert strongest.log_evidence > np.log(100) > tests[0].log_evidence
