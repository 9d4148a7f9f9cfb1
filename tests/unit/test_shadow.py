"""Models in shadow score beside the champion, can be named and taken back, and hinder nothing."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace

import numpy as np
import pytest

from fraud.features import feature_set
from fraud.live.measures import Measures
from fraud.live.shadow import MOST_SHADOWS, ShadowModels, ShadowReloader, registered_shadows
from fraud.scoring.manifest import ModelRefusedError
from fraud.scoring.model import Model, load_model
from fraud.scoring.registry import REGISTRY_FILE, Change, Registry, registry_bytes
from fraud.settings import HOME, Settings
from fraud.transaction import Transaction
from training.evaluation import EvaluationOptions
from training.history_dataset import HistoryRow, KnownRows
from training.metrics.cost import CostModel
from training.shadow import CHAMPION, compare_shadows

FEATURES = feature_set("default")
NAMES = FEATURES.names
OPTIONS = EvaluationOptions(100, CostModel(), None, 0, (CHAMPION,), draws=20)


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(HOME / "models" / "default", FEATURES.name, FEATURES.schema_hash)


def test_shadows_score_what_the_champion_scores(model):
    matrix = np.random.default_rng(1).normal(size=(5, len(NAMES)))
    assert ShadowModels([model]).score(matrix) == {model.content_hash[:16]: model.score(matrix).tolist()}
    assert ShadowModels([model]).score(matrix[:0]) == {}


def test_a_shadow_that_fails_is_left_out_from_then_on(model, caplog):
    shadows = ShadowModels([model])
    assert shadows.score(np.zeros((2, 1))) == {}
    assert shadows.models == []
    assert "the shadow model default scores no longer" in caplog.text


def register(models, shadows):
    changes = [
        Change(name, content, "shadow", "shadow", "Ann", "2026-03-01T12:00:00Z", "try") for name, content in shadows
    ]
    (models / REGISTRY_FILE).write_bytes(registry_bytes(Registry(tuple(changes))))


def test_shadows_are_followed_in_the_registry_and_what_is_broken_is_refused(model, tmp_path, caplog):
    shutil.copytree(HOME / "models" / "default", tmp_path / "other")
    activated, measures = [], Measures()
    settings = replace(Settings(), model_folder=tmp_path / "champion")
    reloader = ShadowReloader(settings, FEATURES, activated.append, measures.artefacts)

    def look_twice():
        asyncio.run(reloader.look())
        asyncio.run(reloader.look())

    def is_refused():
        return measures.registry.get_sample_value("fraud_reload_refused", {"part": "shadow"}) == 1

    look_twice()
    assert activated == []
    register(tmp_path, [("other", model.content_hash)])
    look_twice()
    assert [[model.name for model in shadows.models] for shadows in activated] == [["default"]]
    register(tmp_path, [("other", model.content_hash), ("missing", model.content_hash)])
    look_twice()
    assert (is_refused(), len(activated)) == (True, 1)
    assert "missing" in caplog.text
    (tmp_path / REGISTRY_FILE).unlink()
    look_twice()
    assert (is_refused(), [len(shadows.models) for shadows in activated]) == (False, [1, 0])


def test_only_a_few_models_score_in_shadow(tmp_path):
    register(tmp_path, [(f"model-{number}", "0" * 64) for number in range(MOST_SHADOWS + 1)])
    with pytest.raises(ModelRefusedError, match="has 9 models in shadow, at most 8"):
        registered_shadows(tmp_path)


def row(number, score, shadow_scores):
    transaction = Transaction(
        transaction_id=str(number),
        user_id=f"u{number % 10}",
        timestamp_ms=number * 60_000,
        amount_minor=100,
        currency="EUR",
        base_amount_minor=100,
    )
    return HistoryRow("a:0", number, number, transaction, np.zeros(1), score, "first", shadow_scores)


def known(labels):
    """A champion that guesses and a shadow that knows, where the number of the row says what is fraud."""
    guesses = np.random.default_rng(1).random(len(labels)).tolist()
    rows = [row(place, guess, {"better": float(place % 10 == 0)}) for place, guess in enumerate(guesses)]
    return KnownRows(rows, np.array(labels, dtype=np.int8), np.zeros(len(labels), dtype=np.int64), np.ones(len(labels)))


def test_a_better_model_is_seen_to_be_better_once_labels_have_come():
    labels = [int(place % 10 == 0) for place in range(200)]
    labels[-20:] = [-1] * 20
    (comparison,) = compare_shadows(known(labels), OPTIONS)
    assert (comparison.shadow_name, comparison.champions) == ("better", ["first"])
    assert (comparison.rows, comparison.unknown) == (200, 20)
    (against,) = comparison.evaluation.comparisons
    assert (against.model, against.baseline) == ("better", CHAMPION)
    assert against.differences["average_precision"].is_above_zero


def test_without_labels_there_is_nothing_to_judge_by_yet():
    (comparison,) = compare_shadows(known([-1] * 20), OPTIONS)
    assert (comparison.unknown, comparison.evaluation) == (20, None)


def test_what_the_champion_blocked_is_told_apart_and_not_judged():
    labels = [int(place % 10 == 0) for place in range(200)]
    labels[:20] = [-1] * 20
    found = known(labels)
    found.weights[:30] = 0.0
    (comparison,) = compare_shadows(found, OPTIONS)
    assert (comparison.rows, comparison.unknown, comparison.blocked) == (200, 0, 30)
    assert comparison.evaluation.rows == 170


def test_what_a_control_group_let_through_counts_for_what_it_stands_for():
    labels = [int(place % 10 == 0) for place in range(200)]
    plain, weighted = known(labels), known(labels)
    weighted.weights[::10] = 4.0
    amounts = [compare_shadows(found, OPTIONS)[0].evaluation.fraud_amount_minor for found in (plain, weighted)]
    assert amounts[1] == 4 * amounts[0]


def test_rows_that_no_shadow_has_scored_are_not_compared():
    rows = known([0, 1]).rows
    unscored = KnownRows(
        [one._replace(shadow_scores={}) for one in rows], np.zeros(2, np.int8), np.zeros(2, np.int64), np.ones(2)
    )
    assert compare_shadows(unscored, OPTIONS) == []
