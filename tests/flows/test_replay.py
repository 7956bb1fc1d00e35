from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from feature_repo import lake
from feature_repo.settings import FeatureSettings
from flows.replaying.canary import run_canary, write_log
from flows.replaying.card import replay_card, replay_chart
from flows.replaying.policies import Policy
from flows.replaying.replay import replay
from flows.replaying.result import summary
from flows.replaying.stream import Stream, weeks_of
from flows.replaying.versions import Answers, train
from monitoring.prediction_log import read_feedback, read_predictions
from tests.flows.conftest import UNTIL

MONTHS = pd.date_range(end=UNTIL, periods=4, freq="MS")
"""Begins of the last three months, and their end."""


@pytest.fixture(scope="module")
def stream(data) -> Stream:
    times = weeks_of(MONTHS).union(MONTHS)
    times = times[times >= UNTIL - pd.Timedelta(days=200)]
    catalogues = pd.concat([data.latest.assign(snapshot_at=at) for at in times], ignore_index=True)
    events = data.events.assign(rating_id=[f"e{n}" for n in range(len(data.events))])
    return Stream(events, catalogues, MONTHS)


@pytest.fixture(scope="module")
def versions(stream):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"RANKING_DIMENSION": 16, "BATCH_SIZE": 128, "EPOCHS": 4}.items():
            patch.setenv(f"RENTALS_MODEL_{name}", str(value))
        return {begin: train(stream, begin) for begin in MONTHS[:-1]}


@pytest.fixture
def settings(stream, tmp_path) -> FeatureSettings:
    """A lake with the stream's ratings; in the last month people rent for another purpose."""
    settings = FeatureSettings(home=tmp_path)
    ratings = stream.events[["rating_id", "user_id", "rental_id", "rating", "event_timestamp", "arrived_at"]]
    ratings = ratings.assign(source_rating=ratings["rating"], purpose="work")
    ratings.loc[ratings["event_timestamp"] >= MONTHS[1], "purpose"] = "party"
    rentals = pd.DataFrame({"rental_id": stream.events["rental_id"].unique(), "category": "x"})
    users = pd.DataFrame({"user_id": stream.events["user_id"].unique(), "joined_at": MONTHS[0]})
    users = users.assign(age=30.0, height_cm=170.0, weight_kg=60.0, segment="a")
    rentals = rentals.assign(area=None, price=1.0, capacity=1.0, listed_at=UNTIL - pd.Timedelta(days=200))
    for table, frame in (("users", users), ("rentals", rentals), ("ratings", ratings)):
        lake.append(settings.lake, table, "batch", frame)
    return settings


def test_a_training_is_given_nothing_that_arrived_later(stream):
    late = stream.events.index[stream.events["event_timestamp"] < MONTHS[1]][-1]
    events = stream.events.copy()
    events.loc[late, "arrived_at"] = MONTHS[1] + pd.Timedelta(days=3)
    known = replace(stream, events=events).known(MONTHS[1])
    assert events.loc[late, "rating_id"] not in set(known.events["rating_id"])
    assert known.events["arrived_at"].max() < MONTHS[1]
    assert known.catalogues["snapshot_at"].max() == MONTHS[1] == known.until
    assert set(known.catalogues["snapshot_at"]) - {MONTHS[1]} <= set(stream.weeks)


def test_the_months_part_the_stream(stream):
    parts = [stream.month(begin)[0] for begin in MONTHS[:-1]]
    joined = pd.concat(parts)["rating_id"]
    assert joined.is_unique
    after = stream.events["event_timestamp"] >= MONTHS[0]
    assert set(joined) == set(stream.events.loc[after, "rating_id"])


def test_the_calendar():
    begins = pd.date_range("2020-11-01", periods=8, freq="MS", tz="UTC")
    asked = {policy: [policy.scheduled(begin, begins[0]) for begin in begins] for policy in Policy}
    assert asked[Policy.MONTHLY] == [False] + [True] * 7
    assert asked[Policy.QUARTERLY] == [False, False, False, True, False, False, True, False]
    assert not any(asked[Policy.NEVER]) and not any(asked[Policy.LOOP])


def test_a_version_answers_with_what_its_catalogue_held_at_its_training(stream, versions):
    later = stream.catalogues["snapshot_at"] > MONTHS[0]
    gone = stream.catalogues["rental_id"] == "r0"
    listed_later = replace(stream, catalogues=stream.catalogues[later | ~gone].reset_index(drop=True))
    version = versions[MONTHS[0]]
    answers = Answers(listed_later).of(version, MONTHS[1])
    events, _ = listed_later.month(MONTHS[1])
    of_the_new_one = (events["rental_id"] == "r0").to_numpy()
    assert of_the_new_one.any()
    assert np.isinf(answers.rank[of_the_new_one]).all() and (answers.ndcg[of_the_new_one] == 0).all()
    assert np.isfinite(answers.rank[~of_the_new_one]).all()
    assert "r0" not in answers.rental_ids
    assert np.isfinite(answers.predicted).all()
    refreshed = Answers(listed_later).of(version, MONTHS[1], refreshed=True)
    assert np.isfinite(refreshed.rank[of_the_new_one]).all()
    assert np.allclose(refreshed.predicted[~of_the_new_one], answers.predicted[~of_the_new_one])


def test_the_best_ten_are_in_order_and_agree_with_the_rank(stream, versions):
    answers, (events, _) = Answers(stream).of(versions[MONTHS[0]], MONTHS[0]), stream.month(MONTHS[0])
    assert (np.diff(answers.scores, axis=1) <= 0).all()
    shown = (answers.rental_ids == events["rental_id"].to_numpy()[:, None]).any(axis=1)
    assert shown.any() and (shown == (answers.rank < 10)).all()
    assert ((answers.ratings >= 1) & (answers.ratings <= 5)).all()


def test_all_policies_serve_the_same_people_and_only_the_loop_asks_why(stream, versions, settings):
    policies = replay(stream, versions, settings)
    users = [np.concatenate([month.users for month in months]) for months in policies.values()]
    assert all((one == users[0]).all() for one in users)
    by_calendar = (Policy.NEVER, Policy.MONTHLY, Policy.QUARTERLY)
    first = [policies[policy][0] for policy in by_calendar]
    assert all((one.squared_error == first[0].squared_error).all() for one in first)
    assert [month.version for month in policies[Policy.MONTHLY]] == list(MONTHS[:-1])
    assert {month.version for month in policies[Policy.NEVER]} == {MONTHS[0]}
    trained = [month for month in policies[Policy.LOOP] if month.training]
    assert [month.begin for month in trained] == [MONTHS[2]]
    assert "purpose" in trained[0].training.reason
    assert abs(trained[0].training.shift - MONTHS[1]) <= pd.Timedelta(days=2)
    figures = summary(policies)
    assert figures["monthly"]["trainings"] == 2 and figures["never"]["trainings"] == 0
    assert figures["never"]["gain_over_never"]["ndcg10"]["gain"] == 0
    assert figures["loop"]["each_training"][0]["month"] == "2024-06"
    assert replay_card(figures) and replay_chart(figures).to_dict()
    # What the loop has served is in a real prediction log, which the next look reads.
    log = read_predictions(settings.lake)
    assert len(log) == len(users[0]) and log["request_id"].is_unique


def test_a_canary_that_people_like_less_is_rolled_back_and_a_good_one_is_promoted(stream, versions, tmp_path):
    begin = MONTHS[0]
    events, answers = stream.month(begin)[0], Answers(stream).of(versions[begin], begin)
    events, answers = _thrice(events), _repeated(answers, 3)
    events = events.assign(user_id=[f"p{n}" for n in range(len(events))], rating=5.0)
    taken = events["rental_id"].to_numpy()[:, None]
    always = replace(answers, rental_ids=np.repeat(taken, 10, axis=1), rank=np.zeros(len(events)))
    never = replace(answers, rental_ids=np.full_like(answers.rental_ids, "none"))
    bad = run_canary(events, (1, always), (2, never), tmp_path / "bad")
    assert not bad.promoted and "liked" in bad.decision.reasons[0]
    later = (events["event_timestamp"] >= bad.at).to_numpy()
    assert later.any() and (bad.shown.rental_ids[later] == always.rental_ids[later]).all()
    good = run_canary(events, (1, never), (2, always), tmp_path / "good")
    assert good.promoted
    shown = (good.shown.rental_ids == taken).any(axis=1)
    assert shown[(events["event_timestamp"] >= good.at).to_numpy()].all() and not shown.all()
    assert len(read_feedback(tmp_path / "good" / "lake")) == shown.sum()


def _thrice(events):
    times = np.sort(np.tile(events["event_timestamp"].to_numpy(), 3))
    ids = [f"x{n}" for n in range(3 * len(events))]
    more = pd.concat([events] * 3, ignore_index=True)
    times = pd.to_datetime(times, utc=True)
    return more.assign(rating_id=ids, event_timestamp=times, arrived_at=times)


def _repeated(answers, times):
    return type(answers)(*(np.concatenate([each] * times) for each in vars(answers).values()))


def _first(answers, count):
    return type(answers)(*(each[:count] for each in vars(answers).values()))


def test_a_canary_that_is_not_proven_by_the_months_end_is_rolled_back(stream, versions, tmp_path):
    begin = MONTHS[0]
    events, answers = stream.month(begin)[0].head(40), _first(Answers(stream).of(versions[begin], begin), 40)
    ended = run_canary(events, (1, answers), (2, answers), tmp_path)
    assert not ended.promoted and "not proven by the month's end" in ended.decision.reasons[0]


def test_a_damaged_canary_is_seen_at_once(stream, versions, tmp_path):
    begin = MONTHS[0]
    events, answers = stream.month(begin)[0], Answers(stream).of(versions[begin], begin)
    damaged = replace(answers, scores=np.full_like(answers.scores, np.nan))
    ended = run_canary(events, (1, answers), (2, damaged), tmp_path)
    assert not ended.promoted and "failed" in ended.decision.reasons[0]
    assert ended.at <= events["event_timestamp"].iloc[0] + pd.Timedelta(days=5)


def test_a_rating_that_became_known_after_its_day_is_no_feedback(stream, versions, tmp_path):
    begin = MONTHS[0]
    events, answers = stream.month(begin)[0], Answers(stream).of(versions[begin], begin)
    prompt = np.arange(len(events)) % 2 == 0
    late = events["event_timestamp"] + pd.Timedelta(days=1)
    events = events.assign(arrived_at=events["event_timestamp"].where(prompt, late))
    write_log(events, answers, np.ones(len(events), bool), 1, tmp_path)
    shown = (answers.rental_ids == events["rental_id"].to_numpy()[:, None]).any(axis=1)
    assert set(read_feedback(tmp_path / "lake")["request_id"]) == set(events["rating_id"][prompt & shown])
