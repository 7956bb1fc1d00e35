"""Training: events and catalogue snapshots in, a fitted recommender out."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pandas as pd
import pytorch_lightning as pl
import torch

from models.catalogues import Catalogues, utc
from models.columns import Columns
from models.data import EventData
from models.encoding import Encoding, numbers
from models.recommender import OTHER_SHAPE, RATING_SCALE, Recommender, ShapeError
from models.settings import Hyperparameters, TrainerSettings
from models.trainer import quiet_trainer

log = logging.getLogger(__name__)
# The Trainer's remarks on hardware and products are not about this training.
logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)


def fit(
    train_events: pd.DataFrame,
    catalogues: pd.DataFrame,
    columns: Columns,
    hyperparameters: Hyperparameters | None = None,
    champion: Recommender | None = None,
    trainer_settings: TrainerSettings | None = None,
) -> Recommender:
    """Train a recommender; the same frames and seed give the same weights on one CPU.

    With a ``champion`` the training goes on from its weights (a warm start): new users, rentals and other
    values get rows in its tables, and it learns for ``warm_epochs`` from the last ``warm_days`` of events.

    Args:
        train_events: one row per rating, with features as of the event.
        catalogues: snapshots of the whole catalogue, with features as of ``snapshot_at``.
        columns: names of the features.
        hyperparameters: None takes the defaults and the environment.
        champion: a recommender of the same columns and sizes, which is left as it is.
        trainer_settings: where to train; None takes a GPU where there is one, or what the environment says.

    Returns:
        The recommender, in evaluation mode, on the CPU.

    Raises:
        ColumnError: a frame lacks columns or rows.
        ShapeError: the champion has other inputs or sizes.
        ValueError: a rating is missing or off the scale 1..5.
    """
    hyperparameters = hyperparameters or Hyperparameters()
    if champion:
        if champion.encoding.columns != columns:
            raise ShapeError(OTHER_SHAPE)
        hyperparameters = hyperparameters.warm()
    columns.check_events(train_events)
    off_scale = ~train_events["rating"].between(*RATING_SCALE)
    if off_scale.any():
        raise ValueError(
            f"{off_scale.sum()} ratings are not within 1..5; map the source's scale when reading it"
        )
    before = catalogues[utc(catalogues["snapshot_at"]) <= utc(train_events["event_timestamp"]).max()]
    snapshots = Catalogues(before, columns)
    pl.seed_everything(hyperparameters.seed, verbose=False)
    known = champion.encoding if champion else None
    encoding = Encoding.fit(train_events, columns, hyperparameters.minimum_user_events, known)
    model = Recommender(
        encoding,
        numbers(train_events, columns.user_numeric),
        numbers(before, columns.rental_numeric),
        float(train_events["rating"].mean()),
        hyperparameters,
    )
    if champion:
        model.continue_from(champion)
        times = utc(train_events["event_timestamp"])
        train_events = train_events[times >= times.max() - pd.Timedelta(days=hyperparameters.warm_days)]
    data = EventData(train_events, snapshots, encoding, hyperparameters)
    log.info("training on %d events, %d snapshots", len(train_events), len(snapshots.times))
    with quiet_trainer(hyperparameters.epochs, trainer_settings) as trainer, _one_thread():
        trainer.fit(model, data)
    # The trainer holds the events: without it they can be freed while the model lives on.
    model.trainer = None
    return model.cpu().eval()


@contextmanager
def _one_thread() -> Iterator[None]:
    # The matrices are small: a second thread saves a sixth on an idle machine, costs tenfold on a busy one,
    # and makes the sums, and so the weights, depend on the number of cores.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
