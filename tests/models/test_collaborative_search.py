"""Held-out events, weights and the search."""

import numpy as np
import pytest

from models.collaborative.blend import MASKED, Blend, HeldOut, average_weights, standardised
from models.collaborative.interactions import Interactions, Protocol
from models.collaborative.ranker import Factors
from models.collaborative.search import fit_best


def ordered(users: int = 40, items: int = 15, length: int = 6, seed: int = 0) -> Interactions:
    """Users walk along the items from a random start."""
    start = np.random.default_rng(seed).integers(items, size=users)
    codes = (start[:, None] + np.arange(length)) % items
    times = np.arange(users * length).reshape(users, length)
    shuffled = np.random.default_rng(seed).permutation(users * length)
    return Interactions(
        np.repeat(np.arange(users), length)[shuffled],
        codes.ravel()[shuffled],
        users,
        items,
        times.ravel()[shuffled].astype(float),
    )


def test_the_last_event_of_each_user_is_held_out() -> None:
    events = ordered()
    rest, taken = events.hold_out(1000, last=True, seed=0)
    assert sorted(taken.users) == list(range(40))
    for user, time in zip(taken.users, taken.times, strict=True):
        assert time == events.times[events.users == user].max()
    pairs = set(zip(rest.users, rest.items, strict=True)) | set(zip(taken.users, taken.items, strict=True))
    assert pairs == set(zip(events.users, events.items, strict=True))
    assert len(rest) + len(taken) == len(events)


def test_a_random_event_is_held_out_where_order_does_not_matter() -> None:
    rest, taken = ordered().hold_out(1000, last=False, seed=0)
    assert len(taken) == 40
    places = [
        (rest.times[rest.users == user] < time).sum()
        for user, time in zip(taken.users, taken.times, strict=True)
    ]
    assert len(set(places)) > 3


def test_users_with_one_event_keep_it_and_a_search_is_bounded() -> None:
    single = Interactions(np.array([0, 1, 1]), np.array([0, 0, 1]), 2, 2)
    rest, taken = single.hold_out(10, last=False, seed=0)
    assert taken.users.tolist() == [1]
    assert 0 in rest.users
    rest, taken = ordered().hold_out(7, last=True, seed=0)
    assert len(np.unique(rest.users)) == 7
    assert len(taken) == 7


def test_merit_is_the_expected_ndcg_over_drawn_negatives() -> None:
    draw = np.random.default_rng(0)
    rest = Interactions(np.array([0]), np.array([0]), 1, 41)
    taken = Interactions(np.array([0]), np.array([3]), 1, 41)
    scores = np.arange(41.0)[None, ::-1].astype(np.float32)
    scores[0, 0] = -1e4
    ranks = [(draw.integers(40, size=20) < 2).sum() for _ in range(20_000)]
    expected = np.mean([1 / np.log2(rank + 2) if rank < 10 else 0.0 for rank in ranks])
    # Items 1 and 2 are better, item 0 is the user's own: 2 of 39 others.
    exact = HeldOut(rest, taken, 20).merit(scores)
    assert exact == pytest.approx(expected, abs=0.02)
    assert HeldOut(rest, taken, None).merit(scores) == pytest.approx(1 / np.log2(4))


def test_a_ranker_that_knows_outweighs_noise() -> None:
    draw = np.random.default_rng(0)
    taken = Interactions(np.arange(200), draw.integers(50, size=200), 200, 50)
    rest = Interactions(np.arange(200), (taken.items + 1) % 50, 200, 50)
    held_out = HeldOut(rest, taken, None)
    knows = draw.standard_normal((200, 50))
    knows[np.arange(200), taken.items] += 2
    parts = {"noise": standardised(draw.standard_normal((200, 50))), "knows": standardised(knows)}
    weights = average_weights(parts, held_out)
    assert sum(weights.values()) == pytest.approx(1)
    assert weights["knows"] > 0.8


def test_standardised_scores_of_equal_items_are_zero() -> None:
    assert standardised(np.array([[2.0, 2.0, 2.0]])).tolist() == [[0.0, 0.0, 0.0]]
    assert standardised(np.array([[1.0, 3.0]])).tolist() == [[-1.0, 1.0]]


def test_what_a_user_has_competes_with_nothing() -> None:
    rest = Interactions(np.array([0, 0]), np.array([0, 1]), 1, 4)
    taken = Interactions(np.array([0]), np.array([2]), 1, 4)
    held_out = HeldOut(rest, taken, None)
    scores = held_out.standardised(Factors(np.array([[1.0]]), np.array([[9.0], [8.0], [2.0], [1.0]])))
    assert scores[0, :2].tolist() == [MASKED, MASKED]
    assert held_out.merit(scores) == 1.0


def test_a_blend_weighs_standardised_scores_and_leaves_new_users_to_one_ranker() -> None:
    first = Factors(np.ones((2, 1)), np.array([[10.0], [20.0]]))
    second = Factors(np.ones((2, 1)), np.array([[3.0], [1.0]]))
    popular = Factors(np.ones((2, 1)), np.array([[7.0], [5.0]]))
    rankers, weights = {"first": first, "second": second}, {"first": 0.75, "second": 0.25}
    blend = Blend(rankers, weights, np.array([True, False]), popular)
    assert blend.scores(np.array([0, 1])).tolist() == [[-0.5, 0.5], [7.0, 5.0]]


def test_the_search_sees_order_and_is_repeatable() -> None:
    events = ordered()
    users = np.arange(events.user_count)
    (first, choice), (second, _) = (fit_best(events, Protocol(True, None), seed=5) for _ in range(2))
    assert np.array_equal(first.scores(users), second.scores(users))
    assert choice.weights["next_item"] > 0.1
    _, last = events.hold_out(1000, last=True, seed=0)
    following = (last.items[np.argsort(last.users)] + 1) % events.item_count
    found = first.scores(users)
    found[events.matrix.toarray() > 0] = -np.inf
    assert (found.argmax(axis=1) == following).mean() > 0.9


def test_users_without_events_get_popular_items() -> None:
    draw = np.random.default_rng(0)
    users, items = np.nonzero(draw.random((40, 12)) < np.linspace(0.9, 0.1, 12))
    blend, _ = fit_best(Interactions(users, items, 41, 12), Protocol(False, None), seed=5)
    scores = blend.scores(np.array([40]))[0]
    assert np.corrcoef(scores, np.linspace(0.9, 0.1, 12))[0, 1] > 0.8


def test_nothing_to_hold_out_still_ranks() -> None:
    blend, choice = fit_best(
        Interactions(np.array([0, 1, 2]), np.array([0, 1, 1]), 3, 3), Protocol(False, None), seed=5
    )
    assert np.isfinite(blend.scores(np.arange(3))).all()
    assert set(choice.weights.values()) == {1 / 3}
    assert isinstance(blend.fallback, Factors)
