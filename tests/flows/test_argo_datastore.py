"""The training flow with its artifacts on S3: by settings alone, resumed, and followed by the rollout."""

import pytest

from flows.settings import CHECKOUT

SMALL = {"RENTALS_TEST_DAYS": "14", "RENTALS_CATALOGUE_WEEKS": "6", "RENTALS_GATE_PARITY_ROWS": "200"}
STEPS = {"start", "fit", "evaluate", "gate", "register", "end"}


@pytest.mark.slow
def test_a_training_on_s3_goes_on_where_it_failed_and_hands_its_verdict_to_the_rollout(
    small_home, s3, bucket, python, tmp_path
):
    settings = {"RENTALS_HOME": str(small_home), "METAFLOW_DEFAULT_DATASTORE": "s3", **SMALL, **s3}
    train, rollout = (str(CHECKOUT / "flows" / f"{flow}.py") for flow in ("train", "rollout"))
    failed = python(train, "run", fails=True, RENTALS_EPOCHS="0", **settings)
    assert "epochs" in failed
    refused = {"RENTALS_EPOCHS": "1", "RENTALS_GATE_LEAST_EVENTS": "1000000"}
    said = python(train, "resume", "--run-id-file", str(tmp_path / "run"), **refused, **settings)
    assert "Cloning" in said and "no new version, the gate refused: the window has" in said

    run = (tmp_path / "run").read_text()
    keys = [one.key.split("/")[2:] for one in bucket.objects.filter(Prefix="metaflow/TrainFlow/")]
    assert {key[1] for key in keys if key[0] == run} == {"_parameters", *STEPS}
    assert any(key[0] == "data" for key in keys), "the artifacts themselves"
    local = small_home / "metaflow" / ".metaflow" / "TrainFlow"
    assert local.is_dir() and not (local / "data").exists(), "no artifact is kept here"

    said = python(rollout, "--trigger", f"TrainFlow/{run}", "run", **settings)
    assert "nothing to roll out: no version was registered" in said
    assert "--version is missing" in python(rollout, "run", fails=True, **settings)
