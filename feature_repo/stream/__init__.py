"""The stream engine: ratings become features and rows of the lake as they arrive, each exactly once.

Spark Structured Streaming brings the events in micro-batches (``source``); ``engine`` validates, folds and
publishes each of them in one transaction of ``database``; ``landing`` brings them into the lake.
"""


class StreamError(RuntimeError):
    """The stream cannot run or go on; the message names the remedy."""
