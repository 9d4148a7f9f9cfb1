"""What moved a score adds up to the score, for every kind of model; one whose reasons do not is never decided by."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import signal
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from learning_rows import DAY_MS, NAMES, START_MS, simulated

from fraud.bootstrap import load_artefacts
from fraud.live.command import worker_command
from fraud.live.measures import Measures
from fraud.live.reload import Reloader
from fraud.scoring.attribution import TreeAttribution
from fraud.scoring.manifest import ModelRefusedError
from fraud.scoring.model import check_contributions, load_model
from fraud.settings import HOME, Settings
from training.configuration import DEFAULT_CONFIGURATIONS, BoostingConfiguration, FitConfiguration
from training.fitting import FitPeriods, fit_and_write

PERIODS = FitPeriods(START_MS, START_MS + 30 * DAY_MS, START_MS + 40 * DAY_MS, 7.0)
MADE = "2026-03-01T00:00:00+00:00"
# As learned; a tenth of the legitimate rows and frauds counted three times, both taken out of the scores again.
SAMPLING = {"all rows": {}, "sampled": {"legitimate_share": 0.1, "fraud_weight": 3.0}}
# Half of the last decimal that a score keeps.
ROUNDING = 0.5e-6


@pytest.fixture(scope="module")
def rows():
    return simulated(5, days=40)


def probes():
    """Rows with every pattern of missing values, all of them missing included."""
    generator = np.random.default_rng(9)
    patterns = np.array(list(itertools.product([False, True], repeat=len(NAMES))) * 20)
    return np.where(patterns, np.nan, generator.normal(size=patterns.shape))


@pytest.mark.parametrize("sampling", SAMPLING)
@pytest.mark.parametrize("calibration", ["none", "sigmoid"])
@pytest.mark.parametrize("kind", DEFAULT_CONFIGURATIONS)
def test_contributions_add_up_to_the_score_that_decides(kind, calibration, sampling, rows, tmp_path):
    configuration = FitConfiguration(DEFAULT_CONFIGURATIONS[kind], calibration=calibration, **SAMPLING[sampling])
    fit_and_write(rows, configuration, PERIODS, tmp_path / "m", MADE, str)
    model = load_model(tmp_path / "m", rows.origin.feature_set_name, rows.origin.feature_set_hash)
    matrix = probes()
    totals = model.base_value + model.explain(matrix).sum(axis=1)
    assert np.abs(totals - model.raw_scores(matrix)).max() < 1e-9
    declared = totals if model.raw_unit == "probability" else 1 / (1 + np.exp(-totals))
    assert np.abs(declared - model.score(matrix)).max() <= ROUNDING + 1e-9
    check_contributions(model, matrix)


def test_calibration_and_sampling_do_change_what_is_added_up(rows, tmp_path):
    found = {}
    for calibration, (name, sampling) in itertools.product(["none", "sigmoid"], SAMPLING.items()):
        configuration = FitConfiguration(DEFAULT_CONFIGURATIONS["boosting"], calibration=calibration, **sampling)
        fit_and_write(rows, configuration, PERIODS, tmp_path / "m", MADE, str)
        model = load_model(tmp_path / "m", rows.origin.feature_set_name, rows.origin.feature_set_hash)
        found[calibration, name] = model.explain(probes()).tobytes()
    assert len(set(found.values())) == len(found)


@pytest.fixture
def misled(monkeypatch):
    """Contributions of trees that are off by a thousandth, as a wrong table of the integral would make them."""
    right = TreeAttribution.contributions
    monkeypatch.setattr(TreeAttribution, "contributions", lambda trees, matrix: right(trees, matrix) + 0.001)


def shipped(model_folder):
    settings = replace(Settings(), policy_file=HOME / "policies" / "default.yaml", model_folder=model_folder)
    artefacts = load_artefacts(settings, "default", {}, policy_file=settings.policy_file, model_folder=model_folder)
    return settings, artefacts


@pytest.mark.usefixtures("misled")
def test_a_worker_does_not_start_with_a_model_whose_contributions_miss_its_score(monkeypatch):
    # The command takes the signal for itself; the tests go on after it.
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    result = CliRunner().invoke(worker_command, [])
    assert isinstance(result.exception, ModelRefusedError)
    assert "cannot be explained: contributions miss the score by" in str(result.exception)


def test_a_switch_to_a_model_whose_contributions_miss_its_score_is_refused(tmp_path, request, caplog):
    folder = tmp_path / "model"
    shutil.copytree(HOME / "models" / "default", folder)
    settings, active = shipped(folder)
    measures, activated = Measures(), []

    async def activate(artefacts):
        activated.append(artefacts.model.content_hash)

    async def look_at(seed):
        refit(folder, active.feature_set, seed)
        await reloader.look()
        await reloader.look()

    reloader = Reloader(settings, active, activate, measures.artefacts)
    asyncio.run(look_at(seed=1))
    assert len(activated) == 1
    request.getfixturevalue("misled")
    asyncio.run(look_at(seed=2))
    assert len(activated) == 1
    assert measures.registry.get_sample_value("fraud_reload_refused", {"part": "model"}) == 1
    assert "contributions miss the score" in caplog.text


def refit(folder, features, seed):
    """A small model of these features in place of the one in `folder`, from rows of chance."""
    rows = simulated(seed, days=40)
    matrix = np.random.default_rng(seed).normal(size=(len(rows), len(features.names)))
    origin = msgspec.structs.replace(
        rows.origin,
        feature_set_name=features.name,
        feature_set_hash=features.schema_hash,
        feature_names=features.names,
    )
    configuration = FitConfiguration(BoostingConfiguration(tree_count=5))
    fit_and_write(replace(rows, origin=origin, matrix=matrix), configuration, PERIODS, folder, MADE, str)
