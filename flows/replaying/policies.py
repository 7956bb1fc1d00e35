"""When a policy trains: never, by the calendar, or when the monitoring says so."""

from enum import StrEnum

import pandas as pd

QUARTER_MONTHS = 3


class Policy(StrEnum):
    """Ways to keep a model right; all begin with the same version."""

    NEVER = "never"
    """The first version serves to the end."""

    MONTHLY = "monthly"
    """A new version each month, which serves at once, as a cron job would have it."""

    QUARTERLY = "quarterly"
    """The same each third month."""

    REFRESH = "refresh alone"
    """The first version serves to the end, with a catalogue that is refreshed each week."""

    LOOP = "loop"
    """This project's loop: the catalogue is refreshed each week, monitoring starts the training, gate and
    canary decide."""

    def scheduled(self, month: pd.Timestamp, first: pd.Timestamp) -> bool:
        """Whether the calendar asks for a training at the begin of ``month``; the first is that of all."""
        months = (month.year - first.year) * 12 + month.month - first.month
        every = {Policy.MONTHLY: 1, Policy.QUARTERLY: QUARTER_MONTHS}.get(self)
        return bool(every and months and months % every == 0)
