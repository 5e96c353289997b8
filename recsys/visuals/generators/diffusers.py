"""Any text-to-image pipeline of ``diffusers``, by name or folder: Stable Diffusion, SDXL, Turbo, LCM, FLUX, PixArt."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from recsys.core.config import Settings as BaseSettings
from recsys.core.errors import ConfigError, DataError
from recsys.core.runtime import Run
from recsys.visuals.prompts import filled, nearest_pictures, own_words, taste_words, title
from recsys.visuals.request import GeneratedVisual, VisualItem, VisualTaste

if TYPE_CHECKING:
    from PIL.Image import Image

    from recsys.visuals.pipelines import Repository

AGAIN = 3  # times that a picture is drawn again which the pipeline's safety checker flagged
WHOLE = 0.75  # share of a picture that cropping must leave; of others all is kept, with margins


class AdapterSettings(BaseSettings):
    """An IP-Adapter, by which pictures of the history are looked at."""

    model: str = Field("", description='Folder or hub name, such as "h94/IP-Adapter"; empty: none.')
    revision: str | None = Field(None, description="Commit, tag or branch on the hub.")
    subfolder: str = Field("models", description='Of the weights; for SDXL "sdxl_models".')
    weight_name: str = Field("ip-adapter_sd15.safetensors", pattern=r"\.safetensors$", description="The weights' file.")
    encoder: str = Field("models/image_encoder", description="Folder of the image encoder, from the root.")
    scale: float = Field(0.6, ge=0, le=2, description="How much the pictures count, at the dial's 1; not at its 0.")
    history: int = Field(4, ge=1, description="Pictures that are looked at: those nearest to the target by text.")


class DiffusersSettings(BaseSettings):
    """How a pipeline of diffusers draws."""

    model: str = Field("", description="Folder or hub name of the pipeline; it must be set.")
    revision: str | None = Field(None, description="Commit, tag or branch on the hub; unset: the cached or newest one.")
    variant: str = Field("", pattern=r"^\w*$", description='Of the weights on the hub, such as "fp16"; empty: plain.')
    dtype: str = Field("float32", pattern="^(float32|float16|bfloat16)$", description="Half ones are for GPUs.")
    steps: int = Field(30, ge=1, le=1000, description="Steps from pure noise; Turbo and LCM need 4 or fewer.")
    guidance: float = Field(7.0, ge=0, description="How strictly the prompt is followed; FLUX: 3.5, Turbo: 0.")
    height: int = Field(768, ge=16, multiple_of=16, description="Pixels; SDXL and FLUX are made for about 1216.")
    width: int = Field(512, ge=16, multiple_of=16, description="Pixels; SDXL and FLUX are made for about 832.")
    prompt: str = Field("{title}, {words}", description='Template, such as "film poster, {title}, {words}".')
    negative: str = Field("blurry, watermark, text", description="What is not wanted, for pipelines that take it.")
    keywords: int = Field(6, ge=0, description="Keywords of the taste at most, and of the target.")
    least: float = Field(0.2, ge=0, le=1, description="A keyword is left out where weight times dial is below this.")
    nearest: float = Field(0.3, gt=0, le=1, description="How far from the item's picture the dial's 0 goes.")
    farthest: float = Field(0.8, gt=0, le=1, description="How far its 1 does; at 1 nothing of the picture is kept.")
    batch_size: int = Field(1, ge=1, description="Pictures drawn at a time.")
    ip_adapter: AdapterSettings = Field(AdapterSettings(), description="Lets pictures of the history be looked at.")

    @field_validator("prompt")
    @classmethod
    def _fills_in(cls, template: str) -> str:
        try:
            filled = template.format(title="\x00", words="")
        except (KeyError, IndexError, AttributeError) as error:
            raise ValueError(f"only {{title}} and {{words}} can be filled in, not {error}") from None
        if "\x00" not in filled:
            raise ValueError("the target must stay in it: put {title} somewhere")
        return template


class DiffusersGenerator:
    """A pretrained text-to-image pipeline: keywords become its prompt, the item's picture is where it begins.

    The dial goes from the item to the taste: pictures begin further from the item's own, more keywords of the taste are
    said, and said earlier (encoders cut long prompts), and pictures of the history count more where an IP-Adapter is
    set. ``VisualTaste.soft`` is not used: no pipeline by name has learned to read it.

    A picture that the pipeline's own safety checker flags is drawn again from another seed, which it then tells; if
    that does not help, it is an error, never a black picture. A pipeline without a checker checks nothing.
    """

    Settings = DiffusersSettings

    def __init__(self, settings: DiffusersSettings | None = None) -> None:
        self.settings = settings or DiffusersSettings()
        self._known: dict[str, Repository] = {}
        self._loaded: tuple[Any, Any] | None = None

    def identity(self) -> str:
        """Return names and versions of diffusers, the model and the IP-Adapter.

        Raises:
            ConfigError: no model is set, or diffusers is not installed.
            ArtifactError: the model is not on this machine, and the hub does not tell its version.
        """
        from recsys.visuals.pipelines import diffusers_version

        chosen = self.settings
        names = [self._source("model").identity, *([chosen.variant] if chosen.variant else [])]
        if chosen.ip_adapter.model:
            names.append(f"{chosen.ip_adapter.weight_name} of {self._source('adapter').identity}")
        return f"diffusers {diffusers_version()} {' + '.join(names)}"

    def strength(self, dial: float) -> float:
        """Return how far towards noise a picture begins, from 0 to 1."""
        return self.settings.nearest + dial * (self.settings.farthest - self.settings.nearest)

    def generate(
        self, target: VisualItem, taste: VisualTaste, *, n: int, dial: float, run: Run
    ) -> Sequence[GeneratedVisual]:
        """Return ``n`` pictures; the same seed gives the same bytes.

        Raises:
            ConfigError: ``n`` below 1 or a dial outside 0 to 1, no model, or diffusers is not installed.
            DataError: a picture that cannot be read, nothing to go by, or the safety checker passed too few.
            ArtifactError: the model cannot be fetched or loaded.
        """
        _check(target, n, dial)
        given, told = self._request(target, taste, dial)
        text, near = self._pipelines(run)
        if "image" in given and near is None:
            del given["image"], given["strength"]
            told |= {"strength": 1.0, "note": f"{type(text).__name__} cannot begin from the item's picture"}
        if self.settings.ip_adapter.model:
            text.set_ip_adapter_scale(told["ip_adapter_scale"])
        told["safety_checker"] = getattr(text, "safety_checker", None) is not None
        drawn = self._drawn(near if "image" in given else text, given, target.item_id, n, run)
        return [
            GeneratedVisual(image, target.item_id, seed, dial, self.identity(), {**told, "flagged_before": flagged})
            for image, seed, flagged in drawn
        ]

    def _request(self, target: VisualItem, taste: VisualTaste, dial: float) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what the pipeline is called with, and what is told of it in plain values."""
        chosen = self.settings
        kept = taste_words(taste, dial, chosen.keywords, chosen.least)
        own = own_words(target, chosen.keywords)
        prompt = filled(chosen.prompt, target, [*own, *kept] if dial < 0.5 else [*kept, *own])
        given = {
            "prompt": prompt, "negative_prompt": chosen.negative or None, "guidance_scale": chosen.guidance,
            "num_inference_steps": chosen.steps, "height": chosen.height, "width": chosen.width,
        }  # fmt: skip
        told = {"prompt": prompt, "keywords": kept, "guidance": chosen.guidance, "strength": 1.0}
        if target.picture is not None:
            told["strength"] = strength = self.strength(dial)
            steps = max(chosen.steps, math.ceil(1 / strength))  # else not one of them would be taken
            given |= {"image": self._sized(target), "strength": strength, "num_inference_steps": steps}
        if chosen.ip_adapter.model:
            seen = nearest_pictures(target, taste, chosen.ip_adapter.history)
            told |= {"history": [one.item_id for one in seen]}
            told["ip_adapter_scale"] = chosen.ip_adapter.scale * dial if seen else 0.0
            given["ip_adapter_image"] = [self._looked_at(seen)]
        return given, told

    def _looked_at(self, seen: Sequence[VisualItem]) -> list[Image]:
        """Return pictures for the IP-Adapter, which must be given one even if it counts nothing."""
        from PIL import Image

        from recsys.visuals.reader import opened

        return [opened(one) for one in seen] or [Image.new("RGB", (64, 64), "grey")]

    def _sized(self, item: VisualItem) -> Image:
        """Return an item's picture in the size to be drawn."""
        from PIL import Image, ImageOps

        from recsys.visuals.reader import opened

        picture, size = opened(item), (self.settings.width, self.settings.height)
        ratio = picture.width / picture.height * size[1] / size[0]
        if min(ratio, 1 / ratio) >= WHOLE:
            return ImageOps.fit(picture, size, Image.Resampling.LANCZOS)
        colour = picture.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
        return ImageOps.pad(picture, size, Image.Resampling.LANCZOS, color=colour)

    def _drawn(
        self, pipeline: Any, given: Mapping[str, Any], item_id: str, n: int, run: Run
    ) -> list[tuple[Image, int, int]]:
        """Return pictures, each with its seed and how often it was flagged before."""
        from recsys.visuals.pipelines import call

        pipeline.set_progress_bar_config(disable=not run.progress, leave=False)
        found: dict[int, tuple[Image, int, int]] = {}
        for attempt in range(1 + AGAIN):
            missing = [number for number in range(n) if number not in found]
            for first in range(0, len(missing), self.settings.batch_size):
                batch = missing[first : first + self.settings.batch_size]
                seeds = [run.key("visual", item_id, one, *(["again", attempt] if attempt else [])) for one in batch]
                images = call(pipeline, given, seeds)
                made = zip(batch, images, seeds, strict=True)
                found |= {number: (image, seed, attempt) for number, image, seed in made if image is not None}
        if len(found) < n:
            cause = f"the model's safety checker flagged {n - len(found)} of {n}, each {1 + AGAIN} times"
            raise DataError(f"pictures for item {item_id!r}", cause, "Ask with another dial or seed, or another model.")
        return [found[number] for number in range(n)]

    def _pipelines(self, run: Run) -> tuple[Any, Any]:
        """Return the pipelines from text and from pictures, loaded once; the latter may be ``None``."""
        from recsys.visuals.pipelines import add_adapter, from_pictures, load_pipeline

        if self._loaded is None:
            chosen, adapter = self.settings, self.settings.ip_adapter
            text = load_pipeline(self._source("model"), chosen.dtype, chosen.variant, run.torch_device())
            if adapter.model:
                source = self._source("adapter")
                add_adapter(text, source, adapter.subfolder, adapter.weight_name, adapter.encoder)
            self._loaded = text, from_pictures(text)
        return self._loaded

    def _source(self, part: str) -> Repository:
        """Return where the model or the adapter comes from."""
        from recsys.visuals.pipelines import Repository

        chosen, adapter = self.settings, self.settings.ip_adapter
        if not chosen.model:
            remedy = '[visuals.options.diffusers] model = "stable-diffusion-v1-5/stable-diffusion-v1-5", or a folder.'
            raise ConfigError("visuals.options.diffusers.model", "no model is set", f"Name one: {remedy}")
        if part not in self._known:
            file = "/".join(filter(None, (adapter.subfolder.strip("/"), adapter.weight_name)))
            self._known[part] = (
                Repository.pipeline(chosen.model, chosen.revision, chosen.variant)
                if part == "model"
                else Repository.adapter(adapter.model, adapter.revision, file, adapter.encoder)
            )
        return self._known[part]


def _check(target: VisualItem, n: int, dial: float) -> None:
    if n < 1:
        raise ConfigError("number of pictures", f"{n} is none", "Ask for 1 or more.")
    if not 0 <= dial <= 1:  # NaN is refused, too
        raise ConfigError("dial", f"{dial} is not from 0 to 1", "0 is true to the item, 1 to the taste.")
    if not (title(target) or own_words(target, 1) or target.picture is not None):
        raise DataError(f"item {target.item_id!r}", "has no title, text or picture", "There is nothing to draw.")
