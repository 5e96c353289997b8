"""RecBole's config, data set, loader, model and trainer, made from our values; and a model as plain arrays."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from recsys.core.errors import RankerError
from recsys.core.values import Histories, Query
from recsys.rankers.recbole_compat import SEQUENTIAL, check_model, framework, import_repaired, model_defaults

if TYPE_CHECKING:
    import torch

WEIGHTS, OTHER = "weights/", "other/"
PAIRS = 4096  # scored at once by models that score pairs, RecBole's eval_batch_size


def make_config(name: str, params: Mapping[str, Any], seed: int, device: torch.device) -> Any:
    """Return RecBole's ``Config`` of model ``name``: its defaults, then ``params``; no file or argument is read."""
    values = dict(params)
    loss = re.search(r"^loss_type:\s*['\"]?(\w+)", model_defaults(name), flags=re.MULTILINE)
    if values.get("loss_type", loss and loss.group(1)) == "CE" and check_model(name) == SEQUENTIAL:
        values.setdefault("train_neg_sample_args", None)  # cross-entropy over all items needs no negatives
    frame = framework()
    model_class = getattr(import_repaired(f"recbole.model.{check_model(name)}.{name.lower()}"), name)
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
    import torch
    from recbole.data.interaction import Interaction
    from recbole.utils import FeatureSource, FeatureType, ModelType

    sequential = config["MODEL_TYPE"] == ModelType.SEQUENTIAL
    base = framework()["data.dataset"]
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
    utils = framework()["data.utils"]
    arguments = config["train_neg_sample_args"]
    sampler = None
    if arguments["distribution"] != "none":
        kind = utils.RepeatableSampler if config["repeatable"] else utils.Sampler
        source = dataset if config["repeatable"] else [dataset]
        sampler = kind(["train"], source, arguments["distribution"], arguments["alpha"]).set_phase("train")
    return utils.get_dataloader(config, "train")(config, dataset, sampler, shuffle=config["shuffle"])


def make_trainer(config: Any, model: Any, hooks: type) -> Any:
    """Return RecBole's trainer of that model with the methods of ``hooks`` before its own."""
    base = framework()["utils"].get_trainer(config["MODEL_TYPE"], config["model"])
    return type(f"{hooks.__name__}{base.__name__}", (hooks, base), {})(config, model)


def make_model(config: Any, dataset: Any) -> Any:
    """Return a new model on ``config["device"]``."""
    from recbole.data.transform import construct_transform

    construct_transform(config)  # some models read field names that this one writes
    return config.model_class(config, dataset).to(config["device"])


def make_batch(config: Any, query: Query, *, sequential: bool) -> Any:
    """Return RecBole's ``Interaction`` of some queries, without item ids.

    An empty history becomes one padding item: its scores mean nothing.
    """
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
    scores = [model.predict(pairs[slice(start, start + PAIRS)]) for start in range(0, len(pairs), PAIRS)]
    return torch.cat([part.reshape(-1) for part in scores]).reshape(len(batch), n_columns)


def dump_model(model: Any) -> dict[str, np.ndarray]:
    """Return a RecBole model's weights and its ``other_parameter`` as arrays; sparse matrices as CSR parts.

    Raises:
        RankerError: a part that is neither a tensor, an array, a sparse matrix, a number nor ``None``.
    """
    arrays = {f"{WEIGHTS}{name}": _to_numpy(value) for name, value in model.state_dict().items()}
    for name, value in model.other_parameter().items():
        if sp.issparse(value):
            csr = value.tocsr()
            parts = {"data": csr.data, "indices": csr.indices, "indptr": csr.indptr, "shape": np.array(csr.shape)}
            arrays.update({f"{OTHER}{name}/{part}": np.array(array) for part, array in parts.items()})
        elif hasattr(value, "detach"):
            arrays[f"{OTHER}{name}/tensor"] = _to_numpy(value)
        elif isinstance(value, (np.ndarray, np.generic, int, float)):
            arrays[f"{OTHER}{name}/array"] = np.array(value)
        elif value is not None:
            raise RankerError(
                f"RecBole {type(model).__name__}", f"its part {name!r} cannot be kept as arrays", "Use another model."
            )
    return arrays


def load_model(model: Any, arrays: Mapping[str, np.ndarray]) -> None:
    """Put what ``dump_model`` returned back into a model of the same shape."""
    import torch

    device = next(model.parameters()).device
    tensor = lambda array: torch.from_numpy(np.array(array)).to(device)  # noqa: E731
    weights = {key.removeprefix(WEIGHTS): tensor(array) for key, array in arrays.items() if key.startswith(WEIGHTS)}
    model.load_state_dict(weights)
    parts: dict[str, dict[str, np.ndarray]] = {name: {} for name in model.other_parameter()}
    for key, array in arrays.items():
        if key.startswith(OTHER):
            name, _, part = key.removeprefix(OTHER).rpartition("/")
            parts[name][part] = np.array(array)
    model.load_other_parameter({name: _joined(part, tensor) for name, part in parts.items()})


def _joined(parts: Mapping[str, np.ndarray], tensor: Any) -> Any:
    if "indptr" in parts:
        csr = (parts["data"], parts["indices"], parts["indptr"])
        return sp.csr_matrix(csr, shape=tuple(parts["shape"].tolist()))
    if "tensor" in parts:
        return tensor(parts["tensor"])
    return parts.get("array")


def _to_numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy().copy()
