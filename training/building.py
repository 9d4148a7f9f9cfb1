"""From transaction files to labelled rows, through the core: replay computes every value."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fraud.bootstrap import condition_names
from fraud.features import feature_set
from fraud.features.table import FeatureSet
from fraud.money import CURRENCY_EXPONENTS
from fraud.pipeline import Period, StageTimings
from fraud.replay.feature_blocks import FeatureBlock, iterate_features
from fraud.replay.run import DUPLICATE_CODE, ReplayOptions
from fraud.settings import Settings
from fraud.sources import TransactionFiles, load_mapping
from training.dataset import DatasetError
from training.labelled_rows import DatasetOrigin, LabelledRows
from training.metrics.judged import NO_SCENARIO
from training.policy_inputs import input_kinds, rule_inputs

# Bytes read and transactions processed so far.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class FilesRequest:
    """Transaction files and how to read them. `label_delay_days` counts where the file names no time of its own.

    `inputs`: what policies may read beside features and is wanted, by name; None for all of it.
    """

    paths: tuple[Path, ...]
    mapping_name: str
    feature_set_name: str
    label_delay_days: float
    period: Period = field(default_factory=Period)
    inputs: frozenset[str] | None = frozenset()


class ReplayedFiles:
    """The feature blocks of transaction files, read once, and how many records were refused on the way.

    Raises what reading the mapping, the feature set and the settings raises.
    """

    def __init__(self, settings: Settings, request: FilesRequest, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._request = request
        self._clock = clock
        self._mapping = load_mapping(request.mapping_name)
        self._files = TransactionFiles(request.paths, self._mapping)
        self.features: FeatureSet = feature_set(request.feature_set_name)
        kinds = input_kinds(self.features, condition_names(self.features, settings, self._mapping.attribute_kinds))
        wanted = kinds.keys() if request.inputs is None else request.inputs
        self.input_kinds = {name: kind for name, kind in kinds.items() if name in wanted}
        self.rejected = 0
        self.first_rejected = ""

    @property
    def total_bytes(self) -> int:
        """Size of the files, for a progress bar."""
        return self._files.total_bytes

    @property
    def origin(self) -> DatasetOrigin:
        """What the rows are."""
        return DatasetOrigin(
            feature_set_name=self.features.name,
            feature_set_hash=self.features.schema_hash,
            feature_names=self.features.names,
            # The name alone: a path says where somebody keeps their files.
            mapping=Path(self._request.mapping_name).name,
            label_delay_days=self._request.label_delay_days,
            base_currency=self._settings.base_currency,
            base_exponent=CURRENCY_EXPONENTS[self._settings.base_currency],
        )

    def blocks(self, progress: Progress) -> Iterator[FeatureBlock]:
        """Replay the files; `progress` is told after each block."""
        options = ReplayOptions(self._request.period, self._request.label_delay_days)
        records, inputs = 0, None
        if self.input_kinds:
            inputs = rule_inputs(self.features, self.input_kinds, self.input_kinds, self.origin.base_exponent)
        for block in iterate_features(
            self._settings, self._files, self._mapping, self.features, options, StageTimings(self._clock), inputs
        ):
            # A repetition was counted once and is missing from nothing.
            refused = [record for record in block.rejected if record.code != DUPLICATE_CODE]
            if refused and not self.rejected:
                self.first_rejected = refused[0].place_and_reason
            self.rejected += len(refused)
            records += block.records_read
            progress(self._files.bytes_read, records)
            yield block


def rows_of_blocks(origin: DatasetOrigin, blocks: Iterable[FeatureBlock], inputs: Collection[str] = ()) -> LabelledRows:
    """Labelled rows in memory, equal to those that are written to a dataset and read back. Raises `DatasetError`.

    Of the inputs of rules the named ones are kept, as far as the blocks have them.
    """
    collected = _Collected(inputs)
    for block in blocks:
        if block.transaction_ids:
            collected.add(block)
    if not collected.parts:
        raise DatasetError("there are no transactions in the period: check the period and the files")
    return collected.rows(origin)


class _Collected:
    """The arrays of blocks: their transactions and lists would take ten times the memory."""

    def __init__(self, inputs: Collection[str]) -> None:
        self.parts: list[tuple[np.ndarray[Any, Any], ...]] = []
        self._wanted = frozenset(inputs)
        self._inputs: dict[str, list[np.ndarray[Any, Any]]] = {}
        self._customers: dict[str, int] = {}
        self._scenarios: dict[str, int] = {}

    def add(self, block: FeatureBlock) -> None:
        customers, scenarios = self._customers, self._scenarios
        held = {**block.inputs, "transaction_id": np.array(block.transaction_ids, dtype=object)}
        for name in self._wanted & held.keys():
            self._inputs.setdefault(name, []).append(held[name])
        self.parts.append(
            (
                block.matrix,
                block.timestamps_ms,
                block.labels,
                block.label_known_at_ms,
                block.base_amounts_minor,
                block.weights,
                np.array(
                    [customers.setdefault(row.user_id, len(customers)) for row in block.gathered.transactions],
                    dtype=np.int32,
                ),
                np.array(
                    [
                        NO_SCENARIO if name is None else scenarios.setdefault(name, len(scenarios))
                        for name in block.scenarios
                    ],
                    dtype=np.int32,
                ),
            )
        )

    def rows(self, origin: DatasetOrigin) -> LabelledRows:
        columns = [np.concatenate(column) for column in zip(*self.parts, strict=True)]
        matrix, timestamps_ms, labels, known_at_ms, amounts_minor, weights, customers, scenarios = columns
        return LabelledRows(
            origin=origin,
            matrix=matrix,
            timestamps_ms=timestamps_ms,
            labels=labels,
            label_known_at_ms=known_at_ms,
            base_amounts_minor=amounts_minor,
            customers=customers,
            scenarios=scenarios,
            scenario_names=tuple(self._scenarios),
            weights=weights,
            inputs={name: np.concatenate(parts) for name, parts in self._inputs.items()},
        )
