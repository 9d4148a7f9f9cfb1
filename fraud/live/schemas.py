"""JSON Schemas of the messages, from the very types that read and write them."""

from __future__ import annotations

from typing import Any

import msgspec

from fraud.decision import Decision, Scalar, Versions
from fraud.live.dead_letter import DeadLetter
from fraud.live.wire import LabelMessage
from fraud.transaction import TransactionMessage

_DIALECT = "https://json-schema.org/draft/2020-12/schema"

# A decision is built with values that are encoded already; these are the types that a reader finds.
_ENCODED: dict[str, Any] = {"features": dict[str, Scalar], "profile": dict[str, Scalar], "versions": Versions}
DecisionContent = msgspec.defstruct(
    "Decision",
    [(field.name, _ENCODED.get(field.name, field.type)) for field in msgspec.structs.fields(Decision)],
    namespace={"__doc__": "What was decided, and everything that it rests on. Its fields are sorted."},
)
DecisionMessage = msgspec.defstruct(
    "DecisionMessage",
    [("decision", DecisionContent), ("hash", str)],
    namespace={"__doc__": "A decision as its canonical bytes, and their SHA-256 in hexadecimal."},
)
AlertMessage = msgspec.defstruct(
    "AlertMessage",
    [("decision", DecisionContent), ("hash", str), ("stale", bool, False)],
    namespace={"__doc__": "A decision that asks somebody to act; stale if its transaction was old when it came."},
)

MESSAGES: dict[str, Any] = {
    "transaction": TransactionMessage,
    "label": LabelMessage,
    "decision": DecisionMessage,
    "alert": AlertMessage,
    "dead-letter": DeadLetter,
}


def message_schemas() -> dict[str, bytes]:
    """The JSON Schema of each message, as a file, by name: indented, with a line's end.

    A field is only ever added: readers must ignore what they do not know.
    """
    schemas = {}
    for name, kind in MESSAGES.items():
        (schema,), components = msgspec.json.schema_components((kind,), ref_template="#/$defs/{name}")
        whole = {"$schema": _DIALECT, "title": name, **schema, "$defs": components}
        schemas[name] = msgspec.json.format(msgspec.json.encode(whole, order="sorted"), indent=2) + b"\n"
    return schemas
