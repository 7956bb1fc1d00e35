import subprocess
import sys

from flows.settings import CHECKOUT


def asked(command: str, home, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flows", command],
        cwd=CHECKOUT,
        env={"PATH": "", "RENTALS_HOME": str(home)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_all_values_that_no_setting_takes_are_named_before_anything_is_done(tmp_path):
    ended = asked(
        "retraining", tmp_path / "home", RENTALS_RETRAIN_PATIENCE="abc", RENTALS_GATE_PARITY_ROWS="x"
    )
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert "RENTALS_RETRAIN_PATIENCE: input should be a valid integer" in line
    assert "RENTALS_GATE_PARITY_ROWS" in line
    assert not (tmp_path / "home" / "retrainings.db").exists()
