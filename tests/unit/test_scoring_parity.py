"""Scores equal those of scikit-learn's own `predict_proba`, missing values included, whatever the batch."""

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC

from fraud.scoring import Estimate
from fraud.scoring.estimators import UnsupportedEstimatorError
from fraud.scoring.trees import MaskScorer, Trees, WalkScorer, check_trees

NAMES = ("amount", "count", "hours", "novelty", "risk")


def rows(count=1500, missing_share=0.1, seed=3):
    generator = np.random.default_rng(seed)
    matrix = generator.normal(size=(count, len(NAMES)))
    matrix[:, 1] = np.round(matrix[:, 1] * 3)  # counts have ties, exactly on thresholds
    odds = matrix[:, 0] * matrix[:, 2] + matrix[:, 1] - 1
    labels = (generator.random(count) < 1 / (1 + np.exp(-odds))).astype(np.int8)
    matrix[generator.random(matrix.shape) < missing_share] = np.nan
    return matrix, labels


def pipeline():
    return Pipeline(
        [
            ("imputer", SimpleImputer(strategy="median", keep_empty_features=True)),
            ("scaler", StandardScaler()),
            ("regression", LogisticRegression()),
        ]
    )


SUPPORTED = {
    "imputed, scaled regression": pipeline(),
    "imputed regression": Pipeline([("imputer", SimpleImputer()), ("regression", LogisticRegression())]),
    "balanced regression": Pipeline(
        [
            ("imputer", SimpleImputer(strategy="constant", fill_value=-1.0)),
            ("r", LogisticRegression(class_weight="balanced")),
        ]
    ),
    "shallow boosting": HistGradientBoostingClassifier(max_depth=3, max_iter=30, early_stopping=False, random_state=0),
    "boosting": HistGradientBoostingClassifier(max_iter=30, early_stopping=False, random_state=0),
    "boosting with 64 leaves": HistGradientBoostingClassifier(
        max_iter=10, max_leaf_nodes=64, min_samples_leaf=2, early_stopping=False, random_state=0
    ),
    "boosting with more leaves than a mask has bits": HistGradientBoostingClassifier(
        max_iter=10, max_leaf_nodes=200, min_samples_leaf=2, early_stopping=False, random_state=0
    ),
    "forest": RandomForestClassifier(20, max_depth=5, random_state=0),
    "forest of full trees": RandomForestClassifier(20, random_state=0),
    "balanced forest": RandomForestClassifier(20, max_depth=6, class_weight="balanced", random_state=0),
}


def fitted(name):
    matrix, labels = rows()
    estimator = SUPPORTED[name].fit(matrix, labels)
    return estimator, Estimate(estimator, NAMES, background=np.nanmean(matrix, axis=0).tolist())


def unlike_training():
    """Rows with values beyond the training range, exactly on thresholds, and nothing at all."""
    matrix, _ = rows(count=400, missing_share=0.4, seed=9)
    matrix[:50] *= 1e6
    matrix[50] = np.nan
    matrix[51] = 0.0
    matrix[52] = -0.0
    return matrix


@pytest.mark.parametrize("name", SUPPORTED)
def test_scores_equal_those_of_scikit_learn(name):
    estimator, estimate = fitted(name)
    for matrix in (rows(seed=4)[0], unlike_training()):
        expected = estimator.predict_proba(matrix)[:, 1]
        raw = estimate.raw_scores(matrix)
        unrounded = raw if estimate.raw_unit == "probability" else 1 / (1 + np.exp(-np.clip(raw, -700, 700)))
        assert np.abs(unrounded - expected).max() < 1e-12
        assert np.abs(estimate.score(matrix) - expected).max() <= 0.5e-6 + 1e-12


@pytest.mark.parametrize("name", SUPPORTED)
def test_a_row_has_the_same_bits_in_every_batch(name):
    _, estimate = fitted(name)
    matrix, _ = rows(count=700, seed=5)
    whole, whole_raw = estimate.score(matrix), estimate.raw_scores(matrix)
    for size in (1, 7, 256):
        batches = [matrix[start : start + size] for start in range(0, len(matrix), size)]
        assert np.concatenate([estimate.score(batch) for batch in batches]).tobytes() == whole.tobytes()
        assert np.concatenate([estimate.raw_scores(batch) for batch in batches]).tobytes() == whole_raw.tobytes()


@pytest.mark.parametrize("name", SUPPORTED)
def test_the_layout_of_the_matrix_in_memory_does_not_matter(name):
    _, estimate = fitted(name)
    matrix, _ = rows(count=300, seed=6)
    expected = estimate.raw_scores(matrix).tobytes()
    assert estimate.raw_scores(np.asfortranarray(matrix)).tobytes() == expected
    assert estimate.raw_scores(np.repeat(matrix, 2, axis=0)[::2]).tobytes() == expected


def test_no_rows_have_no_scores():
    for name in ("imputed regression", "boosting", "forest of full trees"):
        _, estimate = fitted(name)
        assert estimate.score(np.empty((0, len(NAMES)))).shape == (0,)
        assert estimate.explain(np.empty((0, len(NAMES)))).shape == (0, len(NAMES))


def test_scoring_does_not_change_the_matrix():
    for name in ("imputed, scaled regression", "boosting", "forest"):
        _, estimate = fitted(name)
        matrix, _ = rows(count=50)
        before = matrix.tobytes()
        estimate.score(matrix)
        estimate.explain(matrix)
        assert matrix.tobytes() == before


def test_trees_with_few_leaves_are_scored_by_masks_and_others_by_walking():
    assert isinstance(fitted("boosting with 64 leaves")[1]._scorer, MaskScorer)
    assert isinstance(fitted("boosting with more leaves than a mask has bits")[1]._scorer, WalkScorer)


@pytest.mark.parametrize("name", ["boosting", "boosting with 64 leaves", "forest"])
def test_masks_and_walking_agree(name):
    _, estimate = fitted(name)
    matrix = unlike_training()
    walked = WalkScorer(estimate._trees).raw_scores(matrix)
    assert np.array_equal(MaskScorer(estimate._trees).raw_scores(matrix), walked)


def test_a_tree_that_never_splits_says_the_same_of_every_row():
    leaf, no_node = np.array([0], np.int32), np.array([False])
    trees = Trees(leaf, np.zeros(1), no_node, leaf, leaf, np.array([1.5]), np.ones(1), leaf, 3, 0.25, False)
    check_trees(trees)
    matrix = np.array([[1.0, 2.0, 3.0], [np.nan, np.nan, np.nan]])
    for scorer in (MaskScorer(trees), WalkScorer(trees)):
        assert scorer.raw_scores(matrix).tolist() == [1.75, 1.75]
        assert scorer.raw_scores(matrix[:0]).tolist() == []


def test_a_split_on_missing_alone_is_followed():
    generator = np.random.default_rng(0)
    matrix = generator.normal(size=(400, 1))
    matrix[::2] = np.nan
    labels = np.isnan(matrix[:, 0]).astype(np.int8)
    estimator = HistGradientBoostingClassifier(max_iter=5, early_stopping=False, random_state=0).fit(matrix, labels)
    estimate = Estimate(estimator, ("only",))
    probe = np.array([[np.nan], [0.0], [1e300], [-1e300]])
    assert np.allclose(estimate.score(probe), estimator.predict_proba(probe)[:, 1], rtol=0, atol=1e-6)
    assert estimate.score(probe)[0] > estimate.score(probe)[1]


def test_a_feature_that_was_never_present_in_training_is_imputed():
    matrix, labels = rows()
    matrix[:, 2] = np.nan
    estimator = pipeline().fit(matrix, labels)
    probe, _ = rows(seed=8)
    scores = Estimate(estimator, NAMES).score(probe)
    assert np.allclose(scores, estimator.predict_proba(probe)[:, 1], rtol=0, atol=1e-6)


def test_a_plain_regression_scores_complete_rows_and_names_a_missing_feature():
    matrix, labels = rows(missing_share=0)
    estimator = LogisticRegression().fit(matrix, labels)
    estimate = Estimate(estimator, NAMES, background=matrix.mean(axis=0).tolist())
    assert np.allclose(estimate.score(matrix), estimator.predict_proba(matrix)[:, 1], rtol=0, atol=1e-6)
    matrix[4, 3] = np.nan
    with pytest.raises(ValueError, match="'novelty' is missing"):
        estimate.score(matrix)


@pytest.mark.parametrize(
    ("estimator", "reason"),
    [
        (GradientBoostingClassifier(n_estimators=3), "GradientBoostingClassifier cannot be scored"),
        (SVC(), "SVC cannot be scored"),
        (Pipeline([("scaler", MinMaxScaler()), ("r", LogisticRegression())]), "Pipeline with MinMaxScaler"),
        (Pipeline([("scaler", StandardScaler()), ("r", SGDClassifier())]), "Pipeline with SGDClassifier"),
        (Pipeline([("imputer", SimpleImputer(add_indicator=True)), ("r", LogisticRegression())]), "no indicator"),
        (LogisticRegression(), "needs the training mean"),
        (
            HistGradientBoostingClassifier(max_iter=3, categorical_features=[1], early_stopping=False),
            "categorical features are not scored",
        ),
    ],
)
def test_other_estimators_are_refused_by_name(estimator, reason):
    matrix, labels = rows(count=300, missing_share=0)
    matrix[:, 1] = np.abs(matrix[:, 1])
    with pytest.raises(UnsupportedEstimatorError, match=reason):
        Estimate(estimator.fit(matrix, labels), NAMES)


def test_more_than_two_classes_are_refused():
    matrix, labels = rows(count=300)
    labels[:100] = 2
    for estimator in (RandomForestClassifier(3), HistGradientBoostingClassifier(max_iter=3, early_stopping=False)):
        with pytest.raises(UnsupportedEstimatorError, match="expected are 0"):
            Estimate(estimator.fit(matrix, labels), NAMES)


def test_an_estimator_fitted_on_other_features_is_refused():
    for name in ("imputed, scaled regression", "boosting", "forest"):
        estimator, _ = fitted(name)
        with pytest.raises(UnsupportedEstimatorError, match="features"):
            Estimate(estimator, NAMES[:-1])


def test_a_matrix_of_another_shape_or_type_is_refused():
    _, estimate = fitted("boosting")
    for matrix in (np.zeros((2, 4)), np.zeros(5), np.zeros((2, 5), dtype=np.float32)):
        with pytest.raises(ValueError, match=r"float64 \[rows, 5\] is scored"):
            estimate.score(matrix)


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("left", lambda values: values + 1_000_000),
        ("left", np.zeros_like),
        ("right", lambda values: values - 1),
        ("feature", lambda values: values + 99),
        ("threshold", lambda values: values * np.nan),
        ("value", lambda values: values + np.inf),
        ("cover", lambda values: values * 0),
    ],
)
def test_arrays_that_are_no_trees_are_refused(field, change):
    from dataclasses import replace

    _, estimate = fitted("boosting")
    check_trees(estimate._trees)
    with pytest.raises(ValueError, match=r"."):
        check_trees(replace(estimate._trees, **{field: change(getattr(estimate._trees, field))}))
