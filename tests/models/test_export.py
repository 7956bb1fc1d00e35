import numpy as np
import onnx
import pandas as pd
import pytest

from models.columns import ColumnError
from models.export import export, export_pairs
from models.inference import inputs_of, open_session
from models.load import load
from models.sabotage import corrupt


def inputs_by_name(path):
    """Type, rows and width of each input, and the names of the optional ones."""
    graph = onnx.load(path, load_external_data=False).graph
    optional = {tensor.name for tensor in graph.initializer}
    kinds = {value.name: value.type.tensor_type for value in graph.input}
    return {
        name: (kind.elem_type, kind.shape.dim[0].dim_param, kind.shape.dim[1].dim_value)
        for name, kind in kinds.items()
        if name not in optional
    }, set(kinds) & optional


def test_the_files_stand_alone_and_a_free_batch_has_named_inputs(exported, columns):
    text, number = onnx.TensorProto.STRING, onnx.TensorProto.FLOAT
    expected = dict.fromkeys(columns.user_strings, (text, "batch", 1))
    expected |= dict.fromkeys(columns.user_numeric, (number, "batch", 1))
    filters = {"exclude", "only", "category", "price_from", "price_to", "k"}
    assert inputs_by_name(exported / "model.onnx") == (expected, filters)
    assert inputs_by_name(exported / "model.fp16.onnx") == (expected, filters)
    assert inputs_by_name(exported / "pairs.onnx") == (expected | {"rental_id": (text, "batch", 0)}, set())
    graph = onnx.load(exported / "model.onnx").graph
    told = ["rental_id", "score", "predicted_rating", "reason_subject", "reason", "reason_factor"]
    assert [value.name for value in graph.output] == told
    assert {file.name for file in exported.iterdir()} == {"model.onnx", "pairs.onnx", "model.fp16.onnx"}


def test_who_gives_no_option_gets_k_rentals(exported):
    session = open_session(exported / "model.onnx")
    answer = session.run(None, inputs_of(session, [{"user_id": "u1"}, {}]))
    assert [output.shape[:2] for output in answer[:3]] == [(2, 20)] * 3
    assert [output.shape for output in answer[4:]] == [(2, 20, 3)] * 2


@pytest.mark.parametrize("k", [0, -1])
def test_an_answer_of_no_rental_is_not_exported(model, market, tmp_path, k):
    with pytest.raises(ValueError, match="at least one"):
        export(model, market.latest, tmp_path / "none.onnx", k=k)
    assert not list(tmp_path.iterdir())


def test_an_unseen_rental_is_ranked_by_its_features(model, market, tmp_path):
    best = load(export(model, market.latest, tmp_path / "a.onnx")).recommend({"user_segment": "tall"}, k=1)[0]
    row = market.latest[market.latest["rental_id"] == best.rental_id].assign(rental_id="brand new")
    catalogue = pd.concat([market.latest, row], ignore_index=True)
    answer = load(export(model, catalogue, tmp_path / "b.onnx")).recommend({"user_segment": "tall"}, k=40)
    assert "brand new" in [one.rental_id for one in answer]


def test_a_batch_gives_each_row_its_own_answer(exported):
    session = open_session(exported / "model.onnx")
    one = {"user_id": "u1", "purpose": "work", "user_segment": "tall"}
    rows = [one, {"purpose": "party"}, one]
    ids, scores = session.run(["rental_id", "score"], inputs_of(session, rows))
    assert ids.shape == scores.shape == (3, 20)
    assert (ids[0] == ids[2]).all()
    assert (ids[0] != ids[1]).any()


def test_pairs_are_rated_row_by_row_and_many_at_once(exported, market):
    session = open_session(exported / "pairs.onnx")
    users = [{"user_id": "u1", "purpose": "work"}, {"user_segment": "tall"}]
    table = session.run(None, inputs_of(session, [{**user, "rental_id": ["r1", "r2"]} for user in users]))
    rows = [{**user, "rental_id": rental} for user in users for rental in ("r1", "r2")]
    single = session.run(None, inputs_of(session, rows))
    for many, one in zip(table, single, strict=True):
        np.testing.assert_allclose(many.ravel(), one.ravel(), atol=1e-6)
    assert len(np.unique(table[0])) == 4


def test_an_unknown_rental_is_rated_as_one_without_id_and_features(exported, model, market):
    from models.data import tensors

    nothing = market.latest.head(1).assign(
        rental_id=None, rental_category=None, rental_price=np.nan, rental_rentals_90d=np.nan,
        rental_rating_mean_all=np.nan,
    )  # fmt: skip
    users = market.test.head(5)
    user = model.user_side(*tensors(model.encoding.user.encode(users)))
    expected = model.ratings(user, model.rental_side(*tensors(model.encoding.rental.encode(nothing))))
    session = open_session(exported / "pairs.onnx")
    rows = users[[*model.encoding.user.strings, *model.encoding.user.numeric]].assign(rental_id="nowhere")
    found, scores = session.run(
        ["predicted_rating", "score"],
        inputs_of(session, rows.astype(object).where(rows.notna(), None).to_dict("records")),
    )
    np.testing.assert_allclose(found, expected.detach().numpy(), atol=1e-5)
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("write", [export, export_pairs])
def test_a_catalogue_that_cannot_be_served_is_refused(model, market, tmp_path, write):
    for catalogue in (
        market.catalogues,
        market.latest.assign(rental_id="r1"),
        market.latest.assign(rental_id=""),
    ):
        with pytest.raises(ColumnError, match="one snapshot"):
            write(model, catalogue, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_a_corrupt_model_loads_and_answers_nan(exported, tmp_path):
    bad = load(corrupt(exported / "model.onnx", tmp_path / "bad.onnx"))
    answer = bad.recommend({"user_id": "u1", "user_age": 30.0})
    assert len(answer) == 10
    assert all(np.isnan([one.score, one.predicted_rating]).all() for one in answer)
