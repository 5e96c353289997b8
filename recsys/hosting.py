"""A run as a service: the ranker, what it needs besides, and the server."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from recsys.core.erased import add_erased
from recsys.core.errors import ConfigError, RecsysError
from recsys.served_engines import ServedEngines
from recsys.served_items import ServedPictures, ServedSearch, ServedVisuals, new_item_vectors
from recsys.served_profiles import ProfileRoutes, ServedProfiles
from recsys.serving.http.app import create_app
from recsys.serving.http.context import Offers
from recsys.serving.http.guard import LOOPBACK, Guard, Limits
from recsys.serving.models import Models
from recsys.serving.people import People
from recsys.serving.service import Service
from recsys.serving.state import make_state
from recsys.statefiles import StateFiles
from recsys.workflow import Workflow

KEYS = "RECSYS_KEYS"
NOTICE = 1.0  # seconds from "not ready" to closed doors: who asks /health/ready goes elsewhere meanwhile


@dataclass(frozen=True)
class Hosting:
    """How a run is served.

    Attributes:
        ranker: name, folder or key; none: the configured one, trained if need be.
        host, port: where it listens.
        state: where feedback is kept: a path or postgresql://…; none: a file beside the results.
        keys: that changes need; none on a loopback address: anybody on this machine.
        profiles, visuals: offer them.
        recall: answer from an index that finds this share of exact lists; none: exactly.
    """

    ranker: str | None = None
    host: str = "127.0.0.1"
    port: int = 8080
    state: str | None = None
    keys: Sequence[str] = ()
    profiles: bool = True
    visuals: bool = True
    recall: float | None = None

    @property
    def address(self) -> str:
        """Host and port as they stand in a URL."""
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def announcement(self) -> str:
        """The addresses of the page and of the documentation, a line each."""
        return f"page  http://{self.address}/\nAPI   http://{self.address}/docs"

    def check(self) -> None:
        """Refuse to be reached from elsewhere without a key.

        Raises:
            ConfigError: the address is not this machine's own, and there is no key.
        """
        if not self.keys and not _is_loopback(self.host):
            cause = "would let anybody who reaches it change and export what is kept"
            raise ConfigError(f"serve on {self.host}", cause, f"Set {KEYS}=KEY[,KEY…], or --host 127.0.0.1.")


class Host:
    """Makes the service of a run.

    Args:
        workflow: the run; where it says nothing of data and split, those of the ranker are taken.
        hosting: how it is served.
    """

    def __init__(self, workflow: Workflow, hosting: Hosting) -> None:
        self.workflow, self.hosting = workflow, hosting

    @cached_property
    def trained(self) -> Any:
        """The artifact of the ranker."""
        return self.workflow.open_ranker(self.hosting.ranker) if self.hosting.ranker else self.workflow.train()

    @cached_property
    def engines(self) -> ServedEngines:
        """What opens rankers, the first and those that come later."""
        return ServedEngines(self.workflow, self.hosting.recall)

    def service(self) -> Service:
        """Return the service, ready to answer."""
        trained, workflow = self.trained, self.workflow
        state = make_state(self._state_place())
        models = Models(self.engines.open, state)
        models.start(str(trained.path), trained.manifest["name"])
        known = models.of(None).recommender.known
        steers = self.profiles if self.hosting.profiles else None
        people = People(workflow.dataset, known, state, steers, shared=self._shared)
        if steers is not None:
            steers.people = people
        service = Service(
            models, people, state, neighbourhood=self.engines.neighbourhood, vectors=new_item_vectors(workflow)
        )
        service.accounts.on_erase = lambda user_id: add_erased(workflow.store.root, user_id)
        if not self._shared:
            service.accounts.elsewhere = self._erase_elsewhere
        if self._shared:
            threading.Thread(target=_follow, args=(service,), daemon=True, name="follow").start()
        return service

    def _state_place(self) -> str:
        """Return where the state is: one file a data set, of which one server at a time knows all that is said.

        Other files of the same source, which are not opened, are named in the log.

        Raises:
            ConfigError: another server uses the file.
        """
        if self._shared:
            return str(self.hosting.state)
        path = self.hosting.state or str(self.files.served)
        for note in self.files.notes:
            self.workflow.run.log(note)
        file = Path(path.removeprefix("sqlite:///"))
        file.parent.mkdir(parents=True, exist_ok=True)
        self._alone = FileLock(f"{file}.server")
        try:
            self._alone.acquire(timeout=0)
        except Timeout:
            remedy = "Stop it, give another file: --state FILE, or share a PostgreSQL: --state postgresql://…"
            raise ConfigError(f"state {file}", "is in use by another server", remedy) from None
        return path

    @cached_property
    def files(self) -> StateFiles:
        """Where state of the data set is kept."""
        return StateFiles(self.workflow)

    def _erase_elsewhere(self, user_id: str) -> int:
        state = Path(self.hosting.state.removeprefix("sqlite:///")) if self.hosting.state else self.files.served
        return self.files.erase_elsewhere(user_id, [state, *([self.files.profiles] if self.hosting.profiles else [])])

    def release(self) -> None:
        """Let another server have the state's file."""
        self._alone.release()

    def app(self, service: Service, log: Any = None) -> Guard:
        """Return the ASGI application around a service."""
        profiles = ProfileRoutes(self.profiles) if self.hosting.profiles else None
        drawer = ServedVisuals(self.workflow, self.profiles) if self.hosting.visuals and profiles else None
        offers = Offers(
            profiles, ServedSearch(self.workflow, service.people, service.items.card), drawer,
            ServedPictures(service.people, service.items.card),
        )  # fmt: skip
        hosts = LOOPBACK if _is_loopback(self.hosting.host) else ()
        limits = Limits(keys=tuple(self.hosting.keys), hosts=hosts)
        return create_app(service, offers, limits, name=self.workflow.dataset.name, log=log)

    @cached_property
    def profiles(self) -> ServedProfiles:
        """Profiles of the run; where the state is shared, they are kept there, too."""
        if not self._shared:
            return ServedProfiles(self.workflow)
        from recsys.profiles.store_postgres import PostgresProfileStore

        return ServedProfiles(self.workflow, PostgresProfileStore(str(self.hosting.state)))

    @property
    def _shared(self) -> bool:
        return bool(self.hosting.state and self.hosting.state.startswith("postgresql"))


def _follow(service: Service) -> None:
    """Look twice a second for what other servers changed."""
    while not service.stopping:
        time.sleep(0.5)
        with contextlib.suppress(RecsysError):  # the state is out of reach, which /health/ready says
            service.follow()


def keys_of(environment: Any = os.environ) -> tuple[str, ...]:
    """Return the keys that the environment names.

    Raises:
        ConfigError: one is too short to keep anybody out.
    """
    keys = tuple(key.strip() for key in environment.get(KEYS, "").split(",") if key.strip())
    if any(len(key) < 16 for key in keys):
        raise ConfigError(KEYS, "has a key of fewer than 16 characters", "Make one: openssl rand -hex 16")
    return keys


def serve(workflow: Workflow, hosting: Hosting) -> None:
    """Serve until stopped; prints the addresses of the page and of the documentation once they answer.

    Raises:
        ConfigError: it would be open to everybody, or the address cannot be had.
    """
    import uvicorn

    from recsys.serving.http.protocol import BoundedHttp, PoliteServer

    hosting.check()
    with bound(hosting) as doors:  # before the work: an address in use is said at once
        host = Host(workflow, hosting)
        service = host.service()
        config = uvicorn.Config(
            host.app(service), log_level="warning", access_log=False, server_header=False,
            timeout_graceful_shutdown=10, loop="auto", http=BoundedHttp, ws="none",
        )  # fmt: skip
        server = PoliteServer(config)
        _announce_the_start(server, hosting)
        _announce_the_end(server, service)
        try:
            for door in doors:
                door.listen(config.backlog)
        except OSError as error:  # another server bound it as well, and listened first
            raise _not_to_be_had(hosting, error) from None
        server.run(sockets=doors)
    if not server.started:
        raise ConfigError(f"server on {hosting.address}", "did not start", "See the lines above.")


@contextlib.contextmanager
def bound(hosting: Hosting) -> Iterator[list[socket.socket]]:
    """Give the sockets that have the address, of which ``localhost`` may be two; they do not listen yet.

    Raises:
        ConfigError: the address is in use, or is none of this machine.
    """
    with contextlib.ExitStack() as doors:
        made, absent = [], None
        try:
            for family, _, _, _, place in socket.getaddrinfo(hosting.host, hosting.port, type=socket.SOCK_STREAM):
                try:
                    made.append(doors.enter_context(_bind(family, place)))
                except OSError as error:
                    if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                        raise
                    absent = error  # such as that of version 6, where there is none
        except OSError as error:
            raise _not_to_be_had(hosting, error) from None
        if absent and not made:
            raise _not_to_be_had(hosting, absent)
        yield made


def _bind(family: int, place: Any) -> socket.socket:
    door = socket.socket(family, socket.SOCK_STREAM)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:  # else it would take the address of version 4, too
        door.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    try:
        door.bind(place)
    except OSError:
        door.close()
        raise
    return door


def _not_to_be_had(hosting: Hosting, error: OSError) -> ConfigError:
    if error.errno == errno.EADDRINUSE:
        remedy = f"Stop what listens there, or try another: --port {hosting.port % 65535 + 1}"
        return ConfigError(f"address {hosting.address}", "is in use", remedy)
    cause = f"cannot be used ({error.strerror})"
    return ConfigError(f"address {hosting.address}", cause, "Give an address of this machine and a port that is yours.")


def _announce_the_start(server: Any, hosting: Hosting) -> None:
    """Print the addresses as soon as they answer."""
    start = server.startup

    async def starting(*args: Any, **options: Any) -> None:
        await start(*args, **options)
        if server.started:
            print(hosting.announcement, flush=True)

    server.startup = starting


def _announce_the_end(server: Any, service: Service) -> None:
    """Let ``/health/ready`` say no from the signal on, and close the doors a moment later; at once if told again."""
    stop = server.handle_exit

    def stopping(number: int, frame: Any) -> None:
        if service.stopping:
            stop(number, frame)
            return
        service.stopping = True
        later = threading.Timer(NOTICE, stop, (number, frame))
        later.daemon = True
        later.start()

    server.handle_exit = stopping


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
