"""Measure which small faults the tests notice: a seeded sample of the mutants of a room, each file with its share.

    python -m pytest --cov=recsys --cov-context=test --cov-report=    once: which test executes which line
    python experiments/mutation_score/run.py evaluation --sample 200 --seed 0 --out survivors.jsonl

The tests that execute the room are collected once. Each mutant has a fork of that process, where the code of its
function is replaced and the tests that execute its line run, small ones and new ones first, until one fails. Nothing is
written to a source file. What tests do in programs of their own (``python -m recsys``) does not see the mutant.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import json
import math
import os
import random
import resource
import signal
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path
from types import CodeType, FunctionType

import pytest
from coverage import CoverageData
from mutants import Mutant, mutants

ROOT = Path.cwd()
ROOMS = {
    "data/reading": "recsys/data/reading",
    "evaluation": "recsys/evaluation",
    "profiles": "recsys/profiles",
    "serving": "recsys/serving",
}
DRAWINGS = {"ablation_plots", "dataplots", "plots", "svg", "tuneplots", "titlecard"}  # their numbers are looks
CPU_SECONDS, WALL_SECONDS = 900, 3600  # of one mutant; what needs more hangs, and is not counted as killed


class Mutation:
    """Runs the tests of each mutant in place of the usual loop over all tests."""

    def __init__(self, sample: list[Mutant], coverage: CoverageData, out: Path) -> None:
        self.sample, self.coverage, self.out = sample, coverage, out
        self.size, self.lines = Counter[str](), {}
        for file in coverage.measured_files():
            for found in (lines := coverage.contexts_by_lineno(file)).values():
                self.size.update({one.partition("|")[0] for one in found})
            self.lines[file] = lines

    def pytest_sessionstart(self) -> None:
        from hypothesis import Phase, settings

        settings.register_profile("mutants", settings(), phases=[Phase.explicit, Phase.generate])  # no shrinking
        settings.load_profile("mutants")

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        done = {json.loads(line)["mutant"] for line in self.out.read_text().splitlines()} if self.out.is_file() else {}
        for file in {one.file for one in self.sample}:  # a plug-in is imported when it is used first: too late for us
            importlib.import_module(file.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
        functions = defaultdict(list)
        for one in gc.get_objects():
            if issubclass(type(one), FunctionType):  # isinstance would ask proxies, whose warnings are errors
                functions[one.__code__.co_filename].append(one)
        for mutant in self.sample:
            source = (ROOT / mutant.file).read_bytes()
            if (name := mutant.describe(source)) in done:
                continue
            items, began = self.items(mutant, session.items), time.monotonic()
            code = compile(mutant.apply(source), str(ROOT / mutant.file), "exec")
            outcome = _outcome(items, functions[str(ROOT / mutant.file)], code) if items else "no test"
            row = {"mutant": name, "outcome": outcome, "tests": len(items), "s": round(time.monotonic() - began, 1)}
            with self.out.open("a") as lines:
                lines.write(json.dumps(row) + "\n")
        return True

    def items(self, mutant: Mutant, items: list[pytest.Item]) -> list[pytest.Item]:
        """Return the tests that execute the mutant's lines (of a file whose fixtures do: all), small ones first.

        Tests that are newer than the coverage come before all.
        """
        lines = self.lines.get(str(ROOT / mutant.file), {})
        found = {one for number in range(mutant.line, mutant.last_line + 1) for one in lines.get(number, [])}
        tests = {one.partition("|")[0] for one in found if one.endswith("|run")}
        files = {one.partition("::")[0] for one in found if one.endswith(("|setup", "|teardown"))}
        known = [one for one in items if one.nodeid in tests or one.nodeid.partition("::")[0] in files]
        return [one for one in items if one.nodeid not in self.size] + sorted(known, key=lambda x: self.size[x.nodeid])


def _outcome(items: list[pytest.Item], functions: list[FunctionType], code: CodeType) -> str:
    if (child := os.fork()) == 0:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        try:
            _replace(functions, {(one.co_qualname, one.co_firstlineno): one for one in _codes(code)})
            os._exit(_fails(items))  # else 9: the mutant cannot be applied
        finally:
            os._exit(9)
    until = time.monotonic() + WALL_SECONDS
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < until:
        time.sleep(0.01)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # it, and what a test started and the mutant did not end
    status = os.waitstatus_to_exitcode((ended if ended[0] else os.waitpid(child, 0))[1])
    return {0: "survived", 1: "killed", 9: "broken"}.get(status, "timeout")


def _fails(items: list[pytest.Item]) -> int:
    from _pytest.runner import runtestprotocol

    for item, following in zip(items, [*items[1:], None], strict=True):
        if any(report.failed for report in runtestprotocol(item, log=False, nextitem=following)):
            return 1
    return 0


def _codes(code: CodeType) -> list[CodeType]:
    inner = [one for one in code.co_consts if isinstance(one, CodeType)]
    return [code, *(found for one in inner for found in _codes(one))]


def _replace(functions: list[FunctionType], codes: dict[tuple[str, int], CodeType]) -> None:
    """Give functions the mutant's code.

    Raises:
        ValueError: there are none, or the mutant's has other variables of an outer function.
    """
    if not functions:
        raise ValueError
    for one in functions:
        if new := codes.get((one.__code__.co_qualname, one.__code__.co_firstlineno)):
            if not new.co_freevars:  # without its only super() a method needs no __class__; the function still has it
                new = new.replace(co_freevars=one.__code__.co_freevars)
            one.__code__ = new


def draw(room: str, size: int, seed: int) -> tuple[list[Mutant], int]:
    """Return a sample in which each file has its share, at least one mutant, and how many mutants there are."""
    files = sorted(str(one.relative_to(ROOT)) for one in (ROOT / ROOMS[room]).rglob("*.py"))
    every = {file: mutants(file, (ROOT / file).read_bytes()) for file in files}
    every |= {f: [one for one in every[f] if one.operator != "constant"] for f in files if Path(f).stem in DRAWINGS}
    n, rng = sum(map(len, every.values())), random.Random(seed)
    shares = {file: min(len(found), max(1, round(size * len(found) / n))) for file, found in every.items() if found}
    return [one for file, share in shares.items() for one in rng.sample(every[file], share)], n


def interval(killed: int, n: int) -> list[float]:
    """Return Wilson's 95 % interval of a share."""
    z, p = 1.96, killed / n
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return [round((middle + sign * half) / (1 + z * z / n), 3) for sign in (-1, 1)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("room", choices=ROOMS)
    parser.add_argument("--sample", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="a line for each mutant; what it has is not run again")
    parser.add_argument("--new", nargs="*", default=[], help="test files that are newer than the coverage")
    given = parser.parse_args()
    coverage = CoverageData(str(ROOT / ".coverage"))
    coverage.read()
    sample, n = draw(given.room, given.sample, given.seed)
    touched = {str(ROOT / one.file) for one in sample} & coverage.measured_files()
    tests = {test.partition("::")[0] for file in touched for found in coverage.contexts_by_lineno(file).values()
             for test in found if "::" in test}  # fmt: skip
    pytest.main(
        ["-q", "-p", "no:cacheprovider", *sorted({*tests, *given.new})], plugins=[Mutation(sample, coverage, given.out)]
    )
    rows = {row["mutant"]: row["outcome"] for row in map(json.loads, given.out.read_text().splitlines())}
    counts = Counter(rows[one.describe((ROOT / one.file).read_bytes())] for one in sample)
    found = counts["killed"]
    print(json.dumps({"room": given.room, "seed": given.seed, "mutants": n, "sample": len(sample), **counts,
                       "score": round(found / len(sample), 3), "interval": interval(found, len(sample))}))  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
