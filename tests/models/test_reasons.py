"""Reasons that the exported graph tells, against those of ``explain``."""

import numpy as np
import pytest

from models.explain import explain
from models.export import HALF_FILE
from models.inference import frame_inputs, open_session
from models.load import load
from models.reasons import SHOWN


@pytest.fixture(scope="module")
def requests(market):
    return market.test.tail(30).reset_index(drop=True)


@pytest.mark.parametrize("file", ["model.onnx", HALF_FILE])
def test_the_graph_tells_the_strongest_reasons_of_the_explanation(model, market, exported, requests, file):
    session = open_session(exported / file)
    names = ["rental_id", "reason_subject", "reason", "reason_factor"]
    ids, named, places, factors = session.run(names, frame_inputs(session, requests))
    subjects = np.take_along_axis(named[:, None, :], places, 2)
    tolerance = 1e-4 if file == "model.onnx" else 2e-2
    for row, request in requests.iterrows():
        found = explain(model, request.to_dict(), market.latest, list(ids[row]), market.train)
        for place, explanation in enumerate(found):
            expected = [reason for reason in explanation.reasons if reason.amount > tolerance]
            expected = sorted(expected, key=lambda reason: -reason.amount)[:SHOWN]
            told = dict(zip(subjects[row, place], factors[row, place], strict=True))
            for reason in expected:
                # Two of nearly the same strength may stand in for each other.
                if reason.subject in told:
                    assert told[reason.subject] == pytest.approx(reason.factor, rel=tolerance)
                else:
                    assert min(told.values()) == pytest.approx(reason.factor, rel=tolerance)
            assert all(factor > 1 for subject, factor in told.items() if subject)
        assert (np.diff(factors[row], axis=1) <= 0).all()


def test_an_embedded_model_tells_them_too(exported, requests):
    user = {name: requests.loc[0, name] for name in ("user_id", "purpose", "user_segment", "user_age")}
    answer = load(exported).recommend(user, k=5)
    assert all(1 <= len(one.reasons) <= SHOWN for one in answer)
    assert {reason.subject for one in answer for reason in one.reasons} >= {"rental's popularity"}


def test_masked_rentals_have_none_and_disturb_none(exported):
    model = load(exported)
    best, second = model.recommend("u1", k=2)
    assert model.recommend("u1", k=1, exclude=best.rental_id) == [second]
