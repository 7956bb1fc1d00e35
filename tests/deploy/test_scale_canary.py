import numpy as np
import pytest

from deploy.scale import canary

LEVEL = 0.01


def test_a_loss_is_found_after_as_many_users_as_by_the_simulation_of_serving() -> None:
    # README: 11,400 and 244,000 in the median of losses of 20 % and 5 %, at half of the requests and 1 %.
    assert canary.users_until_found(0.2, 0.5, LEVEL, 300, seed=1).median == pytest.approx(11_400, rel=0.15)
    assert canary.users_until_found(0.05, 0.5, LEVEL, 300, seed=1).median == pytest.approx(244_000, rel=0.15)


def test_a_smaller_share_or_loss_takes_more_users() -> None:
    half = canary.users_until_found(0.2, 0.5, LEVEL, 100, seed=2)
    few = canary.users_until_found(0.2, 0.01, LEVEL, 100, seed=2)
    small = canary.users_until_found(0.05, 0.01, LEVEL, 100, seed=2)
    assert 10 * half.median < few.median < few.nine_of_ten < small.median < np.inf


def test_equal_canaries_are_taken_back_no_more_often_than_the_level() -> None:
    evidence, once = canary.false_alarms(0.01, LEVEL, 400, seed=3)
    assert evidence <= LEVEL < once


def test_different_users_are_seen_after_as_many_requests_as_it_takes_at_random() -> None:
    users, wanted = 10_000, 6_000
    asked = np.random.default_rng(4).integers(users, size=30_000)
    firsts = np.sort(np.unique(asked, return_index=True)[1])
    seconds = canary.seconds_until_seen(wanted, users, requests_per_second=100.0, look=0.5)
    assert seconds == pytest.approx(firsts[wanted - 1] / 100, rel=0.03)


def test_nothing_is_found_before_a_look_nor_with_more_users_than_there_are() -> None:
    assert canary.seconds_until_seen(10, 1_000_000, 1e6, look=0.5) == 0.5
    assert canary.seconds_until_seen(1_000, 1_000, 1e6, look=0.5) == np.inf
    assert canary.seconds_until_seen(np.inf, 1_000, 1e6, look=0.5) == np.inf
