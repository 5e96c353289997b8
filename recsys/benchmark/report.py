"""A benchmark in words: report.md, a table a data set, and the table of the README between its two marks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from recsys.benchmark.reading import Outcome, best_of_family, best_single, difference_of, families, notes, ranker_of
from recsys.benchmark.settings import OURS, RECBOLE
from recsys.core.amounts import amount
from recsys.core.errors import ConfigError
from recsys.evaluation.wording import NOTHING, duration, fixed, p_value
from recsys.tuning.proposing import drawn
from recsys.tuning.searchfile import TuneSettings

BEGIN, END = "<!-- benchmark: written by recsys benchmark -->", "<!-- benchmark: end -->"
REPORT = "report.md"
LIBRARIES = (RECBOLE, "implicit", "Cornac", "LensKit")
HOW = """\
Every ranker's settings were chosen on validation, with the same number of trials (or all points of its grid where it
has no more). Of a larger grid, points are drawn at random for the first {drawn} trials of a ranker (unless its search
says otherwise), so that a smaller budget is random search; Optuna's TPE proposes after that. What was chosen was
trained with each seed, as long as seeds change anything, and measured on test once, by one evaluator: full ranking,
items known of a user left out, means and {level} bootstrap intervals over users. A figure over several seeds is each
user's mean; ± is their standard deviation. The best peer is the one with the highest figure on test, so that whatever
luck lies in that choice is the peer's; ours is the one that is best on validation. Differences are paired over users,
p is Holm's over all rankers of the table. Seconds are CPU seconds of one fit on one thread, members of a fusion
included; other libraries' without start and hand-over. Users whom a ranker cannot know are shown what is most popular
in train, whosever ranker it is. A fusion also learns how much to trust its members on validation; its figure there is
cross-fitted."""


def write_report(sets: Sequence[Outcome], missing: Sequence[str], folder: Path) -> Path:
    """Write report.md and return its place.

    Args:
        sets: outcomes, as results.json has them.
        missing: titles of data sets that are not measured yet.
        folder: where.
    """
    level = f"{100 * sets[0]['level']:.6g} %" if sets else "95 %"
    how = HOW.format(level=level, drawn=drawn(TuneSettings()))
    lines = ["# Benchmark", "", how, "", *(f"- {line}" for line in standings(sets)), ""]
    lines += [f"Not measured yet: {'; '.join(missing)}.", ""] if missing else []
    for one in sets:
        lines += _section(one)
    (folder / REPORT).write_text("\n".join(lines), encoding="utf-8")
    return folder / REPORT


def standings(sets: Sequence[Outcome]) -> list[str]:
    """Return in words where ours is ahead of the best peer, level and behind, and where our best single ranker is."""
    told = {"ahead": "Ahead of the best peer", "level": "Level (no difference shown)", "behind": "Behind the best peer"}
    lines = []
    if _compared(sets, _ours):
        lines += [f"{words}: {_those(sets, standing, _ours)}." for standing, words in told.items()]
    if _compared(sets, _single):
        lines += [f"No fusion, {words.lower()}: {_those(sets, standing, _single)}." for standing, words in told.items()]
    return lines + _not_compared(sets)


def _compared(sets: Sequence[Outcome], who: Callable[[Outcome], str | None]) -> bool:
    """Return whether there is a difference to the best peer on any data set."""
    return any(difference_of(one, who(one)) for one in sets)


def _not_compared(sets: Sequence[Outcome]) -> list[str]:
    """Return in words where nothing can be said, so that it does not pass for a place where ours is not behind."""
    found: dict[str, list[str]] = {}
    for one in sets:
        missing = "No peer" if one["best_peer"] is None else "None of ours" if _ours(one) is None else None
        missing = missing or ("None of ours that is no fusion" if _single(one) is None else None)
        if missing:
            found.setdefault(missing, []).append(one["title"])
    return [f"{who} was measured on: {'; '.join(titles)}." for who, titles in found.items()]


def _ours(one: Outcome) -> str | None:
    return one["ours"]


def _single(one: Outcome) -> str | None:
    row = best_single(one)
    return row["name"] if row else None


def _those(sets: Sequence[Outcome], standing: str, who: Callable[[Outcome], str | None]) -> str:
    """Return the data sets on which a ranker of ours stands so, with its difference."""
    found = []
    for one in sets:
        gap = difference_of(one, who(one))
        if gap and gap["standing"] == standing:
            found.append(f"{one['title']} ({gap['name']} against {one['best_peer']}, {one['metric']} {_gap(gap)})")
    return "; ".join(found) or "nowhere"


def _gap(gap: Outcome | None) -> str:
    if gap is None:
        return NOTHING
    return f"{fixed(gap['difference'], sign=True)} ({fixed(gap['low'], sign=True)} to {fixed(gap['high'], sign=True)})"


def _section(one: Outcome) -> list[str]:
    data, made, budget = one["data"], one["made"], one["budget"]
    sizes = ", ".join(amount(data[f"{noun}s"], noun) for noun in ("user", "item", "interaction"))
    asked = f"{one['protocol']['n_users']:,} users are asked for" if one["protocol"] else "nothing was measured"
    spent = sum(row["cost"]["search_s"] for row in one["rankers"] if "cost" in row)
    lines = [
        f"## {one['title']}", "",
        f"{sizes}; {asked}. Budget: {amount(budget['trials'], 'trial')} a ranker, "
        f"{amount(len(budget['seeds']), 'seed')}; "
        f"{duration(spent)} of training in the searches. {made['date']}, commit {made['commit']}.", "",
        *_table(one), "",
    ]  # fmt: skip
    told = [f"- {note}" for note in notes(one)]
    return [*lines, *told, ""] if told else lines


def _table(one: Outcome) -> list[str]:
    shown, metric = one["shown"], one["metric"]
    head = ["ranker", "whose", *shown, "±", "validation", "settings", "fit, CPU"]
    head += [f"minus {one['best_peer']}", "p"] if one["best_peer"] else []
    rows = sorted((row for row in one["rankers"] if "test" in row), key=lambda row: -row["test"][metric])
    cells = [_row(one, row, shown) for row in rows]
    return [_line(head), _line(["---"] * len(head)), *map(_line, cells)]


def _row(one: Outcome, row: Outcome, shown: Sequence[str]) -> list[str]:
    low, high = row["intervals"][one["metric"]]
    figures = [fixed(row["test"][name]) for name in shown]
    figures[-1] += f" [{fixed(low)}, {fixed(high)}]"
    gap = difference_of(one, row["name"])
    name = f"**{row['name']}**" if row["name"] in (one["ours"], one["best_peer"]) else row["name"]
    return [
        name, row["family"], *figures, fixed(row["spread"]) if row["spread"] is not None else NOTHING,
        fixed(row["valid"]), row["chosen"], duration(row["cost"]["fit_cpu_s"]),
        *([_gap(gap), p_value(gap["p_holm"]) if gap else NOTHING] if one["best_peer"] else []),
    ]  # fmt: skip


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "/").replace("\n", " ") for cell in cells) + " |"


# -- the README ------------------------------------------------------------------------------------------------------


def check_readme(path: Path) -> None:
    """See that a file has the two marks, before hours are spent.

    Raises:
        ConfigError: it cannot be read, or lacks them.
    """
    _around(path)


def write_readme(sets: Sequence[Outcome], path: Path) -> None:
    """Put the table between the two marks of a file; the same results give the same bytes.

    Raises:
        ConfigError: it cannot be read, or lacks the marks.
    """
    before, after = _around(path)
    path.write_text("\n".join([before + BEGIN, readme_block(sets), END + after]), encoding="utf-8")


def _around(path: Path) -> tuple[str, str]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"file {path}", error.strerror or str(error), "Give the README by --readme.") from None
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        cause = "it lacks the two marks that the table stands between"
        raise ConfigError(f"file {path}", cause, f"Put these two lines where it belongs: {BEGIN} and {END}")
    return before, after


def readme_block(sets: Sequence[Outcome]) -> str:
    """Return one row a data set: the best of each family on validation, as measured on test."""
    peers = [name for name in LIBRARIES if name in families(sets)]
    head = ["test", OURS, "no fusion", *peers, "ours minus the best peer", "no fusion minus it", "measured"]
    rows = [_readme_row(one, peers) for one in sets]
    return "\n".join(["", _line(head), _line(["---"] * len(head)), *map(_line, rows), "", *_told(sets), ""])


def _readme_row(one: Outcome, peers: Sequence[str]) -> list[str]:
    best = [ranker_of(one, one["ours"]), best_single(one), *(best_of_family(one, name) for name in peers)]
    date, gaps = one["made"]["date"].partition(" ")[0], [difference_of(one, who(one)) for who in (_ours, _single)]
    return [
        f"{one['title']}, {one['metric']}", *(_figure(one, row) for row in best),
        *map(_stood, gaps), f"{date}, {one['made']['commit']}",
    ]  # fmt: skip


def _stood(gap: Outcome | None) -> str:
    """Return a difference and its verdict, bold where ours is not ahead."""
    if gap is None:
        return NOTHING
    return f"{_gap(gap)}, {gap['standing'] if gap['standing'] == 'ahead' else '**' + gap['standing'] + '**'}"


def _figure(one: Outcome, row: Outcome | None) -> str:
    if row is None:
        return NOTHING
    low, high = row["intervals"][one["metric"]]
    return f"{row['name']} {fixed(row['test'][one['metric']])} [{fixed(low)}, {fixed(high)}]"


def _told(sets: Sequence[Outcome]) -> list[str]:
    """Return in words where we are not ahead, and where that cannot be known."""
    lines = []
    for start, who in (("Ours is", _ours), ("Without fusions ours is", _single)):
        if not _compared(sets, who):
            continue
        here = {standing: [one["title"] for one in sets if (gap := difference_of(one, who(one)))
                           and gap["standing"] == standing] for standing in ("behind", "level")}  # fmt: skip
        behind, level = ("; ".join(here[standing]) or "nowhere" for standing in ("behind", "level"))
        lines.append(f"{start} behind the best peer: {behind}; not ahead of it (no difference shown): {level}.")
    return ["  \n".join([*lines, *_not_compared(sets)])]
