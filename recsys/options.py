"""What the verbs of the command line share: the options of every step, and how a result is shown."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from recsys.core.blanks import trimmed_id


class IdType(click.ParamType):
    """An id of a user or item, read as those of tables are: without blanks around it."""

    name = "text"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return trimmed_id(value) or self.fail("an id cannot be blank", param, ctx)


ID = IdType()


def run_options(command: Callable) -> Callable:
    """The options that every step has."""

    @click.option("-c", "--config", type=click.Path(path_type=Path), help="TOML file of the run.")
    @click.option("--set", "overrides", multiple=True, metavar="A.B=C", help="Override a setting; may be repeated.")
    @click.option("--artifacts", type=click.Path(path_type=Path), help="Folder of results [data/artifacts].")
    @click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
    @click.option("-q", "--quiet", is_flag=True, help="No progress and no notes on standard error.")
    @functools.wraps(command)
    def wrapped(config, overrides, artifacts, as_json, quiet, **rest):  # type: ignore[no-untyped-def]
        from recsys.runconfig import read_config
        from recsys.workflow import Workflow

        extra = (*overrides, *([f"run.artifacts={json.dumps(str(artifacts))}"] if artifacts else []))
        settings = read_config(config, extra)
        silent = {"log": lambda message: None} if quiet else {}
        workflow = Workflow(settings, progress=not quiet and sys.stderr.isatty(), **silent)
        workflow.asked = overrides
        return command(workflow, as_json=as_json, **rest)

    return wrapped


def show_result(artifact: Any, as_json: bool, *lines: str) -> None:
    """Print an artifact: JSON, or a few lines and its folder."""
    if as_json:
        click.echo(json.dumps({"path": str(artifact.path), **artifact.manifest}, indent=2, default=str))
        return
    for line in lines:
        click.echo(line)
    click.echo(str(artifact.path))
