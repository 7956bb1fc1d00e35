"""A training from scratch, and one that goes on from the champion."""

from dataclasses import replace

import pytest
import torch

from flows.fitting import WarmStartError, fit_recommender
from flows.parameters import CHAMPION, SCRATCH
from tests.flows.conftest import DAY, SIZES


@pytest.fixture(autouse=True)
def sizes(registry, monkeypatch):
    """The champion's sizes, by the environment as for a flow."""
    for name, value in SIZES.items():
        monkeypatch.setenv(f"RENTALS_{name.upper()}", str(value))


def test_without_a_champion_only_scratch_is_possible(data):
    with pytest.raises(WarmStartError, match=r"no champion.*--begin scratch"):
        fit_recommender(data, CHAMPION)


def test_a_warm_start_stays_near_the_champion_and_a_training_from_scratch_does_not(champion, good, data):
    warm, began_from = fit_recommender(data, CHAMPION)
    cold, nothing = fit_recommender(data, SCRATCH)
    assert (began_from, nothing) == (f"version {champion.version}", "scratch")
    known, after, anew = (torch.nn.utils.parameters_to_vector(m.parameters()) for m in (good, warm, cold))
    assert 0 < (after - known).norm() < 0.3 * (anew - known).norm()


def test_a_champion_that_knows_some_of_the_test_days_is_refused(champion, data):
    earlier = replace(data, test_from=data.test_from - DAY)
    with pytest.raises(WarmStartError, match=r"so it knows some of them: train with --begin scratch"):
        fit_recommender(earlier, CHAMPION)


def test_a_champion_of_another_shape_is_refused(champion, data, monkeypatch):
    monkeypatch.setenv("RENTALS_RATING_HIDDEN", "7")
    with pytest.raises(WarmStartError, match=rf"version {champion.version}.*other inputs or sizes"):
        fit_recommender(data, CHAMPION)
