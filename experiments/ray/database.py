"""A PostgreSQL of the measurement's own, gone afterwards."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PLACES = ["/usr/lib/postgresql"]  # below which Debian has the programs of each version
OTHER = 65534  # PostgreSQL does not run as root


def program(name: str) -> str:
    """Return the path of one of PostgreSQL's programs.

    Raises:
        SystemExit: it is not installed.
    """
    beside = sorted(str(path.parent) for place in PLACES for path in Path(place).glob(f"*/bin/{name}"))
    found = shutil.which(name, path=os.pathsep.join([*reversed(beside), os.environ.get("PATH", "")]))
    if not found:
        raise SystemExit(f"{name}: PostgreSQL's programs are not here; install them, or give --state postgresql://…")
    return found


@contextmanager
def own_database(state: str | None) -> Iterator[str]:
    """Give the address of an empty database: ``state``, or that of a server that is started and removed here."""
    if state:
        yield state
        return
    folder = Path(tempfile.mkdtemp(prefix="measure-"))
    who = {"user": OTHER, "group": OTHER, "extra_groups": []} if os.geteuid() == 0 else {}
    if who:
        os.chown(folder, OTHER, OTHER)

    def call(name: str, *given: str) -> None:
        command = [program(name), "-D", str(folder / "data"), *given]
        with (folder / "log").open("a") as log:  # not a pipe: the server keeps it open
            subprocess.run(command, check=True, stdout=log, stderr=log, cwd=folder, **who)

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    try:
        call("initdb", "-U", "recsys", "-A", "trust", "-E", "UTF8", "--no-sync")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        call("pg_ctl", "-w", "-o", options, "start")
        yield f"postgresql://recsys@127.0.0.1:{port}/postgres"
    finally:
        if (folder / "data" / "postmaster.pid").exists():
            call("pg_ctl", "-m", "immediate", "stop")
        shutil.rmtree(folder)
