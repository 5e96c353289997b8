"""What a ranker's name means in a run: one rule, which all verbs and the library share.

A folder, a key (six digits will do), ``name-key`` or ``ranker/name-key`` is exactly that artifact, whatever it was
trained on (``ArtifactStore.find``). Any other name, such as ``ease`` or ``my_file:MyRanker``, means a ranker that was
trained on the run's own data, as the files are now, with the run's split; never one of another data set in the same
folder, nor one of files that have changed since. Where several have the name, the first of these that there is:

1. the one with exactly the settings of the run's ``[ranker]``, where that is the ranker named and has settings;
2. the one with the best validation metric among those chosen by ``recsys tune``;
3. the one that was trained last; ``recsys train`` of one that is there already counts as training it.

Where ``--set`` gave settings of the ranker, only rankers with these settings count; if there is none, that is an error.
Within 1 and 3, rankers that agree with the run's seed, metric and encoders and with the code as it is now go before
others. What was taken, and why, is said in a line, with how many others there are, unless there was but one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recsys.core.amounts import amount
from recsys.core.artifact import Artifact, ArtifactStore, read_artifact
from recsys.core.config import apply_overrides
from recsys.core.errors import ArtifactError, ConfigError
from recsys.core.fingerprint import source_key
from recsys.core.registry import only_named
from recsys.evaluation.wording import fixed
from recsys.rankers import RANKERS
from recsys.rankers.store import resolved, title
from recsys.runconfig import RunConfig

TUNED = "tuned"  # kind of the artifact that a search leaves for each of its rankers; its parents: split, best ranker


@dataclass(frozen=True)
class Meaning:
    """What a name means.

    Attributes:
        artifact: the ranker.
        why: that it was taken, in one line; empty where there was but one.
    """

    artifact: Artifact
    why: str


class Names:
    """The names of trained rankers in one run.

    Args:
        store: all results.
        config: the run.
        split: key of the run's split.
        asked: what ``--set`` gave, as ``a.b=c``.
    """

    def __init__(self, store: ArtifactStore, config: RunConfig, split: str, asked: Sequence[str] = ()) -> None:
        self.store, self.config, self.split, self.asked = store, config, split, asked

    def named(self, name: str) -> list[Artifact]:
        """Return the rankers of a name, of whichever data, the last trained at the end."""
        return self.store.by_age(one for one in self.store.list("ranker") if _is_named(one, name))

    def here(self, rankers: Sequence[Artifact]) -> list[Artifact]:
        """Return those of the run's data and split."""
        return [one for one in rankers if parent_key(one, "split") == self.split]

    def of(self, name: str) -> Meaning | None:
        """Return what a name means; ``None`` where no ranker of that name has this split.

        Raises:
            ArtifactError: none has the settings that ``--set`` gave.
            ConfigError: ``--set`` gave settings of another ranker.
        """
        ours = self.here(self.named(name))
        if not ours:
            return None
        having = self._with_asked(name, ours)
        exact = self._as_set(name, having)
        taken, why = exact or self._tuned(having) or self._last(having)
        notes = []
        if self._gives_settings(name) and not exact:
            why, notes = why or taken.path.name, ["none has this run's settings"]
        if len(ours) > 1:
            notes.append(f"{amount(len(ours) - 1, 'other')} of that name: recsys show")
        return Meaning(taken, "; ".join([f"{name}: {why}", *notes]) if why else "")

    # -- the rules, in their order ---------------------------------------------------------------------------------

    def _as_set(self, name: str, rankers: Sequence[Artifact]) -> tuple[Artifact, str] | None:
        """Return the one with exactly the settings of the run's ``[ranker]``."""
        if not self._gives_settings(name):
            return None
        wanted = _plain(resolved(self.config.ranker))
        exact = [one for one in rankers if _plain(one.config["ranker"]) == wanted]
        if not exact:
            return None
        taken, tuned = self._first_agreeing(exact), self._best_record(rankers)
        better = tuned is not None and parent_key(tuned, "ranker") != taken.key
        chosen = f"; tune chose {_folder(tuned, 'ranker')}" if tuned and better else ""
        alone = len(rankers) == 1 and not chosen
        return taken, "" if alone else f"{taken.path.name}, which has this run's settings{chosen}"

    def _tuned(self, rankers: Sequence[Artifact]) -> tuple[Artifact, str] | None:
        """Return the ranker with the best validation metric among those chosen by a search."""
        record = self._best_record(rankers)
        if record is None:
            return None
        best = next(one for one in rankers if one.key == parent_key(record, "ranker"))
        found = record.manifest["results"]
        value = f"validation {record.config['metric']} {fixed(found['value'])}"
        return best, f"the best of {amount(found['trials'], 'trial')} of tune, {best.path.name} ({value})"

    def _last(self, rankers: Sequence[Artifact]) -> tuple[Artifact, str]:
        taken = self._first_agreeing(rankers)
        apart = self._apart(taken, code=len(rankers) > 1)
        alone = len(rankers) == 1 and not apart
        why = (
            ""
            if alone
            else taken.path.name
            if len(rankers) == 1
            else f"the last trained, {_told_apart(taken, rankers)}"
        )
        return taken, why + (f", trained {' and '.join(apart)}" if apart else "")

    # -- what they rest on -----------------------------------------------------------------------------------------

    def _is_own(self, name: str) -> bool:
        """Return whether a name is that of the run's own ranker."""
        own = self.config.ranker
        return name in (own["name"], title(own), f"ranker/{title(own)}")

    def _gives_settings(self, name: str) -> bool:
        return self._is_own(name) and len(self.config.ranker) > 1

    def _with_asked(self, name: str, rankers: list[Artifact]) -> list[Artifact]:
        """Return the rankers that have the settings which ``--set`` gave."""
        asked = apply_overrides({}, self.asked).get("ranker", {})
        keys = [key for key in asked if key != "name"] if isinstance(asked, Mapping) else []
        if not keys:
            return rankers
        wanted = _plain(resolved(self.config.ranker))  # which also checks them
        if not self._is_own(name):
            return rankers
        having = [one for one in rankers if all(_plain(one.config["ranker"]).get(key) == wanted[key] for key in keys)]
        if having:
            return having
        settings = ", ".join(f"{key} {wanted[key]}" for key in keys)
        cause = f"is not trained with {settings} here, only otherwise ({_several(rankers)})"
        raise ArtifactError(f"ranker {name!r}", cause, "Train it: recsys train with the same -c and --set.")

    def _best_record(self, rankers: Sequence[Artifact]) -> Artifact | None:
        """Return what a search noted of the best of some rankers, by the run's metric first; the last of equals."""
        keys = {one.key for one in rankers}
        records = [one for one in self.here(self.store.list(TUNED)) if parent_key(one, "ranker") in keys]
        metric = self.config.evaluation.metric
        same = [one for one in records if one.config["metric"] == metric] or records[-1:]
        return max(reversed(same), key=lambda one: one.manifest["results"]["value"], default=None)

    def _first_agreeing(self, rankers: Sequence[Artifact]) -> Artifact:
        """Return the last that agrees with the run in all that is not the ranker's settings, else the last."""
        several = len(rankers) > 1
        return ([one for one in rankers if several and not self._apart(one)] or list(rankers))[-1]

    def _apart(self, ranker: Artifact, code: bool = True) -> list[str]:
        """Return in what, besides its settings, a ranker is not what this run would train."""
        about, run = ranker.config, self.config
        found = [f"with seed {about['seed']}"] * (about["seed"] != run.run.seed)
        found += [f"for {about['metric']}"] * (about["metric"] != run.evaluation.metric)
        found += ["with other encoders"] * any(not self._is_encoder(one) for one in ranker.manifest["parents"])
        return found + ["by other code"] * (code and about["code"] != _code(about["ranker"]["name"]))

    def _is_encoder(self, parent: Mapping[str, Any]) -> bool:
        """Return whether a parent is no item vectors, or such as the run's settings make; one that is gone is."""
        if parent["kind"] != "items":
            return True
        try:
            made = read_artifact(self.store.root / "items" / f"{parent['name']}-{parent['key']}").config
        except ArtifactError:
            return True
        settings = self.config.items
        given = settings.options.get(made["encoder"], {})
        return settings.encoder_of(made["modality"]) == made["encoder"] and given.items() <= made["options"].items()


def parent_key(artifact: Artifact, kind: str) -> str | None:
    """Return the key of what an artifact was made from."""
    return next((entry["key"] for entry in artifact.manifest["parents"] if entry["kind"] == kind), None)


def _folder(artifact: Artifact, kind: str) -> str:
    return next(f"{one['name']}-{one['key']}" for one in artifact.manifest["parents"] if one["kind"] == kind)


def _is_named(ranker: Artifact, name: str) -> bool:
    """Return whether a ranker has that name, or was configured by it: ``my_file:MyRanker``."""
    own = ranker.manifest["name"]
    return name in (own, f"ranker/{own}") or (":" in name and ranker.config["ranker"]["name"] == name)


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration as a manifest has it."""
    return json.loads(json.dumps(config, default=str))


def _code(name: str) -> str | None:
    """Return the hash of a ranker's code; ``None`` where it cannot be imported, or is not named by the run."""
    try:
        with only_named():  # the name is an artifact's
            return source_key(RANKERS.load(name))
    except ConfigError:
        return None


def _told_apart(taken: Artifact, rankers: Sequence[Artifact]) -> str:
    """Return which one of several rankers is, by the settings in which they differ."""
    settings = {one.key: {**one.config["ranker"], "seed": one.config["seed"]} for one in rankers}
    own = settings[taken.key]
    differing = [key for key in own if any(other.get(key) != own[key] for other in settings.values())]
    plain = [f"{key} {own[key]}" for key in differing if not isinstance(own[key], list | dict)]
    return taken.path.name + (f" ({', '.join(plain[:5])})" if plain else "")


def _several(rankers: Sequence[Artifact]) -> str:
    names = [one.path.name for one in reversed(rankers)]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
