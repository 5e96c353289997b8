"""The prior as a retriever: items whose pictures are like those that it samples for a user."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np
import torch
from pydantic import Field

from recsys.core.errors import RankerError
from recsys.core.fingerprint import fingerprint
from recsys.core.protocols import Validator
from recsys.core.runtime import Run
from recsys.core.values import FitLog, Interactions, ItemFeatures, Query
from recsys.profiles.space import unit_rows
from recsys.rankers.content import chosen_features
from recsys.rankers.training import TrainingSettings, fit_module
from recsys.visuals.flow import FlowSettings
from recsys.visuals.likes import Likes, user_vectors
from recsys.visuals.prior import Prior, PriorConditions, PriorSettings, prior_loss, sampled
from recsys.visuals.taste import TasteSpace

AT_ONCE = 64  # users whose samples are matched at a time
PRIOR, SPACE = "prior.", "space."  # of keys of the state
NOTHING = 1  # numbers that stand for texts where there are none to read


class VisualPrior:
    """``score(u, i) = T log mean_s exp(cos(picture of i, sample s for u) / T)``: a kernel density at its picture.

    Samples are a prior's (``recsys.visuals.prior``), learned on train; cosines are around the catalogue's mean picture.
    An item without a picture is as near as an average one: cosine 0. Its users are what their history's pictures and
    texts have in common, so that anybody is folded in.
    """

    uses_features = True

    class Settings(TrainingSettings):
        epochs: int = Field(60, ge=1, description="Passes over ``examples`` interactions at most.")
        batch_size: int = Field(256, ge=1, description="Interactions a step.")
        learning_rate: float = Field(1e-3, gt=0, description="Step size of Adam.")
        eval_every: int = Field(5, ge=1, description="Epochs between validations.")
        patience: int = Field(3, ge=1, description="Validations without a new best before training stops.")
        examples: int = Field(16384, ge=1, description="Interactions an epoch at most, drawn anew for each.")
        texts: bool = Field(True, description="Know users by the texts of their items besides the pictures.")
        taste: int = Field(64, ge=1, description="Principal components that users are told by, of each modality.")
        known: int = Field(24, ge=1, description="Items that a user is known by in one example, drawn anew each time.")
        components: int = Field(64, ge=1, description="Principal components of pictures that are sampled.")
        width: int = Field(128, ge=8, description="Numbers that pass through the layers.")
        depth: int = Field(3, ge=1, description="Residual layers.")
        drop: float = Field(0.1, ge=0, lt=1, description="How often the user is left out, for guidance.")
        samples: int = Field(16, ge=1, description="Pictures that are sampled for a user.")
        steps: int = Field(8, ge=1, description="Steps from noise to a picture.")
        guidance: float = Field(3.0, ge=0, description="Strength of the user: 1 as learned, 0 none.")
        temperature: float = Field(0.1, gt=0, description="T: small, the nearest sample counts; large, their mean.")
        match: Literal["whitened", "cosine"] = Field(
            "whitened", description="Cosine in which all principal components count alike, or one of pictures."
        )

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def fit(self, train: Interactions, features: ItemFeatures, *, valid: Validator | None = None, run: Run) -> FitLog:
        """Learn the prior by interactions with items that have a picture.

        Raises:
            RankerError: there are no pictures' vectors, or train has no interaction with such an item.
        """
        chosen_features(features, ("image",), "visual_prior")
        reads = self.settings.texts and "text" in features and features.present("text").any()
        texts, pictures = cleaned(features, "text") if reads else nothing(train.n_items), cleaned(features, "image")
        there = np.isfinite(pictures).all(axis=1) & (train.item_counts > 0)
        if there.sum() < 2:
            raise RankerError("ranker visual_prior", "train knows fewer than 2 pictures", "Take another ranker.")
        self._space = TasteSpace.fitted(texts, pictures, self.settings.taste)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.key("init"))
            self._prior = Prior(self._sizes(pictures.shape[1], int(there.sum()) - 1))
        self._prior.measure(pictures[there])
        self._noise = run.rng("noise").standard_normal((self.settings.samples, len(self._prior.scale)), np.float32)
        self._place(texts, pictures)
        log = self._learn(train, pictures, there, valid, run)
        self._prior.cpu().eval().requires_grad_(False)
        return log

    def _sizes(self, picture_dim: int, most: int) -> PriorSettings:
        chosen = self.settings
        components = min(chosen.components, picture_dim, most)
        return PriorSettings(
            picture_dim=picture_dim, components=components, user_dim=self._space.dim // 2, text_dim=0,
            width=chosen.width, depth=chosen.depth,
        )  # fmt: skip

    def _learn(
        self, train: Interactions, pictures: np.ndarray, there: np.ndarray, valid: Validator | None, run: Run
    ) -> FitLog:
        chosen, how, device = self.settings, FlowSettings(), run.torch_device()
        pairs = np.flatnonzero(there[train.item_idx])
        likes = Likes(train.user_idx, train.item_idx, self._rows, chosen.known)
        coordinates = self._prior.coordinates(torch.from_numpy(np.nan_to_num(pictures)))

        def batches(epoch: int) -> Iterator[tuple[torch.Tensor, PriorConditions, int]]:
            rng = run.rng("examples", epoch)
            drawn = rng.permutation(pairs)[: chosen.examples]
            for number, rows in enumerate(np.array_split(drawn, max(1, round(len(drawn) / chosen.batch_size)))):
                users, items = train.user_idx[rows], train.item_idx[rows]
                given = PriorConditions.of(likes.vectors(users, items, rng))
                yield coordinates[items].to(device), given.to(device), run.key("flow", epoch, number)

        return fit_module(
            self._prior, settings=chosen, batches=batches,
            loss=lambda batch: prior_loss(self._prior, batch[0], batch[1], chosen.drop, how, batch[2]),
            validate=(lambda: valid(self)) if valid else None, metric=valid.metric if valid else None,
            run=run, title="visual_prior", data=fingerprint([train.digest, str(coordinates.double().sum().item())]),
        )  # fmt: skip

    def _place(self, texts: np.ndarray, pictures: np.ndarray) -> None:
        """Keep where items lie among users, and their pictures' directions."""
        self._rows = self._space.rows(texts, pictures)
        told = torch.from_numpy(np.nan_to_num(pictures, nan=0.0))
        there = np.isfinite(pictures).all(axis=1)
        if self.settings.match == "whitened":
            at = unit_rows(self._prior.coordinates(told).numpy())
        else:
            apart = told - self._prior.mean
            at = (apart @ self._prior.basis).numpy() / np.maximum(apart.norm(dim=1, keepdim=True).numpy(), 1e-12)
        self._at = (at * there[:, None]).astype(np.float32)  # [n_items, components]

    def score(self, query: Query) -> np.ndarray:
        """Return float32 ``[n_queries, n_items]``."""
        users, chosen = user_vectors(query.histories.matrix(), self._rows), self.settings
        scores = np.empty((len(query), len(self._at)), dtype=np.float32)
        noise, items = torch.from_numpy(self._noise), torch.from_numpy(self._at)
        for start in range(0, len(query), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            with torch.inference_mode():
                given = PriorConditions.of(users[part])
                found = sampled(self._prior, noise, given, {"user": chosen.guidance}, chosen.steps).cpu()
                if chosen.match == "cosine":
                    found = found * self._prior.scale.cpu()
                found = torch.nn.functional.normalize(found, dim=2)
                near = (found @ items.T) / chosen.temperature  # [b, samples, n_items]
                scores[part] = chosen.temperature * (near.logsumexp(dim=1) - np.log(len(noise))).numpy()
        return scores

    def with_features(self, features: ItemFeatures) -> VisualPrior:
        """Return the ranker with the same prior that reads other vectors of the same sizes.

        Raises:
            RankerError: other sizes than those learned from.
        """
        space, n_items = self._space.state(), len(self._at)
        reads = len(space["text_mean"]) > NOTHING
        texts, pictures = cleaned(features, "text") if reads else nothing(n_items), cleaned(features, "image")
        for name, rows in (("text", texts), ("picture", pictures)):
            if rows.shape != (wanted := (n_items, len(space[f"{name}_mean"]))):
                raise RankerError(
                    f"item features of {name}s", f"visual_prior learned from {wanted}, here are {rows.shape}",
                    "Give the same modalities in the same sizes, NaN rows where an item has none.",
                )  # fmt: skip
        other = VisualPrior(self.settings)
        other._space, other._prior, other._noise = self._space, self._prior, self._noise
        other._place(texts, pictures)
        return other

    def state(self) -> dict[str, np.ndarray]:
        parts = {"rows": self._rows, "at": self._at, "noise": self._noise}
        parts |= {PRIOR + name: value.cpu().numpy().copy() for name, value in self._prior.state_dict().items()}
        return parts | {SPACE + name: value for name, value in self._space.state().items()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self._rows, self._at, self._noise = (state[name] for name in ("rows", "at", "noise"))
        self._space = TasteSpace({key[len(SPACE) :]: one for key, one in state.items() if key.startswith(SPACE)})
        learned = {key[len(PRIOR) :]: torch.from_numpy(one) for key, one in state.items() if key.startswith(PRIOR)}
        with torch.random.fork_rng(devices=[]):
            self._prior = Prior(self._sizes(len(learned["mean"]), len(learned["scale"])))
        self._prior.load_state_dict(learned)
        self._prior.eval().requires_grad_(False)


def cleaned(features: ItemFeatures, name: str) -> np.ndarray:
    """Return vectors of a modality, float32 ``[n_items, dim]``; NaN rows where there is none, nowhere else."""
    if name not in features:
        raise RankerError(
            f"item features {name!r}", "visual_prior learned from them", "Give them, as NaN rows if need be."
        )
    rows = features[name].astype(np.float32)
    rows[~features.present(name)] = np.nan
    return rows


def nothing(n_items: int) -> np.ndarray:
    """Return what stands for texts where there are none to read."""
    return np.zeros((n_items, NOTHING), dtype=np.float32)
