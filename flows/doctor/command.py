"""The command: all checks, a line each."""

import warnings
from collections.abc import Iterator
from pathlib import Path

from dotenv import load_dotenv

from flows import settings_file
from flows.doctor import data, machine, served
from flows.doctor.examination import Ailment, Check, examine


def run(file: str = "") -> bool:
    """Print what every check finds, and return whether all is well.

    Args:
        file: settings that are to hold as well, where the environment does not say otherwise.
    """
    # What libraries say to programmers would stand between the lines.
    warnings.simplefilter("ignore")
    well = True
    for finding in examine(_checks(Path(file) if file else None)):
        print(finding, flush=True)
        well = well and finding.ok
    return well


def _checks(file: Path | None) -> Iterator[Check]:
    if file:
        yield Check("settings file", lambda: _take(file), "correct it")
    yield from machine.checks()
    if any(settings_file.wrong_values()):
        return  # The check of the settings has said so.
    yield from data.checks()
    yield from served.checks()


def _take(file: Path) -> str:
    if not file.is_file():
        raise Ailment(f"there is no {file}")
    if faults := list(settings_file.faults(file)):
        raise Ailment("; ".join(faults))
    load_dotenv(file, override=False)
    return str(file)
