import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

import models
from models.inference import ModelFileError
from models.load import EmbeddedModel, load


@pytest.fixture(scope="module")
def embedded(exported) -> EmbeddedModel:
    return load(exported)


def test_the_package_itself_loads_files_and_folders(exported):
    from models import load as of_the_package

    assert of_the_package is models.load is load
    assert load(exported).recommend("u1") == load(exported / "model.onnx").recommend({"user_id": "u1"})


def test_answers_are_distinct_rentals_best_first_with_ratings_on_the_scale(embedded, market):
    answer = embedded.recommend({"user_id": "u1", "purpose": "party"}, k=20)
    assert len({one.rental_id for one in answer}) == 20
    assert {one.rental_id for one in answer} <= set(market.latest["rental_id"])
    assert [one.score for one in answer] == sorted((one.score for one in answer), reverse=True)
    assert all(1 <= one.predicted_rating <= 5 for one in answer)


def test_k_is_bounded_by_the_catalogue(embedded, market):
    assert len(embedded.recommend({}, k=10**9)) == len(market.latest) > 20
    assert len(embedded.recommend({}, k=3)) == 3
    for k in (0, -1):
        with pytest.raises(ValueError, match="at least one"):
            embedded.recommend({}, k=k)


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


def test_missing_and_extreme_numbers_get_finite_answers(embedded):
    for age in (None, np.nan, -1e30, 1e30, np.inf):
        answer = embedded.recommend({"user_age": age})
        assert all(np.isfinite([one.score, one.predicted_rating]).all() for one in answer)


def test_misspelt_and_unusable_features_are_named(embedded):
    with pytest.raises(ValueError, match=r"user_agee.*takes.*user_age"):
        embedded.recommend({"user_agee": 3})
    with pytest.raises(ValueError, match="'user_age' must be a number"):
        embedded.recommend({"user_age": "old"})


ALONE = """
import sys

class Nothing:
    def find_spec(self, name, path=None, target=None):
        root = name.partition(".")[0]
        if root not in {"models", "numpy", "onnxruntime"} | set(sys.stdlib_module_names) | SITE:
            raise ImportError(f"{name} is not there")

SITE = {"sitecustomize", "usercustomize", "_distutils_hack", "_virtualenv"}
sys.meta_path.insert(0, Nothing())
for absent in ("torch", "pandas", "pyspark", "feast", "mlflow", "onnx", "pydantic", "sqlalchemy"):
    try:
        __import__(absent)
    except ImportError:
        continue
    raise SystemExit(f"{absent} is there")
from models import load
model = load(sys.argv[1])
best = model.recommend("u1", 5, exclude=["r1"], category="gown")
assert len(best) == 5, best
assert abs(model.predict("u1", [best[0].rental_id])[0] - best[0].predicted_rating) < 1e-5
print(*(one.rental_id for one in best))
"""
"""A program of a process in which only numpy and ONNX Runtime can be imported."""


def test_the_embedded_model_needs_numpy_and_onnx_runtime_alone(embedded, exported):
    alone = subprocess.run(
        [sys.executable, "-c", ALONE, str(exported)], capture_output=True, text=True, timeout=60, check=False
    )
    assert alone.returncode == 0, alone.stderr
    here = embedded.recommend("u1", 5, exclude=["r1"], category="gown")
    assert alone.stdout.split() == [one.rental_id for one in here]


def test_filters_are_lists_or_single_texts_and_none_filters_nothing(embedded, market):
    category = market.latest.set_index("rental_id")["rental_category"]
    gowns = embedded.recommend("u1", 80, category="gown")
    assert gowns and {category[one.rental_id] for one in gowns} == {"gown"}
    both = embedded.recommend("u1", 80, category=["gown", "suit"])
    assert {category[one.rental_id] for one in both} == {"gown", "suit"}
    best = embedded.recommend("u1", 3)
    assert embedded.recommend("u1", 3, exclude=(), only=[], category=None) == best
    assert best[0].rental_id not in {
        one.rental_id for one in embedded.recommend("u1", exclude=best[0].rental_id)
    }
    chosen = ["r5", "r6", "r7"]
    assert {one.rental_id for one in embedded.recommend("u1", only=(one for one in chosen))} == set(chosen)
    with pytest.raises(ValueError, match=r"colour.*takes.*category"):
        embedded.recommend("u1", colour="red")


def test_predictions_are_the_ratings_of_the_recommendations(embedded):
    user = {"user_id": "u1", "purpose": "work", "user_age": 30.0}
    best = embedded.recommend(user, 80)
    found = embedded.predict(user, [one.rental_id for one in best])
    np.testing.assert_allclose(found, [one.predicted_rating for one in best], atol=1e-5)
    assert embedded.predict(user, "r1") == pytest.approx(embedded.predict(user, ["r2", "r1"])[1:])
    assert embedded.predict(user, []) == []


def test_a_rental_that_nobody_knows_is_predicted_as_any_other_such(embedded):
    one, other, known = embedded.predict("u1", ["nowhere", "", "r1"])
    assert one == other != known
    assert 1 <= one <= 5


def test_a_model_without_its_graph_of_pairs_recommends_and_says_what_is_missing(exported, tmp_path):
    shutil.copy(exported / "model.onnx", tmp_path)
    alone = load(tmp_path)
    assert alone.recommend("u1")
    with pytest.raises(ModelFileError, match=r"pairs\.onnx.*export it again"):
        alone.predict("u1", ["r1"])


def test_a_file_that_is_no_model_is_refused_with_the_remedy(tmp_path, exported):
    (tmp_path / "cut.onnx").write_bytes((exported / "model.onnx").read_bytes()[:1000])
    for name in ("cut.onnx", "absent.onnx"):
        with pytest.raises(ModelFileError, match="export it again"):
            load(tmp_path / name)


def test_nothing_is_reported_or_written_to_the_users_home(tmp_path):
    program = "import models.load, onnxruntime; onnxruntime.get_available_providers()"
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    subprocess.run([sys.executable, "-c", program], env=environment | {"HOME": str(tmp_path)}, check=True)
    assert not list(tmp_path.rglob("*"))
