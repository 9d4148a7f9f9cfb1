"""What lies on disk decides from the next batch on, or is refused while the one before goes on."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fraud.bootstrap import Artefacts, load_artefacts
from fraud.live.measures import Measures
from fraud.live.reload import Reloader
from fraud.live.watched_files import WatchedFiles
from fraud.settings import HOME, Settings

POLICY = (HOME / "policies" / "default.yaml").read_text()


@dataclass
class Followed:
    """A reloader, its files, and what it has activated."""

    reloader: Reloader
    settings: Settings
    measures: Measures
    activated: list[Artefacts]

    def look_twice(self) -> None:
        asyncio.run(self.reloader.look())
        asyncio.run(self.reloader.look())

    def is_refused(self, part: str) -> bool:
        return self.measures.registry.get_sample_value("fraud_reload_refused", {"part": part}) == 1


@pytest.fixture
def followed(tmp_path: Path) -> Followed:
    policy_file, model_folder = tmp_path / "policy.yaml", tmp_path / "model"
    policy_file.write_text(POLICY)
    shutil.copytree(HOME / "models" / "default", model_folder)
    settings = replace(Settings(), policy_file=policy_file, model_folder=model_folder)
    active = load_artefacts(settings, "default", {}, policy_file=policy_file, model_folder=model_folder)
    measures, activated = Measures(), []

    async def activate(artefacts: Artefacts) -> None:
        activated.append(artefacts)

    return Followed(Reloader(settings, active, activate, measures.artefacts), settings, measures, activated)


def test_files_are_taken_when_they_have_changed_and_stand_still(tmp_path):
    file = tmp_path / "file"
    watched = WatchedFiles(lambda: (file,))
    file.write_text("a")
    assert [watched.changed(), watched.changed(), watched.changed()] == [False, True, False]
    file.write_text("ab")
    assert not watched.changed()
    file.write_text("abc")
    assert [watched.changed(), watched.changed(), watched.changed()] == [False, True, False]
    file.unlink()
    assert [watched.changed(), watched.changed()] == [False, True]


def test_what_has_not_changed_activates_nothing(followed):
    followed.look_twice()
    followed.settings.policy_file.write_text(POLICY + "# a comment\n")
    followed.look_twice()
    assert followed.activated == []


def test_a_changed_policy_is_activated_beside_the_same_model(followed):
    followed.look_twice()
    followed.settings.policy_file.write_text(POLICY.replace("challenge: 0.1", "challenge: 0.05"))
    followed.look_twice()
    (activated,) = followed.activated
    assert activated.policy.score_thresholds["challenge"] == 0.05
    assert activated.model is followed.reloader.active.model
    assert followed.measures.registry.get_sample_value("fraud_activations_total", {"part": "policy"}) == 1


def test_a_broken_policy_is_refused_until_it_is_mended(followed, caplog):
    followed.settings.policy_file.write_text(POLICY.replace("challenge: 0.1", "challenge: ten"))
    followed.look_twice()
    assert (followed.activated, followed.is_refused("policy")) == ([], True)
    assert f"{followed.settings.policy_file}:9" in caplog.text
    followed.settings.policy_file.write_text(POLICY)
    followed.look_twice()
    assert (followed.activated, followed.is_refused("policy")) == ([], False)


def test_a_damaged_model_is_refused_and_does_not_hinder_a_policy(followed, caplog):
    weights = followed.settings.model_folder / "model.skops"
    weights.write_bytes(weights.read_bytes()[:-1])
    followed.settings.policy_file.write_text(POLICY.replace("review: 0.3", "review: 0.2"))
    followed.look_twice()
    assert followed.is_refused("model")
    assert "its hash does not match" in caplog.text
    assert [artefacts.policy.score_thresholds["review"] for artefacts in followed.activated] == [0.2]


def test_a_policy_that_is_gone_is_refused(followed):
    followed.settings.policy_file.unlink()
    followed.look_twice()
    assert (followed.activated, followed.is_refused("policy")) == ([], True)
