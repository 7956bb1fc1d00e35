"""Which code runs."""

import shutil
import subprocess
from functools import cache

from flows.settings import CHECKOUT, FlowSettings


@cache
def git_commit() -> str:
    """The commit of the code, marked where files were changed since."""
    if known := FlowSettings().git_commit:
        return known
    if not (CHECKOUT / ".git").exists() or not shutil.which("git"):
        return "not under git"

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=CHECKOUT, capture_output=True, text=True, check=False
        ).stdout.strip()

    return git("rev-parse", "HEAD") + (
        "-dirty" if git("status", "--porcelain", "--untracked-files=no") else ""
    )
