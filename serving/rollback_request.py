"""A person's wish that a running rollout takes its canary back, left where the rollout looks for it."""

import json
from pathlib import Path

from serving.decision import Decision, Verdict
from serving.files import replace_json
from serving.settings import ServingSettings


def ask(settings: ServingSettings, predictor: str, why: str) -> None:
    """Ask the rollout that runs to take ``predictor`` back."""
    replace_json(_path(settings), {"predictor": predictor, "why": why})


def asked(settings: ServingSettings, predictor: str) -> Decision | None:
    """Return the decision that a person has asked for, None where nobody did, or of another predictor."""
    try:
        wish = json.loads(_path(settings).read_text())
    except FileNotFoundError:
        return None
    return Decision(Verdict.ROLLBACK, [by_hand(wish["why"])], {}) if wish["predictor"] == predictor else None


def withdraw(settings: ServingSettings) -> None:
    """Forget what was asked."""
    _path(settings).unlink(missing_ok=True)


def by_hand(why: str) -> str:
    """Return the reason of a decision that a person has made."""
    return f"by hand: {why}"


def _path(settings: ServingSettings) -> Path:
    return settings.run / "rollback-asked.json"
