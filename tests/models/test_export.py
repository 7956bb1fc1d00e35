import os
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest

from models.columns import ColumnError
from models.export import export, parity
from models.load import EmbeddedModel, ModelFileError, inputs_of, load
from models.sabotage import corrupt

PARITY = 1e-5


@pytest.fixture(scope="module")
def path(model, market, tmp_path_factory):
    return export(model, market.latest, tmp_path_factory.mktemp("export") / "new" / "model.onnx", k=20)


@pytest.fixture(scope="module")
def embedded(path) -> EmbeddedModel:
    return load(path)


def test_onnx_agrees_with_pytorch_on_real_rows(model, market, path):
    assert parity(model, market.latest, path, market.test) < PARITY


def test_parity_notices_another_model(model, market, path, tmp_path):
    assert parity(model, market.latest.assign(rental_rentals_90d=0.0), path, market.test) > 100 * PARITY


def test_parity_notices_a_wrong_choice_of_rentals(model, market, path, tmp_path):
    graph = onnx.load(path)
    best = next(node for node in graph.graph.node if node.op_type == "TopK")
    next(attribute for attribute in best.attribute if attribute.name == "largest").i = 0
    onnx.save(graph, tmp_path / "worst.onnx")
    assert parity(model, market.latest, tmp_path / "worst.onnx", market.test) > 100 * PARITY


@pytest.mark.parametrize("damaged", ["rating_bias", "ranking_bias"])
def test_parity_is_not_a_number_where_the_graph_is_damaged(model, market, path, tmp_path, damaged):
    graph = onnx.load(path)
    tensor = next(tensor for tensor in graph.graph.initializer if tensor.name == damaged)
    tensor.CopyFrom(onnx.numpy_helper.from_array(np.full(tuple(tensor.dims), np.nan, np.float32), damaged))
    onnx.save(graph, tmp_path / "damaged.onnx")
    assert np.isnan(parity(model, market.latest, tmp_path / "damaged.onnx", market.test))


def test_parity_notices_a_wrong_shift_of_the_scores(model, market, tmp_path, monkeypatch):
    import models.export as module

    right = module.rental_vectors

    def half_shifted(*arguments):
        vectors = right(*arguments)
        return vectors._replace(ranking=vectors.ranking + 0.1)

    monkeypatch.setattr(module, "rental_vectors", half_shifted)
    wrong = export(model, market.latest, tmp_path / "shifted.onnx")
    assert parity(model, market.latest, wrong, market.test) > 100 * PARITY


def test_the_graph_is_one_file_with_named_inputs_and_a_free_batch(path, columns):
    model = onnx.load(path, load_external_data=False)
    inputs = {value.name: value.type.tensor_type for value in model.graph.input}
    strings = {name for name, kind in inputs.items() if kind.elem_type == onnx.TensorProto.STRING}
    assert strings == {"user_id", "purpose", "user_segment"}
    assert set(inputs) - strings == set(columns.user_numeric)
    assert all(
        kind.shape.dim[0].dim_param == "batch" and kind.shape.dim[1].dim_value == 1
        for kind in inputs.values()
    )
    assert [value.name for value in model.graph.output] == ["rental_id", "score", "predicted_rating"]
    assert all(value.type.tensor_type.shape.dim[1].dim_value == 20 for value in model.graph.output)
    assert [file.name for file in path.parent.iterdir()] == ["model.onnx"]


def test_answers_are_distinct_rentals_best_first_with_ratings_on_the_scale(embedded, market):
    answer = embedded.recommend({"user_id": "u1", "purpose": "party"}, k=20)
    assert len({one.rental_id for one in answer}) == 20
    assert {one.rental_id for one in answer} <= set(market.latest["rental_id"])
    assert [one.score for one in answer] == sorted((one.score for one in answer), reverse=True)
    assert all(1 <= one.predicted_rating <= 5 for one in answer)


def test_k_is_bounded_by_the_model_and_the_catalogue(embedded, model, market, tmp_path):
    assert len(embedded.recommend({}, k=10**9)) == 20
    assert len(embedded.recommend({}, k=3)) == 3
    small = load(export(model, market.latest.head(4), tmp_path / "small.onnx"))
    assert len(small.recommend({}, k=10)) == 4
    for k in (0, -1):
        with pytest.raises(ValueError, match="at least one"):
            embedded.recommend({}, k=k)
        with pytest.raises(ValueError, match="at least one"):
            export(model, market.latest, tmp_path / "none.onnx", k=k)


@pytest.mark.parametrize("user_id", ["", "nobody", "été ☀ 用户", "x" * 10_000, "a\nb\tc", "u\0"])
def test_any_unknown_user_gets_the_answer_of_a_new_user(embedded, user_id):
    features = {"purpose": "work", "user_segment": "tall", "user_age": 30.0}
    assert embedded.recommend({"user_id": user_id, **features}) == embedded.recommend(features)


def test_known_text_matters_unicode_too(embedded):
    answers = [embedded.recommend({"purpose": purpose}) for purpose in ("party", "work", "été ☀", "")]
    assert len({answer[0].score for answer in answers}) == 4


def test_an_unseen_user_is_answered_from_features(embedded, market):
    category = market.latest.set_index("rental_id")["rental_category"]
    for segment, fitting in (
        ("slim", {"gown", "suit"}),
        ("tall", {"coat", "dress"}),
        ("wide", {"skirt", "wrap"}),
    ):
        answer = embedded.recommend({"user_id": "new", "user_segment": segment}, k=10)
        assert sum(category[one.rental_id] in fitting for one in answer) >= 7


def test_an_unseen_rental_is_ranked_by_its_features(model, market, tmp_path):
    best = load(export(model, market.latest, tmp_path / "a.onnx")).recommend({"user_segment": "tall"}, k=1)[0]
    row = market.latest[market.latest["rental_id"] == best.rental_id].assign(rental_id="brand new")
    catalogue = pd.concat([market.latest, row], ignore_index=True)
    answer = load(export(model, catalogue, tmp_path / "b.onnx")).recommend({"user_segment": "tall"}, k=40)
    assert "brand new" in [one.rental_id for one in answer]


def test_missing_and_extreme_numbers_get_finite_answers(embedded):
    for age in (None, np.nan, -1e30, 1e30, np.inf):
        answer = embedded.recommend({"user_age": age})
        assert all(np.isfinite([one.score, one.predicted_rating]).all() for one in answer)


def test_a_batch_gives_each_row_its_own_answer(path, market):
    session = onnxruntime.InferenceSession(str(path))
    one = {"user_id": "u1", "purpose": "work", "user_segment": "tall"}
    rows = [one, {"purpose": "party"}, one]
    ids, scores, _ = session.run(None, inputs_of(session, rows))
    assert ids.shape == scores.shape == (3, 20)
    assert (ids[0] == ids[2]).all()
    assert (ids[0] != ids[1]).any()


def test_misspelt_and_unusable_features_are_named(embedded):
    with pytest.raises(ValueError, match=r"user_agee.*takes.*user_age"):
        embedded.recommend({"user_agee": 3})
    with pytest.raises(ValueError, match="'user_age' must be a number"):
        embedded.recommend({"user_age": "old"})


def test_a_catalogue_of_several_snapshots_is_refused(model, market, tmp_path):
    with pytest.raises(ColumnError, match="one snapshot"):
        export(model, market.catalogues, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_a_corrupt_model_loads_and_answers_nan(path, tmp_path, embedded):
    bad = load(corrupt(path, tmp_path / "bad.onnx"))
    answer = bad.recommend({"user_id": "u1", "user_age": 30.0})
    assert len(answer) == 10
    assert all(np.isnan([one.score, one.predicted_rating]).all() for one in answer)
    assert np.isfinite(embedded.recommend({"user_id": "u1"})[0].score)


def test_the_embedded_model_needs_neither_pytorch_nor_mlflow(path):
    code = f"""
import sys
from models.load import load
assert len(load({str(path)!r}).recommend({{"user_id": "u1"}}, k=5)) == 5
assert not {{"torch", "mlflow", "onnx", "pandas"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_file_that_is_no_model_is_refused_with_the_remedy(tmp_path, path):
    (tmp_path / "cut.onnx").write_bytes(path.read_bytes()[:1000])
    for name in ("cut.onnx", "absent.onnx"):
        with pytest.raises(ModelFileError, match="export it again"):
            load(tmp_path / name)


def test_nothing_is_reported_or_written_to_the_users_home(tmp_path):
    program = "import models.load, onnxruntime; onnxruntime.get_available_providers()"
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    subprocess.run([sys.executable, "-c", program], env=environment | {"HOME": str(tmp_path)}, check=True)
    assert not list(tmp_path.rglob("*"))
