"""RecBole 1.2.1 made to run beside today's numpy, pandas, scipy and torch, without touching any of them.

Every repair is made on RecBole's own modules, so the rest of the program never sees a patched library:

=============================  ==========================================  =====================================
RecBole's                      breaks because                              repaired by
=============================  ==========================================  =====================================
``np.float``, ``np.object`` …  numpy 2 has no such aliases, and            the name ``np`` inside RecBole's
                               ``Config`` wants to put them back           modules is an overlay that has them
``dok_matrix._update``         gone in scipy 1.17                          ``sp`` is an overlay likewise
``import ray``                 only ``recbole.quick_start`` needs it       that package is never imported
``fillna(inplace=True)`` …     does nothing under pandas 3                 data sets are built from arrays, so
                                                                           pandas code is never reached
``torch.load`` of pickles      refused by default since torch 2.6          checkpoints stay in memory as arrays
``Config``                     reads ``sys.argv``, evaluates strings,      those methods are replaced
                               sets ``CUDA_VISIBLE_DEVICES`` and
                               changes yaml's loader for everybody
``getLogger()``                is the root logger                          is the logger ``"recbole"``
``print``, TensorBoard,        write to standard output and to the         log, do nothing, do nothing
``ensure_dir``                 current folder
=============================  ==========================================  =====================================

One fault is left as it is and only stated: ``Pop`` counts an item once a
batch however often it occurs there, so its counts are too low. Use the
ranker ``popularity`` for real counts.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import random
import re
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from recsys.core.errors import ConfigError, did_you_mean
from recsys.core.values import Histories, Query

if TYPE_CHECKING:
    import torch

GENERAL, SEQUENTIAL = "general_recommender", "sequential_recommender"
TRAINING_PARAMS = {
    "learner", "learning_rate", "weight_decay", "clip_grad_norm", "train_neg_sample_args", "shuffle", "require_pow",
    "enable_amp", "enable_scaler", "MAX_ITEM_LIST_LENGTH", "loss_type", "transform",
}  # fmt: skip
PACKAGES = {"faiss": "faiss-cpu"}  # where the package is not called like the module
_LOCK = threading.RLock()
_PICKLES = "its pretrained parts are pickled checkpoints, which are never read here"
_FEATURES = "it needs item features, and RecBole is given interactions alone"
UNSUPPORTED = {
    "S3Rec": _PICKLES,
    "RaCT": _PICKLES,
    "FDSA": _FEATURES,
    "GRU4RecF": _FEATURES,
    "SASRecF": _FEATURES,
    "GRU4RecKG": "it needs a knowledge graph",
    "KSR": "it needs a knowledge graph",
    "DIN": "it is a click model that scores one given item at a time",
    "DIEN": "it is a click model that scores one given item at a time",
}


# ---------------------------------------------------------------- what there is (RecBole is not imported for this)


@cache
def recbole_folder() -> Path:
    """Return where RecBole is installed.

    Raises:
        ConfigError: it is not.
    """
    found = importlib.util.find_spec("recbole")
    if found is None or not found.submodule_search_locations:
        raise ConfigError(
            "ranker 'recbole'",
            "the package recbole is not installed",
            "Install it: pip install --no-deps recbole==1.2.1",
        )
    return Path(next(iter(found.submodule_search_locations)))


@cache
def model_files() -> dict[str, Path]:
    """Return the source file of each general and sequential model, by RecBole's name for it."""
    files = {}
    for kind in (GENERAL, SEQUENTIAL):
        for path in sorted((recbole_folder() / "model" / kind).glob("*.py")):
            for name in re.findall(r"^class (\w+)\(", path.read_text(encoding="utf-8"), flags=re.MULTILINE):
                if name.lower() == path.stem:
                    files[name] = path
    return files


def check_model(name: str) -> str:
    """Return the kind of a model, ``GENERAL`` or ``SEQUENTIAL``.

    Raises:
        ConfigError: no such model, or one that cannot work on interactions alone.
    """
    known = {model: path for model, path in model_files().items() if model not in UNSUPPORTED}
    if name in UNSUPPORTED:
        raise ConfigError(f"setting ranker.model {name!r}", UNSUPPORTED[name], "Choose another: " + ", ".join(known))
    if name not in known:
        by_lower = {model.lower(): model for model in known}
        hint = f"Did you mean {by_lower[name.lower()]!r}?" if name.lower() in by_lower else did_you_mean(name, known)
        raise ConfigError(f"setting ranker.model {name!r}", "RecBole has no such general or sequential model", hint)
    return known[name].parent.name


def check_params(name: str, params: Mapping[str, Any]) -> None:
    """Refuse parameters that model ``name`` never reads (RecBole itself would ignore them silently).

    Raises:
        ConfigError: an unknown parameter, or one that belongs to the adapter.
    """
    defaults = _model_defaults(name)
    read = set(re.findall(r"config\[\s*[\"'](\w+)[\"']\s*\]", model_files()[name].read_text(encoding="utf-8")))
    own = {key for key in {*re.findall(r"^(\w+):", defaults, flags=re.MULTILINE), *read} if not key.isupper()}
    known = {key for key in own | TRAINING_PARAMS if not key.endswith("_path") and key not in ("device", "seed")}
    for key in params:
        if key not in known:
            remedy = did_you_mean(key, known)
            raise ConfigError(f"setting ranker.params.{key}", f"{name} has no such parameter", remedy)


def _model_defaults(name: str) -> str:
    file = recbole_folder() / "properties" / "model" / f"{name}.yaml"
    return file.read_text(encoding="utf-8") if file.is_file() else ""


# --------------------------------------------------------------------------------------- repairs on RecBole's modules


class Overlay(ModuleType):
    """A module seen through: the given names first, all others from ``base``."""

    def __init__(self, base: ModuleType, **names: Any) -> None:
        super().__init__(base.__name__, base.__doc__)
        self.__dict__.update(names, _base=base)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._base, name)


@cache
def _overlays() -> dict[str, Overlay]:
    import numpy
    import scipy.sparse
    import yaml

    class DokMatrix(scipy.sparse.dok_matrix):
        """With the method that graph models fill their adjacency by."""

        def _update(self, entries: Mapping[tuple[int, int], float]) -> None:
            self._dict.update(entries)

    class FullLoader(yaml.FullLoader):
        """Takes the resolver that RecBole adds, instead of yaml's own class."""

    aliases = {
        "bool": numpy.bool_, "int": numpy.int_, "float": numpy.float64, "complex": numpy.complex128,
        "object": numpy.object_, "str": numpy.str_, "long": numpy.int_, "unicode": numpy.str_,
    }  # fmt: skip
    return {
        "np": Overlay(numpy, **aliases),
        "sp": Overlay(scipy.sparse, dok_matrix=DokMatrix),
        "yaml": Overlay(yaml, FullLoader=FullLoader),
    }


class _NoWriter:
    """Stands in for the TensorBoard writer: the fit log has the same numbers."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: None


def _log(*words: object, **_: object) -> None:
    logging.getLogger("recbole").debug(" ".join(map(str, words)))


def _repair_modules() -> None:
    """Repair every RecBole module imported so far; doing it again changes nothing."""
    overlays = _overlays()
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] != "recbole" or module is None:
            continue
        names = vars(module)
        names.update({alias: overlay for alias, overlay in overlays.items() if alias in names})
        if "getLogger" in names:
            names["getLogger"] = lambda *_: logging.getLogger("recbole")
        names["print"] = _log


def _import(name: str) -> ModuleType:
    module = importlib.import_module(name)
    _repair_modules()
    return module


@cache
def _framework() -> dict[str, ModuleType]:
    """Import RecBole's frame (seconds of CPU) and repair what it does to the program around it."""
    parts = {part: _import(f"recbole.{part}") for part in ("config", "utils", "data.utils", "data.dataset", "trainer")}
    config = parts["config"].Config
    config.compatibility_settings = lambda self: None
    config._load_cmd_line = lambda self: {}
    config._convert_config_dict = lambda self, values: values
    config._init_device = lambda self: None  # the device is given
    trainer = _import("recbole.trainer.trainer")
    trainer.get_tensorboard = lambda logger: _NoWriter()
    trainer.ensure_dir = lambda folder: None
    return parts


@contextmanager
def recbole_session(seed: int) -> Iterator[None]:
    """Let RecBole draw from the global generators, seeded; give them back as they were.

    Covers Python's, numpy's and torch's generators, cuDNN's flags and the
    warnings filter. Sessions may be nested: the inner one leaves no trace in
    the outer. Other threads wait, since all of this is global.

    Args:
        seed: non-negative; the low 32 bits are used.
    """
    import numpy
    import torch

    cudnn = torch.backends.cudnn
    cuda = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with _LOCK:
        python, legacy, flags = random.getstate(), numpy.random.get_state(), (cudnn.benchmark, cudnn.deterministic)
        try:
            with torch.random.fork_rng(devices=cuda), warnings.catch_warnings():
                warnings.filterwarnings("ignore", module=r"recbole(\.|$)")
                seed_all(seed)
                cudnn.benchmark, cudnn.deterministic = False, True
                yield
        finally:
            random.setstate(python)
            numpy.random.set_state(legacy)
            cudnn.benchmark, cudnn.deterministic = flags


def seed_all(seed: int) -> None:
    """Seed the three global generators that RecBole draws from (inside a session)."""
    import numpy
    import torch

    random.seed(seed)
    numpy.random.seed(seed & 0xFFFFFFFF)
    torch.manual_seed(seed)


# ------------------------------------------------------------------------------------- RecBole's parts, made from ours


def make_config(name: str, params: Mapping[str, Any], seed: int, device: torch.device) -> Any:
    """Return RecBole's ``Config`` of model ``name``: its defaults, then ``params``; no file or argument is read."""
    values = dict(params)
    loss = re.search(r"^loss_type:\s*['\"]?(\w+)", _model_defaults(name), flags=re.MULTILINE)
    if values.get("loss_type", loss and loss.group(1)) == "CE" and check_model(name) == SEQUENTIAL:
        values.setdefault("train_neg_sample_args", None)  # cross-entropy over all items needs no negatives
    frame = _framework()
    model_class = getattr(_import(f"recbole.model.{check_model(name)}.{name.lower()}"), name)
    fixed = {
        "seed": seed & 0xFFFFFFFF, "device": device, "use_gpu": device.type == "cuda", "gpu_id": "", "worker": 0,
        "single_spec": True, "local_rank": 0, "show_progress": False, "data_path": "", "checkpoint_dir": "",
    }  # fmt: skip
    return frame["config"].Config(model=model_class, dataset="in-memory", config_dict={**values, **fixed})


def make_dataset(config: Any, rows: Histories) -> Any:
    """Return RecBole's train data set, built from arrays.

    User and item ``i`` are RecBole's ``i + 1`` (0 is its padding), whether they
    occur or not. Sequential models get RecBole's augmentation, one row a
    prefix; the "time" is the position in the history, because RecBole keeps
    times in float32, too coarse to order seconds since 1970.
    """
    import numpy as np
    import torch
    from recbole.data.interaction import Interaction
    from recbole.utils import FeatureSource, FeatureType, ModelType

    sequential = config["MODEL_TYPE"] == ModelType.SEQUENTIAL
    base = _framework()["data.dataset"]
    base_class = base.SequentialDataset if sequential else base.Dataset
    lengths = np.diff(rows.indptr)
    users = torch.from_numpy(np.repeat(np.arange(1, len(rows) + 1), lengths))
    position = np.arange(rows.indptr[-1]) - np.repeat(rows.indptr[:-1], lengths)

    class InMemory(base_class):  # type: ignore[misc,valid-type]
        def _from_scratch(self) -> None:
            self._get_preset()
            self._get_field_from_config()
            self.user_feat = self.item_feat = None
            self.feat_name_list = ["inter_feat"]
            columns = {self.uid_field: users, self.iid_field: torch.from_numpy(rows.items + 1)}
            self.set_field_property(self.uid_field, FeatureType.TOKEN, FeatureSource.USER_ID, 1)
            self.set_field_property(self.iid_field, FeatureType.TOKEN, FeatureSource.ITEM_ID, 1)
            self.field2id_token[self.uid_field] = np.arange(len(rows) + 1)
            self.field2id_token[self.iid_field] = np.arange(rows.n_items + 1)
            if sequential:
                columns[self.time_field] = torch.from_numpy(position).float()
                self.set_field_property(self.time_field, FeatureType.FLOAT, FeatureSource.INTERACTION, 1)
            self.inter_feat = Interaction(columns)
            if sequential:
                self.data_augmentation()

    return InMemory(config)


def make_loader(config: Any, dataset: Any) -> Any:
    """Return RecBole's train loader with its sampler of negatives."""
    utils = _framework()["data.utils"]
    arguments = config["train_neg_sample_args"]
    sampler = None
    if arguments["distribution"] != "none":
        kind = utils.RepeatableSampler if config["repeatable"] else utils.Sampler
        source = dataset if config["repeatable"] else [dataset]
        sampler = kind(["train"], source, arguments["distribution"], arguments["alpha"]).set_phase("train")
    return utils.get_dataloader(config, "train")(config, dataset, sampler, shuffle=config["shuffle"])


def make_trainer(config: Any, model: Any, hooks: type) -> Any:
    """Return RecBole's trainer of that model with the methods of ``hooks`` before its own."""
    base = _framework()["utils"].get_trainer(config["MODEL_TYPE"], config["model"])
    return type(f"{hooks.__name__}{base.__name__}", (hooks, base), {})(config, model)


def make_model(config: Any, dataset: Any) -> Any:
    """Return a new model on ``config["device"]``."""
    from recbole.data.transform import construct_transform

    construct_transform(config)  # some models read field names that this one writes
    return config.model_class(config, dataset).to(config["device"])


def embeds_users(name: str) -> bool:
    """Return whether a model reads user ids."""
    return "self.USER_ID]" in model_files()[name].read_text(encoding="utf-8")


def make_batch(config: Any, query: Query, *, sequential: bool) -> Any:
    """Return RecBole's ``Interaction`` of some queries, without item ids.

    An empty history becomes one padding item: its scores mean nothing.
    """
    import numpy as np
    import torch
    from recbole.data.interaction import Interaction
    from recbole.data.transform import construct_transform

    fields = {config["USER_ID_FIELD"]: torch.from_numpy(np.maximum(query.user_idx, -1) + 1)}
    if sequential:
        limit, histories = config["MAX_ITEM_LIST_LENGTH"], query.histories
        lengths = np.diff(histories.indptr)
        kept = np.minimum(lengths, limit)
        items = np.zeros((len(query), limit), dtype=np.int64)
        row = np.repeat(np.arange(len(query)), lengths)
        column = np.arange(len(histories.items)) - histories.indptr[row] - (lengths - kept)[row]
        items[row[column >= 0], column[column >= 0]] = histories.items[column >= 0] + 1
        fields[config["ITEM_ID_FIELD"] + config["LIST_SUFFIX"]] = torch.from_numpy(items)
        fields[config["ITEM_LIST_LENGTH_FIELD"]] = torch.from_numpy(np.maximum(kept, 1))
    batch = Interaction(fields)
    if config["transform"] == "inverse_itemseq":  # the only one that is no augmentation
        batch = construct_transform(config)(None, batch)
    return batch.to(config["device"])


def full_scores(model: Any, batch: Any, n_columns: int) -> torch.Tensor:
    """Return ``[n, n_columns]``: all items at once where the model can, else pair by pair."""
    import torch

    try:
        return model.full_sort_predict(batch).reshape(len(batch), n_columns)
    except NotImplementedError:
        pass
    pairs = batch.repeat_interleave(n_columns)
    pairs[model.ITEM_ID] = torch.arange(n_columns, device=pairs[model.USER_ID].device).repeat(len(batch))
    size = 4096  # RecBole's eval_batch_size
    scores = [model.predict(pairs[slice(start, start + size)]) for start in range(0, len(pairs), size)]
    return torch.cat([part.reshape(-1) for part in scores]).reshape(len(batch), n_columns)
