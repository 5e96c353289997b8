"""Texts and pictures together: the joint space of a run, and descriptions of the items in which the two disagree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from recsys.core.amounts import amount
from recsys.core.artifact import Artifact
from recsys.core.errors import DataError
from recsys.core.fingerprint import fingerprint, source_key
from recsys.core.values import ItemFeatures
from recsys.items import make_describer
from recsys.items.describe import describe_items, disagreement, with_descriptions
from recsys.runconfig import check_device
from recsys.workflow import Workflow

TABLE = "descriptions.parquet"


def encoded(items: Mapping[str, Artifact]) -> ItemFeatures:
    """Return the vectors of encoded items, by modality; a modality that no item has is left out."""
    made = {name: artifact for name, artifact in items.items() if artifact.manifest["results"]["encoded"]}
    return ItemFeatures({name: np.load(one.path / f"{name}.npy", allow_pickle=False) for name, one in made.items()})


def joint_space(workflow: Workflow, items: Mapping[str, Artifact]) -> Artifact:
    """Return the joint space of texts and pictures, learned on the items that have both.

    Args:
        workflow: the run.
        items: encoded ``"text"`` and ``"image"``.

    Raises:
        DataError: too few items have both.
    """
    from recsys.items.joint import JointSettings, JointSpace

    settings, run, chosen = JointSettings(), workflow.run, workflow.config.items
    config = {"settings": settings.model_dump(mode="json"), "seed": run.seed, "code": source_key(JointSpace)}

    def write(folder: Path) -> dict[str, Any]:
        check_device(workflow.config.run.device)
        features, space = encoded(items), JointSpace(settings)
        log = space.fit(features, run=run)
        space.save(folder)
        return {"test": space.measure(features), **asdict(log)}

    name = f"{workflow.config.data.source}-{chosen.text}-{chosen.image}"
    return workflow.store.build("joint", name, config=config, parents=list(items.values()), write=write)


def descriptions(workflow: Workflow, items: Mapping[str, Artifact]) -> Artifact:
    """Return descriptions of the items whose picture and text disagree most, written by ``items.describe``.

    The two are compared where they lie in one space: as they are if one encoder made both, else in the joint space.
    What was written within a smaller budget is not written again.

    Args:
        workflow: the run.
        items: encoded ``"text"``, without any description, and ``"image"``.

    Raises:
        DataError: no item has text and picture, or too few to learn a joint space.
        EncoderError: the describer's model cannot be loaded.
    """
    chosen = workflow.config.items
    name, budget = chosen.describe.describer, chosen.describe.model_dump(mode="json", exclude={"describer"})
    if set(encoded(items).matrices) != {"text", "image"}:
        raise DataError(
            f"descriptions by {name}", "need items with an encoded text and an encoded picture",
            "Set items.describe.describer=none, or give items both.",
        )  # fmt: skip
    describer = make_describer(name, chosen.options.get(name, {}))
    config = {
        "describer": name, "options": describer.settings.model_dump(mode="json"),
        "identity": describer.identity(), "code": source_key(type(describer)),
    }  # fmt: skip
    kept = workflow.store.root / "described" / f"{name.replace(':', '-')}-{fingerprint(config)[:12]}"
    spaces = [] if chosen.text == chosen.image else [joint_space(workflow, items)]

    def write(folder: Path) -> dict[str, Any]:
        check_device(workflow.config.run.device)
        apart, table = disagreement(*_comparable(items, *spaces)), workflow.dataset.item_table
        out = describe_items(table, describer, apart, chosen.describe, kept, run=workflow.run)
        out.table.write_parquet(folder / TABLE)
        workflow.run.log(f"{name}: {amount(len(out.table), 'item')} described, {out.fresh:,} of them now")
        return {"described": len(out.table), "fresh": out.fresh, "counts": [asdict(count) for count in out.counts]}

    title = f"{workflow.config.data.source}-{name}"
    parents = [workflow.data(), *items.values(), *spaces]
    return workflow.store.build(
        "descriptions", title, config={**config, "budget": budget}, parents=parents, write=write
    )


def described_table(workflow: Workflow, made: Artifact) -> pl.DataFrame:
    """Return the item table, its texts extended by the descriptions."""
    return with_descriptions(workflow.dataset.item_table, pl.read_parquet(made.path / TABLE))


def _comparable(items: Mapping[str, Artifact], space: Artifact | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return text and picture vectors ``[n_items, dim]`` of one space."""
    features = encoded(items)
    if space is None:
        return features["text"], features["image"]
    from recsys.items.joint import JointSettings, JointSpace

    joint = JointSpace.load(space.path, JointSettings(**space.config["settings"]))
    return joint.text_vectors(features["text"]), joint.image_vectors(features["image"])
