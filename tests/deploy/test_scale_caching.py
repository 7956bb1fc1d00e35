import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.scale import caching
from deploy.scale.caching import Popularity

EXPONENTS = st.one_of(st.just(1.0), st.floats(0.3, 1.6))


def one_by_one(objects: int, exponent: float) -> Popularity:
    weights = np.arange(1, objects + 1) ** -exponent
    return Popularity(np.ones(objects), weights / weights.sum())


@given(st.integers(1, 60_000), EXPONENTS)
@settings(max_examples=50)
def test_classes_of_ranks_are_as_good_as_ranks(objects: int, exponent: float) -> None:
    classes, ranks = caching.zipf(objects, exponent), one_by_one(objects, exponent)
    assert classes.counts.sum() == objects
    assert (classes.counts * classes.chances).sum() == pytest.approx(1)
    size = max(1, objects // 20)
    assert caching.lru_hit_ratio(classes, size) == pytest.approx(caching.lru_hit_ratio(ranks, size), abs=1e-7)
    assert caching.expiring_hit_ratio(classes, 1e4) == pytest.approx(
        caching.expiring_hit_ratio(ranks, 1e4), abs=1e-7
    )


@pytest.mark.parametrize(("exponent", "size"), [(0.5, 500), (0.8, 100), (0.8, 2_000), (1.0, 500), (1.3, 50)])
def test_ches_approximation_is_what_a_real_cache_does(exponent: float, size: int) -> None:
    drawn = caching.simulated_hit_ratio(10_000, exponent, size, 300_000, seed=3)
    assert caching.lru_hit_ratio(caching.zipf(10_000, exponent), size) == pytest.approx(drawn, abs=0.005)


def test_a_cache_of_everything_answers_all_that_it_has_seen() -> None:
    assert caching.lru_hit_ratio(caching.zipf(300, 0.8), 300) == 1.0
    assert caching.simulated_hit_ratio(300, 0.8, 300, 100_000, seed=4) == 1.0


@given(st.integers(2, 5_000), EXPONENTS)
@settings(max_examples=30)
def test_a_larger_cache_and_a_longer_life_answer_more(objects: int, exponent: float) -> None:
    popularity = caching.zipf(objects, exponent)
    sizes = np.unique(np.geomspace(1, objects, 6).astype(int))
    ratios = [caching.lru_hit_ratio(popularity, int(size)) for size in sizes]
    lives = [caching.expiring_hit_ratio(popularity, lookups) for lookups in (0.0, 10.0, 1e3, 1e9)]
    for grows in (ratios, lives):
        assert (np.diff(grows) >= -1e-12).all()
    assert lives[0] == 0.0
    assert lives[-1] == pytest.approx(1.0, abs=1e-3)


def test_what_only_expires_is_fetched_once_in_a_life() -> None:
    drawn, life, hits, until = np.random.default_rng(5).random(200_000), 50, 0, {}
    ranks = np.searchsorted(np.cumsum(one_by_one(100, 0.8).chances), drawn)
    # Lookups come one a moment, as good as at random where each object is met seldom.
    for now, key in enumerate(ranks.tolist()):
        if until.get(key, -1) > now:
            hits += 1
        else:
            until[key] = now + life
    assert caching.expiring_hit_ratio(caching.zipf(100, 0.8), life) == pytest.approx(hits / 200_000, abs=0.01)
