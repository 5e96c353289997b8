"""The verb's work: data set after data set, its results written as soon as it is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from recsys.benchmark.report import check_readme, standings, write_readme, write_report
from recsys.benchmark.results import RESULTS, as_values, kept, read_results, write_results
from recsys.benchmark.running import require_peers, run_contest
from recsys.benchmark.settings import Contest, named
from recsys.core.amounts import amount
from recsys.core.runtime import make_writable
from recsys.executing import Executor


def run_benchmark(
    contests: Sequence[Contest],
    only: Sequence[str],
    executor: Executor,
    folder: Path,
    *,
    readme: Path | None = None,
    log: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Run the data sets named (none: all), and return the outcomes that the folder has then.

    Raises:
        RecsysError: a mistake in the settings, data or a library's environment that is not there.
        OSError: the folder cannot be made or written.
    """
    asked = named(contests, only)
    if readme:
        check_readme(readme)
    read_results(folder)  # those of something else, or none that can be read, are told before hours are spent
    make_writable(folder)
    require_peers(asked)
    sets: list[dict[str, Any]] = []
    with executor:
        for contest in asked:
            log(f"{contest.name}: {amount(len(contest.search.spaces), 'ranker')}")
            sets = write_results(folder, contests, as_values(run_contest(contest, executor, log)))
            _publish(contests, sets, folder, readme)
            log(f"{contest.name}: {folder / RESULTS}")
    return sets


def tell_again(contests: Sequence[Contest], folder: Path, readme: Path | None) -> list[dict[str, Any]]:
    """Write report and README from the results that the folder has, and return these.

    Raises:
        RecsysError: they cannot be read, or the README lacks the marks.
    """
    sets = kept(contests, read_results(folder))
    _publish(contests, sets, folder, readme)
    return sets


def _publish(contests: Sequence[Contest], sets: list[dict[str, Any]], folder: Path, readme: Path | None) -> None:
    there = {one["name"] for one in sets}
    write_report(sets, [one.about.title for one in contests if one.name not in there], folder)
    if readme:
        write_readme(sets, readme)


def to_text(sets: Sequence[dict[str, Any]]) -> str:
    """Return where ours stands, for a terminal."""
    return "\n".join(standings(sets))
