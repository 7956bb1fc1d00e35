import shutil

import numpy as np
import onnx
import pandas as pd
import pytest

from models.export import export_all
from models.filters import EXCLUDE
from models.parity import Agreement, agreement, parity

PARITY = 1e-5
REQUESTS = 10_000


@pytest.fixture
def damaged(exported, tmp_path):
    """Copies the model's folder and changes one graph of the copy; gives the path of its model."""

    def damage(change, name="model.onnx"):
        folder = shutil.copytree(exported, tmp_path / "damaged")
        model = onnx.load(folder / name)
        change(model.graph)
        onnx.save(model, folder / name)
        return folder / "model.onnx"

    return damage


def node(graph, kind, output=""):
    (found,) = (one for one in graph.node if one.op_type == kind and (not output or output in one.output))
    return found


def set_constant(graph, name, change):
    tensor = next(tensor for tensor in graph.initializer if tensor.name == name)
    values = change(onnx.numpy_helper.to_array(tensor).copy())
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, name))


def test_both_graphs_agree_with_pytorch_on_ten_thousand_requests(model, market, exported):
    events = pd.concat([market.train, market.test])
    requests = events.sample(REQUESTS, replace=True, random_state=1)
    found = agreement(model, market.latest, exported / "model.onnx", requests)
    assert found.requests == REQUESTS
    assert found.largest < PARITY
    assert (found.identical, found.overlap) == (1, 1)


def test_another_model_is_noticed(model, market, exported):
    other = market.latest.assign(rental_rentals_90d=0.0)
    found = agreement(model, other, exported / "model.onnx", market.test)
    assert min(found.score, found.rating, found.pair_score, found.pair_rating) > 100 * PARITY
    assert found.identical < 1 and found.largest == np.inf


def choose_the_worst(graph):
    node(graph, "TopK", "score").attribute.append(onnx.helper.make_attribute("largest", 0))


def drop_the_mask(graph):
    node(graph, "Where", "_bias").input[1] = "ranking_bias"


def mask_the_neighbour(graph):
    set_constant(graph, f"_of_rentals_{EXCLUDE}", lambda places: np.roll(places, 1))


def tell_the_same_rental_twice(graph):
    """The second best one is told as the best one, with the right scores of both."""
    set_constant(graph, "rental_ids", lambda ids: np.where(ids == ids[1], ids[0], ids))


def forget_a_rental(graph):
    set_constant(graph, "rental_ids", lambda ids: np.where(ids == ids[1], "", ids))


def swap_two_rentals(graph):
    set_constant(graph, "rental_ids", lambda ids: ids[[1, 0, *range(2, len(ids))]])


def swap_two_numbers(graph):
    """The traced user side gets each of two features in the place of the other."""
    names = {"user_age": "user_rating_mean_all", "user_rating_mean_all": "user_age"}
    for one in graph.node:
        one.input[:] = [names.get(name, name) for name in one.input]


def shift_the_ratings(graph):
    set_constant(graph, "_mean_rating", lambda mean: mean + np.float32(1e-3))


@pytest.mark.parametrize(
    "change",
    [
        choose_the_worst,
        drop_the_mask,
        mask_the_neighbour,
        tell_the_same_rental_twice,
        forget_a_rental,
        swap_two_rentals,
        swap_two_numbers,
        shift_the_ratings,
    ],
)
def test_a_wrong_graph_of_the_best_rentals_is_noticed(model, market, damaged, change):
    assert parity(model, market.latest, damaged(change), market.test) > 50 * PARITY


@pytest.mark.parametrize("change", [swap_two_numbers, shift_the_ratings])
def test_a_wrong_graph_of_pairs_is_noticed(model, market, damaged, change):
    assert parity(model, market.latest, damaged(change, "pairs.onnx"), market.test) > 50 * PARITY


@pytest.mark.parametrize("name", ["rating_bias", "ranking_bias", "_mean_rating"])
@pytest.mark.parametrize("file", ["model.onnx", "pairs.onnx"])
def test_parity_is_not_a_number_where_a_graph_is_damaged(model, market, damaged, name, file):
    def forget(graph):
        set_constant(graph, name, lambda values: np.full_like(values, np.nan))

    assert np.isnan(parity(model, market.latest, damaged(forget, file), market.test))


def test_a_wrong_shift_of_the_scores_is_noticed(model, market, tmp_path, monkeypatch):
    import models.export as module

    right = module.rental_vectors

    def half_shifted(*arguments, **options):
        vectors = right(*arguments, **options)
        return vectors._replace(ranking=vectors.ranking + 0.1)

    monkeypatch.setattr(module, "rental_vectors", half_shifted)
    wrong = export_all(model, market.latest, tmp_path)
    assert parity(model, market.latest, wrong, market.test) > 100 * PARITY


def test_rentals_of_equal_scores_may_stand_in_either_order(model, market, tmp_path):
    twins = market.latest.head(3).assign(rental_id=[f"twin{n}" for n in range(3)])
    catalogue = pd.concat([market.latest.iloc[3:], twins, twins.assign(rental_id=["a", "b", "c"])])
    catalogue = catalogue.sample(frac=1, random_state=0, ignore_index=True)
    path = export_all(model, catalogue, tmp_path)
    assert parity(model, catalogue, path, market.test) < PARITY
    graph = onnx.load(path)
    set_constant(graph.graph, "rental_ids", lambda ids: np.where(ids == "a", "twin0", ids))
    onnx.save(graph, path)
    assert parity(model, catalogue, path, market.test) == np.inf, "a twin in the place of another comes twice"


def test_half_precision_loses_little_and_the_loss_is_told(model, market, exported, tmp_path):
    shutil.copy(exported / "model.fp16.onnx", tmp_path / "model.onnx")
    shutil.copy(exported / "pairs.onnx", tmp_path)
    found = agreement(model, market.latest, tmp_path / "model.onnx", market.test)
    assert PARITY < found.score < 1e-2 and found.rating < 1e-2
    assert 0.98 < found.overlap <= 1
    assert found.pair_score < PARITY, "pairs are in single precision"
    half = onnx.load(exported / "model.fp16.onnx").graph
    kinds = {tensor.name: tensor.data_type for tensor in half.initializer}
    assert kinds["ranking"] == kinds["rating"] == onnx.TensorProto.FLOAT16


def test_a_masked_answer_of_few_rentals_agrees_too(model, market, tmp_path):
    few = market.latest.head(4)
    path = export_all(model, few, tmp_path)
    assert parity(model, few, path, market.test) < PARITY
    for told in ("r79", few["rental_id"].iloc[0]):
        graph = onnx.load(path)
        set_constant(graph.graph, "rental_ids", lambda ids, told=told: np.append(ids[: len(few)], told))
        onnx.save(graph, path)
        assert parity(model, few, path, market.test) == np.inf, "something is told where nothing is left"


def test_a_difference_of_choice_outweighs_equal_values():
    values = {"requests": 2, "score": 0.0, "rating": 0.0, "pair_score": 0.0, "pair_rating": 0.0}
    assert Agreement(**values, identical=0.5, overlap=1.0).largest == np.inf
    assert Agreement(**values, identical=1.0, overlap=0.9).largest == 0
    assert np.isnan(Agreement(**(values | {"rating": np.nan}), identical=0.5, overlap=1.0).largest)
