"""Runs one model in a process of its own, so that its time and peak memory are its own."""

import logging
import os
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from models.benchmark.contenders import BASELINES, OWN
from models.benchmark.dataset import Dataset
from models.benchmark.figures import ranking_figures, rating_figures

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Read by the numeric libraries when they are loaded, so they are set before the process starts."""


def measure(task: str, name: str, data: Dataset, seed: int, threads: int) -> dict[str, Any]:
    """Fit and test one model.

    Returns:
        ``figures``, ``details``, ``fit_seconds``, ``predict_seconds``, ``peak_megabytes``; or ``failure``,
        the reason in words.
    """
    before = {variable: os.environ.get(variable) for variable in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    try:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            return pool.submit(_measure, task, name, data, seed, threads).result()
    except BrokenProcessPool:
        return {"failure": "its process was ended, most likely for want of memory"}
    except Exception as error:
        return {"failure": f"{type(error).__name__}: {error}"}
    finally:
        for variable, value in before.items():
            os.environ.pop(variable)
            if value is not None:
                os.environ[variable] = value


def _measure(task: str, name: str, data: Dataset, seed: int, threads: int) -> dict[str, Any]:
    logging.basicConfig(format="%(message)s")
    logging.getLogger("models").setLevel(logging.INFO)
    contender = {**OWN[task], **BASELINES[task]}[name]
    start = time.perf_counter()
    fitted = contender(data.blind(), seed, threads)
    fit_seconds = time.perf_counter() - start
    peak = _peak_megabytes()
    start = time.perf_counter()
    if task == "ranking":
        figures = ranking_figures(fitted.result, data)
    else:
        figures = rating_figures(fitted.result, data)
    return {
        "figures": figures,
        "details": fitted.details,
        "fit_seconds": fit_seconds,
        "predict_seconds": time.perf_counter() - start,
        "peak_megabytes": max(peak, _peak_megabytes()),
    }


def _peak_megabytes() -> float:
    # Of this process and of those that it started, such as Spark's Java: each one's highest resident memory.
    own = os.getpid()
    parents = {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
        except OSError:
            continue
        kilobytes = int(fields.get("VmHWM", "0 kB").split()[0])
        parents[int(fields["Pid"])] = (int(fields["PPid"]), kilobytes)

    def below(process: int) -> bool:
        while process in parents and process != own:
            process = parents[process][0]
        return process == own

    return sum(kilobytes for process, (_, kilobytes) in parents.items() if below(process)) / 1024
