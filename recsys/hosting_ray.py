"""A run as a service on Ray Serve: replicas of one server, as many as there is to do, on one machine or a cluster.

Each replica makes its own ``Host`` of the run and its own application, and all share a PostgreSQL, so that what is
said to one counts in the next list of every other. Keys, checks of host and origin, feedback, models, profiles and the
log of requests are those of the plain server. What Serve does in its place, or does not hold beyond one replica:

- connections are its proxies': the bounds of ``http.protocol`` on slow heads and on how many connect are not theirs;
- rates, requests at once and bytes held are counted a replica, and ``/metrics`` and ``/health/ready`` tell of the one
  that happened to answer: Serve asks each by itself whether it lives, and starts another where it does not;
- a stop is not announced by ``/health/ready``: what is being answered is finished, and proxies say 404 to all else
  for the seconds that they live on.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from recsys.core.errors import ConfigError
from recsys.executing import ExecutorError
from recsys.executing_ray import connect, load_ray
from recsys.hosting import Host, Hosting, bound
from recsys.runconfig import RunConfig
from recsys.serving.http.guard import Guard, Limits
from recsys.serving.state import make_state
from recsys.workflow import Workflow

NAME = "recsys"  # of the application in Serve
BUSY = 16  # requests that a replica answers at once before another is started: they are answered in one pass
QUIET = {"log_level": "WARNING", "enable_access_log": False}  # the service logs requests itself, and names no user


@dataclass(frozen=True)
class Replicas:
    """How many servers: ``least`` where nothing is to do, ``most`` where much is."""

    least: int = 1
    most: int = 1

    @classmethod
    def parse(cls, text: str) -> Replicas:
        """Read ``"2"``, or ``"1:4"``.

        Raises:
            ConfigError: it is neither, or there would be none.
        """
        least, _, most = text.partition(":")
        try:
            found = cls(int(least), int(most or least))
        except ValueError:
            raise ConfigError(f"replicas {text!r}", "is no number", "Such as: --replicas 2, --replicas 1:4") from None
        if not 1 <= found.least <= found.most:
            raise ConfigError(f"replicas {text!r}", "is no range from 1 up", "Such as: --replicas 2, --replicas 1:4")
        return found

    def options(self) -> dict[str, Any]:
        """Return them as Serve takes them."""
        if self.least == self.most:
            return {"num_replicas": self.least}
        scaling = {"min_replicas": self.least, "max_replicas": self.most, "target_ongoing_requests": BUSY}
        return {"autoscaling_config": scaling}


@dataclass(frozen=True)
class Description:
    """All that a replica needs to make a server of its own.

    Attributes:
        config: the run, as JSON.
        hosting: how it is served.
        folder: that paths of the run start from.
    """

    config: str
    hosting: Hosting
    folder: str

    def app(self) -> Guard:
        """Make the application, in the process of a replica."""
        os.chdir(self.folder)
        host = Host(Workflow(RunConfig.model_validate_json(self.config)), self.hosting)
        return host.app(host.service())


def check_shared(hosting: Hosting) -> None:
    """Refuse what replicas cannot share.

    Raises:
        ConfigError: the state is not shared, or it would be open to everybody.
        RecsysError: the state cannot be reached.
    """
    hosting.check()
    if not (hosting.state or "").startswith("postgresql://"):
        cause = "would not know what is said to one another"
        raise ConfigError("replicas", cause, "Give them one state: --state postgresql://USER@HOST/NAME")
    state = make_state(str(hosting.state))
    state.check()
    state.close()


def describe(workflow: Workflow, hosting: Hosting) -> Description:
    """Make what replicas read (a trained ranker, item vectors), and say where it is.

    Raises:
        RecsysError: the ranker cannot be opened.
    """
    host = Host(workflow, hosting)
    trained = str(host.trained.path.absolute())
    if hosting.profiles:
        host.profiles.fitted()
    else:
        workflow.items()
    return Description(workflow.config.model_dump_json(), replace(hosting, ranker=trained), os.getcwd())


def serve_on_ray(workflow: Workflow, hosting: Hosting, replicas: Replicas) -> None:
    """Serve until stopped, on the cluster of ``RAY_ADDRESS`` or on this host; prints the addresses of page and API.

    Raises:
        ConfigError: the state is not shared, Ray is not installed, or the address is in use.
        ExecutorError: Ray or a replica does not come up.
    """
    check_shared(hosting)
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")  # read with the import: else lines of the request log are left out
    ray, serve = load_ray("engine 'ray'"), _load_serve()
    described = describe(workflow, hosting)
    if not os.environ.get("RAY_ADDRESS"):
        with bound(hosting) as doors:  # else the proxy would share the address with whoever has it
            for door in doors:
                door.listen()
    ours = connect(ray, replicas.most)
    try:
        with _until_told() as told:
            _start(serve, described, replicas)
            print(hosting.announcement, flush=True)
            told.wait()
    finally:
        if NAME in serve.status().applications:
            serve.delete(NAME)  # replicas finish what they answer, which a shutdown of all does not wait for
        if ours:
            serve.shutdown()
            ray.shutdown()


def _start(serve: Any, described: Description, replicas: Replicas) -> None:
    """Start the replicas, and wait until they answer."""

    def build() -> Guard:  # a function of its own for Serve, which has replicas call it
        return described.app()

    deployment = serve.deployment(
        serve.ingress(build)(), name="server", ray_actor_options={"num_cpus": 1}, logging_config=QUIET,
        max_ongoing_requests=Limits().at_once, graceful_shutdown_timeout_s=10, graceful_shutdown_wait_loop_s=0.5,
        **replicas.options(),
    )  # fmt: skip
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    options = {"host": described.hosting.host, "port": described.hosting.port}
    try:
        serve.start(http_options=options, logging_config=QUIET)
        serve.run(deployment.bind(), name=NAME, route_prefix="/")
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        remedy = "See its log above; does the plain engine serve this run?"
        raise ExecutorError("Ray Serve", lines[-1] if lines else "a replica does not start", remedy) from error


def _load_serve() -> Any:
    try:
        from ray import serve
    except ImportError as error:
        cause = f"it needs Ray Serve, which cannot be imported ({error})"
        raise ConfigError("engine 'ray'", cause, 'pip install "recsys[ray]"') from error
    return serve


@contextlib.contextmanager
def _until_told() -> Iterator[threading.Event]:
    """Give what is set by Ctrl-C or SIGTERM; told again, the process ends as it would without this."""
    told = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def stop(number: int, frame: Any) -> None:
        told.set()
        for each, handler in before.items():
            signal.signal(each, handler)

    for number in before:
        signal.signal(number, stop)
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
