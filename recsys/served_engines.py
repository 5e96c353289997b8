"""The rankers that a server answers with: opened, checked, given an index and a place for new items."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from recsys.core.values import ItemFeatures, Query
from recsys.describing import encoded
from recsys.items.attributes import attribute_matrix
from recsys.serving.engine import Engine
from recsys.serving.fresh import Neighbourhood
from recsys.serving.index import ASKED, gated
from recsys.serving.recommender import Recommender
from recsys.serving.shortlist import Shortlist
from recsys.serving.stretching import fair_stretch
from recsys.workflow import Workflow


class ServedEngines:
    """Opens rankers of a run.

    Args:
        workflow: the run.
        recall: share of exact lists that an index must find; none: no index, all lists are exact.
    """

    def __init__(self, workflow: Workflow, recall: float | None = None) -> None:
        self.workflow, self.recall = workflow, recall

    def open(self, name: str, reference: str) -> Engine:
        """Return a ranker at work.

        Args:
            name: of the variant.
            reference: folder, name or key of the trained ranker.

        Raises:
            ArtifactError: there is none, or it is damaged.
            ConfigError: it cannot have the index that is asked for.
        """
        trained = self.workflow.open_ranker(reference, by_user=False)
        trained.verify()  # a changed weight may still give scores
        model = Recommender.load(trained.path, artifacts=self.workflow.store.root)
        engine = Engine(name, trained.key, model, self._rows, self._shortlist(trained.key, model))
        engine.stretch = fair_stretch(engine, self.neighbourhood, self.features, self.workflow.run)
        return engine

    def _shortlist(self, key: str, model: Recommender) -> Shortlist | None:
        if self.recall is None:
            return None
        run, known = self.workflow.run, model.known
        users = run.rng("index").permutation(np.flatnonzero(known.user_counts > 0))[:ASKED]
        path = self.workflow.store.root / "served" / f"index-{key[:12]}.usearch"
        index, _ = gated(model.ranker, Query.of_users(known, users), least=self.recall, path=path, log=run.log)
        return Shortlist(model.ranker, index)

    @cached_property
    def features(self) -> ItemFeatures:
        """Vectors of the trained items, by the encoders that new ones are read with."""
        return encoded(self.workflow.items())

    @cached_property
    def neighbourhood(self) -> Neighbourhood:
        """Where new items are placed."""
        return Neighbourhood(self.features)

    @cached_property
    def _rows(self) -> np.ndarray | None:
        """Rows that items are told apart by: the first modality there is, else attributes."""
        features = self.features
        if not features.matrices:
            features = ItemFeatures({"attributes": attribute_matrix(self.workflow.dataset.item_table)})
        name = next(iter(features.matrices))
        return features.unit(name) if features[name].shape[1] else None
