"""The main street: data → split → items → ranker → evaluation, each step an artifact made once.

``Workflow`` makes the steps that are missing and reuses
the others: a step's key holds its own settings and the keys of the steps it builds on.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

from recsys.core.amounts import amount
from recsys.core.artifact import Artifact, ArtifactStore, artifact_key
from recsys.core.config import make_settings
from recsys.core.erased import erased
from recsys.core.errors import ArtifactError, ConfigError, RankerError
from recsys.core.fingerprint import content_key, fingerprint, raw_files, source_key
from recsys.core.protocols import Ranker, Source, Validator
from recsys.core.registry import UnnamedPluginError, check_named, name_plugins
from recsys.core.runtime import Run, forget_peak_memory, peak_memory_mb, to_stderr
from recsys.core.values import ATTRIBUTES, Dataset, FitLog, ItemFeatures, Split
from recsys.data import SOURCES
from recsys.data.canonical import canonicalise, load_dataset, load_features
from recsys.data.pictures import relocated
from recsys.data.splits import SplitSettings, load_split, make_split, save_split
from recsys.evaluation.knockout import Knockout, knocked_out
from recsys.items import MODALITIES, make_encoder
from recsys.ranker_name_errors import not_a_ranker, unknown
from recsys.ranker_names import Names, parent_key
from recsys.rankers import RANKERS
from recsys.rankers.store import (
    learns_by_gradient,
    load_ranker,
    make_ranker,
    resolved,
    save_ranker,
    title,
    unnamed,
    uses_features,
)
from recsys.runconfig import DataSettings, RunConfig, check_device, overridden
from recsys.tracking import Tracking

Part = Literal["valid", "test"]


class Workflow:
    """Makes and opens the artifacts of one configuration.

    Args:
        config: the run.
        progress: show progress bars.
        log: receives one line of text at a time.

    Attributes:
        aside: a word that rankers trained by it have as their kind and after their name, so that ``open_ranker`` and
            ``recommend`` never mean one that was trained for a measurement alone; empty: ``"ranker"``.
        asked: what ``--set`` gave, as ``a.b=c``: a name never means a ranker with other settings than these.
        spread: ``map`` of an executor, which then encodes items; ``None``: this process does. No key depends on it.
        elsewhere: fits what learns by gradient in the place of this process (``train_on_ray``); no key depends on it.
    """

    aside: str = ""
    asked: Sequence[str] = ()
    spread: Callable[..., Any] | None = None
    elsewhere: Callable[..., tuple[Ranker, FitLog]] | None = None

    def __init__(self, config: RunConfig, *, progress: bool = False, log: Callable[[str], None] = to_stderr) -> None:
        self.config = config
        self.store = ArtifactStore(config.run.artifacts)
        self.run = Run(seed=config.run.seed, device=config.run.device, progress=progress, log=log)
        self._made_items: dict[str, Artifact | None] = {}
        self._codes: dict[type, str] = {}
        self._said: set[str] = set()  # of what is said once
        name_plugins(config.ranker)

    def with_settings(self, *overrides: str) -> Workflow:
        """Return a workflow with ``a.b=c`` settings on top of this one's."""
        values = overridden(self.config.model_dump(mode="json"), overrides)
        made = Workflow(make_settings(RunConfig, values, "config"), progress=self.run.progress, log=self.run.log)
        made.asked = self.asked
        return made

    def download(self) -> None:
        """Fetch and unpack the source's raw files into ``data.raw``.

        Raises:
            ConfigError: the source has no files to fetch.
            DownloadError: a file cannot be fetched, or its checksum is wrong.
        """
        from recsys.data.download import fetch_and_unpack

        source = self._source()
        if not hasattr(source, "downloads"):
            raise ConfigError(
                f"data source {self.config.data.source!r}", "has no files to download", "Put its files into data.raw."
            )
        fetch_and_unpack(source.downloads(), self._raw, run=self.run)

    def describe_data(self) -> str:
        """Return the data set's sizes in one line."""
        data = self.dataset
        return (
            f"{data.name}: {amount(len(data.interactions), 'interaction')} of {amount(len(data.users), 'user')}"
            f" with {amount(len(data.items), 'item')}"
        ) + (f", {period}" if (period := data.interactions.period) else "")

    def _source(self) -> Source:
        settings = self.config.data
        kind = SOURCES.load(settings.source)
        return kind(make_settings(kind.Settings, settings.options, "data.options", f"source.{settings.source}"))

    # -- steps: each is made (or found) once by a workflow, which so holds one state of the raw files ----------

    def data(self) -> Artifact:
        """Canonical tables of the source."""
        return self._data

    def split(self) -> Artifact:
        """Which interaction is train, valid or test."""
        return self._split

    def items(self, only: Sequence[str] = ()) -> dict[str, Artifact]:
        """Item vectors by modality, made by the configured encoders.

        Args:
            only: modalities wanted; empty: all. One that is turned off, or that no item has, is left out.
        """
        found = {name: self._encoded(name) for name in MODALITIES if not only or name in only}
        return {name: artifact for name, artifact in found.items() if artifact}

    @cached_property
    def _gone(self) -> frozenset[str]:
        """Who is erased: neither in the data nor in its key after that."""
        return erased(self.store.root)

    @cached_property
    def _data_plan(self) -> dict[str, Any]:
        """What the data's key is made of: known without reading a table."""
        settings, source, raw = self.config.data, self._source(), self._raw
        options = source.settings.model_dump(mode="json")
        code = source_key(type(source), now=uuid.uuid4().hex, log=self.run.log)
        config = {
            "source": settings.source, "options": options, "code": code,
            "prepare": settings.prepare.model_dump(mode="json"),
            "files": content_key(raw_files(source, raw, self.store.root), raw, self.store.root),
        }  # fmt: skip
        config |= {"erased": fingerprint(sorted(self._gone))} if self._gone else {}
        return {"kind": "data", "config": config, "schema": 1}

    @cached_property
    def _data(self) -> Artifact:
        settings, source, raw = self.config.data, self._source(), self._raw

        def write(folder: Path) -> dict[str, Any]:
            tables = source.tables(raw, run=self.run)
            counts = canonicalise(tables, settings.prepare, settings.source, folder, erased=self._gone, run=self.run)
            return {"counts": [asdict(count) for count in counts], "raw": str(raw.absolute())}

        return self.store.build(name=settings.source, write=write, **self._data_plan)

    def _code(self, kind: type) -> str:
        """Return the key of a plug-in's code as it was at first: what it refers to may change while it runs."""
        if kind not in self._codes:
            self._codes[kind] = source_key(kind, log=self.run.log)
        return self._codes[kind]

    @property
    def _raw(self) -> Path:
        return self.config.data.raw or Path("data/raw") / self.config.data.source.replace(":", "-")

    @property
    def _split_plan(self) -> dict[str, Any]:
        return {"kind": "split", "config": self.config.split.model_dump(mode="json"), "schema": 1}

    @property
    def split_key(self) -> str:
        """Key of the split, which is not made for it."""
        if made := vars(self).get("_split"):
            return made.key
        data = vars(self).get("_data")
        return artifact_key(
            **self._split_plan, parents=[data.key if data else artifact_key(**self._data_plan, parents=[])]
        )

    @cached_property
    def _split(self) -> Artifact:
        settings, parent = self.config.split, self.data()

        def write(folder: Path) -> dict[str, int]:
            if self.dataset.part is not None and settings.kind != "given":
                self.run.log(f"{self.dataset.name} brings a split of its own: split.kind=given takes it")
            split = make_split(self.dataset, settings, run=self.run)
            save_split(split, folder)
            return {"train": len(split.train), "valid": len(split.valid), "test": len(split.test)}

        name = f"{self.config.data.source}-{settings.kind}"
        return self.store.build(name=name, parents=[parent], write=write, **self._split_plan)

    def _encoded(self, modality: str) -> Artifact | None:
        if modality not in self._made_items:
            described = self.descriptions() if modality == "text" else None
            self._made_items[modality] = self._encode(modality, described)
        return self._made_items[modality]

    def joint(self) -> Artifact:
        """The joint space of texts and pictures, learned on the items that have both.

        Raises:
            DataError: too few items have both.
        """
        from recsys.describing import joint_space

        return joint_space(self, self.items())

    def descriptions(self) -> Artifact | None:
        """Descriptions of items whose picture and text disagree; ``None`` where ``items.describe`` names no describer.

        Raises:
            DataError: too few items have both.
            EncoderError: the describer's model cannot be loaded.
        """
        if self.config.items.describe.describer == "none":
            return None
        from recsys.describing import descriptions

        plain = {"text": self._encode("text"), "image": self._encoded("image")}
        return descriptions(self, {name: artifact for name, artifact in plain.items() if artifact})

    def _encode(self, modality: str, described: Artifact | None = None) -> Artifact | None:
        import numpy as np

        from recsys.items.encoding import ENCODING, encode_items, has
        from recsys.items.parts import encode_items_by

        table, parents = self.dataset.item_table, [self.data()]
        if described:
            from recsys.describing import described_table

            table, parents = described_table(self, described), [*parents, described]
        name = self.config.items.encoder_of(modality)
        if name == "none" or not has(table, modality):
            return None
        encoder = make_encoder(name, modality, self.config.items.options.get(name, {}))
        config = {
            "modality": modality, "encoder": name,
            "options": encoder.settings.model_dump(mode="json", exclude={"batch_size"}),
            "identity": encoder.identity(), "code": self._code(type(encoder)), "encoding": ENCODING,
        }  # fmt: skip

        def write(folder: Path) -> dict[str, Any]:
            check_device(self.config.run.device)
            cache = self.store.root / "vectors" / f"{name.replace(':', '-')}-{fingerprint(config)[:12]}"
            encoding = partial(encode_items_by, self.spread) if self.spread else encode_items
            made = encoding(table, encoder, modality, cache, run=self.run)
            np.save(folder / f"{modality}.npy", made.vectors, allow_pickle=False)
            present = ~np.isnan(made.vectors).any(axis=1) if made.vectors.shape[1] else np.zeros(len(table), bool)
            return {
                "items": len(table), "dim": made.vectors.shape[1], "encoded": int(present.sum()),
                "fresh": made.fresh, "counts": [asdict(count) for count in made.counts],
            }  # fmt: skip

        title = f"{self.config.data.source}-{modality}-{name}"
        return self.store.build("items", title, config=config, parents=parents, write=write)

    def train(
        self,
        ranker: Mapping[str, Any] | None = None,
        *,
        knockout: Knockout | None = None,
        watch: Callable[[Validator, Path], Validator] | None = None,
    ) -> Artifact:
        """A fitted ranker (by default the configured one); an interrupted run goes on where it was.

        Args:
            ranker: its configuration.
            knockout: train it, and its members, on altered features: an artifact of kind ``"knockout"``, so that no
                name of a ranker ever means it. A ranker that reads nothing of what is altered is the usual one.
            watch: gives what validates in place of the usual, and the folder of the checkpoint; called before a fit
                alone. Its error stops the training, which leaves a checkpoint to go on from, and no artifact.
        """
        from recsys.evaluation.evaluator import make_validator

        chosen = resolved(ranker or self.config.ranker)
        name_plugins(chosen)  # whoever asks names them; what a file names is refused where it is opened
        knockout = knockout and knockout.met(chosen)
        wanted = chosen.get("modalities", ())
        members = [self.train(member, knockout=knockout) for member in chosen.get("members", ())]
        encoded = self._encoded_for_rankers(wanted) if uses_features(chosen) else {}
        parents = [self.split(), *encoded.values(), *members]
        metric = self.config.evaluation.metric
        code = self._code(RANKERS.load(chosen["name"]))
        config = {"ranker": chosen, "seed": self.config.run.seed, "metric": metric, "code": code}
        config |= {"knockout": knockout.to_dict(), "knockout_code": source_key(Knockout)} if knockout else {}

        def fitted(member: Mapping[str, Any]) -> Ranker:
            return load_ranker(self.train(member, knockout=knockout).path)

        def write(folder: Path) -> dict[str, Any]:
            fit = self.elsewhere if self.elsewhere and learns_by_gradient(chosen) else _fit_here
            if fit is _fit_here:
                check_device(self.config.run.device)
            valid = make_validator(self.loaded_split, self.config.evaluation) if len(self.loaded_split.valid) else None
            run = replace(self.run.at(folder / "training"), fitted=fitted)
            if getattr(RANKERS.load(chosen["name"]), "reads_items", False):
                run = replace(run, items=self.dataset.item_table)
            features = self.features(wanted, knockout) if uses_features(chosen) else ItemFeatures()
            valid = watch(valid, folder / "training") if watch and valid else valid
            forget_peak_memory()
            model, log = fit(chosen, self.loaded_split.train, features, valid=valid, run=run)
            if not isinstance(log, FitLog):
                raise RankerError(f"ranker {chosen['name']}", f"fit returned {log!r}", "Return a FitLog from fit.")
            save_ranker(model, chosen, folder)
            _clear_training(folder / "training")
            return {
                "best": dict(log.best), "best_epoch": log.best_epoch, "rows": [dict(row) for row in log.rows],
                "fit_wall_s": log.wall_s, "fit_cpu_s": log.cpu_s,
                "n_parameters": log.n_parameters, "peak_memory_mb": round(peak_memory_mb(), 1),
            }  # fmt: skip

        kind = "knockout" if knockout else self.aside or "ranker"
        name = "-".join([title(chosen), *([knockout.label] if knockout else []), *([self.aside] if self.aside else [])])
        tracking = self.tracking  # before the fit: a package that is missing is said at once
        made = self.store.build(kind, name, config=config, parents=parents, write=write, resumable=True)
        if tracking:
            tracking.training(made, self.split(), self.data())
        return made

    @cached_property
    def tracking(self) -> Tracking | None:
        """Copies trainings and test metrics to where ``run.track`` says; no artifact depends on it.

        Raises:
            ConfigError: the package that it takes is not installed.
        """
        settings, log = self.config.run, self.run.log
        if settings.track == "none":
            return None
        return Tracking(settings.track, self.store.root / "tracking", settings.track_uri, log=log)

    def evaluate(self, trained: Artifact, part: Part = "test", *, knockout: Knockout | None = None) -> Artifact:
        """Metrics of a trained ranker of this configuration's split.

        Args:
            trained: the ranker.
            part: what it is measured on.
            knockout: let it read altered features in place of those it learned from (``SwapsFeatures``).

        Raises:
            ArtifactError: it was trained on another split, whose train part may hold this one's test.
        """
        from recsys.evaluation.evaluator import evaluate

        if not self._of_this_split(trained):
            raise _other_split(trained.path)
        config = {"part": part, "evaluation": self.config.evaluation.model_dump(mode="json")}
        config |= {"knockout": knockout.to_dict(), "seed": self.config.run.seed} if knockout else {}

        def write(folder: Path) -> dict[str, Any]:
            ranker = load_ranker(trained.path)
            if knockout:
                wanted = trained.config["ranker"].get("modalities", ())
                ranker = ranker.with_features(self.features(wanted, knockout))
            name = trained.manifest["name"]
            result = evaluate(ranker, self.loaded_split, self.config.evaluation, part=part, run=self.run, name=name)
            result.save(folder)
            return result.summary

        name = "-".join([trained.manifest["name"], part, *([knockout.label] if knockout else [])])
        made = self.store.build("evaluation", name, config=config, parents=[trained, self.split()], write=write)
        if self.tracking:
            self.tracking.evaluation(made, trained, self.split(), self.data())
        return made

    # -- values ----------------------------------------------------------------------------------------------

    @cached_property
    def dataset(self) -> Dataset:
        found = load_dataset(self.data().path)
        return replace(found, item_table=relocated(found.item_table, *self._raw_then_and_now()))

    @property
    def raw_folder(self) -> Path:
        """Where the raw files lie now."""
        return self._raw_then_and_now()[1]

    def _raw_then_and_now(self) -> tuple[Path, Path]:
        """Return where the raw files lay when they were read, and where the same files lie now."""
        about, settings = self.data(), self.config.data
        now = self._raw.absolute()
        before = Path(about.manifest["results"].get("raw", now))
        ours = about.config["source"] == settings.source and now.is_dir()  # else it was adopted from a ranker
        return before, now if ours else before

    @cached_property
    def loaded_split(self) -> Split:
        return load_split(self.dataset, self.split().path)

    def features(self, only: Sequence[str] = (), knockout: Knockout | None = None) -> ItemFeatures:
        """Return attributes, and item vectors: the source's own where it brings any, else those encoded here.

        ``items.replace`` names modalities that are encoded here in any case.

        Args:
            only: modalities wanted; empty: all.
            knockout: alter these of them.
        """
        import numpy as np

        from recsys.items.attributes import attribute_matrix

        matrices = {name: x for name, x in load_features(self.data().path).matrices.items() if not only or name in only}
        for modality, artifact in self._encoded_for_rankers(only).items():
            if artifact.manifest["results"]["encoded"]:
                matrices[modality] = np.load(artifact.path / f"{modality}.npy", allow_pickle=False)
        if not only or ATTRIBUTES in only:
            attributes = attribute_matrix(self.dataset.item_table)
            matrices |= {ATTRIBUTES: attributes} if attributes.shape[1] else {}
        found = ItemFeatures(matrices)
        return knocked_out(found, knockout, self.run) if knockout else found

    def _encoded_for_rankers(self, only: Sequence[str]) -> dict[str, Artifact]:
        """Return the encoded modalities that rankers read: those of which the source brings no vectors of its own."""
        from recsys.items.encoding import has

        chosen, found = self.config.items, {}
        for name in MODALITIES:
            own = (self.data().path / "features" / f"{name}.npy").is_file() and name not in chosen.replace
            if own and chosen.encoder_of(name) != "none" and has(self.dataset.item_table, name):
                self._say_once(
                    f"{name}: rankers read the vectors that the data brings, not those of {chosen.encoder_of(name)}; "
                    f'items.replace=["{name}"] takes the others'
                )
            elif not own:
                found |= self.items((name,)) if not only or name in only else {}
        return found

    def _say_once(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self.run.log(line)

    def open_ranker(self, reference: str, *, by_user: bool = True) -> Artifact:
        """Open a trained ranker of this configuration's split: exactly, or by a name (see ``recsys.ranker_names``).

        Where the configuration says nothing of data and split, those of the first that is named exactly are taken.

        Args:
            reference: folder, name or key.
            by_user: whoever runs this gave the reference, and so names the code in it, such as ``my_file:MyRanker``;
                a client of a server does not.

        Raises:
            ArtifactError: no such ranker, one of another split, or made by code that the run does not name.
        """
        trained = self.find_ranker(reference, by_user=by_user)
        data = self.config.data.model_copy(update={"name": None})  # which says nothing of what the data is
        untold = (data, self.config.split) == (DataSettings(), SplitSettings())
        if untold and "_split" not in vars(self):
            self._adopt(trained)
        if not self._of_this_split(trained):
            raise _other_split(reference)
        return trained

    def find_ranker(self, reference: str | Path, *, by_user: bool = True) -> Artifact:
        """Open a trained ranker: by a name of this configuration's split alone, exactly whatever it was trained on.

        Args:
            reference, by_user: as of ``open_ranker``.

        Raises:
            ArtifactError: there is none, what there is of that name is of other data or of another kind, or it is
                made by code that the run does not name.
        """
        if by_user:
            name_plugins(str(reference))
        trained = self._meant(reference)
        try:
            check_named(trained.config["ranker"])
        except UnnamedPluginError as error:
            raise unnamed(trained.path, error) from None
        return trained

    def _meant(self, reference: str | Path) -> Artifact:
        if trained := self.store.find(reference):
            if trained.kind != "ranker":
                raise not_a_ranker(reference, trained)
            return trained
        names = Names(self.store, self.config, self.split_key, self.asked)
        meaning = names.of(str(reference))
        if meaning is None:
            data = vars(self).get("_data")
            raise unknown(names, str(reference), data.config if data else self._data_plan["config"], self._raw)
        if meaning.why:
            self._say_once(meaning.why)
        return meaning.artifact

    def _adopt(self, trained: Artifact) -> None:
        """Take data and split from a ranker's lineage."""
        self._split = self.store.parent(trained, "split")
        self._data = self.store.parent(self._split, "data")

    def _of_this_split(self, trained: Artifact) -> bool:
        return parent_key(trained, "split") == self.split_key


def _fit_here(config: Mapping[str, Any], *data: Any, valid: Validator | None, run: Run) -> tuple[Ranker, FitLog]:
    model = make_ranker(config)
    return model, model.fit(*data, valid=valid, run=run)


def _clear_training(folder: Path) -> None:
    """Leave the logs of a training alone: no checkpoint, half a one of a kill, or what Ray's workers handed over."""
    for file in folder.glob("checkpoint.safetensors*"):
        file.unlink()
    shutil.rmtree(folder / "ray", ignore_errors=True)


def _other_split(reference: str | Path) -> ArtifactError:
    return ArtifactError(
        f"ranker {str(reference)!r}",
        "was trained on another split than this configuration's",
        "Give the same --config and --set as when it was trained.",
    )
