"""The evaluator as a whole: who is evaluated, what is masked and known, and what it says about itself."""

from __future__ import annotations

import contextlib
import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from evaluation_worlds import TableRanker, make_split, random_split

from recsys.cli import main
from recsys.core.config import make_settings
from recsys.core.errors import ArtifactError, ConfigError, DataError, RankerError
from recsys.core.values import Query, Split
from recsys.evaluation import evaluator as evaluator_module
from recsys.evaluation import result as result_module
from recsys.evaluation import segments as segments_module
from recsys.evaluation.evaluator import Evaluation, EvaluationSettings, evaluate, make_validator
from recsys.evaluation.significance import compare
from recsys.evaluation.task import make_task
from recsys.evaluation.topk import top_k

SMALL = EvaluationSettings(ks=(2, 5), metric="ndcg@5", resamples=200)


class Dot:
    """A learned ranker's arithmetic: a float32 product, whose rounding may depend on the batch."""

    def __init__(self, n_users: int, n_items: int) -> None:
        rng = np.random.default_rng(5)
        self.user, self.item = (rng.standard_normal((n, 64)).astype(np.float32) for n in (n_users, n_items))

    def score(self, query: Query) -> np.ndarray:
        return self.user[query.user_idx] @ self.item.T


def test_hand_worked_evaluation(run):
    # Item:   0      1      2      3      4
    # User 0: train  valid  test   .      .      scores 5 4 3 2 1: with 0 and 1 masked the list is 2 3 4
    # User 1: .      .      test   test   .      no history; scores 1 2 3 4 5: list 4 3 2 1 0
    # User 2: train  .      .      .      .      not in test
    split = make_split([0, 0, 0, 1, 1, 2], [0, 1, 2, 2, 3, 0], [0, 1, 2, 2, 2, 0], 3, 5)
    ranker = TableRanker(np.array([[5, 4, 3, 2, 1], [0, 0, 0, 0, 0], [1, 2, 3, 4, 5]]))  # row -1 serves user 1
    settings = EvaluationSettings(ks=(2,), metric="recall@2", resamples=100)
    found = evaluate(ranker, split, settings, run=run, name="mine")
    assert found.per_user.columns[:2] == ["user_idx", "n_history"]
    assert found.per_user["user_idx"].to_list() == [0, 1]
    assert found.per_user["n_history"].to_list() == [1, 0]
    assert found.top_items.tolist() == [[2, 3], [4, 3]]
    assert found.per_user["recall@2"].to_list() == [1.0, 0.5]
    assert found.per_user["mrr@2"].to_list() == [1.0, 0.5]
    assert found.summary["recall@2"] == 0.75
    assert found.catalogue["coverage@2"] == 3 / 5
    said = found.protocol
    assert (said["n_users"], said["n_items"], said["n_truth"]) == (2, 5, 3)
    assert (said["users_without_history"], said["truth_unseen_in_train"], said["truth_masked"]) == (1, 3, 0)
    query = ranker.queries[0].take(np.arange(2))
    assert query.user_idx.tolist() == [0, -1]  # user 1 is not a user of the training data
    assert [query.histories[row].tolist() for row in range(2)] == [[0], []]


@pytest.mark.parametrize("kind", ["random", "leave_last", "global_time", "cold_items", "item_parts", "given"])
def test_mask_and_history_of_every_kind_of_split(kind):
    split = random_split(kind)
    in_time = kind in ("leave_last", "global_time")
    task = make_task(split, SMALL, "test")
    assert (task.mask, task.history) == ("train+valid", "train+valid" if in_time else "train")
    task = make_task(split, EvaluationSettings(mask="train", history="train+valid"), "test")
    assert (task.mask, task.history) == ("train", "train+valid")
    for settings in (SMALL, EvaluationSettings(mask="train+valid", history="train+valid")):
        task = make_task(split, settings, "valid")
        assert (task.mask, task.history) == ("train", "train")


@pytest.mark.parametrize("mask", ["train", "train+valid"])
def test_no_masked_item_is_shown_and_every_other_may_be(run, mask):
    split = random_split()
    found = evaluate(Dot(60, 40), split, EvaluationSettings(ks=(40,), metric="ndcg@40", mask=mask), run=run)
    known = (split.train if mask == "train" else split.train_valid).matrix.toarray().astype(bool)
    for user, row in zip(found.per_user["user_idx"], found.top_items.tolist(), strict=True):
        shown = [item for item in row if item >= 0]
        assert sorted(shown) == np.flatnonzero(~known[user]).tolist()
        assert row == [*shown, *[-1] * (40 - len(shown))]


def test_a_user_who_has_seen_everything_gets_nothing(run):
    # User 0 has items 0 and 2 in train, 1 in valid and, again, in test; user 1 has 0 in train and 2 in test.
    split = make_split([0, 0, 0, 0, 1, 1], [0, 2, 1, 1, 0, 2], [0, 0, 1, 2, 0, 2], 2, 3)
    found = evaluate(TableRanker(np.ones((2, 3))), split, EvaluationSettings(ks=(2,), metric="ndcg@2"), run=run)
    assert found.top_items[0].tolist() == [-1, -1]
    assert found.per_user["recall@2"].to_list() == [0.0, 1.0]
    assert found.protocol["truth_masked"] == 1
    json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.parametrize("ranker", [Dot(60, 40), TableRanker(np.random.default_rng(0).integers(0, 4, (60, 40)))])
def test_batch_size_changes_nothing(run, ranker):
    results = [
        evaluate(ranker, random_split(), EvaluationSettings(ks=(5, 20), batch_size=size), run=run)
        for size in (1, 7, 512, None)
    ]
    for other in results[1:]:
        assert np.array_equal(other.top_items, results[0].top_items)
        for name, value in results[0].summary.items():
            assert other.summary[name] == pytest.approx(value, abs=1e-9)


def test_a_product_of_few_rows_is_avoided_since_it_rounds_otherwise(run):
    class RoundsOtherwise(TableRanker):
        """BLAS in the extreme: fewer than eight rows come out quite different."""

        def score(self, query: Query) -> np.ndarray:
            return super().score(query) * (1 if len(query) >= 8 else -1)

    table = np.random.default_rng(1).random((60, 40))
    one, many = (
        evaluate(RoundsOtherwise(table), random_split(), EvaluationSettings(batch_size=size), run=run)
        for size in (1, 512)
    )
    assert np.array_equal(one.top_items, many.top_items)


def test_only_the_users_of_the_part_are_scored_and_batches_are_bounded(run):
    ranker = TableRanker(np.zeros((60, 40)))
    split = random_split()
    evaluate(ranker, split, EvaluationSettings(batch_size=25), run=run)
    n_test = np.count_nonzero(split.test.user_counts)
    assert max(len(query) for query in ranker.queries) == 25
    assert len(ranker.queries) == -(-n_test // 25)


def test_a_ranker_that_knows_the_test_is_perfect_and_numbering_does_not_matter(run):
    split = random_split()
    split = Split(split.dataset, np.where(split.dataset.interactions.user_idx >= 58, 0, split.part), "random")
    found = evaluate(TableRanker(split.test.matrix.toarray()), split, SMALL, run=run)
    assert found.summary["ndcg@5"] == found.summary["map@5"] == found.summary["mrr@5"] == 1.0
    renamed = np.random.default_rng(3).permutation(40)  # item i becomes renamed[i]
    old = split.dataset.interactions
    other = make_split(old.user_idx, renamed[old.item_idx], split.part, 60, 40)
    scores = np.random.default_rng(4).random((60, 40))  # no ties: the numbering must not matter at all
    first = evaluate(TableRanker(scores), split, SMALL, run=run)
    second = evaluate(TableRanker(scores[:, np.argsort(renamed)]), other, SMALL, run=run)
    assert second.summary == pytest.approx(first.summary, abs=1e-12)
    assert np.array_equal(renamed[first.top_items], second.top_items)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_numbers_are_refused(run, bad):
    table = np.zeros((60, 40))
    table[30, 7] = bad
    with pytest.raises(RankerError, match="scores of broken"):
        evaluate(TableRanker(table), random_split(), SMALL, run=run, name="broken")
    with pytest.raises(RankerError, match="scores of TableRanker"):
        make_validator(random_split(), SMALL)(TableRanker(table))


def test_scores_of_a_wrong_shape_or_kind_are_refused(run):
    for table in (np.zeros((60, 39)), np.zeros((60, 40, 1)), np.zeros(60)):
        with pytest.raises(RankerError, match="is needed"):
            evaluate(TableRanker(table), random_split(), SMALL, run=run)


class Members(TableRanker):
    """Knows only users with train interactions, and refuses a query with anybody else in it."""

    def can_score(self, query: Query) -> np.ndarray:
        return query.user_idx >= 0

    def score(self, query: Query) -> np.ndarray:
        assert self.can_score(query).all()
        return super().score(query)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1, 7, None])
def test_users_whom_a_ranker_cannot_score_are_shown_what_is_popular(run, size, dtype):
    split, lines = random_split("global_time"), []
    table = np.random.default_rng(2).random((60, 40)).astype(dtype)
    ranker = Members(table)
    ranker.table = table
    settings = EvaluationSettings(ks=(5,), metric="ndcg@5", batch_size=size, resamples=100)
    found = evaluate(ranker, split, settings, run=type(run)(log=lines.append), name="members")
    table = table.copy()
    table[58:] = split.train.item_counts  # the last two users have no train interaction
    everybody = TableRanker(table)
    everybody.score = lambda query: np.where(
        query.user_idx[:, None] < 0, split.train.item_counts, table[query.user_idx]
    )
    expected = evaluate(everybody, split, settings, run=run, name="members")
    assert np.array_equal(found.top_items, expected.top_items)
    assert found.protocol == expected.protocol | {"users_by_popularity": 2}
    assert lines == ["members cannot score 2 users: what is most popular in train is shown instead"]
    assert compare([found, replace(expected, name="other")], "other", "ndcg@5", 100)["p"][0] == 1.0


@pytest.mark.parametrize(("scores_of_the_new", "shown", "counted"), [([7, 7, 7, 7], 1, 2), ([0, 0, 0, 9], 3, 0)])
def test_new_users_with_equal_scores_are_shown_what_is_popular(run, scores_of_the_new, shown, counted):
    # Item 1 is taken twice, item 0 once. Users 2 and 3 are new; user 0 has a history: equal scores stay equal scores.
    split = make_split([0, 1, 1, 2, 3, 0], [1, 1, 0, 1, 2, 3], [0, 0, 0, 2, 2, 2], 4, 4)
    settings = EvaluationSettings(ks=(1,), metric="recall@1")
    ranker = TableRanker(np.array([[5, 5, 5, 5], [0, 0, 0, 0], [0, 0, 0, 0], scores_of_the_new]))
    found = evaluate(ranker, split, settings, run=run)
    assert found.per_user["user_idx"].to_list() == [0, 2, 3]
    assert found.top_items[1:, 0].tolist() == [shown, shown]
    assert found.protocol.get("users_by_popularity", 0) == counted
    first = top_k(np.array([[5.0, -9.0, 5.0, 5.0]]), 1)[0]  # item 1 is his own
    assert found.top_items[0] == first[0]


def test_the_validator_asks_whom_a_ranker_can_score():
    split = make_split([0, 0, 1, 1], [0, 1, 0, 2], [0, 1, 1, 1], 2, 4)  # user 1 is first seen in validation
    ranker = Members(np.array([[0, 9, 1, 1], [0, 0, 0, 0]]))
    assert make_validator(split, EvaluationSettings(ks=(2,), metric="recall@2"))(ranker)["recall@2"] >= 0.75


def test_an_empty_part_and_an_unknown_part_are_refused(run):
    split = random_split()
    no_valid = Split(split.dataset, np.where(split.part == 1, 0, split.part).astype(np.uint8), "random")
    with pytest.raises(DataError, match="valid part of the split: it has no interactions"):
        make_validator(no_valid, SMALL)
    with pytest.raises(ConfigError, match="Did you mean 'test'"):
        evaluate(TableRanker(np.zeros((60, 40))), split, SMALL, part="tset", run=run)


def test_settings_explain_themselves():
    for values, words in [
        ({"metric": "ndgc@20"}, "Did you mean 'ndcg'"),
        ({"metric": "ndcg@30"}, "not among those computed"),
        ({"metrics": ("recall", "mpa")}, "Did you mean 'map'"),
        ({"metrics": ("recall",), "metric": "ndcg@20"}, "Add 'ndcg' to metrics"),
        ({"metrics": ("recall",)}, "or set evaluation.metric to 'recall@20'"),  # the default metric is checked, too
        ({"ks": (5,)}, "Add 'ndcg' to metrics and 20 to ks, or set evaluation.metric to 'ndcg@5'"),
        ({"ks": (5, 50), "metrics": ("mrr",)}, "or set evaluation.metric to 'mrr@50'"),
        ({"metrics": ()}, "names no metric"),
        ({"ks": (20, 10)}, "not ascending"),
        ({"ks": (0, 20)}, "not ascending"),
        ({"batchsize": 3}, "Did you mean 'batch_size'"),
        ({"mask": "test"}, "evaluation.mask"),
    ]:
        with pytest.raises(ConfigError, match=words):
            make_settings(EvaluationSettings, values, "evaluation")
    assert all(field.description for field in EvaluationSettings.model_fields.values())


@pytest.mark.parametrize("override", ["evaluation.ks=[5]", "evaluation.metrics=['recall']"])
def test_settings_without_the_default_metric_end_before_any_work(override, tmp_path):
    done = CliRunner().invoke(main, ["train", "--set", override, "--artifacts", str(tmp_path / "artifacts")])
    assert done.exit_code == 2
    assert "error: evaluation.metric 'ndcg@20': it is not among those computed" in done.output
    assert not (tmp_path / "artifacts").exists()


def test_validator_agrees_with_evaluate(run):
    split, ranker = random_split(), Dot(60, 40)
    lines: list[str] = []
    validator = make_validator(split, SMALL, run=type(run)(log=lines.append))
    found = validator(ranker)
    whole = evaluate(ranker, split, SMALL, part="valid", run=run)
    assert validator.metric == "ndcg@5"
    assert found == {name: whole.summary[name] for name in ("ndcg@5", "recall@5")}
    assert whole.protocol["mask"] == whole.protocol["history"] == "train"
    assert len(lines) == 1
    mrr = EvaluationSettings(ks=(5,), metrics=("mrr",), metric="mrr@5")
    assert make_validator(split, mrr)(ranker) == {"mrr@5": whole.summary["mrr@5"]}


def test_the_validator_never_looks_at_the_test():
    split = random_split()
    interactions = split.dataset.interactions
    without = Split(
        type(split.dataset)(
            "world",
            split.dataset.users,
            split.dataset.items,
            interactions.select(split.part != 2),
            split.dataset.item_table,
        ),
        split.part[split.part != 2],
        "random",
    )
    assert make_validator(split, SMALL)(Dot(60, 40)) == make_validator(without, SMALL)(Dot(60, 40))


def test_segments_and_intervals_follow_from_the_table(run):
    found = evaluate(Dot(60, 40), random_split(), SMALL, run=run)
    by_history = found.segments.filter((pl.col("by") == "history") & (pl.col("metric") == "ndcg@5"))
    assert by_history["segment"].to_list()[0] == "0 (cold)"
    assert by_history["n_users"].sum() == found.protocol["n_users"]
    assert by_history["mean"].dot(by_history["n_users"]) / len(found.per_user) == pytest.approx(found.summary["ndcg@5"])
    for name, (low, high) in found.intervals.items():
        assert low <= found.summary[name] <= high
        assert low < high
    parts = found.per_user.with_columns(whole=pl.col("recall@5") * pl.col("n_truth"))
    both = parts.drop_nulls()  # users with tail and head truth: the two recalls lie around the whole
    low = both.select(pl.min_horizontal("recall_tail@5", "recall_head@5"))["recall_tail@5"]
    high = both.select(pl.max_horizontal("recall_tail@5", "recall_head@5"))["recall_tail@5"]
    assert ((both["recall@5"] - low > -1e-12) & (high - both["recall@5"] > -1e-12)).all()


def test_save_and_load(run, tmp_path):
    found = evaluate(Dot(60, 40), random_split(), SMALL, run=run, name="dot")
    found.save(tmp_path / "deep" / "dot")
    again = Evaluation.load(tmp_path / "deep" / "dot")
    assert again.per_user.equals(found.per_user)
    assert again.top_items.dtype == np.int32
    assert np.array_equal(again.top_items, found.top_items)
    assert again.to_dict() == found.to_dict()
    assert compare([found, again.__class__(**{**vars_of(again), "name": "again"})], "dot", "ndcg@5", 200)["p"][1] == 1.0
    (tmp_path / "deep" / "dot" / "evaluation.json").write_text("{", encoding="utf-8")
    with pytest.raises(ArtifactError, match="recsys evaluate"):
        Evaluation.load(tmp_path / "deep" / "dot")
    with pytest.raises(ArtifactError, match="nowhere"):
        Evaluation.load(tmp_path / "nowhere")


def test_intervals_and_segments_are_worked_out_once(run, tmp_path, monkeypatch):
    found = evaluate(Dot(60, 40), random_split(), SMALL, run=run, name="dot")
    found.save(tmp_path)
    said, segments = found.to_dict(), found.segments
    for module in (result_module, segments_module):
        monkeypatch.setattr(module, "bootstrap_intervals", lambda *args, **kwargs: pytest.fail("drawn once more"))
    for again in (Evaluation.load(tmp_path), Evaluation.load(tmp_path).renamed("other"), found.renamed("other")):
        assert again.segments.equals(segments)
        assert again.segments.schema == segments.schema
        assert again.to_dict() == said | {"name": again.name}
    assert found.renamed("other").name == "other"


@pytest.mark.parametrize("damage", [{"intervals": [1]}, {"intervals": {"ndcg@5": 3}}, {"segments": [{"n_users": "x"}]}])
def test_a_damaged_document_is_said(run, tmp_path, damage):
    evaluate(Dot(60, 40), random_split(), SMALL, run=run).save(tmp_path)
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | damage), encoding="utf-8")
    with pytest.raises(ArtifactError, match="recsys evaluate"):
        Evaluation.load(tmp_path)


def vars_of(found: Evaluation) -> dict:
    return {name: getattr(found, name) for name in Evaluation.__dataclass_fields__}


def test_compare_refuses_another_realisation_of_the_same_kind_of_split(run):
    first, second = (evaluate(Dot(60, 40), random_split(seed=seed), SMALL, run=run, name=str(seed)) for seed in (0, 1))
    with pytest.raises(ConfigError, match="fingerprint differs"):
        compare([first, second], "0", "ndcg@5")


def ml100k_split(shared_data: Path) -> Split:
    spec = importlib.util.find_spec("recbole")
    if spec is None or spec.origin is None:
        pytest.skip("needs the recbole wheel's ml-100k")
    source = Path(spec.origin).parent / "dataset_example" / "ml-100k" / "ml-100k.inter"
    frame = pl.read_csv(source, separator="\t")
    users, items = (frame[column].rank("dense").to_numpy().astype(np.int64) - 1 for column in frame.columns[:2])
    labels = pl.read_csv(shared_data / "ml100k-peers" / "labels.csv")["random_811"]
    return make_split(users, items, labels, users.max() + 1, items.max() + 1)


class Linear:
    """Scores are histories times a fixed item–item matrix, or plain counts without one."""

    def __init__(self, train, regularisation: float | None) -> None:
        matrix = train.matrix.astype(np.float64)
        self.counts = train.item_counts.astype(np.float32)
        self.weights = None
        if regularisation is not None:  # EASE, Steck 2019, equation 8
            inverse = np.linalg.inv((matrix.T @ matrix).toarray() + regularisation * np.eye(train.n_items))
            self.weights = inverse / -np.diag(inverse)
            np.fill_diagonal(self.weights, 0.0)

    def score(self, query: Query) -> np.ndarray:
        if self.weights is None:
            return np.broadcast_to(self.counts, (len(query), len(self.counts)))
        return (query.histories.matrix() @ self.weights).astype(np.float32)


@pytest.mark.parametrize(
    ("regularisation", "expected"),
    [(None, {"recall@20": 0.1843, "ndcg@20": 0.1564}), (250.0, {"recall@20": 0.3971, "ndcg@20": 0.3441})],
)
def test_figures_of_other_libraries_on_the_same_split(shared_data, run, regularisation, expected):
    """Popularity and EASE as measured with four other libraries' code, to the fourth digit."""
    split = ml100k_split(shared_data)
    settings = EvaluationSettings(ks=(20,), metrics=("recall", "ndcg", "mrr"))
    found = evaluate(Linear(split.train, regularisation), split, settings, run=run)
    assert {name: round(found.summary[name], 4) for name in expected} == expected


def test_a_batch_of_scores_keeps_to_its_memory(run, monkeypatch):
    monkeypatch.setattr(evaluator_module, "SCORE_BYTES", 4 * 40 * 10)
    ranker = TableRanker(np.zeros((60, 40)))
    found = evaluate(ranker, random_split(), SMALL, run=run)
    sizes = [len(query) for query in ranker.queries]
    assert sizes[:-1] == [10] * (len(found.per_user) // 10)
    monkeypatch.setattr(evaluator_module, "SCORE_BYTES", 1)  # less than a row: one user after another
    assert np.array_equal(evaluate(ranker, random_split(), SMALL, run=run).top_items, found.top_items)


def test_seconds_are_summed_over_the_batches(run, monkeypatch):
    @contextlib.contextmanager
    def two_seconds():
        yield {"wall_s": 2.0}

    monkeypatch.setattr(evaluator_module, "stopwatch", two_seconds)
    split = random_split()
    n_batches = -(-np.count_nonzero(split.test.user_counts) // 7)
    found = evaluate(TableRanker(np.zeros((60, 40))), split, EvaluationSettings(batch_size=7), run=run)
    assert found.seconds == {"score_s": 2.0 * n_batches, "rank_s": 2.0 * n_batches, "metric_s": 2.0}


def test_a_saved_document_is_text_that_people_can_read(run, tmp_path):
    found = evaluate(Dot(60, 40), random_split(), SMALL, run=run, name="naïve – 千")
    found.save(tmp_path)
    text = (tmp_path / "evaluation.json").read_text(encoding="utf-8")
    assert text.startswith('{\n  "name": "naïve – 千",\n')
    assert text.endswith("}\n")
    columns = pl.read_parquet(tmp_path / "top_items.parquet").columns
    assert columns == [f"rank_{place}" for place in (1, 2, 3, 4, 5)]
    found.save(tmp_path)  # over what is there
    assert set(found.segments.filter(pl.col("by") == "history")["metric"]) == {"ndcg@5", "recall@5"}
    assert "recall_tail@5" in found.per_user.columns
    assert all(name.startswith("recall@") for name in found.metrics if "recall" in name)


def test_what_is_masked_and_taken_again_is_counted_for_each_user(run):
    # User 1 takes item 0 of user 0's mask, and item 2 again; user 2 takes item 1 again.
    users, items = [0, 1, 1, 1, 2, 2], [0, 2, 2, 0, 1, 1]
    split = make_split(users, items, [0, 0, 2, 2, 0, 2], 3, 3)
    settings = EvaluationSettings(ks=(1,), metric="ndcg@1")
    assert evaluate(TableRanker(np.zeros((3, 3))), split, settings, run=run).protocol["truth_masked"] == 2


def test_a_document_that_other_readers_of_json_refuse_is_not_written(run, tmp_path):
    found = replace(evaluate(Dot(60, 40), random_split(), SMALL, run=run), seconds={"score_s": np.nan})
    with pytest.raises(ValueError, match="Out of range float"):
        found.save(tmp_path)
    assert not (tmp_path / "evaluation.json").exists()
