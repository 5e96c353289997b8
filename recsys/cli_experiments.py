"""The verbs that train many rankers: they parse and print; the work is done elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from recsys.options import run_options


def worker_options(command: Any) -> Any:
    """The options of every verb that can use several workers."""
    command = click.option("--workers", default=1, show_default=True, help="How many work at once.")(command)
    return click.option(
        "--executor",
        type=click.Choice(["local", "ray", "serial"]),
        default="local",
        show_default=True,
        help="Who works: processes here, a Ray cluster (extra ray), or this very process.",
    )(command)


@click.command(short_help="Choose rankers' settings on validation.")
@run_options
@click.option(
    "--search", type=click.Path(path_type=Path), default=Path("search.toml"), show_default=True, help="Where to look."
)
@click.option("--trials", type=int, help="Trials of each ranker [tune.trials of the search, else 30].")
@click.option("--pruner", type=click.Choice(["median", "halving", "none"]), help="Who stops trials [median].")
@click.option("--storage", metavar="FILE|URL", help="Where trials are kept [trials.journal in --out].")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("tuned"), show_default=True, help="Folder to write."
)
@worker_options
def tune(
    workflow: Any,
    as_json: bool,
    search: Path,
    trials: int | None,
    pruner: str | None,
    storage: str | None,
    out: Path,
    workers: int,
    executor: str,
) -> None:
    """Choose settings on validation, with the same number of trials for every ranker; test is not looked at.

    \b
    search.toml, beside the run or anywhere:
      [[rankers]]
      name = "lightgcn"
      num_layers = [1, 2, 3]                              a choice
      learning_rate = { low = 0.001, high = 0.1, log = true }     a range; whole numbers where both ends are
      epochs = 60                                         fixed

    Interrupted (or killed), the same command goes on where it was, and ends the same. What is tried depends on the
    seed, not on the number of workers. Trials that fall behind are stopped. The folder gets best.toml, a run to
    train, the best of each ranker, trials.json, report.md and plots.html. From then on a ranker's name means the best
    of its trials.

    \b
    Examples:
      recsys tune -c run.toml --search search.toml --trials 30 --workers 2
      recsys tune -c run.toml --out tuned --storage sqlite:///trials.db
      recsys train -c tuned/best.toml                          reads the artifact of the best trial
      recsys evaluate -c tuned/best.toml                       and this is the one look at test
      recsys evaluate lightgcn ease -c run.toml                or of the best of each
      recsys doctor --settings tune                            what [tune] in search.toml can set
    """
    from recsys.executing import make_executor
    from recsys.tuning.outcome import Tuned
    from recsys.tuning.rounds import Tuning, alone
    from recsys.tuning.searchfile import read_search

    space = read_search(search, trials=trials, pruner=pruner)
    with make_executor(executor, workers) as team, alone(out):
        tuning = Tuning(workflow, space, storage or out / "trials.journal", team)
        tuning.run()
    found = Tuned(tuning)
    files = [str(file) for file in found.write(out)]
    click.echo(json.dumps({**found.to_dict(), "files": files}, indent=2) if as_json else found.to_text())
    if not as_json:
        click.echo(str(out / "best.toml"))


@click.command(short_help="What each component is worth: switched off, one at a time.")
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="A.B=C", help="Override a setting; may be repeated.")
@click.option("--artifacts", type=click.Path(path_type=Path), help="Folder of results [data/artifacts].")
@click.option("--pairs", is_flag=True, help="Also switch off any two components at once.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder to write [that of CONFIG].")
@worker_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
@click.option("-q", "--quiet", is_flag=True, help="No notes on standard error.")
def ablate(config: Path, pairs: bool, out: Path | None, as_json: bool, **options: Any) -> None:
    """Switch components of a run off, one at a time, with several seeds, and say what each is worth.

    \b
    CONFIG is a run's TOML with one section more:
      [ablation]
      seeds = [0, 1, 2, 3, 4]
      [ablation.components]
      text = { modality = "text", how = "absent" }        item features: absent, shuffled or noise
      graph = { without = ["lightgcn", "freedom"] }       members of a fusion
      depth = ["ranker.num_layers=0"]                     settings
      [[ablation.variants]]                               if wanted: other data, other splits
      name = "leave last"
      set = ["split.kind='leave_last'"]

    Writes results.json, report.md and report.html: means and intervals, paired tests over users with Holm's
    correction, effect sizes, segments, cost, and a verdict in words for each component. Every training is kept:
    interrupted (or killed), the same command goes on where it was.

    \b
    Examples:
      recsys ablate run.toml
      recsys ablate experiments/multimodal_ablation/config.toml --workers 2 --pairs
      recsys doctor --settings ablation                        what can be set
    """
    from recsys.ablation.plan import Plan
    from recsys.ablation.results import as_results
    from recsys.ablation.running import Ablation
    from recsys.ablation.text import claim, to_text, write_ablation
    from recsys.core.runtime import to_stderr
    from recsys.executing import make_executor

    artifacts, more = options["artifacts"], options["overrides"]
    more = (*more, *([f"run.artifacts={json.dumps(str(artifacts))}"] if artifacts else []))
    plan = Plan.read(config, more, pairs=pairs)
    executor, folder = make_executor(options["executor"], options["workers"]), claim(out or config.parent)
    found = Ablation.run(plan, executor, log=(lambda message: None) if options["quiet"] else to_stderr)
    files = write_ablation(found, folder)
    if as_json:
        click.echo(json.dumps({**as_results(found), "files": list(map(str, files))}, indent=2))
    else:
        click.echo("\n".join([to_text(found), *map(str, files)]))
    found.require_worths()


@click.command(short_help="Our rankers beside other libraries', on the same splits, tuned alike.")
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--only", multiple=True, metavar="DATA", help="A data set of the file; may be repeated [all].")
@click.option("--set", "overrides", multiple=True, metavar="A.B=C", help="Override a setting of every run.")
@click.option("--artifacts", type=click.Path(path_type=Path), help="Folder of results [data/artifacts].")
@click.option("--out", type=click.Path(path_type=Path), help="Folder to write [that of CONFIG].")
@click.option("--readme", type=click.Path(path_type=Path), help="Also write the table between the marks of that file.")
@click.option("--told-again", is_flag=True, help="Run nothing: write report and README from results.json.")
@worker_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
@click.option("-q", "--quiet", is_flag=True, help="No notes on standard error.")
def benchmark(config: Path, only: tuple[str, ...], out: Path | None, readme: Path | None, **options: Any) -> None:
    """Measure our rankers beside RecBole's, implicit's, Cornac's and LensKit's, data set after data set.

    All are tuned on validation with the same number of trials, what was chosen is trained with several seeds and
    measured on test once, by one evaluator. Other libraries train in environments of their own: make peers. Raw files
    may lie in the folder named by RECSYS_DATA. Interrupted (or killed), the same command goes on where it was;
    results.json and report.md are written anew after every data set, those of other data sets are kept.

    \b
    CONFIG:
      [benchmark]
      trials = 8
      seeds = [0, 1, 2]
      [[benchmark.sets]]
      name = "ml-100k-random"
      title = "MovieLens 100K, random 8:1:1"
      run = "../ml100k_peers_random/config.toml"      data, split and evaluation
      search = "ml100k_random.toml"                   rankers, as recsys tune takes them

    \b
    Examples:
      recsys benchmark experiments/benchmark/config.toml --only ml-100k-random
      recsys benchmark experiments/benchmark/config.toml --workers 2 --readme README.md
      recsys doctor --settings benchmark                       what can be set
    """
    from recsys.benchmark.command import run_benchmark, tell_again, to_text
    from recsys.benchmark.settings import read_benchmark
    from recsys.core.runtime import to_stderr
    from recsys.executing import make_executor

    contests = read_benchmark(config, options["overrides"], options["artifacts"])
    folder = out or config.parent
    if options["told_again"]:
        found = tell_again(contests, folder, readme)
    else:
        team = make_executor(options["executor"], options["workers"])
        log = (lambda message: None) if options["quiet"] else to_stderr
        found = run_benchmark(contests, only, team, folder, readme=readme, log=log)
    click.echo(json.dumps(found, indent=2) if options["as_json"] else to_text(found))
