"""A PostgreSQL server of the test run's own; name this module in ``pytest_plugins`` to get its fixtures."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

NOBODY = 65534  # the server refuses to run as root


@dataclass(frozen=True)
class PostgresServer:
    """A running server.

    Attributes:
        port: on 127.0.0.1, where everybody is let in as ``recsys``, who may do anything.
        data: folder of its files.
        binaries: folder of its programs.
    """

    port: int
    data: Path
    binaries: Path

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://recsys@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str, database: str = "postgres") -> list[tuple]:
        """Run a statement outside of any transaction, and return its rows."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def check(self, database: str) -> None:
        """Fail where a table or an index of a database is damaged."""
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "recsys", "-d", database]
        amcheck = [str(self.binaries / "pg_amcheck"), "--install-missing", "--heapallindexed", *where]
        as_owner(amcheck, self.data.parent)

    def read_disk(self) -> bytes:
        """Return the files of all tables, indexes and statistics as they are now, without the log of writes."""
        self.execute("CHECKPOINT")
        return b"".join(path.read_bytes() for path in (self.data / "base").rglob("*") if path.is_file())

    def control(self, *arguments: str) -> None:
        """Run ``pg_ctl`` as whoever the server belongs to."""
        log = ["-l", str(self.data.parent / "log"), "-w", "-t", "60"]
        as_owner([str(self.binaries / "pg_ctl"), "-D", str(self.data), *log, *arguments], self.data.parent)

    def start(self) -> None:
        """Start it; without ``fsync``, for the tests kill processes and never the machine."""
        where = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''"
        self.control("-o", f"{where} -c fsync=off -c shared_buffers=32MB", "start")


def find_binaries() -> Path | None:
    """Return the folder of ``initdb`` and ``pg_ctl``: that of the path, or the newest of the usual places."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] * bool(found) + places
    return next((place for place in places if (place / "pg_ctl").exists()), None)


def as_owner(command: list[str], folder: Path) -> None:
    """Run a command, as nobody where the tests are root's."""
    owner = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}
    with (folder / "output").open("w+") as output:  # not a pipe: the server would keep it open
        done = subprocess.run(command, stdout=output, stderr=output, cwd=folder, env=environment, check=False, **owner)
        output.seek(0)
        assert done.returncode == 0, output.read()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A running server, or a skipped test where there is none."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("needs PostgreSQL's programs (initdb, pg_ctl): none are installed")
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("needs psycopg: pip install 'recsys[postgres]'")
    folder = Path(tempfile.mkdtemp(prefix="recsys-postgres-"))  # pytest's own folders are closed to others
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = PostgresServer(port, folder / "data", binaries)
    initdb = [
        str(binaries / "initdb"),
        "-D",
        str(server.data),
        "-U",
        "recsys",
        "-A",
        "trust",
        "-E",
        "UTF8",
        "--no-sync",
    ]
    try:
        as_owner(initdb, folder)
        server.start()
        yield server
    finally:
        if (server.data / "postmaster.pid").exists():
            server.control("-m", "immediate", "stop")
        shutil.rmtree(folder)


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The address of an empty database of the test's own."""
    name = f"test_{uuid.uuid4().hex}"
    postgres_server.execute(f"CREATE DATABASE {name}")
    yield postgres_server.url(name)
    postgres_server.execute(f"DROP DATABASE {name} WITH (FORCE)")
