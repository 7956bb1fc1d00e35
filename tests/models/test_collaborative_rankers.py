"""Rankers against brute force and known answers."""

import numpy as np
import pytest
import torch

from models.collaborative import implicit_als, linear, softmax
from models.collaborative.implicit_als import UNOBSERVED_WEIGHT, fit_implicit_als
from models.collaborative.interactions import Interactions
from models.collaborative.linear import fit_ease, fit_next_item
from models.collaborative.popularity import fit_popularity, fit_trend
from models.collaborative.ranker import Factors
from models.collaborative.softmax import SoftmaxSettings, fit_softmax


def random_events(seed: int = 0, users: int = 30, items: int = 20, share: float = 0.3) -> Interactions:
    """Random pairs; the last user and the last item have none."""
    draw = np.random.default_rng(seed)
    rows, columns = np.nonzero(draw.random((users - 1, items - 1)) < share)
    order = draw.permutation(len(rows))
    return Interactions(rows[order], columns[order], users, items, draw.permutation(len(rows)).astype(float))


def two_groups(users: int = 60, items: int = 20, seed: int = 1) -> Interactions:
    """Half of the users take the first half of the items, the others the second, each about half of them."""
    draw = np.random.default_rng(seed)
    own = (np.arange(users)[:, None] % 2) == (np.arange(items) >= items // 2)
    rows, columns = np.nonzero(own & (draw.random((users, items)) < 0.6))
    return Interactions(rows, columns, users, items)


def prefers_own_half(scores: np.ndarray) -> np.ndarray:
    half = scores.shape[1] // 2
    gap = scores[:, :half].mean(axis=1) - scores[:, half:].mean(axis=1)
    return (gap < 0) == (np.arange(len(scores)) % 2 == 1)


class TestImplicitAls:
    @pytest.mark.parametrize("dimension", [3, 40])
    def test_a_half_sweep_solves_the_dense_weighted_least_squares(self, dimension: int) -> None:
        events, strength = random_events(), 0.05
        items = np.random.default_rng(5).standard_normal((events.item_count, dimension))
        solved = implicit_als.solve(events.matrix, torch.from_numpy(items).float(), strength).numpy()
        for user, present in enumerate(events.matrix.toarray() > 0):
            weight = np.diag(present + UNOBSERVED_WEIGHT)
            penalty = strength * (present.sum() + UNOBSERVED_WEIGHT * events.item_count)
            left = items.T @ weight @ items + penalty * np.eye(dimension)
            expected = np.linalg.solve(left, items.T @ present)
            assert solved[user] == pytest.approx(expected, abs=2e-5)

    def test_blocks_do_not_change_the_solution(self, monkeypatch: pytest.MonkeyPatch) -> None:
        events = random_events(users=50)
        items = torch.randn((events.item_count, 5), generator=torch.Generator().manual_seed(0))
        whole = implicit_als.solve(events.matrix, items, 0.05)
        monkeypatch.setattr(implicit_als, "BLOCK_NUMBERS", 60)
        assert torch.allclose(whole, implicit_als.solve(events.matrix, items, 0.05), atol=1e-6)

    def test_finds_what_users_of_a_group_like_and_is_repeatable(self) -> None:
        events = two_groups()
        first, second = (fit_implicit_als(events.matrix, 8, 0.01, seed=3) for _ in range(2))
        assert prefers_own_half(first.scores(np.arange(60))).all()
        assert np.array_equal(first.user, second.user)


class TestLinear:
    def test_ease_is_the_ridge_regression_of_each_item_on_the_others(self) -> None:
        events, strength = random_events(share=0.5), 4.0
        matrix = events.matrix.toarray().astype(float)
        scores = fit_ease(events, strength).scores(np.arange(events.user_count))
        for item in range(events.item_count - 1):
            others = np.delete(matrix, item, axis=1)
            left = others.T @ others + strength * np.eye(others.shape[1])
            expected = others @ np.linalg.solve(left, others.T @ matrix[:, item])
            assert scores[:, item] == pytest.approx(expected, abs=1e-4)

    def test_next_item_is_the_ridge_regression_on_decayed_earlier_events(self) -> None:
        events, strength = random_events(share=0.4), 3.0
        rows, targets, latest = [], [], np.zeros((events.user_count, events.item_count))
        for user in range(events.user_count):
            own = events.items[events.users == user][np.argsort(events.times[events.users == user])]
            for place in range(len(own) + 1):
                before = np.zeros(events.item_count)
                for distance, item in enumerate(own[:place][::-1][: linear.REACH]):
                    before[item] += 0.5 ** (distance / linear.HALF_LIFE)
                if place == len(own):
                    latest[user] = before
                else:
                    rows.append(before)
                    targets.append(np.eye(events.item_count)[own[place]])
        left = np.array(rows).T @ np.array(rows) + strength * np.eye(events.item_count)
        expected = latest @ np.linalg.solve(left, np.array(rows).T @ np.array(targets))
        assert fit_next_item(events, strength).scores(np.arange(30)) == pytest.approx(expected, abs=1e-4)

    def test_next_item_follows_the_order_of_events(self) -> None:
        chain = np.tile(np.arange(6), 40)
        start = np.repeat(np.arange(40), 6)
        items = (chain + start) % 12
        events = Interactions(start, items, 40, 12, np.arange(240.0))
        assert (
            fit_next_item(events, 1.0).scores(np.arange(40)).argmax(axis=1) == (np.arange(40) + 6) % 12
        ).all()

    def test_of_a_large_catalogue_only_the_popular_items_are_known(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(linear, "MOST_ITEMS", 7)
        events = random_events()
        popular = np.argsort(-events.item_counts, kind="stable")[:7]
        for model in (fit_ease(events, 1.0), fit_next_item(events, 1.0)):
            scores = model.scores(np.arange(events.user_count))
            assert scores.shape == (events.user_count, events.item_count)
            assert set(np.flatnonzero(scores.any(axis=0))) == set(popular)


class TestSoftmax:
    settings = SoftmaxSettings(dimension=8, l2=0.01, epochs=20, batch_size=16)

    @pytest.mark.parametrize("full_pairs", [10**9, 0])
    def test_full_and_sampled_find_what_users_of_a_group_like(
        self, full_pairs: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(softmax, "FULL_PAIRS", full_pairs)
        monkeypatch.setattr(softmax, "SAMPLED_ITEMS", 8)
        events = two_groups()
        first, second = (fit_softmax(events, self.settings, 3) for _ in range(2))
        assert prefers_own_half(first.scores(np.arange(60))).all()
        assert np.array_equal(first.scores(np.arange(60)), second.scores(np.arange(60)))

    def test_sampled_sum_is_right_on_average(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(softmax, "FULL_PAIRS", 0)
        monkeypatch.setattr(softmax, "SAMPLED_ITEMS", 10)
        events = random_events(items=40, share=0.1)
        model = softmax.SoftmaxFactorization(events, self.settings)
        torch.manual_seed(0)
        batch = torch.arange(5), torch.tensor([0, 1, 2, 3, 4]), torch.tensor([4, 3, 2, 1, 0])
        with torch.no_grad():
            user = model.users(batch[0])
            logits = user @ model.items(None).T + model.item_bias
            exact = -torch.log_softmax(logits, dim=1)[batch[1], batch[2]].sum()
            drawn = torch.stack([model._sampled(user, batch[1], batch[2])[0] for _ in range(3000)])
        # The logarithm of an unbiased sum is too low by half its relative variance, so only about equal.
        assert float(drawn.mean()) == pytest.approx(float(exact), rel=0.1)
        uncorrected = -torch.log_softmax(logits[:, torch.rand(40) < 0.25], dim=1).mean() * 5
        assert abs(float(uncorrected) - float(exact)) > abs(float(drawn.mean()) - float(exact))

    def test_features_rank_for_users_without_events(self) -> None:
        import scipy.sparse as sp

        events = two_groups()
        groups = sp.csr_matrix(np.eye(2)[np.arange(62) % 2])
        wider = Interactions(events.users, events.items, 62, events.item_count)
        scores = fit_softmax(wider, self.settings, 3, user_features=groups).scores(np.arange(62))
        assert prefers_own_half(scores)[60:].all()


def test_popularity_counts_users() -> None:
    events = Interactions(np.array([0, 1, 1]), np.array([2, 2, 0]), 2, 3)
    assert fit_popularity(events).scores(np.array([1])).tolist() == [[1.0, 0.0, 2.0]]


def test_trend_knows_nothing_after_the_users_last_event() -> None:
    events = random_events()
    base = fit_trend(events, 0.1).scores(np.arange(events.user_count))
    user = int(np.argmin([events.times[events.users == code].max(initial=1e9) for code in range(29)]))
    late = events.times > events.times[events.users == user].max()
    changed = np.where(late, (events.items + 1) % 19, events.items)
    other = fit_trend(Interactions(events.users, changed, 30, 20, events.times), 0.1)
    assert late.sum() > 10
    # A user shares the counts of the next of 200 moments; here every event has one of its own.
    assert other.scores(np.array([user])) == pytest.approx(base[[user]], abs=1e-5)
    assert not np.allclose(other.scores(np.arange(30)), base)


def test_trend_prefers_what_is_new() -> None:
    events = Interactions(
        np.array([0, 1, 2, 3]), np.array([0, 0, 0, 1]), 5, 3, np.array([0.0, 1.0, 2.0, 50.0])
    )
    scores = fit_trend(events, 0.05).scores(np.array([2, 3, 4]))
    assert scores[0, 0] > scores[0, 1]
    assert (scores[1:, 1] > scores[1:, 0]).all()


def test_factors_score_by_dot_product_and_bias() -> None:
    factors = Factors(np.array([[1.0, 2.0]]), np.array([[3.0, 0.0], [0.0, 1.0]]), np.array([0.0, 5.0]))
    assert factors.scores(np.array([0])).tolist() == [[3.0, 7.0]]
