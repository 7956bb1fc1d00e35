"""The search on objectives whose optimum is known."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.search import BUDGETS, PRESENT, HalfSearch, Outcome, Search, SearchError, State
from models.search_space import HALVES
from models.settings import Hyperparameters

RANKING, RATING = HALVES
FIGURES = st.floats(0, 1, allow_subnormal=False)


@pytest.fixture
def present(monkeypatch) -> Hyperparameters:
    """The defaults, whatever this environment sets."""
    for name in Hyperparameters.model_fields:
        monkeypatch.delenv(f"RENTALS_{name.upper()}", raising=False)
    return Hyperparameters()


def distance(values, half) -> float:
    """From the optimum, which lies at three quarters of each setting's range."""
    total = 0.0
    for setting in half.space:
        low, high, value = (
            math.log(x) if setting.log else x for x in (setting.low, setting.high, values[setting.name])
        )
        total += ((value - low) / (high - low) - 0.75) ** 2
    return total


def play(search: Search) -> Search:
    """Run all rounds; a figure is the better the nearer the trial is to the optimum."""
    for _ in BUDGETS:
        trials = search.trials()
        search.end_round(
            [
                Outcome(
                    trial,
                    {
                        "ranking": 1 - distance(trial.hyperparameters.model_dump(), RANKING),
                        "rating": distance(trial.hyperparameters.model_dump(), RATING),
                    },
                )
                for trial in trials
            ]
        )
    return search


def test_what_may_vary_are_hyperparameters_with_their_defaults_inside(present):
    names = [setting.name for half in HALVES for setting in half.space]
    assert len(set(names)) == len(names)
    for half in HALVES:
        for setting in half.space:
            assert setting.name in Hyperparameters.model_fields
            assert setting.low <= getattr(present, setting.name) <= setting.high
            assert setting.whole == (Hyperparameters.model_fields[setting.name].annotation is int)
            for end in (setting.low, setting.high):
                Hyperparameters(**{setting.name: end})


def test_the_search_gets_near_an_optimum_that_is_known(present):
    # Not the defaults, which may change and happen to be near.
    far = {"ranking_weight_decay": 0.5, "rating_dropout": 0.4, "rating_dimension": 12}
    start = present.model_copy(update=far)
    found = [play(Search(start, 16, seed)).best.model_dump() for seed in range(8)]
    for half in HALVES:
        distances, begin = [distance(best, half) for best in found], distance(start.model_dump(), half)
        assert max(distances) <= begin
        assert np.median(distances) < begin / 2


def test_new_proposals_are_nearer_to_the_optimum_than_chance(present):
    first, second = [], []
    for seed in range(8):
        for half in play(Search(present, 16, seed)).halves:
            drawn = [distance(p.values, half.half) for p in half.proposals if p.number != PRESENT]
            first += drawn[:15]
            second += drawn[15:]
    assert len(second) > 50
    assert np.median(second) < 0.7 * np.median(first)


def test_the_same_seed_proposes_the_same_and_another_one_others(present):
    def proposed(seed):
        return [
            proposal.values for half in play(Search(present, 6, seed)).halves for proposal in half.proposals
        ]

    assert proposed(3) == proposed(3)
    assert proposed(3) != proposed(4)


def test_proposals_are_inside_the_space_and_of_its_kind(present):
    for half in play(Search(present, 12, 1)).halves:
        for proposal in half.proposals:
            for setting in half.half.space:
                value = proposal.values[setting.name]
                assert setting.low <= value <= setting.high
                assert isinstance(value, int) or not setting.whole


@settings(deadline=None, max_examples=40)
@given(figures=st.lists(FIGURES, min_size=3, max_size=20), half=st.sampled_from(HALVES))
def test_nothing_that_is_pruned_is_better_than_what_goes_on(figures, half):
    search = HalfSearch(half, Hyperparameters(), len(figures), 0)
    search.tell(dict(enumerate(figures)))
    search.narrow()
    measured = [proposal for proposal in search.proposals if proposal.figures]
    merits = {p.number: half.merit(p.figures[0]) for p in measured}
    going_on = {p.number for p in measured if p.state == State.RUNNING}
    pruned = {p.number for p in measured if p.state == State.PRUNED}
    assert going_on | pruned == merits.keys()
    assert PRESENT in going_on
    earned = [merits[number] for number in going_on - {PRESENT}]
    assert all(merits[number] <= worst for worst in earned for number in pruned)
    assert len(going_on) in (math.ceil(len(figures) / 3), math.ceil(len(figures) / 3) + 1)
    assert max(merits.values()) in {merits[number] for number in going_on}


def test_the_best_is_of_the_last_round_even_if_an_earlier_figure_was_better(present):
    search = HalfSearch(RANKING, present, 3, 0)
    for figures in ({0: 0.1, 1: 0.9, 2: 0.2}, {0: 0.5, 1: 0.4, 3: 0.45}, {0: 0.3}):
        search.tell(figures)
        search.narrow()
    assert search.best.number == PRESENT
    assert [proposal.state for proposal in search.proposals] == ["complete", "pruned", "pruned", "pruned"]


def test_each_round_trains_longer_and_the_last_one_fully(present):
    search = Search(present, 6, 0)
    epochs = []
    for _ in BUDGETS:
        trials = search.trials()
        epochs += sorted({trial.hyperparameters.epochs for trial in trials})
        assert trials[0].proposals == {"ranking": PRESENT, "rating": PRESENT}
        search.end_round([Outcome(trial, {"ranking": 0.5, "rating": 0.5}) for trial in trials])
    assert epochs == sorted(epochs)
    assert epochs[-1] == present.epochs
    assert not search.trials()


def test_what_is_not_searched_stays_as_it_is(present):
    present = present.model_copy(update={"batch_size": 77, "id_masking": 0.25, "seed": 11})
    trials = Search(present, 5, 0).trials()
    assert trials[0].hyperparameters == present.model_copy(
        update={"epochs": trials[0].hyperparameters.epochs}
    )
    assert {(t.hyperparameters.batch_size, t.hyperparameters.id_masking) for t in trials} == {(77, 0.25)}


def test_a_trial_that_failed_is_shown_as_such_and_the_others_go_on(present):
    search = Search(present, 6, 0)
    trials = search.trials()
    outcomes = [Outcome(trial, {"ranking": 0.1 * n, "rating": 1 - 0.1 * n}) for n, trial in enumerate(trials)]
    outcomes[5] = Outcome(trials[5], failure="out of memory")
    search.end_round(outcomes)
    for half in search.halves:
        assert half.proposals[5].state == State.FAILED
        assert half.proposals[4].state == State.RUNNING


def test_a_half_with_fewer_proposals_left_lends_its_present_settings(present):
    search = Search(present, 6, 0)
    figures = [{"ranking": 0.1 * n, "rating": 1.0} for n in range(6)]
    # Of six measured two go on, of three one.
    for n in (3, 4, 5):
        figures[n]["rating"] = math.nan
    search.end_round([Outcome(trial, f) for trial, f in zip(search.trials(), figures, strict=True)])
    ranking, rating = ([p.number for p in half.running] for half in search.halves)
    trials = search.trials()
    assert len(ranking) > len(rating)
    assert len(trials) == len(ranking)
    assert "rating" not in trials[-1].proposals
    assert trials[-1].hyperparameters.rating_dropout == present.rating_dropout


def test_a_round_without_a_single_success_ends_with_its_first_error(present):
    search = Search(present, 3, 0)
    with pytest.raises(SearchError, match=r"every trial of the round failed.*out of memory"):
        search.end_round([Outcome(trial, failure="out of memory") for trial in search.trials()])


def test_a_search_that_cannot_begin_says_why(present):
    with pytest.raises(SearchError, match="at least 3"):
        Search(present, 2, 0)
    odd = present.model_copy(update={"ranking_dropout": 0.95, "rating_hidden": 4})
    with pytest.raises(SearchError, match=r"ranking_dropout is 0\.95.*rating_hidden is 4.*widen"):
        Search(odd, 6, 0)
