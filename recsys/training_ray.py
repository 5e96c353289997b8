"""Training on a Ray cluster: Ray Train starts a worker a device, here or on other machines, which train as one.

The workers are seated as processes of one machine are (``rankers.processes``): the first leads, validates and writes
the checkpoint, into the folder that this process would; all machines of a cluster see the same files. A worker that is
lost ends all, and Ray Train starts them again, from that checkpoint.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from recsys.core.amounts import amount
from recsys.core.artifact import write_json
from recsys.core.errors import RecsysError
from recsys.core.protocols import Ranker, Validator
from recsys.core.runtime import Run
from recsys.core.values import FitLog, Interactions, ItemFeatures
from recsys.executing import ExecutorError
from recsys.executing_ray import connect, first_line, load_ray, retries
from recsys.rankers.processes import Dismissed
from recsys.rankers.sharing import Seat, SeatedRun
from recsys.rankers.store import load_ranker, make_ranker, save_ranker

LONG = timedelta(days=30)  # that workers wait for the leader while it validates; one that is gone is noticed at once
FITTED, LOG, SAID = "fitted", "log.json", "said.txt"


def train_on_ray(
    config: Mapping[str, Any], train: Interactions, features: ItemFeatures, *, valid: Validator | None, run: Run
) -> tuple[Ranker, FitLog]:
    """Fit a ranker by ``devices`` workers of Ray Train, and return it with its log.

    Args:
        config: name and settings, resolved.
        train, features: what it is fitted on; they travel to the workers.
        valid: measures weights on validation, in the first worker.
        run: seed; device, ``"auto"`` meaning GPUs where the cluster has that many; log; and a folder that all machines
            of the cluster see.

    Raises:
        ConfigError: Ray is not installed.
        ExecutorError: the cluster does not come up, or a worker ended before its time.
        RecsysError: as ``fit`` raises it.
    """
    ray, size, place = load_ray("training on Ray"), config["devices"], run.folder.absolute() / "ray"
    shutil.rmtree(place, ignore_errors=True)  # of a run that was killed
    (place / FITTED).mkdir(parents=True)
    ours = connect(ray, size, silent=True)
    try:
        gpus = _on_gpus(ray, size, run.device)
        run.log(f"training by {amount(size, 'worker')} of Ray, a {'GPU' if gpus else 'CPU'} each")
        task = (dict(config), train, features, valid, run.seed, run.folder.absolute())
        with _heard(place / SAID, run.log):
            _fit_by(ray, size, gpus, {"folder": os.getcwd(), "place": str(place), "task": ray.put(task)})
        log = json.loads((place / LOG).read_text(encoding="utf-8"))
        return load_ranker(place / FITTED), FitLog(**log)
    finally:
        if ours:
            ray.shutdown()
        shutil.rmtree(place, ignore_errors=True)


def _on_gpus(ray: Any, size: int, device: str) -> bool:
    return device.startswith("cuda") or (device == "auto" and ray.cluster_resources().get("GPU", 0) >= size)


@contextlib.contextmanager
def _heard(said: Path, log: Callable[[str], None]) -> Iterator[None]:
    """Log the lines of a file as they are written, by another process that may be on another machine."""
    over = threading.Event()

    def listen() -> None:
        at, last = 0, False
        while not last:
            last = over.wait(0.5)
            text = said.read_text(encoding="utf-8") if said.exists() else ""
            lines = text[at:].split("\n")[:-1]
            at += sum(len(line) + 1 for line in lines)
            for line in lines:
                log(line)

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _fit_by(ray: Any, size: int, gpus: bool, given: dict[str, Any]) -> None:
    """Let Ray Train do it; an error of ours is raised as it was there."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    logging.getLogger("ray.train").setLevel(logging.CRITICAL)  # what goes wrong is raised, once
    trainer = TorchTrainer(
        _work,
        train_loop_config=given,
        scaling_config=ScalingConfig(num_workers=size, use_gpu=gpus),
        torch_config=TorchConfig(backend="nccl" if gpus else "gloo"),
        run_config=RunConfig(storage_path=given["place"], failure_config=FailureConfig(max_failures=retries())),
    )
    try:
        trainer.fit()
    except ray.train.TrainingFailedError as error:
        raise _told(error, ray.exceptions.RayError) from error


def _told(error: Exception, lost: type[Exception]) -> RecsysError:
    """Return the error of ours that a worker met, or what became of Ray's; who misses another is no cause."""
    causes = [cause for _, cause in sorted(getattr(error, "worker_failures", {}).items())] or [error]
    for kind in (RecsysError, lost, Exception):
        cause = next((one for one in causes if isinstance(one, kind)), None)
        if cause is not None:
            break
    if isinstance(cause, RecsysError):
        return cause
    said = f"{type(cause).__name__}: {first_line(cause)}"
    remedy = "If memory ran out, set fewer ranker.devices. The same command goes on from the last validation."
    return ExecutorError("a Ray Train worker", said, remedy)


def _work(given: dict[str, Any]) -> None:
    """Fit as one of the workers; the first leaves the ranker and its log in ``place``."""
    import ray
    import ray.train.torch
    from torch import distributed

    os.chdir(given["folder"])  # paths mean what they mean to who asked
    config, train, features, valid, seed, folder = ray.get(given["task"])
    context = ray.train.get_context()
    rank, size, talk = context.get_world_rank(), context.get_world_size(), None
    if size > 1:
        talk = distributed.new_group(backend="gloo", timeout=LONG)
    peers = range(1, size) if rank == 0 else (0,)
    seat = Seat(rank, size, tuple(_Line(peer, talk) for peer in peers), placement=_placement)
    device, place, ranker = str(ray.train.torch.get_device()), Path(given["place"]), make_ranker(config)
    if rank > 0:
        with contextlib.suppress(Dismissed):
            ranker.fit(train, features, run=SeatedRun(seed, device, log=_nothing, seat=seat))
        return
    say = partial(_say, place / SAID)
    run = SeatedRun(seed, device, folder=folder, log=say, seat=seat)
    log = ranker.fit(train, features, valid=valid and _Telling(valid, say), run=run)
    save_ranker(ranker, config, place / FITTED)
    write_json(place / LOG, asdict(log))


class _Telling:
    """A validator that says what it found."""

    def __init__(self, valid: Validator, say: Callable[[str], None]) -> None:
        self.valid, self.say, self.times = valid, say, 0
        self.metric, self.held_out = valid.metric, valid.held_out

    def __call__(self, ranker: Ranker) -> Mapping[str, float]:
        found, self.times = self.valid(ranker), self.times + 1
        self.say(f"validation {self.times}: {self.metric} {found[self.metric]:.4f}")
        return found


def _say(place: Path, message: str) -> None:
    with open(place, "a", encoding="utf-8") as file:
        file.write(f"{message}\n")


class _Line:
    """Between the leader and another worker: objects through ``torch.distributed``, on CPUs."""

    def __init__(self, peer: int, group: Any) -> None:
        self.peer, self.group = peer, group

    def send(self, what: Any) -> None:
        from torch import distributed

        distributed.send_object_list([what], dst=self.peer, group=self.group)

    def recv(self) -> Any:
        from torch import distributed

        box = [None]
        distributed.recv_object_list(box, src=self.peer, group=self.group)
        return box[0]


def _placement() -> dict[str, Any]:
    """Return what Lightning's trainer is told in a worker of Ray Train."""
    from ray.train.lightning import RayDDPStrategy, RayLightningEnvironment

    return {
        "accelerator": "auto",
        "devices": "auto",
        "strategy": RayDDPStrategy(broadcast_buffers=False),
        "plugins": [RayLightningEnvironment()],
        "use_distributed_sampler": False,
    }


def _nothing(message: str) -> None:
    pass
