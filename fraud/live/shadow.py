"""Models that score what the champion decides, so that both can be compared; they decide nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fraud.features.table import FeatureSet
from fraud.live.measures import ArtefactMeasures
from fraud.live.watched_files import LOOK_INTERVAL_S, WatchedFiles
from fraud.scoring.manifest import ModelRefusedError
from fraud.scoring.model import MANIFEST_FILE, MODEL_FILE, Model
from fraud.scoring.registry import REGISTRY_FILE, Change, load_registered, read_registry, registry_folder
from fraud.settings import Settings

# Stands with every score in history; of a few models no two begin alike.
SHADOW_NAME_LENGTH = 16
# Each costs what the champion's scoring costs, in the same batch.
MOST_SHADOWS = 8
SHADOW = "shadow"

_log = logging.getLogger(__name__)


class ShadowModels:
    """The models in shadow. One that fails says nothing more; what the champion decides goes on."""

    def __init__(self, models: Sequence[Model] = ()) -> None:
        self.models = list(models)

    def score(self, matrix: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, list[float]]:
        """Scores of each model, by `shadow_name`, for `matrix`: float64 [rows, features], NaN is missing."""
        scores: dict[str, list[float]] = {}
        if not len(matrix):
            return scores
        for model in tuple(self.models):
            try:
                scores[shadow_name(model)] = model.score(matrix).tolist()
            except Exception as error:  # noqa: BLE001 nothing that a shadow does may reach a decision
                self.models.remove(model)
                _log.error("the shadow model %s scores no longer: it failed", model.name, exc_info=error)
        return scores


def shadow_name(model: Model) -> str:
    """What history calls the model."""
    return model.content_hash[:SHADOW_NAME_LENGTH]


def registered_shadows(models: Path) -> tuple[Change, ...]:
    """The models in shadow by the registry in `models`. Raises `ModelRefusedError`, also for too many."""
    shadows = read_registry(models).shadows
    if len(shadows) > MOST_SHADOWS:
        raise ModelRefusedError(
            f"{models / REGISTRY_FILE} has {len(shadows)} models in shadow, at most {MOST_SHADOWS} score there. "
            "Archive some: fraud-train models archive NAME"
        )
    return shadows


class ShadowReloader:
    """Keeps the shadow models equal to what lies on disk; what cannot be used is refused as a whole."""

    def __init__(
        self,
        settings: Settings,
        features: FeatureSet,
        activate: Callable[[ShadowModels], None],
        measures: ArtefactMeasures,
        *,
        sleep: Callable[[float], Any] = asyncio.sleep,
    ) -> None:
        self._models = None if settings.model_folder is None else registry_folder(settings.model_folder)
        self._features = features
        self._activate = activate
        self._measures = measures
        self._sleep = sleep
        self._watched = WatchedFiles(self._files)
        self._names: list[str] = []
        measures.refused(SHADOW, is_refused=False)

    async def watch(self) -> None:
        """Look until cancelled. Nothing that lies on disk ends it."""
        while True:
            await self._sleep(LOOK_INTERVAL_S)
            await self.look()

    async def look(self) -> None:
        """Look once, and take over what has changed."""
        if not self._watched.changed():
            return
        try:
            models = await asyncio.to_thread(self._loaded)
        except Exception as error:  # noqa: BLE001 whatever is wrong with a file, what decides now goes on
            self._measures.refused(SHADOW, is_refused=True)
            _log.error("changed shadow models are refused, those before go on: %s", error)
            return
        self._measures.refused(SHADOW, is_refused=False)
        names = [shadow_name(model) for model in models]
        if names != self._names:
            self._names = names
            self._activate(ShadowModels(models))
            _log.info("models in shadow from now on: %s", ", ".join(model.name for model in models) or "none")

    def _files(self) -> list[Path]:
        models = self._models
        if models is None:
            return []
        files = [models / REGISTRY_FILE]
        try:
            shadows = registered_shadows(models)
        except ModelRefusedError:
            # Loading says why; the registry itself is watched until it is mended.
            shadows = ()
        return files + [models / change.model / name for change in shadows for name in (MANIFEST_FILE, MODEL_FILE)]

    def _loaded(self) -> list[Model]:
        models, features = self._models, self._features
        if models is None:
            return []
        return [
            load_registered(models, change, features.name, features.schema_hash)
            for change in registered_shadows(models)
        ]
