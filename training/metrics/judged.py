"""What scores are judged against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntegerArray = npt.NDArray[np.int64]
CodeArray = npt.NDArray[np.int32]
LabelArray = npt.NDArray[np.int8]
BooleanArray = npt.NDArray[np.bool_]

DAY_MS = 86_400_000
# Code of a row that no fraud scenario made.
NO_SCENARIO = -1


@dataclass(frozen=True)
class JudgedRows:
    """n rows with their outcome, in arrival order.

    `timestamps_ms` int64 [n], UTC; `customers` int32 [n], a number for each customer; `labels` int8 [n] of 1 (fraud)
    and 0; `base_amounts_minor` int64 [n], minor units of the base currency; `weights` float64 [n], how many rows each
    one stands for; `scenarios` int32 [n], positions in `scenario_names` or -1.
    """

    timestamps_ms: IntegerArray
    customers: CodeArray
    labels: LabelArray
    base_amounts_minor: IntegerArray
    weights: FloatArray
    scenarios: CodeArray
    scenario_names: Sequence[str] = field(default=())

    def __len__(self) -> int:
        """Return the number of rows, n."""
        return len(self.labels)

    @property
    def days(self) -> IntegerArray:
        """The day of each row, int64 [n], counted from 1970-01-01 (UTC)."""
        return self.timestamps_ms // DAY_MS

    @property
    def has_both_classes(self) -> bool:
        """Whether there is a fraud and a legitimate row."""
        return 0 < int(self.labels.sum()) < len(self)

    def where(self, chosen: BooleanArray | slice) -> JudgedRows:
        """The rows that `chosen`, bool [n] or a slice, selects."""
        return JudgedRows(
            self.timestamps_ms[chosen],
            self.customers[chosen],
            self.labels[chosen],
            self.base_amounts_minor[chosen],
            self.weights[chosen],
            self.scenarios[chosen],
            self.scenario_names,
        )
