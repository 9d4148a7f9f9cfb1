"""What the bank learns of each transaction, from whom and when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fraud.simulator.events import (
    AUTHORISATION,
    DAY_MS,
    DECLINED,
    NONE,
    Booleans,
    Events,
    Integers,
    normal_by_key,
    uniform_by_key,
)
from fraud.simulator.options import SimulationOptions
from fraud.transaction import LABEL_SOURCES


class SourceDelay(NamedTuple):
    """How often a fraud is found by this source, and after how long: log-normal, by its median in days and the
    deviation of the logarithm; never before `least_days`.
    """

    source: str
    share: float
    median_days: float
    spread: float
    least_days: float


# Issuers' own monitoring speaks within days, customers when they read their statement; chargebacks come by the schemes'
# procedure in weeks, with a tail to the 120 days that they allow and a little beyond.
SOURCE_DELAYS = (
    SourceDelay("issuer_alert", 0.34, 1.5, 0.8, 0.05),
    SourceDelay("analyst", 0.10, 0.8, 0.7, 0.05),
    SourceDelay("customer", 0.24, 4.0, 0.9, 0.1),
    SourceDelay("chargeback", 0.32, 30.0, 0.6, 5.0),
)
# A dispute that the merchant wins: the chargeback first, then weeks for the merchant's evidence.
REPRESENTMENT = SourceDelay("representment", 0.0, 55.0, 0.4, 20.0)
# A declined fraud costs nobody anything: no chargeback and no complaint, but the issuer knows why it declined.
DECLINED_SOURCE = "issuer_alert"
REPRESENTMENT_SHARE = 0.6

_SALT_SOURCE, _SALT_DELAY, _SALT_UNREPORTED, _SALT_DISPUTE, _SALT_OUTCOME = 101, 111, 121, 131, 141


@dataclass(frozen=True)
class Labels:
    """One entry per event: whether the final label is fraud, the index of its source in `LABEL_SOURCES` (-1: nobody
    ever said anything) and when it became known (UTC milliseconds, 0 without a source).
    """

    fraud: Booleans
    source: Integers
    known_at_ms: Integers


def label_events(options: SimulationOptions, events: Events) -> Labels:
    """Labels of events. A label is what the bank comes to believe: an unreported fraud is labelled legitimate, and a
    payment that its own customer disputes successfully is labelled fraud; `scenario` alone tells the truth.
    """
    keys = events["key"]
    fraud = events["scenario"] > 0
    reported = fraud & (uniform_by_key(keys, _SALT_UNREPORTED) >= options.unreported_share)
    purchase = (events["event_type"] == AUTHORISATION) & (events["auth_result"] != DECLINED)
    disputed = ~fraud & purchase & (uniform_by_key(keys, _SALT_DISPUTE) < options.dispute_rate)
    reversed_later = disputed & (uniform_by_key(keys, _SALT_OUTCOME) < REPRESENTMENT_SHARE)
    choice = _chosen_source(keys)
    declined = next(index for index, entry in enumerate(SOURCE_DELAYS) if entry.source == DECLINED_SOURCE)
    chargeback = next(index for index, entry in enumerate(SOURCE_DELAYS) if entry.source == "chargeback")
    choice = np.where(fraud & (events["auth_result"] == DECLINED), declined, choice)
    choice = np.where(disputed, chargeback, choice)
    choice = np.where(reversed_later, len(SOURCE_DELAYS), choice)
    table = (*SOURCE_DELAYS, REPRESENTMENT)
    median = np.array([entry.median_days for entry in table])[choice]
    spread = np.array([entry.spread for entry in table])[choice]
    least = np.array([entry.least_days for entry in table])[choice]
    days = np.maximum(median * np.exp(spread * normal_by_key(keys, _SALT_DELAY)), least) * options.label_delay_factor
    spoken = reported | disputed
    codes = np.array([LABEL_SOURCES.index(entry.source) for entry in table])[choice]
    known_at = events["timestamp_ms"] + (days * DAY_MS).astype(np.int64)
    return Labels(
        fraud=reported | (disputed & ~reversed_later),
        source=np.where(spoken, codes, NONE),
        known_at_ms=np.where(spoken, known_at, 0),
    )


def _chosen_source(keys: npt.NDArray[np.uint64]) -> Integers:
    """Index in `SOURCE_DELAYS` by the shares."""
    edges = np.cumsum([entry.share for entry in SOURCE_DELAYS])
    chosen: Integers = np.searchsorted(edges, uniform_by_key(keys, _SALT_SOURCE) * edges[-1]).astype(np.int64)
    return chosen
