"""When a version is said to have got worse, and how seldom wrongly."""

import numpy as np
import pandas as pd
import pytest

from monitoring.deterioration import Deterioration, deterioration
from monitoring.label_delay import label_delay
from monitoring.outcomes import Outcomes
from monitoring.settings import MonitoringSettings

LEVEL = 0.1
SETTINGS = MonitoringSettings(
    performance_reference_users=60,
    performance_false_alarm_level=LEVEL,
    performance_rmse_margin=0.0,
    performance_reward_margin=0.0,
)


BY_MANY = SETTINGS.model_copy(update={"performance_reference_users": 500})


def served(seed: int, answers: int = 800, worse_from: int | None = None, users: int = 200) -> Outcomes:
    """Answers over 80 days. Some users ask far more often, and all have errors and likings of their own; from
    an answer on errors are 1.7 times as large and less than half as much is liked.
    """
    rng = np.random.default_rng(seed)
    weight = rng.geometric(0.1, users).astype(float)
    user = rng.choice(users, answers, p=weight / weight.sum())
    worse = np.arange(answers) >= (answers if worse_from is None else worse_from)
    error = np.exp(rng.normal(0, 0.5, users))[user] * rng.normal(0, 0.6, answers) * np.where(worse, 1.7, 1)
    liked = rng.random(answers) < rng.beta(1.2, 1.8, users)[user] * np.where(worse, 0.4, 1)
    ids = [f"q{n}" for n in range(answers)]
    frame = pd.DataFrame(
        {
            "user": user,
            "model_version": "3",
            "served_at": pd.date_range("2026-01-05", periods=answers, freq="144min", tz="UTC"),
            "ranked": True,
            "mature": True,
            "liked": liked.astype(float),
        },
        index=ids,
    )
    ratings = pd.DataFrame({"request_id": ids, "rating": 3 + error, "predicted_rating": 3.0})
    return Outcomes(frame, ratings, pd.Timedelta(days=1), label_delay(np.array([]), np.array([])))


def alarms(found: list[Deterioration]) -> list[str]:
    return [each.metric for each in found if each.alarm]


def test_where_nothing_got_worse_alarms_are_at_most_as_frequent_as_the_level() -> None:
    """Looked at after every answer, with users who ask a hundred times and margins of nothing at all."""
    replays = 120
    false = np.mean([bool(alarms(deterioration(served(seed), "3", SETTINGS))) for seed in range(replays)])
    assert false <= LEVEL


def test_a_version_that_got_worse_is_found_with_its_time() -> None:
    found = deterioration(served(0, answers=6000, worse_from=3000, users=1500), "3", BY_MANY)
    assert alarms(found) == ["rmse", "reward_share"]
    changed = pd.Timestamp("2026-01-05", tz="UTC") + 3000 * pd.Timedelta("144min")
    for each in found:
        assert each.since is not None and abs(each.since - changed) < pd.Timedelta(days=90)
        assert "rose from" in str(each) or "fell from" in str(each)


def test_it_is_found_within_some_hundred_users() -> None:
    """The later half of the answers is taken away until nothing is found any more."""
    log = served(0, answers=6000, worse_from=3000, users=1500)
    needed = next(
        size for size in range(3100, 6000, 100) if alarms(deterioration(_first(log, size), "3", BY_MANY))
    )
    assert needed - 3000 <= 800


def _first(log: Outcomes, answers: int) -> Outcomes:
    return Outcomes(log.answers.iloc[:answers], log.ratings.iloc[:answers], log.horizon, log.delay)


def test_a_loss_within_the_margin_is_no_alarm() -> None:
    log = served(0, answers=6000, worse_from=3000, users=1500)
    wide = BY_MANY.model_copy(update={"performance_rmse_margin": 1.0, "performance_reward_margin": 0.7})
    assert alarms(deterioration(log, "3", wide)) == []


def test_awaited_answers_and_other_versions_tell_nothing() -> None:
    log = served(0, answers=6000, worse_from=3000, users=1500)
    late = log.answers.assign(mature=np.arange(6000) < 3000)
    other = log.answers.assign(model_version=np.where(np.arange(6000) < 3000, "3", "4"))
    for answers in (late, other):
        assert (
            alarms(deterioration(Outcomes(answers, log.ratings, log.horizon, log.delay), "3", BY_MANY)) == []
        )


def test_one_user_who_complains_all_day_is_no_alarm() -> None:
    log = served(0, answers=600)
    complaints = log.answers.iloc[-1:].loc[lambda frame: frame.index.repeat(2000)]
    complaints = complaints.assign(user=9999, liked=0.0).set_axis([f"c{n}" for n in range(2000)])
    bad = pd.DataFrame({"request_id": complaints.index, "rating": 1.0, "predicted_rating": 5.0})
    both = Outcomes(
        pd.concat([log.answers, complaints]), pd.concat([log.ratings, bad]), log.horizon, log.delay
    )
    assert alarms(deterioration(both, "3", SETTINGS)) == []


@pytest.mark.parametrize(("answers", "words"), [(0, "has 0 users so far"), (30, "not judged")])
def test_without_a_reference_nothing_is_judged(answers: int, words: str) -> None:
    found = deterioration(_first(served(0), answers), "3", SETTINGS)
    assert alarms(found) == []
    assert all(words in str(each) for each in found)


def test_a_reference_alone_has_nothing_to_judge_yet() -> None:
    log = served(0, answers=60, users=100_000)
    found = deterioration(log, "3", SETTINGS)
    assert all("nothing to judge yet" in str(each) for each in found)
