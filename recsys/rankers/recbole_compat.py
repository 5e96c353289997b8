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
from typing import Any

from recsys.core.errors import ConfigError, did_you_mean

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


# ---- what there is (RecBole is not imported for this)


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


def embeds_users(name: str) -> bool:
    """Return whether a model reads user ids."""
    return "self.USER_ID]" in model_files()[name].read_text(encoding="utf-8")


def check_params(name: str, params: Mapping[str, Any]) -> None:
    """Refuse parameters that model ``name`` never reads (RecBole itself would ignore them silently).

    Raises:
        ConfigError: an unknown parameter, or one that belongs to the adapter.
    """
    defaults = model_defaults(name)
    read = set(re.findall(r"config\[\s*[\"'](\w+)[\"']\s*\]", model_files()[name].read_text(encoding="utf-8")))
    own = {key for key in {*re.findall(r"^(\w+):", defaults, flags=re.MULTILINE), *read} if not key.isupper()}
    known = {key for key in own | TRAINING_PARAMS if not key.endswith("_path") and key not in ("device", "seed")}
    for key in params:
        if key not in known:
            remedy = did_you_mean(key, known)
            raise ConfigError(f"setting ranker.params.{key}", f"{name} has no such parameter", remedy)


def model_defaults(name: str) -> str:
    """Return the text of RecBole's file of default parameters of a model, empty where there is none."""
    file = recbole_folder() / "properties" / "model" / f"{name}.yaml"
    return file.read_text(encoding="utf-8") if file.is_file() else ""


# ---- repairs on RecBole's modules


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


def import_repaired(name: str) -> ModuleType:
    """Import a module of RecBole and repair it and all that it brought along."""
    module = importlib.import_module(name)
    _repair_modules()
    return module


@cache
def framework() -> dict[str, ModuleType]:
    """Import RecBole's frame (seconds of CPU) and repair what it does to the program around it."""
    parts = {
        part: import_repaired(f"recbole.{part}")
        for part in ("config", "utils", "data.utils", "data.dataset", "trainer")
    }
    config = parts["config"].Config
    config.compatibility_settings = lambda self: None
    config._load_cmd_line = lambda self: {}
    config._convert_config_dict = lambda self, values: values
    config._init_device = lambda self: None  # the device is given
    trainer = import_repaired("recbole.trainer.trainer")
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
