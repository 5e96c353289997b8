"""Verbs of serving."""

from __future__ import annotations

from typing import Any

import click

from recsys.options import run_options


@click.command(short_help="Answer over HTTP: lists, profiles, pictures, and a page.")
@run_options
@click.argument("ranker", required=False)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(1, 65535), help="Port to listen on.")
@click.option("--state", help="Where feedback is kept: FILE or postgresql://… [a file beside the results].")
@click.option("--no-profiles", is_flag=True, help="Lists alone: starts sooner.")
@click.option("--no-visuals", is_flag=True, help="No pictures for users.")
def serve(workflow: Any, as_json: bool, no_profiles: bool, no_visuals: bool, **options: Any) -> None:
    """Serve RANKER (folder, name or key; by default the configured one, trained if need be).

    The page and the API stand on the same address. What users say counts in the very next list, and is on the disk
    before it is acknowledged. Whatever changes or exports something needs a key where RECSYS_KEYS holds any; without
    one the server only listens to this machine.

    \b
    Examples:
      recsys serve                                             ease on ml-100k
      recsys serve lightgcn --port 9000
      recsys serve -c run.toml --set run.device=cuda
      RECSYS_KEYS=$(openssl rand -hex 16) recsys serve ease --host 0.0.0.0
    """
    from recsys.hosting import Hosting, keys_of, serve

    profiles = not no_profiles
    serve(workflow, Hosting(keys=keys_of(), profiles=profiles, visuals=profiles and not no_visuals, **options))
