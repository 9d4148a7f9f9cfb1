"""Feature values of files, through the very pipeline that decides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraud.bootstrap import load_artefacts
from fraud.features.table import FeatureSet
from fraud.pipeline import StageTimings
from fraud.replay.run import Replay, ReplayedBatch, ReplayOptions
from fraud.report.batch import FRAUD, LEGITIMATE, UNKNOWN
from fraud.rule_inputs import GatheredBatch, RuleInputs
from fraud.settings import Settings
from fraud.sources.mapping import Mapping as ColumnMapping
from fraud.sources.reader import TransactionFiles
from fraud.sources.records import RejectedRecord

NEVER_KNOWN_MS = -1


@dataclass(frozen=True)
class FeatureBlock:
    """n authorisations of the period in file order, with their features and what the file says about them.

    `timestamps_ms`, `label_known_at_ms` (-1 never) and `base_amounts_minor`: int64 [n]; `labels` int8 [n]: 1 fraud,
    0 legitimate, -1 unknown; `matrix` float64 [n, features], NaN is missing. `scenarios` are for analysis only.
    `weights` float64 [n]: how many payments the outcome of each stands for, 0 where a block prevented it. `inputs` are
    arrays [n] of what else rules may read, by name, typed as `fraud.rules.values.Kind` says.
    """

    gathered: GatheredBatch
    transaction_ids: list[str]
    timestamps_ms: NDArray[np.int64]
    labels: NDArray[np.int8]
    label_known_at_ms: NDArray[np.int64]
    base_amounts_minor: NDArray[np.int64]
    scenarios: list[str | None]
    weights: NDArray[np.float64]
    rejected: Sequence[RejectedRecord]
    inputs: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    # Of files, whether they lie in the period or not.
    records_read: int = 0

    @property
    def matrix(self) -> NDArray[np.float64]:
        """Feature values, float64 [n, features]."""
        return self.gathered.matrix


def iterate_features(
    settings: Settings,
    files: TransactionFiles,
    mapping: ColumnMapping,
    feature_set: FeatureSet,
    options: ReplayOptions,
    timings: StageTimings,
    inputs: RuleInputs | None = None,
) -> Iterator[FeatureBlock]:
    """The features of `feature_set` for the transactions of the period, block by block, with these inputs of rules."""
    artefacts = load_artefacts(settings, feature_set.name, mapping.attribute_kinds, policy_file=None, model_folder=None)
    profile_names = () if inputs is None else inputs.profile_names
    replay = Replay(settings, artefacts, mapping, options, timings, profile_names=profile_names)
    batches = replay.batches(files)
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        while True:
            # Not `runner.run`: at its end it looks up who handles signals, which writes out the whole batch as text.
            batch = loop.run_until_complete(_following(batches))
            if batch is None:
                return
            yield _block(batch, replay, inputs)


async def _following(batches: AsyncGenerator[ReplayedBatch, None]) -> ReplayedBatch | None:
    return await anext(batches, None)


def _block(batch: ReplayedBatch, replay: Replay, inputs: RuleInputs | None) -> FeatureBlock:
    gathered = batch.result.gathered
    labels, known_at_ms = [], []
    truths = [batch.records[position].label for position in batch.result.positions]
    for transaction, truth in zip(gathered.transactions, truths, strict=True):
        if truth is None or truth.label is None:
            labels.append(UNKNOWN)
            known_at_ms.append(NEVER_KNOWN_MS)
        else:
            labels.append(FRAUD if truth.label == "fraud" else LEGITIMATE)
            known_at_ms.append(replay.labels.known_at_ms(truth, transaction))
    return FeatureBlock(
        gathered=gathered,
        transaction_ids=gathered.transaction_ids,
        timestamps_ms=gathered.timestamps_ms,
        labels=np.array(labels, dtype=np.int8),
        label_known_at_ms=np.array(known_at_ms, dtype=np.int64),
        base_amounts_minor=gathered.base_amounts_minor,
        scenarios=[None if truth is None else truth.scenario for truth in truths],
        # A file says what became of every payment.
        weights=np.ones(len(truths)),
        rejected=batch.rejected,
        inputs={} if inputs is None else inputs.unscored_columns(gathered),
        records_read=batch.records_read,
    )
