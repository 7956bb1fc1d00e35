"""Hostile requests to real exported graphs."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from models.adversarial import adversarial_faults
from models.export import export
from models.recommender import RATING_SCALE
from models.sabotage import corrupt


@pytest.fixture(scope="module")
def path(model, market, tmp_path_factory):
    return export(model, market.latest, tmp_path_factory.mktemp("export") / "model.onnx")


def test_a_sound_graph_answers_all_of_them(path):
    assert adversarial_faults(path) == ()


def test_a_damaged_graph_fails_all_of_them(path, tmp_path):
    faults = adversarial_faults(corrupt(path, tmp_path / "bad.onnx"))
    assert "NaN in user_age: predicted_rating, score is not finite" in faults
    assert "a text of 100,000 characters in user_id: predicted_rating, score is not finite" in faults


def test_an_input_that_one_hostile_value_breaks_is_named(path, tmp_path):
    """A graph in which an infinite age reaches the score."""
    graph = onnx.load(path)
    nodes = graph.graph.node
    last = next(node for node in nodes if "score" in node.output)
    last.output[list(last.output).index("score")] = "sound_score"
    graph.graph.initializer.append(numpy_helper.from_array(np.array([0], np.float32), "nothing"))
    nodes.append(helper.make_node("IsNaN", ["user_age"], ["missing"]))
    nodes.append(helper.make_node("Where", ["missing", "nothing", "user_age"], ["known_age"]))
    nodes.append(helper.make_node("Mul", ["known_age", "nothing"], ["leak"]))
    nodes.append(helper.make_node("Add", ["sound_score", "leak"], ["score"]))
    onnx.save(graph, tmp_path / "leak.onnx")
    faults = adversarial_faults(tmp_path / "leak.onnx")
    assert set(faults) >= {f"{sign}infinity in user_age: score is not finite" for sign in ("", "minus ")}
    assert all("user_age" in fault or "every input" in fault for fault in faults)


def test_a_rating_off_the_scale_is_a_fault(path, tmp_path):
    graph = onnx.load(path)
    for node in graph.graph.node:
        if "predicted_rating" in node.output:
            node.output[0] = "cut"
    graph.graph.initializer.append(numpy_helper.from_array(np.array([9], np.float32), "nine"))
    graph.graph.node.append(helper.make_node("Add", ["cut", "nine"], ["predicted_rating"]))
    onnx.save(graph, tmp_path / "high.onnx")
    assert "predicted_rating is not within 1.0..5.0" in adversarial_faults(tmp_path / "high.onnx")[0]


def test_the_scale_is_the_recommenders():
    from models.adversarial import RATING_SCALE as OWN

    assert OWN == RATING_SCALE
