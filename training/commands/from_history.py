"""`fraud-train dataset --from-history`: reading DynamoDB, writing, and what is said about it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from training.commands.options import RefusedError

if TYPE_CHECKING:
    from fraud.ports import StoredDecision
    from fraud.rules.values import Kind
    from fraud.settings import Settings
    from fraud.transaction import Label
    from training.history_dataset import DecidedHistory, Identity, KnownRows
    from training.labelled_rows import DatasetOrigin, LabelledRows, WeekMaturity


class HistoryRequest(NamedTuple):
    """What of history is wanted. Times are UTC milliseconds, `to_ms` exclusive; `known_by_ms`: labels as known then.

    `is_replayed`: features are computed anew from the transactions instead of taken as decisions hold them.
    """

    feature_set_name: str
    from_ms: float
    to_ms: float
    known_by_ms: int
    maturity_days: float
    is_replayed: bool = False


def write_history_dataset(settings: Settings, request: HistoryRequest, out: Path) -> list[WeekMaturity]:
    """Write the dataset to `out` and say what is in it; returns how mature each week of history is."""
    from training.dataset_file import write_dataset
    from training.policy_inputs import rule_inputs

    history, labels = read_history(settings, request)
    known = rows_as_known(history, labels, request)
    origin, kinds = _origin(settings, request), held_kinds(settings, history, known)
    inputs = rule_inputs(history.features, kinds, kinds, origin.base_exponent)
    written = write_dataset(out, origin, history.features, known.blocks(inputs), kinds)
    click.echo(f"{written:,} rows with {len(history.features.names)} features written to {out}")
    left_out = {
        "not known yet": len(known.rows) - written,
        "degraded": history.degraded,
        "decided with another version of the features": history.other_features,
    }
    for reason, count in left_out.items():
        if count:
            click.echo(f"{count:,} decisions left out: {reason}")
    return maturity_of(known)


def history_rows(settings: Settings, request: HistoryRequest, names: Collection[str]) -> LabelledRows:
    """The rows of a dataset from history, in memory, with the named inputs of rules as far as decisions hold them.

    Raises `DatasetError`, `RefusedError`.
    """
    from training.building import rows_of_blocks
    from training.policy_inputs import rule_inputs

    history, labels = read_history(settings, request)
    known, origin = rows_as_known(history, labels, request), _origin(settings, request)
    inputs = rule_inputs(history.features, held_kinds(settings, history, known), names, origin.base_exponent)
    return rows_of_blocks(origin, known.blocks(inputs), names)


def held_kinds(settings: Settings, history: DecidedHistory, known: KnownRows) -> dict[str, Kind]:
    """The inputs of rules that every decision holds, with their types: of the profile, what every policy has read."""
    from fraud.bootstrap import condition_names
    from training.policy_inputs import input_kinds

    held = {f"profile.{name}" for name in known.profile_names}
    kinds = input_kinds(history.features, condition_names(history.features, settings, {}))
    return {name: kind for name, kind in kinds.items() if name in held or not name.startswith("profile.")}


def rows_as_known(history: DecidedHistory, labels: dict[Identity, list[Label]], request: HistoryRequest) -> KnownRows:
    """The decisions up to `known_by_ms` in order, with what was known of them then. Raises `DatasetError`."""
    from training.dataset import DatasetError
    from training.history_dataset import known_rows

    rows = [row for row in history.in_order() if row.transaction.timestamp_ms <= request.known_by_ms]
    if not rows:
        raise DatasetError(
            f"history holds no decision of the period with the features {history.features.name} that can be learned "
            f"from ({history.degraded:,} degraded, {history.other_features:,} of another version)"
        )
    return known_rows(rows, labels, known_by_ms=request.known_by_ms, maturity_days=request.maturity_days)


def maturity_of(known: KnownRows) -> list[WeekMaturity]:
    """How much of each week is known."""
    from training.labelled_rows import weeks_of

    return weeks_of(known.timestamps_ms, known.labels)


def read_history(settings: Settings, request: HistoryRequest) -> tuple[DecidedHistory, dict[Identity, list[Label]]]:
    """Decisions and labels as they stand in DynamoDB. Raises `RefusedError` where that cannot be read."""
    from botocore.exceptions import BotoCoreError, ClientError
    from tqdm import tqdm

    from fraud.ports import StoreUnavailableError
    from fraud.progress import SHOWN_AFTER_SECONDS
    from training.history_replay import replayed_features, with_features

    with tqdm(unit=" decisions", unit_scale=True, delay=SHOWN_AFTER_SECONDS, disable=None) as bar:
        try:
            history, labels, events = asyncio.run(_read(settings, request, bar.update))
        except (BotoCoreError, ClientError, StoreUnavailableError) as error:
            raise RefusedError(
                f"history cannot be read: {error}; does DynamoDB run, and are the tables there?"
            ) from error
    if request.is_replayed:
        with tqdm(total=len(events), unit=" events", delay=SHOWN_AFTER_SECONDS, disable=None) as bar:
            found = replayed_features(settings, history.features, events, labels, bar.update)
        history.rows = with_features(history.rows, found)
    return history, labels


async def _read(
    settings: Settings, request: HistoryRequest, on_decision: Callable[[], object]
) -> tuple[DecidedHistory, dict[Identity, list[Label]], list[StoredDecision]]:
    from fraud.features import feature_set
    from fraud.live.dynamodb_client import dynamodb_client
    from fraud.stores.dynamodb import DynamoCustomerTables
    from fraud.stores.dynamodb_labels import DynamoLabels
    from training.history_dataset import DecidedHistory

    history = DecidedHistory(
        feature_set(request.feature_set_name), request.from_ms, request.to_ms, is_replayed=request.is_replayed
    )
    events: list[StoredDecision] = []
    labels: dict[Identity, list[Label]] = {}
    async with dynamodb_client(settings) as client:
        # Nothing is written, so what decisions would be compressed against does not matter.
        tables = DynamoCustomerTables(client, settings.table_prefix, typical_decision=b"{}", retention_days=1)
        async for stored, shadow_scores in tables.every_decision():
            history.add(stored, shadow_scores)
            on_decision()
        async for of_transaction in DynamoLabels(client, settings.table_prefix).every_transaction():
            labels[of_transaction[0].user_id, of_transaction[0].transaction_id] = of_transaction
        if request.is_replayed:
            # Refunds and reversals too, which are not decided.
            events = [record.stored async for record in tables.every_event()]
    return history, labels, events


def _origin(settings: Settings, request: HistoryRequest) -> DatasetOrigin:
    from fraud.features import feature_set
    from fraud.money import CURRENCY_EXPONENTS
    from training.labelled_rows import DatasetOrigin

    features = feature_set(request.feature_set_name)
    return DatasetOrigin(
        feature_set_name=features.name,
        feature_set_hash=features.schema_hash,
        feature_names=features.names,
        # What the topic holds has the fields of the native mapping.
        mapping="native",
        label_delay_days=request.maturity_days,
        base_currency=settings.base_currency,
        base_exponent=CURRENCY_EXPONENTS[settings.base_currency],
        source="history",
    )
