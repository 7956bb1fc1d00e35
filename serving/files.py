"""Files that another process reads while they change."""

import json
import os
from pathlib import Path
from typing import Any


def replace_text(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file under a temporary name, then rename it: a reader sees the old text or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(text)
    temporary.replace(path)


def replace_json(path: Path, document: Any, mode: int = 0o644) -> None:
    """Write a document as JSON, in the manner of ``replace_text``."""
    replace_text(path, json.dumps(document, indent=2), mode)
