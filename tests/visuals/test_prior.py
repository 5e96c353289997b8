"""The prior of picture embeddings: a world with a known answer, the ranker and the generator that rest on it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recsys.core.errors import ArtifactError, ConfigError
from recsys.core.values import Query
from recsys.profiles.space import unit_rows
from recsys.visuals import make_generator
from recsys.visuals.autoencoder import Autoencoder, AutoencoderSettings
from recsys.visuals.conditions import ConditionSettings
from recsys.visuals.drawing import blended, sampled_pictures
from recsys.visuals.flow import FlowSettings
from recsys.visuals.likes import Likes, user_vectors
from recsys.visuals.pixels import fitted, to_signed
from recsys.visuals.prior import Prior, PriorConditions, PriorSettings, prior_loss
from recsys.visuals.prior_weights import PRIOR, load_prior, save_prior
from recsys.visuals.reader import Reader
from recsys.visuals.request import VisualTaste
from recsys.visuals.shipped import AUTOENCODER, FLOW, load_weights, save_weights
from recsys.visuals.taste import TasteSpace
from recsys.visuals.transformer import FlowTransformer, TransformerSettings

from contracts.generator_contract import TASTE, GeneratorContract, item, poster

GROUPS, EACH, DIM, TEXT = 4, 20, 24, 10


class World:
    """Items in groups by picture, and users of whom each likes items of one group; a text tells its item's group."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.group = np.arange(GROUPS * EACH) % GROUPS
        self.centres = 4 * rng.standard_normal((GROUPS, DIM))
        self.pictures = (self.centres[self.group] + rng.standard_normal((len(self.group), DIM))).astype(np.float32)
        texts = 4 * rng.standard_normal((GROUPS, TEXT))[self.group] + rng.standard_normal((len(self.group), TEXT))
        self.texts = unit_rows(texts)
        self.space = TasteSpace.fitted(self.texts, self.pictures, dim=4)
        self.rows = self.space.rows(self.texts, self.pictures)
        self.fans = np.arange(80) % GROUPS
        pairs = [(user, one) for user, fan in enumerate(self.fans) for one in np.flatnonzero(self.group == fan)[:14]]
        self.users, self.items = np.array(pairs).T
        self.likes = Likes(self.users, self.items, self.rows, known=6)

    def learned(self) -> Prior:
        torch.manual_seed(0)
        sizes = {"picture_dim": DIM, "components": 8, "user_dim": 8, "text_dim": TEXT}
        prior = Prior(PriorSettings(**sizes, width=48, depth=2, steering=32))
        prior.measure(self.pictures)
        places, optimizer = (
            prior.coordinates(torch.from_numpy(self.pictures)),
            torch.optim.Adam(prior.parameters(), 4e-3),
        )
        for step in range(300):
            rng = np.random.default_rng(step)
            rows = rng.integers(len(self.users), size=128)
            items = self.items[rows]
            texts = self.texts[items]
            texts[rng.random(len(rows)) < 0.5] = np.nan
            given = PriorConditions.of(self.likes.vectors(self.users[rows], items, rng), texts)
            optimizer.zero_grad()
            prior_loss(prior, places[items], given, 0.2, FlowSettings(), step).backward()
            optimizer.step()
        return prior.eval()

    def groups_of(self, pictures: np.ndarray) -> np.ndarray:
        """Return the nearest group of each picture vector ``[n, samples, DIM]``."""
        return np.linalg.norm(pictures[:, :, None] - self.centres, axis=3).argmin(axis=2)


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def prior(world: World) -> Prior:
    return world.learned()


@pytest.fixture(scope="module")
def users(world: World) -> np.ndarray:
    """One vector a user, by items that they liked."""
    nothing = np.full(len(world.fans), -1)
    return world.likes.vectors(np.arange(len(world.fans)), nothing, np.random.default_rng(9))


def test_samples_for_a_user_are_of_the_users_group(world, prior, users) -> None:
    found = world.groups_of(prior.sample(users, n=8, guidance={"user": 1.5}))
    assert (found == world.fans[:, None]).mean() > 0.9


def test_users_swapped_lose_it(world, prior, users) -> None:
    found = world.groups_of(prior.sample(np.roll(users, 1, axis=0), n=8, guidance={"user": 1.5}))
    assert (found == world.fans[:, None]).mean() < 0.1  # the neighbour likes another group


def test_samples_for_an_item_are_of_the_items_group(world, prior, users) -> None:
    items = np.arange(GROUPS)
    nobody = np.zeros((GROUPS, users.shape[1]), dtype=np.float32)
    found = world.groups_of(prior.sample(nobody, world.texts[items], n=16, guidance={"text": 1.5}))
    assert (found == world.group[items, None]).mean() > 0.9


def test_without_conditions_all_groups_are_sampled(world, prior, users) -> None:
    found = world.groups_of(prior.sample(users[:1] * 0, n=64))
    assert set(found.ravel().tolist()) == set(range(GROUPS))


def test_guidance_zero_ignores_the_condition_to_the_last_bit(world, prior, users) -> None:
    nobody, texts = np.zeros_like(users[:4]), world.texts[:4]
    one, other = (prior.sample(who, texts, n=3, guidance={"user": 0}) for who in (users[:4], nobody))
    np.testing.assert_array_equal(one, other)
    without = prior.sample(users[:4], np.full_like(texts, np.nan), n=3)
    np.testing.assert_array_equal(prior.sample(users[:4], texts, n=3, guidance={"text": 0}), without)


def test_the_seed_alone_makes_the_noise(prior, users) -> None:
    first = prior.sample(users[:5], n=2, seed=4)
    np.testing.assert_array_equal(first, prior.sample(users[:5], n=2, seed=4))
    assert np.abs(first - prior.sample(users[:5], n=2, seed=5)).max() > 0.1
    np.testing.assert_allclose(first[3:], prior.sample(users[3:5], n=2, seed=4), atol=1e-4)


def test_guidance_by_something_else_is_refused(prior, users) -> None:
    with pytest.raises(ConfigError, match="usr"):
        prior.sample(users[:1], n=1, guidance={"usr": 2.0})


def test_components_lead_to_pictures_and_back(world, prior) -> None:
    places = prior.coordinates(torch.from_numpy(world.pictures))
    torch.testing.assert_close(prior.coordinates(prior.pictures(places)), places, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(places.std(dim=0, correction=0), torch.ones(8), atol=1e-3, rtol=1e-3)


def test_a_user_vector_is_the_first_half_of_the_taste_spaces(world) -> None:
    for items in ([3], [0, 4, 8], list(range(30))):
        taken = Query.of_histories([items], len(world.rows)).histories.matrix()
        expected = world.space.user(world.rows[items], np.zeros(0, dtype=np.int64))[:8]
        np.testing.assert_allclose(user_vectors(taken, world.rows)[0], expected, atol=1e-5)
    assert not user_vectors(Query.of_histories([[]], len(world.rows)).histories.matrix(), world.rows).any()


def test_a_user_is_known_by_other_items_than_the_target_and_by_allowed_ones_alone(world) -> None:
    likes = Likes(np.array([0, 0, 2]), np.array([1, 2, 3]), np.eye(4, dtype=np.float32), 6, np.arange(4) != 2)
    rng = np.random.default_rng(0)
    found = likes.vectors(np.array([0, 0, 2, -1, 7]), np.array([1, 2, 0, 0, 0]), rng)
    np.testing.assert_array_equal(found > 0, np.array([[0] * 4, [0, 1, 0, 0], [0, 0, 0, 1], [0] * 4, [0] * 4], bool))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Weights of a small generator and a prior, neither of which learned anything."""
    made, rng = tmp_path_factory.mktemp("weights"), np.random.default_rng(0)
    torch.manual_seed(0)
    autoencoder = Autoencoder(AutoencoderSettings(channels=8, width=16, encoder_blocks=0, decoder_blocks=0))
    pictures = to_signed(np.stack([fitted(poster(seed)) for seed in range(8)]))
    autoencoder.start_linear(pictures)
    autoencoder.measure(autoencoder.encoder(pictures))
    conditions = ConditionSettings(soft_dim=8, soft_hidden=8)
    sizes = TransformerSettings(channels=8, width=32, depth=1, heads=2, steering=16, conditions=conditions)
    flow, prior = FlowTransformer(sizes), Prior(PriorSettings(components=4, user_dim=4, width=16, depth=1, steering=8))
    vectors = rng.random((30, 1280))
    prior.measure(vectors)
    for parameter in [*flow.parameters(), *prior.parameters()]:
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    space = TasteSpace.fitted(rng.standard_normal((30, 384)), vectors, dim=2)
    save_weights(made / AUTOENCODER, autoencoder, {"id": "small"})
    save_weights(made / FLOW, flow, {"id": "test", "steps": 3, "autoencoder": "small"}, space.state())
    save_prior(made / PRIOR, prior, {"id": "tiny"}, space)
    return made


class TestPriorGenerator(GeneratorContract):
    @pytest.fixture
    def make(self, folder) -> Any:
        return partial(make_generator, "prior", {"weights": str(folder), "steps": 4, "embedded": {"steps": 4}})

    def test_what_is_told(self, make, run) -> None:
        (made,) = make().generate(item(), TASTE, n=1, dial=0.5, run=run)
        assert made.generator == "prior tiny, embedded test (3 steps)"
        assert (made.given["sampled"], made.given["by_user"]) == (0.5, 1.5)

    def test_at_the_dials_start_it_is_the_embedded_generator(self, make, folder, run) -> None:
        embedded = make_generator("embedded", {"weights": str(folder), "steps": 4})
        one, other = (each.generate(item(), TASTE, n=2, dial=0.0, run=run) for each in (make(), embedded))
        for first, second in zip(one, other, strict=True):
            assert np.abs(np.asarray(first.image, int) - np.asarray(second.image, int)).max() <= 1  # rounded otherwise

    def test_states_of_a_language_model_are_not_read(self, make, run) -> None:
        told = VisualTaste(TASTE.keywords, TASTE.history, np.ones((3, 8), dtype=np.float32))
        one, other = (make().generate(item(), taste, n=1, dial=0.8, run=run)[0] for taste in (TASTE, told))
        assert one.image.tobytes() == other.image.tobytes()
        with pytest.raises(ConfigError, match="vectors"):
            make_generator("prior", {"embedded": {"soft": "llm"}})


def test_the_dial_leads_from_the_own_picture_to_the_sampled_one(folder, run) -> None:
    given, _ = Reader(load_weights(folder).space, 2, 2, run=run).conditions(item(), TASTE)
    vectors = sampled_pictures(load_prior(folder)[0], given, [1, 2], {"user": 2.0}, 4)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    torch.testing.assert_close(blended(given, vectors, 0.0).picture, given.picture.repeat(2, 1))
    torch.testing.assert_close(blended(given, vectors, 1.0).picture, torch.from_numpy(vectors))
    bare, _ = Reader(load_weights(folder).space, 2, 2, run=run).conditions(
        item(picture=None, vectors={"minilm": item().vectors["minilm"]}), VisualTaste()
    )
    found = blended(bare, vectors, 0.3)
    assert found.on[:, 1].all()
    torch.testing.assert_close(found.picture, torch.from_numpy(vectors))


def test_a_prior_of_another_space_is_refused(folder, tmp_path) -> None:
    for name in (AUTOENCODER, FLOW):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    rng = np.random.default_rng(5)
    other = TasteSpace.fitted(rng.standard_normal((30, 384)), rng.random((30, 1280)), dim=2)
    save_prior(tmp_path / PRIOR, load_prior(folder)[0], {}, other)
    with pytest.raises(ArtifactError, match="another space"):
        load_prior(tmp_path)
    (tmp_path / PRIOR).unlink()
    with pytest.raises(ArtifactError, match=PRIOR):
        load_prior(tmp_path)


def test_the_shipped_prior_is_small_and_fits_the_shipped_generator() -> None:
    from recsys.data.item_parts import RULE
    from recsys.visuals.shipped import FOLDER

    prior, facts = load_prior()
    assert facts["held_out_rule"] == RULE
    assert (FOLDER / PRIOR).stat().st_size < 2_000_000
    assert prior.sample(np.ones((1, prior.settings.user_dim)), n=1).shape == (1, 1, 1280)
