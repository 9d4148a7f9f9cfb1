"""Contributions are exact Shapley values: compared with the definition, summed over every subset of features."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from fraud.scoring import Estimate, patterns


def expected_score(trees, row, known):
    """What the ensemble gives on average when only the features in `known` are followed, weighted by training cover."""

    def below(node):
        left, right = trees.left[node], trees.right[node]
        if left == node:
            return trees.value[node]
        if trees.feature[node] in known:
            value = row[trees.feature[node]]
            goes_left = trees.missing_goes_left[node] if math.isnan(value) else value <= trees.threshold[node]
            return below(left) if goes_left else below(right)
        return (trees.cover[left] * below(left) + trees.cover[right] * below(right)) / trees.cover[node]

    return trees.offset + sum(below(root) for root in trees.roots)


def shapley_values(game, feature_count):
    """The definition: a feature's mean marginal contribution over all orders in which features become known."""
    values = np.zeros(feature_count)
    for feature in range(feature_count):
        others = [other for other in range(feature_count) if other != feature]
        for size in range(feature_count):
            weight = math.factorial(size) * math.factorial(feature_count - size - 1) / math.factorial(feature_count)
            for known in itertools.combinations(others, size):
                values[feature] += weight * (game({*known, feature}) - game(set(known)))
    return values


def training_rows(seed, feature_count, count=160):
    generator = np.random.default_rng(seed)
    matrix = np.round(generator.normal(size=(count, feature_count)), 1)
    matrix[generator.random(matrix.shape) < 0.15] = np.nan
    filled = np.nan_to_num(matrix)
    labels = (filled[:, 0] * filled[:, -1] + filled.sum(axis=1) + generator.normal(size=count) > 0.5).astype(np.int8)
    return matrix, labels


def boosting(seed):
    return HistGradientBoostingClassifier(
        max_iter=3, max_leaf_nodes=9, min_samples_leaf=3, early_stopping=False, random_state=seed
    )


def forest(seed):
    return RandomForestClassifier(3, max_leaf_nodes=10, random_state=seed)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), feature_count=st.integers(1, 5), family=st.sampled_from([boosting, forest]))
def test_contributions_of_trees_are_shapley_values_of_the_path_dependent_game(seed, feature_count, family):
    matrix, labels = training_rows(seed, feature_count)
    estimate = Estimate(family(seed).fit(matrix, labels), [str(index) for index in range(feature_count)])
    probes = np.vstack([matrix[:4], np.full((1, feature_count), np.nan)])
    contributions = estimate.explain(probes)
    for row, found in zip(estimate._trees.inputs(probes), contributions, strict=True):
        expected = shapley_values(lambda known, row=row: expected_score(estimate._trees, row, known), feature_count)
        assert np.abs(found - expected).max() < 1e-9
    assert estimate.base_value == pytest.approx(expected_score(estimate._trees, probes[0], set()), abs=1e-9)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), family=st.sampled_from([boosting, forest]))
def test_base_value_and_contributions_add_up_to_the_raw_score(seed, family):
    matrix, labels = training_rows(seed, 8)
    estimate = Estimate(
        family(seed).set_params(max_leaf_nodes=40).fit(matrix, labels), [str(index) for index in range(8)]
    )
    matrix[0] = 1e300
    matrix[1] = -1e300
    totals = estimate.base_value + estimate.explain(matrix).sum(axis=1)
    assert np.abs(totals - estimate.raw_scores(matrix)).max() < 1e-9


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), feature_count=st.integers(1, 5))
def test_contributions_of_a_regression_are_shapley_values_against_the_training_mean(seed, feature_count):
    matrix, labels = training_rows(seed, feature_count)
    estimator = Pipeline(
        [
            ("imputer", SimpleImputer(strategy="median", keep_empty_features=True)),
            ("scaler", StandardScaler()),
            ("regression", LogisticRegression()),
        ]
    ).fit(matrix, labels)
    estimate = Estimate(estimator, [str(index) for index in range(feature_count)])
    mean = estimator["imputer"].transform(matrix).mean(axis=0)
    filled = estimator["imputer"].transform(matrix[:4])

    def game(row, known):
        mixed = np.array([row[index] if index in known else mean[index] for index in range(feature_count)])
        return estimator["regression"].decision_function(estimator["scaler"].transform(mixed[None, :]))[0]

    for row, found in zip(filled, estimate.explain(matrix[:4]), strict=True):
        expected = shapley_values(lambda known, row=row: game(row, known), feature_count)
        assert np.abs(found - expected).max() < 1e-9
    totals = estimate.base_value + estimate.explain(matrix).sum(axis=1)
    assert np.abs(totals - estimate.raw_scores(matrix)).max() < 1e-9


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    cuts=st.lists(st.integers(0, 60), max_size=6),
    family=st.sampled_from([boosting, forest]),
)
def test_a_row_has_the_same_score_and_contributions_in_every_batch(seed, cuts, family):
    matrix, labels = training_rows(seed, 6)
    estimate = Estimate(family(seed).fit(matrix, labels), [str(index) for index in range(6)])
    probes = matrix[:60]
    batches = [batch for batch in np.split(probes, sorted(cuts)) if len(batch)]
    for compute in (estimate.raw_scores, estimate.score, estimate.explain):
        assert np.concatenate([compute(batch) for batch in batches]).tobytes() == compute(probes).tobytes()


def test_contributions_have_the_same_bits_at_batches_of_1_7_256_and_all():
    generator = np.random.default_rng(2)
    matrix = generator.normal(size=(600, 12))
    matrix[generator.random(matrix.shape) < 0.1] = np.nan
    labels = (np.nan_to_num(matrix[:, 0] * matrix[:, 1]) + generator.normal(size=600) > 0).astype(np.int8)
    for estimator in (
        HistGradientBoostingClassifier(max_iter=40, min_samples_leaf=3, early_stopping=False, random_state=0),
        RandomForestClassifier(10, random_state=0),
    ):
        estimate = Estimate(estimator.fit(matrix, labels), [str(index) for index in range(12)])
        whole = estimate.explain(matrix).tobytes()
        for size in (1, 7, 256):
            parts = [estimate.explain(matrix[start : start + size]) for start in range(0, len(matrix), size)]
            assert np.concatenate(parts).tobytes() == whole


@pytest.mark.parametrize("tables_max_bytes", [0, 200_000])
def test_contributions_looked_up_equal_those_integrated_for_each_row(tables_max_bytes, monkeypatch):
    matrix, labels = training_rows(5, 9, count=500)
    for estimator in (
        HistGradientBoostingClassifier(max_iter=20, min_samples_leaf=2, early_stopping=False, random_state=0),
        RandomForestClassifier(10, random_state=0),
    ):
        names = [str(index) for index in range(9)]
        estimator.fit(matrix, labels)
        looked_up = Estimate(estimator, names).explain(matrix)
        with monkeypatch.context() as smaller:
            smaller.setattr(patterns, "TABLES_MAX_BYTES", tables_max_bytes)
            integrated = Estimate(estimator, names).explain(matrix)
        assert np.abs(looked_up - integrated).max() < 1e-12


def test_a_model_without_splits_explains_nothing():
    matrix, labels = training_rows(1, 3, count=20)
    estimator = HistGradientBoostingClassifier(max_iter=2, min_samples_leaf=20, early_stopping=False).fit(
        matrix, labels
    )
    estimate = Estimate(estimator, ["a", "b", "c"])
    assert not estimate.explain(matrix).any()
    assert np.allclose(estimate.raw_scores(matrix), estimate.base_value, rtol=0, atol=1e-12)
