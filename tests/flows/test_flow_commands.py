import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "word"), [(signal.SIGTERM, "ended by SIGTERM"), (signal.SIGINT, "the same command goes on")]
)
def test_a_command_that_is_ended_amid_a_flow_leaves_no_process(tmp_path, number, word):
    environment = {"PATH": "/usr/bin:/bin", "RENTALS_HOME": str(tmp_path / "home")}
    with (tmp_path / "said").open("wb") as said:
        command = psutil.Popen(
            [sys.executable, "-m", "flows", "run", "features"],
            cwd=CHECKOUT,
            env=environment,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    family: list[psutil.Process] = []
    while not any(one.name() == "java" for one in family):
        assert command.poll() is None, (tmp_path / "said").read_text()
        time.sleep(0.05)
        family = command.children(recursive=True)
    os.kill(command.pid, number)
    assert command.wait(60) != 0
    _, left = psutil.wait_procs(family, 20)
    for one in left:
        one.kill()
    assert not left
    assert word in (tmp_path / "said").read_text()
