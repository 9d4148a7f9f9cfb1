"""Policy and model of a running worker follow their files, between two batches and without a restart."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from fraud.bootstrap import Artefacts, policy_for
from fraud.deciding import decision_versions
from fraud.live.measures import ArtefactMeasures
from fraud.live.watched_files import LOOK_INTERVAL_S, WatchedFiles
from fraud.scoring.model import check_contributions
from fraud.scoring.registry import chosen_files, load_chosen
from fraud.settings import Settings
from fraud.typical import typical_batch

POLICY, MODEL = "policy", "model"

_log = logging.getLogger(__name__)


class Reloader:
    """Keeps what decides equal to what lies on disk, as far as that can be used.

    `activate` makes artefacts decide from the next batch on. Policy and model are followed each by itself: where one is
    refused, the one before goes on, and `fraud_reload_refused` says so until it is mended.
    """

    def __init__(
        self,
        settings: Settings,
        active: Artefacts,
        activate: Callable[[Artefacts], Awaitable[None]],
        measures: ArtefactMeasures,
        *,
        sleep: Callable[[float], Any] = asyncio.sleep,
    ) -> None:
        self._settings = settings
        self.active = active
        self._activate = activate
        self._measures = measures
        self._sleep = sleep
        self._watched = {POLICY: WatchedFiles(lambda: (settings.policy_file,))}
        folder = settings.model_folder
        if folder is not None:
            self._watched[MODEL] = WatchedFiles(lambda: chosen_files(folder))
        for part in self._watched:
            measures.refused(part, is_refused=False)
        measures.active(_names(active))

    async def watch(self) -> None:
        """Look until cancelled. Nothing that lies on disk ends it."""
        while True:
            await self._sleep(LOOK_INTERVAL_S)
            await self.look()

    async def look(self) -> None:
        """Look once, and take over what has changed."""
        for part, files in self._watched.items():
            if files.changed():
                await self._take(part)

    async def _take(self, part: str) -> None:
        try:
            wanted = await asyncio.to_thread(self._loaded, part)
            if _names(wanted)[part] != _names(self.active).get(part):
                await check_artefacts(self._settings, wanted)
        except Exception as error:  # noqa: BLE001 whatever is wrong with a file, what decides now goes on
            self._measures.refused(part, is_refused=True)
            _log.error("a changed %s is refused, the one before goes on: %s", part, error)
            return
        self._measures.refused(part, is_refused=False)
        if _names(wanted)[part] == _names(self.active).get(part):
            return
        await self._activate(wanted)
        self.active = wanted
        self._measures.active(_names(wanted))
        self._measures.activated(part)
        _log.info("from now on the %s %s %.12s decides", part, *_names(wanted)[part])

    def _loaded(self, part: str) -> Artefacts:
        settings, active = self._settings, self.active
        features = active.feature_set
        if part == POLICY:
            return replace(active, policy=policy_for(settings, features, {}, settings.policy_file))
        assert settings.model_folder is not None  # noqa: S101 only then it is watched
        return replace(active, model=load_chosen(settings.model_folder, features.name, features.schema_hash))


def _names(artefacts: Artefacts) -> dict[str, tuple[str, str]]:
    if artefacts.policy is None:
        return {}
    versions = decision_versions(artefacts.feature_set, artefacts.policy, artefacts.model, artefacts.rates)
    named = {POLICY: (versions.policy.name, versions.policy.hash)}
    if versions.model is not None:
        named[MODEL] = (versions.model.name, versions.model.hash)
    return named


async def check_artefacts(settings: Settings, artefacts: Artefacts) -> None:
    """Decide typical payments with them, and explain their scores, before anything real depends on them.

    Raises what fails, and `ModelRefusedError` if contributions do not add up to the score.
    """
    batch = await typical_batch(settings, artefacts)
    if artefacts.model is not None:
        check_contributions(artefacts.model, batch.gathered.matrix)
