"""A registered version into traffic: `python flows/rollout.py run --version 4`."""

import flows  # noqa: F401  # isort: skip  (first: it configures Metaflow)
from metaflow import FlowSpec, Parameter, card, current, step


class RolloutFlow(FlowSpec):
    """Canary a version beside the champion; promote it or take it back.

    1. start: give it its share step by step, compare it with the champion, decide; the card shows why.
    2. end: say which version serves.
    """

    version = Parameter("version", type=int, required=True, help="registered version to roll out")
    steps = Parameter(
        "steps",
        default="",
        help="shares of traffic in percent, the last one 100; empty: RENTALS_ROLLOUT_STEPS",
    )
    again = Parameter("again", type=bool, default=False, help="try a version that was rolled back before")

    @card(type="blank")
    @step
    def start(self):
        """Roll out."""
        from flows.cards import rollout_card
        from flows.deployment import roll_out
        from flows.parameters import shares

        self.outcome = roll_out(self.version, shares(self.steps) if self.steps else None, self.again)
        current.card.extend(rollout_card(self.outcome))
        self.next(self.end)

    @step
    def end(self):
        """Say which version serves."""
        verdict = "promoted" if self.outcome.promoted else "rolled back"
        print(f"version {self.version} was {verdict}: {'; '.join(self.outcome.reasons)}")


if __name__ == "__main__":
    RolloutFlow()
