"""The recommender: ranks a catalogue for a user and predicts ratings, by matrix products."""

import logging

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor

from models.catalogues import ABSENT
from models.data import Batch
from models.encoding import UNKNOWN, Encoding
from models.settings import Hyperparameters
from models.towers import RentalSide, RentalVectors, UserSide, UserVectors

log = logging.getLogger(__name__)

OTHER_SHAPE = "the champion has other inputs or sizes than what is to be trained: train without it"

RATING_SCALE = (1.0, 5.0)
"""Predicted ratings are cut to the scale of the ratings."""


class ShapeError(ValueError):
    """Weights do not fit a network; the message names the remedy."""


class Recommender(pl.LightningModule):
    """Two towers for ranking (full softmax) and two for ratings; ids are masked at random in training."""

    def __init__(
        self,
        encoding: Encoding,
        user_numbers: np.ndarray,
        rental_numbers: np.ndarray,
        mean_rating: float,
        hyperparameters: Hyperparameters,
    ) -> None:
        """Build the network.

        Args:
            encoding: vocabularies of both sides.
            user_numbers: raw training numbers [rows, user_numeric], from which bins are learnt.
            rental_numbers: raw training numbers [rows, rental_numeric].
            mean_rating: where predicted ratings start, 1..5.
            hyperparameters: sizes, rates and seed.
        """
        super().__init__()
        self.encoding, self.hyperparameters = encoding, hyperparameters
        lifted = [encoding.user.strings.index(lift.context) for lift in encoding.rental.lifts]
        self.user_side = UserSide(encoding.user, user_numbers, lifted, hyperparameters)
        self.rental_side = RentalSide(encoding.rental, rental_numbers, hyperparameters)
        self.mean_rating = torch.nn.Parameter(torch.tensor(float(mean_rating)))
        self._epoch_sums: list[Tensor] = []

    @torch.no_grad()
    def continue_from(self, champion: "Recommender") -> None:
        """Take over the weights of ``champion``; what only this model knows keeps its initial ones.

        Raises:
            ShapeError: the champion has other inputs or sizes.
        """
        before, own = champion.state_dict(), self.state_dict()
        tables = {
            f"{name}.weight"
            for name, module in self.named_modules()
            if isinstance(module, torch.nn.Embedding)
        }
        for name, tensor in own.items():
            old = before.get(name)
            # Only tables grow, and at their ends.
            grows = name in tables and old is not None and len(old) <= len(tensor)
            if old is None or (old.shape[1:] if grows else old.shape) != tensor.shape[grows:]:
                raise ShapeError(OTHER_SHAPE)
            (tensor[: len(old)] if grows else tensor).copy_(old)

    @staticmethod
    def scores(user: UserVectors, rentals: RentalVectors) -> Tensor:
        """Return ranking scores [users, rentals]; higher is better, only differences mean something."""
        return user.ranking @ rentals.ranking.T + rentals.ranking_bias

    def ratings(self, user: UserVectors, rentals: RentalVectors) -> Tensor:
        """Return predicted ratings [users, rentals], cut to 1..5."""
        terms = self.mean_rating + user.rating_bias.unsqueeze(1) + rentals.rating_bias
        return torch.clamp(terms + user.rating @ rentals.rating.T, *RATING_SCALE)

    def paired_ratings(self, user: UserVectors, rentals: RentalVectors) -> Tensor:
        """Return the uncut rating of each user for the rental in the same row [rows]."""
        terms = self.mean_rating + user.rating_bias + rentals.rating_bias
        return terms + (user.rating * rentals.rating).sum(dim=1)

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """Return full-softmax cross-entropy (nats) plus squared rating error, summed over the events.

        The divisor is the same for every batch, so that each event weighs the same: months of few events have
        smaller batches.
        """
        ranking, rating = self._ranking_loss(batch), self._rating_loss(batch)
        ranked, rated = (batch.target != ABSENT).sum(), torch.full_like(batch.target[0], len(batch.rating))
        # Numbers are read at the epoch's end: reading them now would stop a GPU at every step.
        self._epoch_sums.append(torch.stack([ranking.detach(), ranked, rating.detach(), rated]))
        return (ranking + rating) / self.hyperparameters.batch_size

    def _ranking_loss(self, batch: Batch) -> Tensor:
        # The catalogue's ids are not hidden: nearly all are known, and a ranking without them ranks worse.
        codes = self._mask_ids(batch.user_codes)
        user = self.user_side.rank(codes, batch.user_numbers, batch.user_recent)
        rentals, bias = self.rental_side.rank(
            batch.catalogue_codes, batch.catalogue_numbers, batch.catalogue_lifts
        )
        return F.cross_entropy(user @ rentals.T + bias, batch.target, ignore_index=ABSENT, reduction="sum")

    def _rating_loss(self, batch: Batch) -> Tensor:
        """Squared error of each member by itself, in the mean, so that each learns to predict alone."""
        user = self.user_side.rating_by_member(self._mask_ids(batch.user_codes), batch.user_numbers)
        rental = self.rental_side.rating_by_member(self._mask_ids(batch.rental_codes), batch.rental_numbers)
        predicted = self.mean_rating + user[..., -1] + rental[..., -1]
        predicted = predicted + (user[..., :-1] * rental[..., :-1]).sum(dim=2)
        return F.mse_loss(predicted, batch.rating.expand_as(predicted), reduction="sum") / len(predicted)

    def on_train_epoch_end(self) -> None:
        """Log the epoch's mean losses, one line."""
        ranking, ranked, rating, rated = torch.stack(self._epoch_sums).double().sum(dim=0).tolist()
        epochs = self.hyperparameters.epochs
        log.info(
            "epoch %d/%d: ranking loss %.4f, rating loss %.4f",
            self.current_epoch + 1,
            epochs,
            ranking / max(ranked, 1),
            rating / rated,
        )
        self._epoch_sums.clear()

    def configure_optimizers(self) -> dict[str, object]:  # type: ignore[override]
        """AdamW with a linear decay to zero; each half has its own rate and weight decay."""
        h = self.hyperparameters
        vectors: list[torch.nn.Parameter] = []
        scalars: list[torch.nn.Parameter] = []
        rating: list[torch.nn.Parameter] = []
        for name, parameter in self.named_parameters():
            if "popularity" in name:
                scalars.append(parameter)
            else:
                (vectors if "ranking" in name else rating).append(parameter)
        optimizer = torch.optim.AdamW(
            [
                {"params": vectors, "lr": h.ranking_learning_rate, "weight_decay": h.ranking_weight_decay},
                {"params": scalars, "lr": h.ranking_learning_rate, "weight_decay": 0.0},
                {"params": rating, "lr": h.rating_learning_rate, "weight_decay": h.rating_weight_decay},
            ]
        )
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(0.0, 1 - step / steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _mask_ids(self, codes: Tensor) -> Tensor:
        hidden = torch.rand(len(codes), device=codes.device) < self.hyperparameters.id_masking
        ids = codes[:, :1].masked_fill(hidden.unsqueeze(1), UNKNOWN)
        return torch.cat([ids, codes[:, 1:]], dim=1)
