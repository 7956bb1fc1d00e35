"""The whole path on the generator: real Spark, Feast, Metaflow, MLflow, Triton and Envoy, in one run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from serving.processes import find_marked

pytestmark = pytest.mark.slow


def command(home, *arguments, check=True, **settings):
    """Run a program of the project in a home of its own, with a wrong JAVA_HOME."""
    # Metaflow's settings of this process point to another home.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("METAFLOW_")}
    environment = inherited | {"RENTALS_HOME": str(home), "JAVA_HOME": "/nowhere"} | settings
    answer = subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0 or not check, answer.stdout[-5000:] + answer.stderr[-5000:]
    return answer


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """The demo's home and what it printed; everything is stopped afterwards."""
    home = tmp_path_factory.mktemp("demo") / "a home"
    try:
        yield home, command(home, "-m", "flows", "demo").stdout
    finally:
        command(home, "-m", "serving", "down")
    assert not find_marked(home), "a process is left behind"


@pytest.fixture(scope="module")
def figures(played):
    return json.loads((played[0] / "demo.json").read_text())


def test_every_row_is_in_the_lake_or_in_quarantine(figures):
    from feature_repo.readers import generator

    source = generator.read()
    assert figures["data"]["ratings"] + figures["data"]["quarantined"] == len(source.ratings)
    assert figures["data"]["quarantined"] > 0


def test_the_model_beats_its_baselines_and_survives_the_export(figures):
    model = figures["model"]
    assert model["rmse"] < model["baselines"]["bias_rmse"] < model["baselines"]["global_mean_rmse"]
    assert model["ndcg_at_10"] > model["baselines"]["popularity_ndcg_at_10"]
    assert 0 < model["onnx_max_abs_diff"] < 1e-5


def test_ten_rentals_are_recommended_with_their_ratings(figures):
    found = figures["recommendation"]
    assert len({rental["rental_id"] for rental in found["rentals"]}) == 10
    assert all(1 <= rental["predicted_rating"] <= 5 for rental in found["rentals"])
    assert all(rental["category"] for rental in found["rentals"])
    assert found["features"]["user_rentals_all"] > 5, "the user's features came from the online store"


def test_all_users_are_precomputed_as_a_request_would_be_answered(played):
    from feature_repo import history, lake
    from feature_repo.settings import FeatureSettings
    from feature_repo.store import OnlineFeatures
    from models.load import EmbeddedModel
    from models.recommendation_table import RecommendationTable
    from models.registry import Registry
    from models.settings import ModelSettings
    from serving.answers import model_inputs

    home, _ = played
    said = command(home, "flows/precompute.py", "run").stdout
    champion = Registry(ModelSettings(home=home)).champion()
    assert f"by version {champion.version} are in sqlite:" in said
    features = FeatureSettings(home=home)
    at, table = history.as_of(features), RecommendationTable(ModelSettings(home=home).recommendations)
    users = lake.read(features.lake, "users", at)["user_id"]
    online, embedded = OnlineFeatures(features), EmbeddedModel(champion.path)
    for user in users.sample(20, random_state=0):
        wanted = embedded.recommend(model_inputs(user, None, None, online.user(user, at=at)), k=20)
        found = table.of_user(user)
        assert list(found["rental_id"]) == [one.rental_id for one in wanted]
        assert list(found["prediction"]) == pytest.approx([one.predicted_rating for one in wanted], abs=1e-5)
    again = command(home, "flows/precompute.py", "run").stdout
    assert ": 0 of " in again, "what is there already is not written anew"


def test_the_drift_that_was_put_in_is_found_and_starts_the_training(figures):
    drift = figures["drift"]
    assert {"purpose", "category"} <= set(drift["features"])
    assert not {"age", "segment", "rating", "area"} & set(drift["features"])
    assert figures["canary"]["promoted_version"] == figures["model"]["version"] + 1


def test_the_canary_got_its_share_and_nobody_was_failed(figures):
    canary = figures["canary"]
    assert canary["measured_share"] == pytest.approx(canary["requested_share"], abs=0.03)
    assert canary["requests"] > 1000
    assert (canary["failed_requests"], canary["failures"]) == (0, [])
    assert canary["retried_while_good"] == 0, "changing weights cost no user a second try"
    assert canary["retried_while_damaged"] > 0


def test_the_damaged_version_is_rolled_back_and_the_promoted_one_serves(figures):
    canary = figures["canary"]
    assert canary["rolled_back_version"] == canary["promoted_version"] + 1
    with httpx.Client(base_url=figures["urls"]["recommendations API"], trust_env=False) as api:
        user = figures["recommendation"]["user_id"]
        answers = [api.get(f"/users/{user}/recommendations").json() for _ in range(5)]
        stranger = api.get("/users/nobody-knows-them/recommendations").json()
    assert {answer["model_version"] for answer in answers} == {str(canary["promoted_version"])}
    assert stranger["cold_start"]
    assert len(stranger["items"]) == 10


def test_everything_listens_on_this_machine_only(figures, played):
    addresses = [
        connection.laddr.ip.removeprefix("::ffff:")
        for process in find_marked(played[0])
        for connection in psutil.Process(process).net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(addresses) >= 6
    assert set(addresses) == {"127.0.0.1"}


def test_everything_is_written_below_the_home(figures, played):
    home = played[0]
    assert (home / "metaflow" / ".metaflow" / "TrainFlow").is_dir()
    assert (home / "metaflow" / "cache").is_dir()


def test_the_registry_knows_the_champion_and_where_it_comes_from(figures, played):
    from models.registry import Registry
    from models.settings import ModelSettings

    champion = Registry(ModelSettings(home=played[0])).champion()
    assert champion.version == figures["canary"]["promoted_version"]
    assert champion.lineage["reason"].startswith("drift in ")
    assert len(champion.lineage["dataset_hash"]) == 64
    for name in (
        "dataset",
        "feature_service",
        "git_commit",
        "metaflow_run",
        "trained_until",
        "onnx_max_abs_diff",
    ):
        assert champion.lineage[name]


def test_people_get_a_summary_and_cards_with_plots(figures, played):
    printed = played[1]
    for words in ("Ten rentals for user", "NDCG@10", "measured at Envoy", "make down", "failed: 0"):
        assert words in printed
    for name in ("training card", "drift card", "rollout card"):
        page = Path(figures["urls"][name]).read_text()
        assert len(page) > 10_000
    assert "vega" in Path(figures["urls"]["training card"]).read_text().lower()
    assert {stage["name"].split()[0] for stage in figures["stages"]} >= {
        "ingest",
        "train,",
        "serve",
        "canary:",
    }


def test_what_was_stopped_is_served_again_without_training(figures, played):
    home, _ = played
    command(home, "-m", "serving", "down")
    assert not find_marked(home)
    printed = command(home, "-m", "flows", "up").stdout
    assert f"version {figures['canary']['promoted_version']} answers at" in printed
    with httpx.Client(base_url=printed.split()[4].strip(","), trust_env=False) as api:
        answer = api.get(f"/users/{figures['recommendation']['user_id']}/recommendations").json()
    assert (answer["cold_start"], answer["degraded"]) == (False, [])


def test_training_on_stale_features_is_refused(figures, played):
    answer = command(played[0], "-m", "flows", "run", "train", "until=2023-12-01", check=False)
    assert answer.returncode == 1
    assert "error: flows/train.py failed: the features end at 2023-07-01" in answer.stderr


def test_a_refused_model_is_a_normal_end_and_no_version(figures, played):
    from models.registry import Registry
    from models.registry_errors import RegistryError
    from models.settings import ModelSettings

    answer = command(played[0], "-m", "flows", "run", "train", RENTALS_GATE_LEAST_EVENTS="1000000")
    last = answer.stdout.strip().splitlines()[-1]
    assert "no new version, the gate refused: the window has" in last and "1,000,000 are needed" in last
    registry = Registry(ModelSettings(home=played[0]))
    assert registry.champion().version == figures["canary"]["promoted_version"]
    assert registry.alias("challenger") is None
    with pytest.raises(RegistryError, match="no version"):
        registry.get(figures["canary"]["rolled_back_version"] + 1)


def test_every_version_says_who_let_it_through(figures, played):
    from models.registry import Registry
    from models.settings import ModelSettings

    registry = Registry(ModelSettings(home=played[0]))
    canary = figures["canary"]
    approved = registry.card(canary["promoted_version"]).approvals
    assert [one.by for one in approved] == ["the gate of the training flow", "the rollout"]
    damaged = registry.card(canary["rolled_back_version"])
    assert not damaged.gate.passed and "around the gate" in damaged.approvals[0].by
    assert f"version {canary['promoted_version']}" in Path(figures["urls"]["model card"]).read_text()


def test_a_missing_file_is_told_before_anything_happens(tmp_path):
    answer = command(tmp_path / "home", "-m", "flows", "demo", "--data", "nowhere.json.gz", check=False)
    assert answer.returncode == 1
    assert "error: data file nowhere.json.gz does not exist: give DATA=" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_serving_without_a_champion_says_what_to_do(tmp_path):
    answer = command(tmp_path / "home", "-m", "flows", "up", check=False)
    assert answer.returncode == 1
    assert "error: there is no champion model yet; train one" in answer.stderr


def test_a_failed_flow_resumes_without_repeating_what_was_finished(tmp_path):
    """Spark cannot start at first; resumed, the flow goes on where it stopped."""
    home = tmp_path / "home"
    flow = str(Path(__file__).resolve().parents[2] / "flows" / "features.py")
    failed = command(home, flow, "run", "--until", "2021-06-01", check=False, RENTALS_SPARK_MASTER="local[x]")
    assert failed.returncode != 0
    assert "landed" in failed.stdout + failed.stderr
    resumed = command(home, flow, "resume")
    resumed = resumed.stdout + resumed.stderr
    assert "Cloning" in resumed
    assert "features are online as of 2021-06-01" in resumed
    half_written = [path.name for path in (home / "lake").glob(".*") if path.suffix != ".lock"]
    assert not half_written
