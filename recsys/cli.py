"""The command line: verbs in the order of the flow. It parses and prints; the work is done elsewhere."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from recsys import __version__
from recsys.cli_experiments import ablate, benchmark, tune, worker_options
from recsys.cli_serve import recommend, serve
from recsys.core.errors import RecsysError
from recsys.core.runtime import quiet_threads
from recsys.options import ID, run_options, show_result

EXAMPLE = "\b\nExamples:\n"


class Verbs(click.Group):
    """Lists the verbs in the order of the flow and turns our errors into two lines and exit status 2."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except RecsysError as error:
            click.echo(f"error: {error.thing}: {error.cause}\n  try: {error.remedy}", err=True)
            ctx.exit(2)
        except KeyboardInterrupt:
            click.echo("stopped; run the same command again to go on where it was", err=True)
            ctx.exit(130)
        except BrokenPipeError:
            sys.stderr.close()
            ctx.exit(0)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except BaseException as error:
            ours = isinstance(error, Exception) or type(error).__name__ == "PanicException"  # polars' own base
            if not ours or os.environ.get("RECSYS_DEBUG"):
                raise
            if isinstance(error, OSError) and error.filename:  # a path of the user's, most likely
                remedy = "Check the path, its permissions and the free space; RECSYS_DEBUG=1 shows where."
                click.echo(f"error: {error.filename}: {error.strerror}\n  try: {remedy}", err=True)
                ctx.exit(2)
            click.echo(
                f"internal error: {type(error).__name__}: {error}\n"
                "  try: RECSYS_DEBUG=1 with the same command shows where; please report it",
                err=True,
            )
            ctx.exit(1)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="recsys")
def main() -> None:
    """A personalized multimodal recommender.

    \b
    The flow:  data → encode → train → evaluate → recommend
    Each step keeps its result in a folder that describes itself (recsys show) and is not done twice.
    A run is one TOML file; without one the defaults apply: ml-100k, which comes with the package.

    \b
    Start here:
      recsys demo                                   the whole flow on real data, with a report
      recsys train --set ranker.name=lightgcn       train one ranker
      recsys recommend lightgcn --user 42           and ask it
    """
    quiet_threads()
    sys.path.append(os.getcwd())  # a plug-in may lie in a file beside the run: ranker.name=my_file:MyRanker


@main.command()
@run_options
@click.option("--list", "listing", is_flag=True, help="List data sources; with --source NAME its settings.")
@click.option("--source", help="The source to list, or to use instead of the configured one.")
@click.option("--download", is_flag=True, help="Fetch the raw files first (checksums are pinned).")
def data(workflow: Any, as_json: bool, listing: bool, source: str | None, download: bool) -> None:
    """Read raw files into canonical tables, and split them.

    \b
    Examples:
      recsys data                                              ml-100k, random split
      recsys data --list                                       what can be read
      recsys data --list --source own                          the settings of your own tables
      recsys data --source ml-1m --set data.raw=data/raw/ml-1m --download
      recsys data --source own --set data.raw=my_folder --set split.kind=leave_last
      recsys data --source own --set data.raw=my_folder --set data.options.columns.user=reader
    """
    from recsys.console import columns, counted
    from recsys.showing import source_rows

    if listing:
        rows = source_rows(source)
        click.echo(json.dumps(rows, indent=2, default=str) if as_json else columns(rows))
        return
    if source:
        workflow = workflow.with_settings(f"data.source={source}")
    if download:
        workflow.download()
    made = workflow.data()
    if not as_json:  # before the split, which what was dropped may have left too little for
        click.echo("\n".join([workflow.describe_data(), *counted(made.manifest["results"]["counts"])]))
    split = workflow.split()
    parts = ", ".join(f"{name} {rows:,}" for name, rows in split.manifest["results"].items())
    show_result(split, as_json, f"split {split.config['kind']}: {parts}")


@main.command()
@run_options
@click.option("--sheet", type=click.Path(path_type=Path), help="Also draw items and their nearest into that PNG.")
@worker_options
def encode(workflow: Any, as_json: bool, sheet: Path | None, workers: int, executor: str) -> None:
    """Turn item texts and pictures into vectors: once, kept by content; interrupted, it goes on where it was.

    One worker is this process, with its threads; more are processes of one thread each, or Ray tasks, which encode
    parts of the items. The result is found under the same key, whoever made it, and its numbers are those of one worker
    but for rounding: less than 1e-6 apart by the encoders that come along.

    \b
    Examples:
      recsys encode
      recsys encode -c run.toml --set items.image=none
      recsys encode -c run.toml --workers 4
      recsys encode -c run.toml --workers 16 --executor ray    on the cluster of RAY_ADDRESS
      recsys encode -c run.toml --sheet sheet.png              to see what the vectors take for alike
      recsys doctor --settings items.efficientnet              what can be set
    """
    from recsys.console import counted
    from recsys.executing import make_executor

    with make_executor(executor, workers) as team:
        workflow.spread = None if (executor, workers) == ("local", 1) else team.map
        made = workflow.items()
    if sheet:
        from recsys.searching import items_sheet, write_png

        write_png(sheet, items_sheet(workflow))
    if as_json:
        found = {name: {"path": str(one.path), **one.manifest} for name, one in made.items()}
        click.echo(json.dumps(found, indent=2, default=str))
        return
    for modality, artifact in made.items():
        result = artifact.manifest["results"]
        counts = counted(result["counts"])
        told = f"{modality}: {result['encoded']:,} of {result['items']:,} items, {result['dim']} numbers each"
        show_result(artifact, False, told, *counts)
    if not made:
        click.echo("nothing to encode: no item has a text or a picture, or items.text and items.image are 'none'")
    if sheet:
        click.echo(str(sheet))


@main.command(short_help="Find items by words, or by what they are like.")
@run_options
@click.argument("words", required=False)
@click.option("--like", help="Title or id: what looks and reads like it, instead of words.")
@click.option("--by", type=click.Choice(["text", "image", "both"]), help="What is compared [what there is].")
@click.option("-k", default=10, show_default=True, help="Length of the list.")
@click.option("--sheet", type=click.Path(path_type=Path), help="Also draw what was found into that PNG.")
def search(
    workflow: Any, as_json: bool, words: str | None, like: str | None, by: Any, k: int, sheet: Path | None
) -> None:
    """Find items by WORDS, among their texts and their pictures, or by an item that they are like.

    Words find pictures through a joint space, which is learned on the catalogue's own pairs the first time.

    \b
    Examples:
      recsys search "a submarine in the deep sea" -c run.toml
      recsys search "a submarine in the deep sea" -c run.toml --by image --sheet found.png
      recsys search --like "Toy Story" -c run.toml -k 5
    """
    from recsys.searching import Search, found_dict, found_text, search_sheet, write_png

    if (words is None) == (like is None):
        raise click.UsageError('give words to search for, or --like TITLE: recsys search "a submarine"')
    looking = Search(workflow)
    found = looking.by_words(words, by, k) if like is None else looking.like(like, by, k)
    if sheet:
        write_png(sheet, search_sheet(looking, words, like, found))
    if as_json:
        told = found_dict(words or like, found)
        click.echo(json.dumps({**told, "sheet": str(sheet) if sheet else None}, indent=2))
        return
    click.echo(found_text(found))
    if sheet:
        click.echo(str(sheet))


@main.command()
@run_options
@click.argument("words", nargs=-1, metavar="")
@click.option("--ranker", hidden=True)
@click.option(
    "--executor",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Where a ranker that learns by gradient is trained: here, or by Ray Train (extra ray).",
)
def train(workflow: Any, as_json: bool, words: tuple[str, ...], ranker: str | None, executor: str) -> None:
    """Fit a ranker; the epoch is chosen on validation. Interrupted, it goes on where it was.

    With ranker.devices = N a ranker that learns by gradient is trained by N processes that divide each batch: here, a
    core or GPU each, or on the cluster of RAY_ADDRESS, whose machines see the same files; run.device = auto takes its
    GPUs, where it has that many. A worker that is lost is started again, from the last validation.

    \b
    Examples:
      recsys train --set ranker.name=ease --set ranker.regularisation=500
      recsys train --set ranker.name=lightgcn --set ranker.num_layers=3
      recsys train -c run.toml --set ranker.name=ease          not the file's ranker, and none of its settings
      recsys train --set ranker.name=sasrec --set ranker.devices=2
      recsys train --set ranker.name=sasrec --set ranker.devices=8 --executor ray
      recsys train --set ranker.name=recbole --set ranker.model=BPR
      recsys doctor --settings ranker.lightgcn                 what can be set
    """
    if words or ranker:
        raise _is_a_setting(words or (str(ranker),))
    if executor == "ray":
        from recsys.training_ray import train_on_ray

        workflow.elsewhere = train_on_ray
    made = workflow.train()
    workflow.store.renew(made)  # the last trained of its name, also where it was there already
    result = made.manifest["results"]
    best = "  ".join(f"{name} {value:.4f}" for name, value in result["best"].items())
    epoch = f" (epoch {result['best_epoch']})" if result["best_epoch"] else ""
    show_result(made, as_json, f"validation{epoch}: {best or 'no validation part'}   fit {result['fit_wall_s']:.1f} s")


def _is_a_setting(words: tuple[str, ...]) -> RecsysError:
    """Return what to write in place of ``train WORDS``."""
    from recsys.core.errors import ConfigError

    remedies = [f"-c {word}" if word.endswith(".toml") else f"--set ranker.name={word}" for word in words[:1]]
    remedies += [f"--set ranker.{word}" for word in words[1:] if "=" in word]
    return ConfigError(f"train {words[0]}", "what to train is a setting", " ".join(["recsys train", *remedies]))


main.add_command(tune)


@main.command(short_help="Measure trained rankers and compare them.")
@run_options
@click.argument("rankers", nargs=-1)
@click.option("--part", type=click.Choice(["test", "valid"]), default="test", show_default=True)
@click.option("--reference", help="Ranker that the others are compared with [the first].")
@click.option("--knockout", metavar="MODALITIES", help="Also measure what they are worth: image,text or all.")
@click.option("--report", type=click.Path(path_type=Path), help="Also write an HTML report there.")
def evaluate(
    workflow: Any,
    as_json: bool,
    rankers: tuple[str, ...],
    part: str,
    reference: str | None,
    knockout: str | None,
    report: Path | None,
) -> None:
    """Measure trained rankers by full ranking, with 95 % intervals and paired tests.

    RANKERS are names, of rankers trained on this run's data and split, or exactly one artifact each (folder or key);
    without any, the configured ranker is trained if need be. --knockout trains each ranker that reads item features
    anew with the features shuffled between items, absent, and noise, and says what is then lost.

    \b
    Examples:
      recsys evaluate --set ranker.name=ease
      recsys evaluate ease lightgcn --reference ease --report report.html
      recsys evaluate content_ease freedom -c run.toml --knockout image,text
    """
    from recsys.comparison import Comparison
    from recsys.knocking import Knocking
    from recsys.reporting import knockout_section, write_comparison

    comparison = Comparison.of(workflow, rankers, part, reference)
    knocking = Knocking.of(comparison, knockout) if knockout else None
    if report:
        write_comparison(comparison, report, sections=[knockout_section(knocking)] if knocking else [])
    if as_json:
        found = comparison.to_dict() | ({"knockout": knocking.to_dict()} if knocking else {})
        click.echo(json.dumps({**found, "report": str(report) if report else None}, indent=2))
        return
    click.echo(comparison.to_text())
    if knocking:
        click.echo("\n" + knocking.to_text())
    if report:
        click.echo(str(report))


main.add_command(ablate)
main.add_command(benchmark)


@main.command(short_help="Measure rankers on new items and new users.")
@run_options
@click.argument("rankers", nargs=-1)
@click.option("--report", type=click.Path(path_type=Path), help="Also write an HTML report there.")
def cold(workflow: Any, as_json: bool, rankers: tuple[str, ...], report: Path | None) -> None:
    """Measure cold start: items that nobody in train took, and users of whom little is known.

    RANKERS are names with settings, not artifacts: each is trained without the items
    (split.cold_share of them), without some users, and on a random split to compare with.

    \b
    Examples:
      recsys cold ease content_knn -c run.toml
      recsys cold "content_ease strength=500" "lightgcn epochs=50" -c run.toml --report cold.html
    """
    from recsys.coldstart import ColdStart
    from recsys.coldtables import cold_text
    from recsys.reporting import write_cold

    found = ColdStart.of(workflow, rankers)
    if report:
        write_cold(found, report)
    if as_json:
        click.echo(json.dumps({**found.to_dict(), "report": str(report) if report else None}, indent=2))
        return
    click.echo(cold_text(found))
    if report:
        click.echo(str(report))


main.add_command(recommend)


@main.command(short_help="What a user likes, with evidence; edit it, and lists follow.")
@run_options
@click.argument("user", type=ID, required=False)
@click.option("--liked", multiple=True, help="Title or id that somebody new likes, oldest first; may be repeated.")
@click.option("--edit", "edits", multiple=True, help='Such as "raise genre:Drama"; may be repeated.')
@click.option("--undo", is_flag=True, help="Take the last edit back.")
@click.option("--redo", is_flag=True, help="Take the last undo back.")
@click.option("--history", is_flag=True, help="List the versions instead of the profile.")
@click.option("--erase", is_flag=True, help="Remove all that is kept of the user: edits, versions, words of models.")
@click.option("--sample", type=int, metavar="N", help="Instead of USER: N users, drawn at random.")
@click.option("--html", type=click.Path(path_type=Path), help="Also write the profile as a page there.")
@click.option("--ranker", help="Whose list is shown after an edit: name, folder or key [the configured one].")
@click.option("-k", default=10, show_default=True, help="Length of that list.")
@click.option("--dial", type=float, help="How far edits move the list, from 0 [1].")
@click.option("--llm", metavar="NAME", help="Who puts it into words: smollm, causal, openai, or none [llm.model].")
@click.option(
    "--searches", is_flag=True, help="Also search for what comes next: that model, fine-tuned, writes titles."
)
@click.option("--prefers", is_flag=True, help="Also what that model prefers when it reads the user as soft tokens.")
def profile(workflow: Any, as_json: bool, llm: str | None, **options: Any) -> None:
    """Say what USER likes, by which items, and how sure that is; or somebody new who likes a few titles.

    \b
    Edits: add WORDS, dislike WORDS, raise X, lower X, forbid X, where X is a concept, a statement or words;
    remove, lock, unlock, allow a statement; reweight STATEMENT 0.8. They are kept, with all versions, and
    the change of the top list is shown. Nothing is kept of somebody new.

    A language model may word summary, statements and searches: what the evidence does not bear out is dropped,
    rankings and edits never read it, its answers are kept until --erase. smollm comes with the extra llm.

    \b
    Examples:
      recsys profile 42
      recsys profile 42 --edit "raise genre:Drama" --edit "forbid genre:Horror"
      recsys profile 42 --edit "add films about space" --ranker lightgcn
      recsys profile 42 --undo
      recsys profile --sample 20 --html profiles.html
      recsys profile --liked "Toy Story" --liked "Fargo" --edit "lower genre:Comedy" --html profile.html
      recsys profile 42 --llm smollm --set llm.writer.noun=films
      recsys profile 42 --llm smollm --searches --set llm.searches.noun=films       learns for some minutes, once
      recsys profile 42 --llm smollm --prefers                 learns for some minutes, once
      recsys profile 42 --llm causal --set llm.options.causal.model=my_folder
      recsys doctor --settings llm.openai                      what can be set
    """
    from recsys.portrait import Asked, answer

    if llm is not None:
        workflow = workflow.with_settings(f"llm.model={json.dumps(llm)}")
    found = answer(workflow, Asked(**options))
    click.echo(json.dumps(found.to_dict(), indent=2) if as_json else found.to_text())


@main.command(short_help="Pictures of an item for somebody's taste.")
@run_options
@click.argument("names", type=ID, nargs=-1, metavar="[USER] ITEM")
@click.option("--liked", multiple=True, help="Title or id that somebody new likes, instead of USER; may be repeated.")
@click.option("-n", default=4, show_default=True, help="Pictures.")
@click.option("--dial", default=0.5, show_default=True, help="0 is true to the item, 1 to the user's taste.")
@click.option("--out", type=click.Path(path_type=Path), help="New folder for them [one below the results].")
@click.option("--pairs", type=click.Path(path_type=Path), help="Instead: CSV of user,item; a folder each below --out.")
@click.option("--generator", metavar="NAME", help="Who draws: embedded or catalogue [visuals.generator].")
def visualize(
    workflow: Any, as_json: bool, names: tuple[str, ...], generator: str | None, pairs: Path | None, **options: Any
) -> None:
    """Draw ITEM (id or title) for USER, or for somebody new who likes a few titles.

    The words of the taste come from the profile, edits included. Of more candidates than asked for those are kept
    that are best by the dial. The folder holds PNGs, what each was made from (JSON), and a contact sheet beside the
    original; no file names the user, each says that it is generated. Same seed, same bytes. Many pairs are drawn
    one after the other; interrupted, the same command goes on where it was.

    \b
    Examples:
      recsys visualize 42 "Toy Story" -c run.toml
      recsys visualize 42 "Toy Story" -c run.toml -n 6 --dial 0.8 --out pictures
      recsys visualize --liked Alien --liked "Blade Runner" "Toy Story" -c run.toml
      recsys visualize 42 "Toy Story" -c run.toml --generator catalogue     real pictures, the honest baseline
      recsys visualize --pairs pairs.csv -c run.toml --out pictures
      recsys doctor --settings visuals.embedded                what can be set
    """
    from recsys.visualizing import Asked, Visualizing, read_pairs

    wanted = 0 if pairs else 1 if options["liked"] else 2
    if len(names) != wanted or (pairs and options["liked"]):
        what = ("no names beside --pairs", "ITEM beside --liked", "USER and ITEM, or --liked TITLE and ITEM")[wanted]
        raise click.UsageError(f'give {what}, long titles in quotes: recsys visualize 42 "Toy Story"')
    if generator is not None:
        workflow = workflow.with_settings(f"visuals.generator={json.dumps(generator)}")
    if pairs:
        listed, asked = read_pairs(pairs), Asked(item="", root=options.pop("out"), **options)
        for (user, item), one in zip(listed, Visualizing(workflow).many(listed, asked), strict=True):
            line = json.dumps({"user": user, **one.to_dict()}) if as_json else f"{user}  {item}  {one.folder}"
            click.echo(line)
        return
    found = Visualizing(workflow).of(Asked(item=names[-1], user=names[0] if wanted == 2 else None, **options))
    click.echo(json.dumps(found.to_dict(), indent=2) if as_json else found.to_text())


@main.command(short_help="Whether pictures for users are true to the item and to the taste.")
@run_options
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("judged"), show_default=True, help="Folder to write."
)
@click.option("--pairs", default=24, show_default=True, help="Pairs on the page of pictures.")
def judge(workflow: Any, as_json: bool, out: Path, pairs: int) -> None:
    """Draw pairs of users and items for nobody, for the user and for another user, and measure them.

    The noise is the same, so that differences are the taste's. Items are those that train does not have, and an encoder
    judges that neither draws nor chooses: likeness to the user's liked test pictures and to the item, with intervals;
    the dial swept; conditions left out in turn; whether pictures tell whose they are; how real and how new they are.
    Writes judge.json and pairs.png. Interrupted, the same command goes on where it was.

    \b
    Examples:
      recsys judge -c run.toml --set split.kind=item_parts --set judge.users=50
      recsys judge -c run.toml --set split.kind=item_parts --set visuals.generator=catalogue --out catalogue
      recsys doctor --settings judge                           what can be set
    """
    from recsys.judging import Judging

    found = Judging(workflow).report(out, pairs)
    click.echo(json.dumps(found.to_dict(), indent=2) if as_json else found.to_text())


main.add_command(serve)


@main.command(short_help="List results, or describe one.")
@run_options
@click.argument("artifact", required=False)
@click.option("--verify", is_flag=True, help="Compare every file with its recorded hash.")
def show(workflow: Any, as_json: bool, artifact: str | None, verify: bool) -> None:
    """List results, or show one: what it is, what it was made from, and how.

    ARTIFACT is a folder, a key, or a name; that of a ranker means one of this run's data and split, as everywhere.

    \b
    Examples:
      recsys show
      recsys show ease --verify
      recsys show sasrec -c run.toml
    """
    from recsys.showing import show_text

    click.echo(show_text(workflow, artifact, verify=verify, as_json=as_json))


@main.command()
@click.option(
    "--settings",
    help="Explain a section: data, split, items, ranker.NAME, evaluation, llm, visuals, judge, run, "
    "ablation, tune, benchmark.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(settings: str | None, as_json: bool) -> None:
    """Check the installation, or explain the settings of a section.

    \b
    Examples:
      recsys doctor
      recsys doctor --settings ranker.sasrec
    """
    from recsys import health
    from recsys.console import columns

    rows, healthy = (health.settings_rows(settings), True) if settings else health.check()
    click.echo(json.dumps(rows, indent=2, default=str) if as_json else columns(rows))
    if not healthy:
        sys.exit(1)


@main.command(short_help="The whole flow on real data, with a report.")
@click.option("--artifacts", type=click.Path(path_type=Path), default=Path("data/artifacts"), show_default=True)
@click.option("-q", "--quiet", is_flag=True, help="No progress and no notes.")
def demo(artifacts: Path, quiet: bool) -> None:
    """The whole flow on real data, offline, in a few minutes; the last line is the report's path."""
    from recsys.demo import run_demo

    click.echo(str(run_demo(artifacts, quiet=quiet)))
