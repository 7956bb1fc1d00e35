"""Runs checks one by one; whatever one of them meets is its own finding, with no password in it."""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import unquote

from flows.settings import ROOMS

LONGEST_FINDING = 300
"""Letters of a fault that are shown."""

IN_ADDRESS = re.compile(r"//[^/@\s]*?:([^@\s]+)@|[?&\s]password=([^&\s]+)|^password=(\S+)", re.IGNORECASE)
"""Passwords of addresses, and of what libpq takes for one."""

OF_SECRETS = re.compile(r"(PASSWORD|SECRET|TOKEN|KEY)$")
"""Names of variables whose values are secret."""


@dataclass(frozen=True)
class Check:
    """Something that a run needs."""

    name: str
    look: Callable[[], str]
    """Returns what was found, and raises where that will not do."""

    remedy: str
    """What to do then; the errors that our own rooms raise say it themselves."""


class Ailment(RuntimeError):  # noqa: N818 - no error of a program
    """What was found will not do, for which the check has the remedy."""


@dataclass(frozen=True)
class Finding:
    """What became of a check."""

    name: str
    ok: bool
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        """One line, and one more where there is something to do."""
        line = f"{'ok' if self.ok else 'FAILED':8}{self.name:18}{self.found}"
        return f"{line}\n{'':26}-> {self.remedy}" if self.remedy else line


def examine(checks: Iterable[Check]) -> Iterator[Finding]:
    """Run the checks in order, each however the others end."""
    for check in checks:
        try:
            yield Finding(check.name, True, without_secrets(check.look()))
        except Exception as error:
            ours = type(error).__module__.split(".")[0] in ROOMS and not isinstance(error, Ailment)
            said = without_secrets(" ".join(str(error).split()))[:LONGEST_FINDING]
            named = said if ours or isinstance(error, Ailment) else f"{type(error).__name__}: {said}"
            yield Finding(check.name, False, named, "" if ours else check.remedy)


def without_secrets(text: str) -> str:
    """Take out every password and key that this process's variables hold."""
    secrets = set()
    for name, value in os.environ.items():
        if value and OF_SECRETS.search(name):
            secrets.add(value)
        secrets.update(group for match in IN_ADDRESS.finditer(value) for group in match.groups() if group)
    for secret in sorted(secrets | {unquote(secret) for secret in secrets}, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text
