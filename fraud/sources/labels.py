"""Ground truth from label columns, and label delays drawn from a distribution."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from statistics import NormalDist
from typing import Any, cast

from fraud.sources.mapping import Delay, DelaySource, LabelSourceColumns
from fraud.sources.records import GroundTruth
from fraud.sources.values import Conversion, Refusal, text_of
from fraud.transaction import LabelName, LabelSource, TransactionMessage, timestamp_to_ms

_DAY_MS = 86_400_000
_STANDARD_NORMAL = NormalDist()
# No chargeback right lasts ten years; beyond, a drawn time could leave the calendar.
_LONGEST_DELAY_DAYS = 3_650.0
# Ground truths are shared by all records of the same label, source and scenario. A file with a scenario of its own for
# each row must not grow memory.
_SHARED_MAX_COUNT = 1_000


def label_values(label: LabelSourceColumns) -> Conversion:
    """The label column's values as `fraud`, `legitimate` or None; refuses any other: it could mean either."""
    table: dict[str | None, LabelName | None] = {None: None, "": None}
    table.update(dict.fromkeys(label.fraud_values, "fraud"))
    table.update(dict.fromkeys(label.legitimate_values, "legitimate"))
    known = ", ".join((*label.fraud_values, *label.legitimate_values))

    def value_form(value: Any) -> LabelName | None:
        try:
            return table[text_of(value)]
        except KeyError:
            raise Refusal("invalid_label", f"must be one of {known}") from None

    return Conversion(lambda items: [table[item] for item in items], value_form)


class LabelAssembly:
    """Makes ground truths from the values of the label columns."""

    def __init__(self, label: LabelSourceColumns) -> None:
        constant = label.source.constant if label.source is not None else None
        self._constant_source = cast("LabelSource | None", constant)
        self._delay = label.delay
        self._shared: dict[tuple[LabelName | None, LabelSource | None, str | None], GroundTruth | None] = {}

    def build(
        self,
        messages: Sequence[TransactionMessage],
        labels: Iterable[LabelName | None],
        sources: Iterable[LabelSource | None],
        known_at: Iterable[datetime | None],
        scenarios: Iterable[str | None],
    ) -> list[GroundTruth | None]:
        """One ground truth for each message, None where the file says nothing; the inputs are aligned."""
        shared = self._shared
        truths: list[GroundTruth | None] = []
        for message, label, source, moment, scenario in zip(
            messages, labels, sources, known_at, scenarios, strict=False
        ):
            if moment is None and (self._delay is None or label != "fraud"):
                key = (label, source, scenario)
                try:
                    truths.append(shared[key])
                except KeyError:
                    truths.append(self._share(key))
            else:
                truths.append(self._timed(message, label, source, moment, scenario))
        return truths

    def _share(self, key: tuple[LabelName | None, LabelSource | None, str | None]) -> GroundTruth | None:
        label, source, scenario = key
        if len(self._shared) >= _SHARED_MAX_COUNT:
            self._shared.clear()
        if label is None and source is None and scenario is None:
            truth = None
        else:
            truth = GroundTruth(label, self._source(label, source), None, scenario)
        self._shared[key] = truth
        return truth

    def _source(self, label: LabelName | None, source: LabelSource | None) -> LabelSource | None:
        return source or (self._constant_source if label == "fraud" else None)

    def _timed(
        self,
        message: TransactionMessage,
        label: LabelName | None,
        source: LabelSource | None,
        moment: datetime | None,
        scenario: str | None,
    ) -> GroundTruth:
        source = self._source(label, source)
        known_at_ms = None
        if moment is not None:
            known_at_ms = timestamp_to_ms(moment)
        elif self._delay is not None:
            delay_ms = drawn_delay_ms(self._delay, source, message.transaction_id)
            known_at_ms = None if delay_ms is None else timestamp_to_ms(message.timestamp) + delay_ms
        return GroundTruth(label, source, known_at_ms, scenario)


def drawn_delay_ms(delays: DelaySource, source: LabelSource | None, transaction_id: str) -> int | None:
    """The delay in milliseconds of this transaction's label, None if the mapping has no distribution for `source`.

    A function of seed and transaction id alone (inverse transform of a hash), so it does not depend on the order of
    rows, on batches, or on what else is in the file.
    """
    delay = dict(delays.by_source).get(source, delays.default) if source is not None else delays.default
    if delay is None:
        return None
    digest = hashlib.blake2b(f"{delays.seed}\x00{transaction_id}".encode(), digest_size=8).digest()
    # The middle of one of 2^52 equal steps: never 0 or 1, where the normal quantile is infinite.
    quantile = ((int.from_bytes(digest, "big") >> 12) + 0.5) / 2**52
    return round(min(_days(delay, quantile), _LONGEST_DELAY_DAYS) * _DAY_MS)


def _days(delay: Delay, quantile: float) -> float:
    if delay.distribution == "constant":
        return delay.parameters[0]
    if delay.distribution == "uniform":
        lowest, highest = delay.parameters
        return lowest + (highest - lowest) * quantile
    median, sigma = delay.parameters
    # Beyond 50 the cap applies whatever the median is, and exp would overflow.
    return median * math.exp(min(sigma * _STANDARD_NORMAL.inv_cdf(quantile), 50.0))
