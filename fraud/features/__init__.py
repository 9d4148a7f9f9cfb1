"""The table of features, and the state they are read from."""

from fraud.features import amount, distance, entity_risk, handbook, novelty, sequence, velocity
from fraud.features.table import FeatureSet

_SETS = {
    "default": (
        *velocity.FEATURES,
        *amount.FEATURES,
        *distance.FEATURES,
        *novelty.FEATURES,
        *entity_risk.FEATURES,
        *sequence.FEATURES,
    ),
    "handbook": handbook.FEATURES,
}
FEATURE_SETS = tuple(sorted(_SETS))


class UnknownFeatureSetError(ValueError):
    """There is no feature set of that name; the message lists those there are."""


def feature_set(name: str) -> FeatureSet:
    """The named feature set. Raises `UnknownFeatureSetError`."""
    if name not in _SETS:
        raise UnknownFeatureSetError(f"there is no feature set {name!r}; there are: {', '.join(FEATURE_SETS)}")
    return FeatureSet(name, _SETS[name])


__all__ = ["FEATURE_SETS", "FeatureSet", "UnknownFeatureSetError", "feature_set"]
