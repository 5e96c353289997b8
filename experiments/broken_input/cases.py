"""The ways to break the input: each prepares a folder, names the command that then runs and what it must say."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Break = Callable[[Path], None]
HEADER = "user_id,item_id,rating,timestamp"


def rows(n_users: int = 30, n_items: int = 12) -> list[str]:
    """Return lines of a well-formed table: every user took seven of the items, at seconds since 1970."""
    return [
        f"u{user},i{(user + place * 5) % n_items},{1 + (user + place) % 5},{1_600_000_000 + 1000 * user + place}"
        for user in range(n_users)
        for place in range(7)
    ]


def write(folder: Path, lines: list[str], header: str = HEADER) -> None:
    (folder / "interactions.csv").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")


def row(number: int, line: str) -> Break:
    """Replace data row ``number`` (from 1)."""

    def do(folder: Path) -> None:
        lines = rows()
        lines[number - 1] = line
        write(folder, lines)

    return do


def cut_gzip(folder: Path) -> None:
    packed = gzip.compress("\n".join([HEADER, *rows()]).encode())
    (folder / "interactions.csv.gz").write_bytes(packed[: len(packed) // 2])


def wrong_encoding(folder: Path) -> None:
    lines = rows()
    lines[9] = lines[9].replace("u", "José", 1)
    (folder / "interactions.csv").write_bytes("\n".join([HEADER, *lines]).encode("latin-1"))


def milliseconds(folder: Path) -> None:
    write(folder, [line + "000" for line in rows()])


def no_times(folder: Path) -> None:
    write(folder, [line.rpartition(",")[0] for line in rows()], "user_id,item_id,rating")


class Payload:
    """Makes a file when it is unpickled: the case proves that nothing does."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.path,)


def pickled_features(folder: Path) -> None:
    import pickle

    lines = ["userID\titemID\tx_label"] + [f"{u}\t{(u + j) % 5}\t{min(j, 2)}" for u in range(9) for j in range(4)]
    (folder / "tiny.inter").write_text("\n".join(lines) + "\n")
    (folder / "text_feat.npy").write_bytes(pickle.dumps(Payload(folder / "RAN")))


def trained_then(damage: Break) -> Break:
    """Train a ranker in the folder, then damage its artifact."""

    def do(folder: Path) -> None:
        after("train", *OWN)(folder)
        damage(next((folder / "artifacts" / "ranker").glob("[!.]*")))

    return do


def overwrite(name: str, content: bytes) -> Break:
    return lambda artifact: (artifact / name).write_bytes(content) and None


def flip_a_byte(artifact: Path) -> None:
    file = artifact / "state.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))


def half(name: str) -> Break:
    def do(artifact: Path) -> None:
        content = (artifact / name).read_bytes()
        (artifact / name).write_bytes(content[: len(content) // 2])

    return do


def read_only(folder: Path) -> None:
    write(folder, rows())
    (folder / "artifacts").mkdir()
    (folder / "artifacts").chmod(0o500)


def after(*command: str) -> Break:
    """Let a command do its work first."""

    def do(folder: Path) -> None:
        write(folder, rows())
        done = recsys(folder, list(command))
        if done.returncode:
            raise RuntimeError(f"the step before failed: {done.stderr}")

    return do


def good(folder: Path) -> None:
    write(folder, rows())


def artifacts_is_a_file(folder: Path) -> None:
    write(folder, rows())
    (folder / "artifacts").write_text("not a folder")


OWN = ("--set", "data.source=own")
FULL = ("bash", "-c", 'ulimit -f 1 && exec "$@"', "bash")  # no file may grow beyond 1 KiB: writes fail part-way
NO_ROOT = ("setpriv", "--bounding-set", "-dac_override", "--") if os.geteuid() == 0 else ()  # root may write anywhere
K5 = ("--set", "evaluation.ks=[5]", "--set", "evaluation.metric=ndcg@5")


@dataclass(frozen=True)
class Case:
    """One way to break the input.

    Attributes:
        break_it: prepares the folder.
        command: the verb and its options; raw and artifacts folder are added.
        told: what the message must hold.
        tolerated: the input is accepted; ``told`` is then a whole line, the number of rows included.
        wrap: put before the command, to take something away from it.
    """

    break_it: Break
    command: tuple[str, ...] = ("data", *OWN)
    told: tuple[str, ...] = ()
    tolerated: bool = False
    wrap: tuple[str, ...] = ()


def show(*arguments: str) -> tuple[str, ...]:
    return ("show", *arguments)


CASES: dict[str, Case] = {
    "missing file": Case(
        lambda folder: (folder / "ratings.csv").write_text("x") and None, told=("interactions.csv", "no such file")
    ),
    "missing raw folder": Case(lambda folder: None, ("data", *OWN, "--set", "data.raw=nowhere"), ("nowhere",)),
    "misspelt column": Case(
        lambda folder: write(folder, rows(), HEADER.replace("user_id", "user_ident")),
        told=("user_id", "user_ident", "data.options.columns.user"),
    ),
    "unparsable rating": Case(row(17, "u2,i9,good,1600000001"), told=("row 17", "'good'", "rating")),
    "unparsable rating, dropped": Case(
        row(17, "u2,i9,good,1600000001"),
        ("data", *OWN, "--set", "data.options.on_bad_rows=drop"),
        ("interactions.csv: rows whose 'rating' cannot be read: dropped: 1",),
        tolerated=True,
    ),
    "NaN rating": Case(
        row(17, "u2,i9,NaN,1600000001"),
        told=("interactions whose rating is NaN or infinite: dropped: 1",),
        tolerated=True,
    ),
    "truncated gzip": Case(
        cut_gzip, ("data", *OWN, "--set", "data.options.interactions=interactions.csv.gz"), ("csv.gz", "ends too early")
    ),
    "wrong encoding": Case(wrong_encoding, told=("line 11", "UTF-8")),
    "empty file": Case(lambda folder: (folder / "interactions.csv").write_bytes(b"") and None, told=("empty",)),
    "a header and no rows": Case(lambda folder: write(folder, []), told=("no rows",)),
    "repeated pairs, duplicates='error'": Case(
        lambda folder: write(folder, [*rows(), *rows()[:3]]),
        ("data", *OWN, "--set", "data.prepare.duplicates=error"),
        ("3", "duplicates"),
    ),
    "repeated pairs, by default": Case(
        lambda folder: write(folder, [*rows(), *rows()[:3]]),
        told=("repeated (user, item) rows, the newest kept: dropped: 3",),
        tolerated=True,
    ),
    "times in milliseconds": Case(
        milliseconds, told=("timestamps in milliseconds: turned into seconds: 210",), tolerated=True
    ),
    "unknown setting": Case(good, ("train", *OWN, "--set", "ranker.regularization=3"), ("Did you mean",)),
    "unknown section": Case(good, ("train", *OWN, "--set", "rankers.name=ease"), ("Did you mean 'ranker'",)),
    "value of a wrong type": Case(good, ("data", *OWN, "--set", "split.seed=soon"), ("split.seed", "integer")),
    "unknown ranker": Case(good, ("train", *OWN, "--set", "ranker.name=lightgnc"), ("Did you mean 'lightgcn'",)),
    "unknown split": Case(good, ("data", *OWN, "--set", "split.kind=randm"), ("split.kind", "'random'")),
    "no times, split global_time": Case(no_times, ("data", *OWN, "--set", "split.kind=global_time"), ("timestamp",)),
    "no times, split leave_last": Case(no_times, ("data", *OWN, "--set", "split.kind=leave_last"), ("timestamp",)),
    "no times, sasrec": Case(no_times, ("train", *OWN, *K5, "--set", "ranker.name=sasrec"), ("timestamp",)),
    "k-core that removes everything": Case(
        good, ("data", *OWN, "--set", "data.prepare.k_core=100"), ("k_core", "no interactions left")
    ),
    "pickle in place of features": Case(
        pickled_features, ("data", "--set", "data.source=mmrec"), ("text_feat.npy", "pickle")
    ),
    "damaged manifest": Case(
        trained_then(overwrite("manifest.json", b"{")), ("recommend", "ease", *OWN, "--user", "u1"), ("manifest.json",)
    ),
    "damaged manifest, by folder": Case(
        trained_then(overwrite("manifest.json", b"{")), show("{ranker}"), ("manifest.json",)
    ),
    "half a safetensors file": Case(
        trained_then(half("state.safetensors")),
        ("recommend", "ease", *OWN, "--user", "u1"),
        ("state.safetensors", "cannot be read"),
    ),
    "one byte of a result changed": Case(
        trained_then(flip_a_byte), show("ease", *OWN, "--verify"), ("state.safetensors", "changed or damaged")
    ),
    "damaged ranker.json": Case(
        trained_then(overwrite("ranker.json", b"\xff")), ("recommend", "ease", *OWN, "--user", "u1"), ("ranker.json",)
    ),
    "read-only artifacts folder": Case(read_only, told=("ermission denied", "artifacts"), wrap=NO_ROOT),
    "disk full while tables are written": Case(good, told=("own", "space"), wrap=FULL),
    "disk full while a ranker is written": Case(
        after("data", *OWN), ("train", *OWN, "--set", "ranker.name=item_knn"), ("item_knn", "space"), wrap=FULL
    ),
    "disk full while a checkpoint is written": Case(
        after("data", *OWN), ("train", *OWN, "--set", "ranker.name=lightgcn"), ("checkpoint", "space"), wrap=FULL
    ),
    "disk full while metrics are written": Case(
        after("train", *OWN), ("evaluate", *OWN, "ease"), ("evaluation", "space"), wrap=FULL
    ),
    "artifacts folder is a file": Case(artifacts_is_a_file, told=("artifacts",)),
}  # fmt: skip


def recsys(folder: Path, arguments: list[str], wrap: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run the command line in ``folder``, raw and artifacts below it."""
    if not any("data.raw" in argument for argument in arguments):
        arguments = [*arguments, "--set", f"data.raw={folder}"]
    command = [*wrap, sys.executable, "-m", "recsys", *arguments, "--artifacts", str(folder / "artifacts")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
