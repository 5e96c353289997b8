"""The verbs that answer: lists for somebody, for everybody, and over HTTP."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from recsys.options import ID, run_options


@click.command(short_help="List the best unseen items for somebody.")
@run_options
@click.argument("ranker", required=False)
@click.option("--user", "users", type=ID, multiple=True, help="A known user's id; may be repeated.")
@click.option("--liked", multiple=True, help="Title or id that a new user likes, oldest first; may be repeated.")
@click.option("-k", default=10, show_default=True, help="Length of the list.")
@click.option("--exclude", multiple=True, help="Title or id never to show; may be repeated.")
@click.option("--filter", "conditions", multiple=True, help="genre:Comedy, !genre:Horror, year>=1990; may be repeated.")
@click.option("--all", "everybody", is_flag=True, help="Every user, into --out; interrupted, it goes on where it was.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("lists.parquet"), help="File of --all, .parquet.")
@click.option("--workers", default=1, show_default=True, help="Processes of --all.")
@click.option(
    "--executor",
    type=click.Choice(["local", "ray", "serial"]),
    default="local",
    show_default=True,
    help="Of --all: processes here, a Ray Data pipeline (extra ray), or this very process.",
)
def recommend(
    workflow: Any,
    as_json: bool,
    ranker: str | None,
    users: tuple[str, ...],
    liked: tuple[str, ...],
    conditions: tuple[str, ...],
    k: int,
    exclude: tuple[str, ...],
    everybody: bool,
    **options: Any,
) -> None:
    """List the best unseen items for users, or for somebody new who likes a few titles.

    RANKER is a name, of a ranker trained on this run's data and split, or exactly one artifact: folder or key.
    Without it, the configured ranker is asked, and trained if need be.

    \b
    Examples:
      recsys recommend ease --user 42
      recsys recommend sasrec -c run.toml --user 42
      recsys recommend ease --liked "Toy Story" --liked "Fargo" -k 5
      recsys recommend ease --user 1 --user 2 --filter genre:Comedy --filter "year>=1990" --json
      recsys recommend ease --all -k 20 --out lists.parquet --workers 2
      recsys recommend ease --all --workers 16 --executor ray      on the cluster of RAY_ADDRESS
    """
    from recsys.listing import lists_dict, lists_text, recommend_lists, shorter
    from recsys.serving.recommender import Recommender

    if everybody and (users or liked or exclude):
        raise click.UsageError("--all is for every user: leave out --user, --liked and --exclude")
    trained = (workflow.find_ranker(ranker) if ranker else workflow.train()).path
    artifacts = workflow.store.root
    if everybody:
        _recommend_all(trained, artifacts, k, conditions, as_json, **options)
        return
    model = Recommender.load(trained, artifacts=artifacts)
    lists = recommend_lists(model, users, liked, k=k, exclude=exclude, filter=conditions)
    click.echo(json.dumps(lists_dict(lists), indent=2) if as_json else lists_text(lists))
    for line in shorter(model, lists, k, conditions):
        workflow.run.log(line)


def _recommend_all(
    ranker: Path,
    artifacts: Path,
    k: int,
    filters: tuple[str, ...],
    as_json: bool,
    out: Path,
    workers: int,
    executor: str,
) -> None:
    from recsys.batch import recommend_all
    from recsys.core.amounts import amount
    from recsys.core.runtime import Run
    from recsys.executing import make_executor

    run = Run(progress=sys.stderr.isatty())
    with make_executor("ray-data" if executor == "ray" else executor, workers) as chosen:
        done = recommend_all(ranker, artifacts, out, k=k, filters=filters, executor=chosen, run=run)
    told = {"path": str(done.path), "users": done.users, "rows": done.rows}
    text = f"{amount(done.users, 'user')}, {amount(done.rows, 'row')}\n{done.path}"
    click.echo(json.dumps(told) if as_json else text)


@click.command(short_help="Answer over HTTP: lists, profiles, pictures, and a page.")
@run_options
@click.argument("ranker", required=False)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(1, 65535), help="Port to listen on.")
@click.option("--state", help="Where feedback is kept: FILE or postgresql://… [a file beside the results].")
@click.option("--no-profiles", is_flag=True, help="Lists alone: starts sooner.")
@click.option("--no-visuals", is_flag=True, help="No pictures for users.")
@click.option(
    "--recall",
    type=click.FloatRange(0, 1, min_open=True),
    help="Search an index (extra ann) that finds this share of exact lists, measured at the start [exact].",
)
@click.option(
    "--engine",
    type=click.Choice(["plain", "ray"]),
    default="plain",
    show_default=True,
    help="One server, or replicas on Ray Serve (extra ray), which share a PostgreSQL.",
)
@click.option("--replicas", metavar="N|MIN:MAX", help="Servers of --engine ray, more while there is more to do [1].")
def serve(
    workflow: Any,
    as_json: bool,
    no_profiles: bool,
    no_visuals: bool,
    engine: str,
    replicas: str | None,
    **options: Any,
) -> None:
    """Serve RANKER: a name, of one trained on this run's data and split, or exactly one artifact (folder or key).

    Without it, the configured ranker is served, and trained if need be.

    The page and the API stand on the same address. What users say counts in the very next list, and is on the disk
    before it is acknowledged. Whatever changes something or tells of a person needs a key where RECSYS_KEYS holds any;
    without one the server only listens to this machine.

    \b
    Examples:
      recsys serve                                             ease on ml-100k
      recsys serve lightgcn --port 9000
      recsys serve lightgcn --recall 0.98                      many items: approximate, or refused
      recsys serve -c run.toml --set run.device=cuda
      RECSYS_KEYS=$(openssl rand -hex 16) recsys serve ease --host 0.0.0.0
      recsys serve --engine ray --replicas 2:8 --state postgresql://me@localhost/recsys
    """
    from recsys.hosting import Hosting, keys_of, serve

    if replicas and engine != "ray":
        raise click.UsageError("--replicas is for --engine ray")
    profiles = not no_profiles
    hosting = Hosting(keys=keys_of(), profiles=profiles, visuals=profiles and not no_visuals, **options)
    if engine == "plain":
        serve(workflow, hosting)
        return
    from recsys.hosting_ray import Replicas, serve_on_ray

    serve_on_ray(workflow, hosting, Replicas.parse(replicas or "1"))
