"""Matrix factorisation by full or sampled softmax: each of a user's items against the whole catalogue."""

import logging
from dataclasses import dataclass, replace

import numpy as np
import pytorch_lightning as pl
import scipy.sparse as sp
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from models.collaborative.interactions import Interactions
from models.collaborative.ranker import Factors
from models.settings import TrainerSettings
from models.trainer import quiet_trainer

FULL_PAIRS = 200_000_000
"""Most users times items for which each step scores the whole catalogue; more takes the sampled softmax."""

SAMPLED_ITEMS = 4096
"""Items that a step of the sampled softmax scores, on average."""

MOST_STEPS = 50
"""Most steps of an epoch: Adam moves all rows at each step, so more users make larger batches."""

logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)


@dataclass(frozen=True)
class SoftmaxSettings:
    """How the softmax factorisation is trained."""

    dimension: int = 192
    """Length of the vectors."""

    l2: float = 0.1
    """Penalty of the squared length of an event's user vector and item vector, in nats an event."""

    epochs: int = 30
    """Passes over the users."""

    batch_size: int = 256
    """Users a step, when ``MOST_STEPS`` are enough."""

    learning_rate: float = 0.01
    """Peak rate of Adam."""

    warm_up: float = 0.05
    """Share of the steps in which the rate rises; then it falls as a cosine."""


Batch = tuple[Tensor, Tensor, Tensor]
"""Codes of users [users], and of each of their events the row in these [events] and the item [events]."""


class SoftmaxFactorization(pl.LightningModule):
    """Vectors of users and items, from ids and features; the loss of an event is -log softmax."""

    def __init__(
        self,
        events: Interactions,
        settings: SoftmaxSettings,
        user_features: sp.csr_matrix | None = None,
        item_features: sp.csr_matrix | None = None,
    ) -> None:
        """Start with item biases at the log popularity and short random vectors.

        Args:
            events: what is learnt from.
            settings: sizes and rates.
            user_features: float [users, features]; None for ids alone.
            item_features: float [items, features].
        """
        super().__init__()
        self.settings = settings
        self.sampled = events.user_count * events.item_count > FULL_PAIRS
        counts = torch.from_numpy(events.item_counts).float()
        self.item_bias = torch.nn.Parameter(torch.log((counts + 0.5) / (counts.sum() + 0.5 * len(counts))))
        self.users = _Vectors(events.user_count, settings.dimension, user_features)
        self.items = _Vectors(events.item_count, settings.dimension, item_features)
        self.inclusion = _inclusion(counts)
        self.events_a_batch = len(events) * min(1.0, settings.batch_size / events.user_count)

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """Return the loss of the users' events: -log softmax and the L2 of both vectors, in nats an event."""
        users, rows, items = batch
        user = self.users(users)
        if self.sampled:
            loss, penalty = self._sampled(user, rows, items)
        else:
            catalogue = self.items(None)
            logs = torch.log_softmax(user @ catalogue.T + self.item_bias, dim=1)
            loss = -logs[rows, items].sum()
            penalty = self.items.squared_length(catalogue, None)[items].sum()
        penalty = penalty + self.users.squared_length(user, users)[rows].sum()
        return (loss + self.settings.l2 * penalty) / self.events_a_batch

    def _sampled(self, user: Tensor, rows: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        # Each item is drawn by itself; dividing its term by its probability keeps the sum's mean (logQ).
        drawn = torch.rand(len(self.inclusion)) < self.inclusion
        drawn[items[0]] = True
        some = drawn.nonzero()[:, 0]
        logits = user @ self.items(some).T + (self.item_bias - torch.log(self.inclusion))[some]
        total = torch.logsumexp(logits, dim=1)[rows]
        chosen, place = torch.unique(items, return_inverse=True)
        vectors = self.items(chosen)
        own = (user[rows] * vectors[place]).sum(dim=1) + self.item_bias[items]
        total = torch.where(drawn[items], total, torch.logaddexp(total, own))
        return (total - own).sum(), self.items.squared_length(vectors, chosen)[place].sum()

    def configure_optimizers(self) -> dict[str, object]:  # type: ignore[override]
        """Adam with warm-up and cosine decay."""
        optimizer = torch.optim.Adam(self.parameters(), lr=self.settings.learning_rate, fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=self.settings.learning_rate,
            total_steps=int(self.trainer.estimated_stepping_batches) + 1,
            pct_start=self.settings.warm_up,
            cycle_momentum=False,
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class _Vectors(torch.nn.Module):
    """A vector for each row: one of its own plus the weighted vectors of its features."""

    def __init__(self, rows: int, dimension: int, features: sp.csr_matrix | None) -> None:
        super().__init__()
        self.features: sp.csr_matrix | None = features
        self.own = torch.nn.Parameter(torch.randn(rows, dimension) * 0.1 / dimension**0.5)
        if features is not None:
            self.of_features = torch.nn.Parameter(torch.zeros(features.shape[1], dimension))

    def forward(self, codes: Tensor | None) -> Tensor:
        """Return the vectors of these codes, or of all."""
        own = self.own if codes is None else self.own[codes]
        return own if self.features is None else own + self._from_features(self.features, codes)

    def squared_length(self, vectors: Tensor, codes: Tensor | None) -> Tensor:
        """Return the squared length of the own and, where there are features, of the whole vectors."""
        total = vectors.square().sum(dim=1)
        if self.features is None:
            return total
        return total + (self.own if codes is None else self.own[codes]).square().sum(dim=1)

    def whole(self, codes: np.ndarray, own: Tensor, features: sp.csr_matrix | None, rows: int) -> np.ndarray:
        """Return vectors of ``rows`` rows [rows, dimension]: only those of the codes have an own one."""
        with torch.no_grad():
            vectors = torch.zeros(rows, own.shape[1])
            vectors[torch.from_numpy(codes)] = own
            return (vectors if features is None else vectors + self._from_features(features, None)).numpy()

    def _from_features(self, features: sp.csr_matrix, codes: Tensor | None) -> Tensor:
        rows = features if codes is None else features[codes.numpy()]
        coordinates = rows.tocoo()
        places = torch.from_numpy(np.stack([coordinates.row, coordinates.col]).astype(np.int64))
        values = torch.from_numpy(coordinates.data.astype(np.float32))
        return torch.sparse.mm(
            torch.sparse_coo_tensor(places, values, rows.shape, check_invariants=False), self.of_features
        )


def fit_softmax(
    events: Interactions,
    settings: SoftmaxSettings,
    seed: int,
    user_features: sp.csr_matrix | None = None,
    item_features: sp.csr_matrix | None = None,
) -> Factors:
    """Train the factorisation; the same events and seed give the same factors on a CPU."""
    pl.seed_everything(seed, verbose=False)
    # Rows without events would only make the tables larger.
    active = np.flatnonzero(np.diff(events.matrix.indptr))
    known = replace(events, users=np.searchsorted(active, events.users), user_count=len(active))
    model = SoftmaxFactorization(
        known, settings, None if user_features is None else user_features[active], item_features
    )
    matrix = known.matrix
    size = max(settings.batch_size, -(-len(active) // MOST_STEPS))

    def collate(users: list[Tensor]) -> Batch:
        codes = torch.stack(users)
        rows = matrix[codes.numpy()].tocoo()
        return codes, torch.from_numpy(rows.row.astype(np.int64)), torch.from_numpy(rows.col.astype(np.int64))

    loader: DataLoader = DataLoader(torch.arange(len(active)), size, shuffle=True, collate_fn=collate)  # type: ignore[arg-type]
    # Its sparse features are cut in SciPy, which no GPU can do.
    on_cpu = TrainerSettings(accelerator="cpu", devices=1, nodes=1, strategy="auto")
    with quiet_trainer(settings.epochs, on_cpu) as trainer:
        trainer.fit(model, loader)
    counted = np.flatnonzero(events.item_counts)
    return Factors(
        model.users.whole(active, model.users.own, user_features, events.user_count),
        model.items.whole(counted, model.items.own[counted], item_features, events.item_count),
        model.item_bias.detach().numpy(),
    )


def _inclusion(counts: Tensor) -> Tensor:
    # Half of the draws by popularity, half uniform: rare items are negatives too.
    share = 0.5 * counts / counts.sum() + 0.5 / len(counts)
    return torch.clamp(SAMPLED_ITEMS * share, max=1.0)
