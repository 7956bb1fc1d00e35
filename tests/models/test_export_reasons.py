import json

import numpy as np
import onnx
import onnxruntime
import pytest

from models.explain import explain
from models.export import export
from models.export_reasons import CONTRIBUTION, SUBJECTS, add_reasons
from models.load import inputs_of, load


@pytest.fixture(scope="module")
def path(model, market, tmp_path_factory):
    path = export(model, market.latest, tmp_path_factory.mktemp("reasons") / "model.onnx", k=20)
    return add_reasons(path, model, market.latest, market.train)


@pytest.fixture(scope="module")
def session(path):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def answer(session, rows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    requests = rows.astype(object).where(rows.notna(), None).to_dict("records")
    return session.run(["rental_id", "score", CONTRIBUTION], inputs_of(session, requests))


@pytest.mark.parametrize("rows", [1, 3, 50])
def test_contributions_sum_to_the_score(session, market, rows):
    _, score, contribution = answer(session, market.test.tail(rows))
    assert contribution.shape[:2] == score.shape == (rows, 20)
    np.testing.assert_allclose(contribution.sum(axis=2), score, atol=1e-4)
    assert np.abs(contribution).max() > 0.1


def test_they_are_those_of_explain(session, model, market):
    subjects = json.loads(session.get_modelmeta().custom_metadata_map[SUBJECTS])
    request = market.test.tail(1)
    ids, _, contribution = answer(session, request)
    found = explain(model, request.iloc[0].to_dict(), market.latest, list(ids[0]), market.train)
    for row, explanation in enumerate(found):
        amounts = {reason.subject: reason.amount for reason in explanation.reasons}
        assert amounts.keys() == set(subjects)
        np.testing.assert_allclose(contribution[0, row], [amounts[one] for one in subjects], atol=1e-4)


def test_the_graph_answers_as_before(path, model, market, tmp_path):
    before = load(export(model, market.latest, tmp_path / "model.onnx", k=20))
    user = market.test.iloc[0][[name for name in market.test if name.startswith("user_")]].to_dict()
    assert load(path).recommend(user) == before.recommend(user)


def test_a_place_which_is_no_rental_has_no_reasons(model, market, tmp_path):
    path = export(model, market.latest, tmp_path / "model.onnx", k=20)
    graph = onnx.load(path)
    shift = onnx.helper.make_node("Add", ["position", "most"], ["beyond"])
    least = onnx.helper.make_node("Min", ["beyond", "most"], ["nowhere"])
    graph.graph.node.extend([shift, least])
    most = onnx.numpy_helper.from_array(np.array(len(market.latest)), "most")
    graph.graph.initializer.append(most)
    onnx.save(graph, path)
    add_reasons(path, model, market.latest, market.train, place="nowhere")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert np.isnan(answer(session, market.test.tail(2))[2]).all()
