"""Ablations of worlds that know the answer: what alone reveals taste must be missed, and a decoy must not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from recsys.ablation.plan import Plan
from recsys.ablation.report import build_report
from recsys.ablation.results import as_results
from recsys.ablation.running import Ablation, Cell, Done, run_cell
from recsys.ablation.text import markdown, to_text, write_ablation
from recsys.cli import main
from recsys.core.artifact import ArtifactStore
from recsys.core.errors import ConfigError, RankerError
from recsys.core.values import ItemFeatures, Split
from recsys.executing import Local, Serial

from worlds import blocks, content_world

KNN = '{name = "content_knn", k = 8, modalities = ["%s"]}'
CONTENT = f"""
[ranker]
name = "fusion"
k = 2
candidates = 10
members = [{{name = "popularity"}}, {KNN % "image"}, {KNN % "text"}]
[ablation]
seeds = [0, 1, 2]
[ablation.components]
image = {{modality = "image", how = "shuffled"}}
text = {{modality = "text", how = "shuffled"}}
popularity = {{without = "popularity"}}
"""
GRAPH = f"""
[ranker]
name = "fusion"
k = 2
candidates = 10
members = [{{name = "popularity"}}, {{name = "rp3beta"}}, {KNN % "text"}]
[ablation]
seeds = [0, 1]
[ablation.components]
graph = {{without = "rp3beta"}}
text = {{modality = "text", how = "noise"}}
"""


def written(folder: Path, world: Split, features: ItemFeatures) -> Path:
    """Write a world as files that a source reads, with its split and both feature matrices."""
    folder.mkdir()
    for name in ("train", "valid", "test"):
        part = getattr(world, name)
        rows = [f"{user}\t{item}" for user, item in zip(part.user_idx, part.item_idx, strict=True)]
        (folder / f"{name}.tsv").write_text("\n".join(["user\titem", *rows]) + "\n")
    for name, matrix in features.matrices.items():
        np.save(folder / f"{name}_feat.npy", matrix)
    return folder


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of raw files by what alone reveals taste."""
    root = tmp_path_factory.mktemp("worlds")
    made = {name: written(root / name, *content_world(name)) for name in ("image", "text")}
    rng, graph = np.random.default_rng(0), blocks()
    noise = {name: rng.normal(size=(graph.train.n_items, 16)).astype(np.float32) for name in ("image", "text")}
    return made | {"graph": written(root / "graph", graph, ItemFeatures(noise))}


def config(raw: Path, text: str, folder: Path) -> Path:
    head = f"""
[data]
source = "mmssl"
raw = {str(raw)!r}
[split]
kind = "given"
[evaluation]
ks = [2]
metric = "recall@2"
resamples = 400
[run]
artifacts = {str(raw.parent / "artifacts")!r}
"""
    path = folder / "config.toml"
    path.write_text(head + text)
    return path


def ablated(raw: Path, text: str, folder: Path, *more: str, pairs: bool = False) -> Ablation:
    plan = Plan.read(config(raw, text, folder), more, pairs=pairs)
    return Ablation.run(plan, Serial(), log=lambda message: None)


@pytest.fixture(scope="module")
def by_image(worlds: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Ablation:
    return ablated(worlds["image"], CONTENT, tmp_path_factory.mktemp("run"))


def said(found: Ablation, name: str) -> str:
    lines = as_results(found)["variants"][0]["verdicts"]
    return next(line for line in lines if line.startswith(f"{name}: "))


# -- known answers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("reveals", "decoy"), [("image", "text"), ("text", "image")])
def test_without_what_reveals_taste_the_gain_is_lost_and_without_the_decoy_it_is_not(
    worlds: Mapping[str, Path], tmp_path: Path, reveals: str, decoy: str
) -> None:
    found = ablated(worlds[reveals], CONTENT, tmp_path)
    worth = {row.name: row for row in found.variants[0].worths}
    assert worth[reveals].loss > 0.25
    assert worth[reveals].low > 0
    assert abs(worth[decoy].loss) < 0.02
    assert re.search(r"shuffling it loses 0\.\d+ recall@2 .*: it helps$", said(found, reveals))
    assert said(found, decoy).endswith("no effect shown")
    assert said(found, "popularity").endswith("no effect shown")
    assert build_report(found).summary[0].startswith(f"{reveals.capitalize()} helps; no effect is shown of ")


def test_where_only_the_graph_reveals_taste_the_graph_is_missed(worlds: Mapping[str, Path], tmp_path: Path) -> None:
    found = ablated(worlds["graph"], GRAPH, tmp_path)
    assert found.variants[0].worths[0].loss > 0.25
    assert re.search(r"^graph: its removal loses \d\.\d+ .*: it helps$", said(found, "graph"))
    assert "noise in its place changes" in said(found, "text")
    assert said(found, "text").endswith("no effect shown")


def test_what_no_seed_changes_is_trained_twice_and_stands_for_all(by_image: Ablation) -> None:
    found = by_image.variants[0]
    assert found.intact.seeds == (0,)
    assert {one.name: one.seeds for one in found.others}["image"] == (0, 1, 2)  # another shuffle each
    assert len({row.name: row for row in found.worths}["image"].by_seed) == 3


def test_two_seeds_that_give_the_same_lists_by_chance_do_not_stand_for_all(
    worlds: Mapping[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a fusion does that gives its random members no weight with the first two seeds."""
    (tmp_path / "chance.py").write_text(
        "import numpy as np\nfrom recsys.rankers.popularity import Popularity\n"
        "class Chance(Popularity):\n"
        "    def fit(self, train, features, *, valid=None, run):\n"
        "        self.seed = run.seed\n"
        "        return super().fit(train, features, valid=valid, run=run)\n"
        "    def score(self, query):\n"
        "        scores = super().score(query)\n"
        "        return -scores if self.seed > 1 else scores\n"
        "    def state(self):\n        return super().state() | {'seed': np.array([self.seed])}\n"
        "    def restore(self, state):\n"
        "        super().restore({name: value for name, value in state.items() if name != 'seed'})\n"
        "        self.seed = int(state['seed'][0])\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    text = "[ranker]\nname = 'chance:Chance'\n[ablation]\nseeds = [0, 1, 2]\n[ablation.components]\n"
    found = ablated(worlds["image"], text + "chance = [\"ranker.name='popularity'\"]\n", tmp_path)
    intact, (without,) = found.variants[0].intact, found.variants[0].others
    first, second, third = (one.top_items for one in intact.evaluations)
    assert np.array_equal(first, second)
    assert not np.array_equal(first, third)
    assert (intact.seeds, without.seeds) == ((0, 1, 2), (0,))


# -- nothing twice -----------------------------------------------------------------------------------------------


def stamps(root: Path) -> dict[str, str]:
    return {one.path.name: one.manifest["created"] for one in ArtifactStore(root).list()}


def test_done_again_nothing_is_trained_and_costs_are_those_of_then(
    worlds: Mapping[str, Path], by_image: Ablation, tmp_path: Path
) -> None:
    before = stamps(worlds["image"].parent / "artifacts")
    again = ablated(worlds["image"], CONTENT, tmp_path)
    assert stamps(worlds["image"].parent / "artifacts") == before
    costs = [[kept["cost"] for kept in as_results(one)["variants"][0]["sets"]] for one in (by_image, again)]
    assert costs[0] == costs[1]
    assert all(cost["peak_memory_mb"] > 10 for cost in costs[0])


class Killed(Exception):
    pass


class Dying(Serial):
    """Does two cells and is gone."""

    def map(self, function: Any, inputs: Sequence[Cell]) -> Iterator[Done]:
        for number, one in enumerate(inputs):
            if number == 2:
                raise Killed
            yield function(one)


def test_killed_it_goes_on_where_it_was(worlds: Mapping[str, Path], tmp_path: Path) -> None:
    plan = Plan.read(config(worlds["image"], CONTENT, tmp_path), [f"run.artifacts={str(tmp_path / 'own')!r}"])
    with pytest.raises(Killed):
        Ablation.run(plan, Dying(), log=lambda message: None)
    before = stamps(tmp_path / "own")
    assert sum(name.startswith("fusion") and "test" not in name for name in before) == 2
    told: list[str] = []
    Ablation.run(plan, Serial(), log=told.append)
    assert before.items() <= stamps(tmp_path / "own").items()
    assert [line.rpartition(": ")[2] for line in told if "seed 0" in line or "seed 1" in line][:3] == [
        "was there", "was there", "trained",
    ]  # fmt: skip


def stripped(value: Any) -> Any:
    """Leave out what may differ: date, commit, seconds and memory."""
    if isinstance(value, Mapping):
        return {key: stripped(inner) for key, inner in value.items() if key not in ("made", "cost")}
    return [stripped(inner) for inner in value] if isinstance(value, list) else value


def test_the_same_seeds_give_the_same_results(worlds: Mapping[str, Path], by_image: Ablation, tmp_path: Path) -> None:
    other = ablated(worlds["image"], CONTENT, tmp_path, f"run.artifacts={str(tmp_path / 'other')!r}")
    assert json.dumps(stripped(as_results(other))) == json.dumps(stripped(as_results(by_image)))
    assert set(as_results(other)["made"]) == {"date", "commit", "command", "versions"}


@pytest.mark.slow
def test_several_workers_find_the_same(worlds: Mapping[str, Path], by_image: Ablation, tmp_path: Path) -> None:
    plan = Plan.read(config(worlds["image"], CONTENT, tmp_path), [f"run.artifacts={str(tmp_path / 'own')!r}"])
    other = Ablation.run(plan, Local(2), log=lambda message: None)
    assert stripped(as_results(other)) == stripped(as_results(by_image))


# -- pairs, variants, what cannot be -----------------------------------------------------------------------------


def test_pairs_are_tried_where_they_can_be_and_said_to_be_left_out_where_not(
    worlds: Mapping[str, Path], tmp_path: Path
) -> None:
    text = CONTENT.replace("seeds = [0, 1, 2]", "seeds = [0]") + "knn = {without = 'content_knn'}\n"
    text = text.replace(KNN % "text", "{name = 'rp3beta'}").replace("text = {modality", "genres = {modality")
    text = text.replace('genres = {modality = "text", how = "shuffled"}', "votes = ['ranker.k=1']")
    found = ablated(worlds["image"], text, tmp_path, pairs=True)
    sets = [one.off for one in found.variants[0].others]
    assert ("image", "popularity") in sets
    assert ("popularity", "knn") not in sets
    assert "a fusion needs two rankers" in found.plan.skipped["popularity", "knn"]
    assert "switching both off loses" in said(found, "image+popularity")
    assert said(found, "image+popularity").endswith("one seed: together they help")
    assert said(found, "popularity+knn").startswith("popularity+knn: not tried: setting ranker.members: a fusion needs")
    assert "popularity+knn: not tried" in to_text(found)
    assert "popularity and knn at once | not tried: " in markdown(build_report(found))
    assert len(found.variants[0].overlaps) == len([off for off in sets if len(off) == 2])


def test_a_pair_can_say_itself_what_switches_it_off(worlds: Mapping[str, Path], tmp_path: Path) -> None:
    one, other = "text = [\"ranker.modalities=['image']\"]\n", "image = [\"ranker.modalities=['text']\"]\n"
    ranker = '[ranker]\nname = "content_knn"\nk = 8\n[ablation]\nseeds = [0]\n[ablation.components]\n' + one + other
    plan = Plan.read(config(worlds["image"], ranker, tmp_path), pairs=True)
    assert plan.skipped == {("text", "image"): "both set ranker.modalities"}
    named = ranker + '"image+text" = ["ranker={name=\'popularity\'}"]\n'
    plan = Plan.read(config(worlds["image"], named, tmp_path))
    assert plan.sets == [(), ("text",), ("image",), ("text", "image")]
    assert plan.config(plan.variants[0], ("text", "image")).ranker["name"] == "popularity"


def test_variants_stand_side_by_side(worlds: Mapping[str, Path], tmp_path: Path) -> None:
    more = [
        f"[[ablation.variants]]\nname = '{name}'\nset = [\"data.raw='{worlds[name]}'\"]\n" for name in ("image", "text")
    ]
    found = ablated(worlds["image"], CONTENT.replace("[0, 1, 2]", "[0]") + "".join(more), tmp_path)
    report = build_report(found)
    assert report.summary[0].startswith("image: image helps")
    assert report.summary[1].startswith("text: text helps")
    assert report.sections[0].title == "Across data sets and splits"
    rows = {row[0]: row[1:] for row in report.sections[0].table[1]}
    assert "helps" in rows["image"][0]
    assert "helps" not in rows["image"][1]
    assert len({id(section) for section in report.sections}) == len(report.sections)
    assert "What is lost without each: text" in [section.title for section in report.sections]


def test_what_cannot_be_trained_without_a_component_is_told_and_the_rest_goes_on(
    worlds: Mapping[str, Path], tmp_path: Path
) -> None:
    text = '[ranker]\nname = "content_knn"\nk = 8\n[ablation]\nseeds = [0, 1, 2]\n[ablation.components]\n'
    text += "all = {modality = ['image', 'text']}\nimage = {modality = 'image'}\n"
    found = ablated(worlds["image"], text, tmp_path)
    assert (
        said(found, "all")
        == "all: it cannot be trained so: ranker content_knn: reads item features, and there are none"
    )
    assert said(found, "image").endswith("it helps")
    assert "all" not in {row.name for row in found.variants[0].worths}
    assert "| without all | 2 |" in markdown(build_report(found))
    found.require_worths()
    alone = ablated(worlds["image"], text.partition("image = ")[0], tmp_path)
    with pytest.raises(RankerError, match=r"without any of its components \(.*there are none.*shuffled"):
        alone.require_worths()
    cell = list(Plan.read(config(worlds["image"], text, tmp_path)).cells([0]))[1]
    with pytest.raises(RankerError):  # the run as it is must be
        run_cell(replace(cell, off=()))


def test_tokens_that_a_ranker_tells_are_counted(
    worlds: Mapping[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "talker.py").write_text(
        "from pydantic import Field\nfrom recsys.core.config import Settings as Base\n"
        "from recsys.core.values import FitLog\nfrom recsys.rankers.popularity import Popularity\n"
        "class Talker(Popularity):\n"
        "    class Settings(Popularity.Settings):\n        words: int = Field(7, description='Words.')\n"
        "    def fit(self, train, features, *, valid=None, run):\n"
        "        super().fit(train, features, valid=valid, run=run)\n"
        "        return FitLog(rows=[{'epoch': n, 'llm_tokens': self.settings.words} for n in range(2)])\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    text = (
        "[ranker]\nname = 'talker:Talker'\n[ablation]\nseeds = [0]\n[ablation.components]\nwords = ['ranker.words=0']\n"
    )
    found = ablated(worlds["image"], text, tmp_path)
    kept = {one["name"]: one["cost"]["llm_tokens"] for one in as_results(found)["variants"][0]["sets"]}
    assert kept == {"intact": 14, "words": 0}


# -- bad files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "thing", "words"),
    [
        ("", "config", "no section [ablation]"),
        ("[ablation]\n", "section ablation", "it names no components"),
        ("[ablation]\nseds = [1]\n", "setting ablation.seds", "Did you mean 'seeds'?"),
        ("[ablation]\nseeds = []\n", "setting ablation.seeds", "doctor --settings ablation"),
        ("[ablation]\nseeds = [1, 1]\n", "setting ablation.seeds [1, 1]", "one is there twice"),
        ("ablation = 3\n", "setting ablation", "is a section, not a value"),
        ("[ablation.components]\nx = 3\n", "setting ablation.components.x", "3 is no table"),
        ("[ablation.components]\nintact = ['ranker.regularisation=5']\n", "component 'intact'", "another name"),
        ("[ablation.components]\nx = {modalty = 'text'}\n", "components.x.modalty", "Did you mean 'modality'?"),
        ("[ablation.components]\nx = {modality = 'text', how = 'gone'}\n", "components.x.how", "'shuffled', 'absent'"),
        ("[ablation.components]\nx = ['items.text=minilm']\n", "component 'x'", "switches nothing off"),
        ("[ablation.components]\nx = ['ranker.regularization=5']\n", "setting ranker.regularization", "Did you mean"),
        ("[ablation.components]\nx = ['rankr.k=5']\n", "setting rankr", "Did you mean 'ranker'?"),
        ("[ablation.components]\nx = ['evaluation.ks=[5]', 'evaluation.metric=\"ndcg@5\"']\n", "component 'x'",
         "it changes evaluation, which all must share"),
        ("[ablation.components]\nx = {without = 'ease'}\n", "member 'ease'", "Only a fusion has members."),
        ("[ablation.components]\nx = {modality = 'text'}\n", "ablation.components.x", "is not among what ease reads"),
        ("[ablation]\nmetrics = ['ndgc@2']\n[ablation.components]\nx = ['ranker.regularisation=5']\n",
         "ablation.metrics 'ndgc@2'", "Did you mean 'ndcg@2'?"),
        ("[[ablation.variants]]\nname = 'a'\nst = []\n", "ablation.variants[0].st", "Did you mean 'set'?"),
        ("[[ablation.variants]]\nname = 'a'\n[[ablation.variants]]\nname = 'a'\n[ablation.components]\n"
         "x = ['ranker.regularisation=5']\n", "ablation.variants", "two have the same name"),
        ("[ablation.components]\nx = ['ranker.regularisation=5']\n[[ablation.variants]]\nname = 'a'\n"
         "set = ['split.knd=1']\n", "setting split.knd", "Did you mean 'kind'?"),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused_by_name_before_anything_is_trained(
    worlds: Mapping[str, Path], tmp_path: Path, text: str, thing: str, words: str
) -> None:
    path = config(worlds["image"], "[ranker]\nname = 'ease'\n" + text, tmp_path)
    if text.startswith("ablation"):
        path.write_text(text + path.read_text())
    given = ["ablate", str(path), "-q", "--executor", "serial", "--artifacts", str(tmp_path / "own")]
    done = CliRunner().invoke(main, given)
    assert done.exit_code == 2, done.output
    assert thing in done.output.splitlines()[0]
    assert words in done.output
    assert "\n  try: " in done.output
    assert not list((tmp_path / "own").glob("ranker/*"))


def test_a_member_that_is_not_there_and_two_ways_at_once(worlds: Mapping[str, Path], tmp_path: Path) -> None:
    wrong = CONTENT.replace('without = "popularity"', 'without = "populrity"')
    with pytest.raises(ConfigError, match="Did you mean 'popularity'"):
        Plan.read(config(worlds["image"], wrong, tmp_path))
    mixed = CONTENT.replace('text", how = "shuffled"', 'text", how = "noise"')
    plan = Plan.read(config(worlds["image"], mixed, tmp_path), pairs=True)
    assert "two ways" in plan.skipped["image", "text"]


def test_raw_files_may_lie_in_the_folder_of_data_sets(
    worlds: Mapping[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = config(Path("image"), CONTENT, tmp_path)
    monkeypatch.chdir(tmp_path)
    plan = Plan.read(path)
    assert plan.config(plan.variants[0]).data.raw == Path("image")
    monkeypatch.setenv("RECSYS_DATA", str(worlds["image"].parent))
    assert plan.config(plan.variants[0]).data.raw == worlds["image"]
    (tmp_path / "image").mkdir()  # from where you are goes before
    assert plan.config(plan.variants[0]).data.raw == Path("image")


# -- what is written ---------------------------------------------------------------------------------------------


def test_page_markdown_and_json_say_the_same(by_image: Ablation, tmp_path: Path) -> None:
    kept, text, page = write_ablation(by_image, tmp_path / "out")
    found = json.loads(kept.read_text())
    verdict = found["variants"][0]["verdicts"][0]
    assert verdict.startswith("image: shuffling it loses")
    assert verdict in to_text(by_image)
    html = page.read_text()
    for told in (html, text.read_text().replace("\\", "")):
        assert verdict in told
        assert "What it costs" in told
        assert "paired bootstrap over users" in told
    assert html.count('<svg class="plot') >= 3
    assert not re.search(r"<script|https?://(?!www\.w3\.org)|src=\"(?!data:)", html)
    assert str(tmp_path) not in kept.read_text()


def test_a_folder_that_cannot_be_made_or_holds_other_results_is_refused_before_anything_is_trained(
    worlds: Mapping[str, Path], tmp_path: Path
) -> None:
    path = config(worlds["image"], CONTENT, tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "results.json").write_text('{"sets": []}')
    for out, words in (("file", "exists"), ("other", "it is not an ablation's")):
        given = ["ablate", str(path), "--out", str(tmp_path / out), "--artifacts", str(tmp_path / "own")]
        done = CliRunner().invoke(main, given)
        assert done.exit_code == 2
        assert words in done.output
    assert (tmp_path / "other" / "results.json").read_text() == '{"sets": []}'
    assert not (tmp_path / "own").exists()


def test_a_fusion_says_how_much_it_trusts_its_members(by_image: Ablation) -> None:
    told = as_results(by_image)["variants"][0]["weights"]
    assert told["intact"]["content_knn 2"] > told["intact"]["popularity"] >= 0
    assert set(told["popularity"]) == {"content_knn 1", "content_knn 2"}
    assert "How much the members are trusted" in markdown(build_report(by_image))


def test_other_verbs_take_the_same_file(worlds: Mapping[str, Path], tmp_path: Path) -> None:
    path = config(worlds["image"], CONTENT, tmp_path)
    done = CliRunner().invoke(main, ["train", "-q", "-c", str(path), "--set", "ranker.name=popularity"])
    assert done.exit_code == 0, done.output


def test_a_setting_of_a_member_is_a_component_by_its_number(worlds: Mapping[str, Path], tmp_path: Path) -> None:
    text = CONTENT.replace('image = {modality = "image", how = "shuffled"}', "image = ['ranker.members.1.k=1']")
    plan = Plan.read(config(worlds["image"], text, tmp_path))
    assert [one["k"] for one in plan.config(plan.variants[0], ("image",)).ranker["members"] if "k" in one] == [1, 8]
    with pytest.raises(ConfigError, match=r"'members' is a list of 3, and '3' is no number in it"):
        Plan.read(config(worlds["image"], text.replace("members.1", "members.3"), tmp_path))


def test_the_verb(worlds: Mapping[str, Path], by_image: Ablation, tmp_path: Path) -> None:
    assert by_image
    path = config(worlds["image"], CONTENT, tmp_path)
    done = CliRunner().invoke(main, ["ablate", str(path), "-q", "--executor", "serial"])
    assert done.exit_code == 0, done.output
    assert ": it helps" in done.output
    assert done.output.splitlines()[-1] == str(tmp_path / "report.html")
    told = CliRunner().invoke(
        main, ["ablate", str(path), "-q", "--executor", "serial", "--json", "--out", str(tmp_path)]
    )
    assert json.loads(told.stdout)["files"][0] == str(tmp_path / "results.json")
