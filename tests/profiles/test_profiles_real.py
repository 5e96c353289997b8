"""Profiles of MovieLens latest-small (RECSYS_DATA): chance, leaks, proof and injections on real items and users."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from profiles.tastes import QUIET
from profiles.test_profile_injection import injected

from recsys.core.values import ItemFeatures
from recsys.data.splits import SplitSettings, make_split
from recsys.profiles.builder import ProfileBuilder, ProfileSettings
from recsys.profiles.concepts import ItemWorld
from recsys.profiles.history import History
from recsys.profiles.verifying import verify
from recsys.runconfig import RunConfig, read_config
from recsys.workflow import Workflow

USERS = range(0, 600, 20)
SETTINGS = ProfileSettings(sources=("attributes", "terms", "neighbourhoods"), pictures=0)


@pytest.fixture(scope="module")
def split(shared_data, tmp_path_factory):
    overrides = (
        "data.source=ml-latest-small", f"data.raw='{shared_data / 'movielens-latest-small'}'",
        f"run.artifacts='{tmp_path_factory.mktemp('artifacts')}'",
    )  # fmt: skip
    config: RunConfig = read_config(None, overrides)
    dataset = Workflow(config, log=lambda message: None).dataset
    return make_split(dataset, SplitSettings(kind="random", seed=0), run=QUIET)


@pytest.fixture(scope="module")
def builder(split) -> ProfileBuilder:
    world = ItemWorld(split.dataset.item_table, ItemFeatures(), split.train)
    return ProfileBuilder(SETTINGS).fit(world, run=QUIET)


def test_most_users_have_statements_all_of_them_borne_out(builder) -> None:
    profiles = {user: builder.build(builder.history(user)) for user in USERS}
    assert np.mean([len(one.statements) > 0 for one in profiles.values()]) > 0.75
    for user, profile in profiles.items():
        assert verify(profile, builder) == verify(profile, builder, builder.history(user)) == []


def test_draws_by_popularity_have_hardly_any(builder) -> None:
    rng, weights = np.random.default_rng(0), builder.contrasts.popularity
    found = []
    for n in (20, 60, 200, 800):
        for _ in range(40):
            items = np.argsort(-(np.log(weights) + rng.gumbel(size=len(weights))))[:n]
            found.append(len(builder.contrasts.find(History.of(items, len(weights)))))
    assert np.mean(np.array(found) > 0) <= 0.05


def test_no_title_or_date_of_validation_or_test_is_told(split, builder) -> None:
    titles, checked = split.dataset.item_table["title"].to_list(), 0
    for user in USERS:
        taken, told = builder.history(user), builder.build(builder.history(user)).model_dump_json()
        days = {taken.date(place) for place in range(len(taken))}
        for part in (split.valid, split.test):
            rows = np.flatnonzero(part.user_idx == user)
            held = History.of(part.item_idx[rows], part.n_items, part.timestamp[rows])
            assert not [titles[item] for item in held.items if f'"{titles[item]}"' in told]
            assert not {held.date(place) for place in range(len(held))} - days & set(told.split('"'))
            checked += len(held)
    assert checked > 500


def test_two_hundred_strings_change_no_statement(builder) -> None:
    dirty = ProfileBuilder(SETTINGS).fit(injected(builder.world), run=QUIET)
    assert [one.key for one in dirty.concepts.all] == [one.key for one in builder.concepts.all]
    for user in USERS:
        before, after = (one.build(builder.history(user)) for one in (builder, dirty))
        assert {one.concept for one in before.statements} == {one.concept for one in after.statements}


def test_shuffled_attributes_are_nobodys_taste(builder) -> None:
    world = builder.world
    order = np.random.default_rng(0).permutation(len(world.table))
    table = world.table.with_columns(attributes=world.table["attributes"][order])
    settings = ProfileSettings(sources=("attributes",), pictures=0)
    real, shuffled = (
        ProfileBuilder(settings).fit(replace(world, table=one), run=QUIET) for one in (world.table, table)
    )
    counts = [sum(len(one.build(one.history(user)).statements) for user in USERS) for one in (real, shuffled)]
    assert counts[1] < 0.15 * counts[0]
