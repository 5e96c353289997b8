"""Sheets of samples: every row one validation item, every column one way of drawing it, the same noise along a row.

Columns: the poster, its reconstruction, then from pure noise: nothing given, text alone, all of the target but its
picture and layout, the whole target, target and taste; then from the noised poster with target and taste.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from recsys.visuals.flow import SamplerSettings, sample
from recsys.visuals.pixels import sheet, to_pictures
from recsys.visuals.shipped import AUTOENCODER, read_weights

if TYPE_CHECKING:
    from train import Experiment

ROWS, STEPS = 6, 20
STRENGTHS = (0.4, 0.6, 0.8)
COLUMNS = {
    "nothing": (("all",), {"all": 1.0}),
    "text": (("picture", "layout", "taste"), {"all": 3.0}),
    "words and text": (("picture", "layout", "soft", "history"), {"all": 3.0}),
    "target without layout": (("layout", "taste"), {"all": 2.0}),
    "target": (("taste",), {"all": 2.0}),
    "target and taste": ((), {"target": 1.5, "taste": 2.0}),
}


def draw(experiment: Experiment) -> None:
    """Write ``sheet-<step>.png`` beside the checkpoints."""
    from recsys.visuals.autoencoder import Autoencoder

    training = experiment._flow()
    if not training.resume():
        raise SystemExit("there is no checkpoint: train first")
    model, examples = training.average, experiment.examples[1]
    autoencoder = read_weights(experiment.folder / AUTOENCODER, Autoencoder)[0]
    run = training.run
    rows = examples.targets[run.rng("sheet").permutation(len(examples.targets))[:ROWS]]
    latents, given = examples.of(rows, run.rng("sheet", "examples"))
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(run.key("sheet", "noise")))
    place = experiment.posters.place
    originals = [experiment.posters.pixels[place[examples.shelf.ids[row]]] for row in rows]
    columns = [[_picture(one) for one in originals], _pictures(autoencoder, latents)]
    for without, guidance in COLUMNS.values():
        settings = SamplerSettings(steps=STEPS, guidance=guidance)
        columns.append(_pictures(autoencoder, sample(model, noise, given.without(without), settings)))
    taste = SamplerSettings(steps=STEPS, guidance={"target": 1.5, "taste": 2.0})
    columns += [
        _pictures(autoencoder, sample(model, noise, given, taste, start=latents, strength=one)) for one in STRENGTHS
    ]
    path = training.run.folder / f"sheet-{training.step}.png"
    sheet([list(row) for row in zip(*columns, strict=True)]).save(path)
    print(path, [examples.shelf.ids[row] for row in rows])


def _pictures(autoencoder, latents: torch.Tensor) -> list:
    with torch.no_grad():
        return to_pictures(autoencoder.decode(latents))


def _picture(pixels):
    from PIL import Image

    return Image.fromarray(pixels)
