"""The schemas that others build on are those of the types that read and write messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from fraud.decision import Decision, canonical_bytes, decision_message
from fraud.live.schemas import MESSAGES, message_schemas
from fraud.live.schemas_command import schemas_command

SHIPPED = Path(__file__).resolve().parents[2] / "docs" / "schemas"
DECISION = Decision(
    action="allow",
    amount_minor=1250,
    assignment_probability=1.0,
    base_amount_minor=1250,
    base_currency="EUR",
    currency="EUR",
    degraded=[],
    features=msgspec.Raw(b'{"amount":12.5,"country":null}'),
    late=False,
    notifications=[],
    profile={"sum": 1},
    reason_codes=["R1"],
    recommended_action="allow",
    rule_hits=[],
    score=0.25,
    score_reasons=[],
    timestamp="2026-03-02T12:00:00.000Z",
    transaction_id="t1",
    user_id="u1",
    versions=msgspec.Raw(
        b'{"feature_set":{"hash":"a","name":"default"},"model":null,"policy":{"hash":"b","name":"p"},'
        b'"rates":{"hash":"c","name":"r"}}'
    ),
)


@pytest.mark.parametrize("name", MESSAGES)
def test_the_shipped_schemas_are_current(name: str) -> None:
    """If this fails after a change that was meant: `fraud schemas --out docs/schemas`."""
    assert (SHIPPED / f"{name}.schema.json").read_bytes() == message_schemas()[name]


def test_the_command_writes_what_is_shipped(tmp_path: Path) -> None:
    assert CliRunner().invoke(schemas_command, ["--out", str(tmp_path / "new")]).exit_code == 0
    written = {file.name: file.read_bytes() for file in (tmp_path / "new").iterdir()}
    assert written == {file.name: file.read_bytes() for file in SHIPPED.iterdir()}


def required(name: str, definition: str) -> set[str]:
    schema: dict[str, Any] = msgspec.json.decode(message_schemas()[name])
    return set(schema["$defs"][definition]["required"])


def test_what_must_be_there_is_required_and_nothing_else() -> None:
    needed = {"transaction_id", "user_id", "timestamp", "amount", "currency"}
    assert required("transaction", "TransactionMessage") == needed
    assert required("alert", "AlertMessage") == {"decision", "hash"}


def test_a_message_that_was_written_fits_its_schema() -> None:
    canonical = canonical_bytes(DECISION)
    message = decision_message(canonical, "00")
    read = msgspec.json.decode(message, type=MESSAGES["decision"], strict=True)
    assert msgspec.json.encode(read.decision) == canonical
    stale = msgspec.json.decode(message[:-1] + b',"stale":true}', type=MESSAGES["alert"], strict=True)
    assert stale.stale
