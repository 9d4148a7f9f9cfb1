"""Who decides changes by steps that are recorded, rest on an evaluation, and lead back."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from fraud.scoring.manifest import ModelRefusedError
from fraud.scoring.registry import Registry, parse_registry, read_registry, registry_bytes
from training.commands.options import now_text
from training.registry import Author, RegistryError, Subject, archived, promoted, registered, rolled_back, shadowed
from training.registry_file import change_registry

ANN = Author("Ann", "2026-03-01T12:00:00Z", "because")
FIRST = Subject("default", "0" * 64)


def subject(name, evaluation="e" * 64):
    return Subject(name, name[0] * 64, evaluation)


def reign(*names):
    registry = Registry()
    for name in names:
        registry = promoted(registry, subject(name), FIRST, ANN)
    return registry


def test_two_evaluations_within_a_second_have_an_order():
    # A second model is compared right after a promotion, and the newest evaluation is what counts.
    assert len({now_text() for _ in range(3)}) == 3


def test_a_promotion_archives_the_champion_before_and_says_what_decided_first():
    registry = reign("a", "b")
    told = [(change.model, change.state, change.step) for change in registry.changes]
    assert told == [
        ("default", "champion", "register"),
        ("default", "archived", "promote"),
        ("a", "champion", "promote"),
        ("a", "archived", "promote"),
        ("b", "champion", "promote"),
    ]
    assert (registry.champion.who, registry.champion.when, registry.champion.why) == tuple(ANN)
    assert registry.champion.evaluation_hash == "e" * 64


def test_every_state_between_is_one_that_readers_accept():
    registry = rolled_back(reign("a", "b"), ANN)
    assert parse_registry(registry_bytes(registry), "here") == registry


def test_a_promotion_without_an_evaluation_is_refused():
    with pytest.raises(RegistryError, match=r"a has no evaluation.*fraud-train models compare a"):
        promoted(Registry(), subject("a", evaluation=None), FIRST, ANN)


def test_rollbacks_lead_back_through_the_champions_one_by_one():
    registry = reign("a", "b")
    seen = []
    while len(registry.reigns) > 1:
        registry = rolled_back(registry, ANN)
        seen.append(registry.champion.model)
    assert seen == ["a", "default"]
    with pytest.raises(RegistryError, match="nothing to roll back to"):
        rolled_back(registry, ANN)


def test_a_model_that_was_rolled_back_from_can_be_promoted_and_rolled_back_from_again():
    registry = promoted(rolled_back(reign("a", "b"), ANN), subject("b"), FIRST, ANN)
    assert registry.champion.model == "b"
    assert rolled_back(registry, ANN).champion.model == "a"


@pytest.mark.parametrize("step", [archived, shadowed, registered])
@pytest.mark.parametrize(("registry", "name"), [(Registry(), "default"), (reign("a"), "a")])
def test_the_champion_changes_only_by_promotion_and_rollback(step, registry, name):
    with pytest.raises(RegistryError, match=f"{name} is the champion"):
        step(registry, subject(name), ANN)


def test_the_champion_is_not_promoted_again():
    with pytest.raises(RegistryError, match="champion already"):
        promoted(reign("a"), subject("a"), FIRST, ANN)


@pytest.mark.parametrize("step", [archived, shadowed, registered])
def test_what_stands_is_not_entered_twice(step):
    once = step(Registry(), subject("a"), ANN)
    assert step(once, subject("a"), ANN._replace(when="later")) == once
    assert len(once.changes) == 1


def _enter_many(models: Path, name: str, count: int) -> None:
    for number in range(count):
        change_registry(models, lambda registry, number=number: registered(registry, subject(f"{name}{number}"), ANN))


def test_writers_at_the_same_time_lose_no_change(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=_enter_many, args=(tmp_path, name, 20)) for name in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert len(read_registry(tmp_path).changes) == 60


def test_a_refused_change_leaves_the_file_as_it_was(tmp_path):
    change_registry(tmp_path, lambda registry: registered(registry, subject("a"), ANN))
    before = (tmp_path / "registry.json").read_bytes()
    with pytest.raises(RegistryError):
        change_registry(tmp_path, lambda registry: rolled_back(registry, ANN))
    with pytest.raises(ModelRefusedError, match="not the name of a model"):
        change_registry(tmp_path, lambda registry: registered(registry, subject("../a"), ANN))
    assert (tmp_path / "registry.json").read_bytes() == before
