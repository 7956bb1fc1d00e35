"""Does the loop pay: `python flows/replay.py run [--data FILE] [--months N]`."""

import flows  # noqa: F401  # isort: skip  (first: it configures Metaflow)
from metaflow import FlowSpec, Parameter, card, current, environment, resources, step

from flows.cluster import pods

ONE_THREAD = {"OMP_NUM_THREADS": "1"}
"""Trainings run side by side: one that took every core would slow the others down more than it gained."""


@pods
class ReplayFlow(FlowSpec):
    """Policies of retraining on the same months, each scored by what people took and gave.

    1. start: the history with its features as of each event, in a lake of the replay's own.
    2. train: a version at each month's begin, side by side; a training is the same whoever asks for it.
    3. compare: never, monthly, quarterly, a refreshed catalogue alone, and the loop; the card shows them.
    4. end: write bench/replay.json and bench/replay.svg, and say what came of it.
    """

    data = Parameter("data", default="", help="path of the source's file; empty for the generator")
    count = Parameter("months", default=24, help="the last whole months of the history")

    @step
    def start(self):
        """Build the stream."""
        from flows.replaying.stream import replay_settings, write_stream

        self.months = write_stream(replay_settings(), self.data, self.count)
        self.begins = list(self.months[:-1])
        self.next(self.train, foreach="begins")

    @environment(vars=ONE_THREAD)
    @resources(cpu=1, memory=8192)
    @step
    def train(self):
        """Train on what was known at the month's begin."""
        from flows.replaying.stream import read_stream, replay_settings
        from flows.replaying.versions import train

        self.version = train(read_stream(replay_settings(), self.months), self.input)
        self.next(self.compare)

    @card(type="blank")
    @resources(cpu=1, memory=8192)
    @step
    def compare(self, inputs):
        """Let each policy serve."""
        from flows.replaying.card import replay_card
        from flows.replaying.replay import replay
        from flows.replaying.result import summary
        from flows.replaying.stream import read_stream, replay_settings

        self.merge_artifacts(inputs, include=["months"])
        settings = replay_settings()
        versions = {task.version.until: task.version for task in inputs}
        policies = replay(read_stream(settings, self.months), versions, settings)
        self.figures = summary(policies)
        current.card.extend(replay_card(self.figures))
        self.next(self.end)

    @step
    def end(self):
        """Say what came of it."""
        from flows.replaying.card import write_figures

        self.conclusion = write_figures(self.figures)
        print(self.conclusion)


if __name__ == "__main__":
    ReplayFlow()
