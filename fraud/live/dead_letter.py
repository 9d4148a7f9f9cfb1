"""What could not be decided: why, where it came from, and its bytes, encrypted."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fraud.sources.records import shown_value
from fraud.transaction import InvalidTransactionError, timestamp_to_text

# What NIST SP 800-38D recommends for GCM: 96 random bits.
_NONCE_BYTES = 12


class DeadLetterKeyError(Exception):
    """A dead letter that this key cannot open."""


class DeadLetter(msgspec.Struct, frozen=True, gc=False):
    """A message that was refused. `value` is shortened, card data masked; `payload` is base64 of nonce and AES-256-GCM.

    Fields stand in alphabetical order, as in every message.
    """

    code: str
    field: str
    ingested_at: str
    key: str | None
    key_id: str
    offset: int
    partition: int
    payload: str
    reason: str
    topic: str
    topic_id: str
    value: str


_encode = msgspec.json.Encoder().encode
decode_dead_letter = msgspec.json.Decoder(DeadLetter).decode


class DeadLetterBox:
    """Seals and opens dead letters under one key. `random` yields that many random bytes."""

    def __init__(self, key: str, key_id: str, random: Callable[[int], bytes]) -> None:
        # A key of any length becomes one of 256 bits; it is a random secret, not a password, so one hash is enough.
        self._cipher = AESGCM(hashlib.sha256(key.encode()).digest())
        self._key_id = key_id
        self._random = random

    def seal(
        self,
        error: InvalidTransactionError,
        place: MessagePlace,
        value: bytes | None,
        secret_fields: tuple[str, ...] = (),
    ) -> bytes:
        """The message for the dead-letter topic."""
        nonce = self._random(_NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, value or b"", place.identity)
        letter = DeadLetter(
            code=error.code,
            field=error.field,
            ingested_at=timestamp_to_text(place.ingested_ms),
            # The key of a record is a customer, and no customer has a name of a million letters.
            key=None if place.key is None else shown_value(place.key.decode(errors="replace"), "", secret_fields),
            key_id=self._key_id,
            offset=place.offset,
            partition=place.partition,
            payload=base64.b64encode(sealed).decode(),
            reason=error.reason,
            topic=place.topic,
            topic_id=place.topic_id,
            value=shown_value(error.value, error.field, secret_fields),
        )
        return _encode(letter)

    def open(self, letter: DeadLetter) -> bytes:
        """The original bytes. Raises `DeadLetterKeyError`."""
        if letter.key_id != self._key_id:
            raise DeadLetterKeyError(
                f"the dead letter was sealed with key {letter.key_id!r}, the settings have {self._key_id!r}: set "
                "FRAUD_DEAD_LETTER_KEY and FRAUD_DEAD_LETTER_KEY_ID to that key"
            )
        sealed = base64.b64decode(letter.payload)
        identity = _identity(letter.topic_id, letter.partition, letter.offset)
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], identity)
        except InvalidTag:
            raise DeadLetterKeyError(
                f"the dead letter cannot be opened: FRAUD_DEAD_LETTER_KEY is not the key that {letter.key_id!r} "
                "was when it was sealed, or the letter was changed"
            ) from None


class MessagePlace(msgspec.Struct, frozen=True, gc=False):
    """Where a message stands: topic by name and id, partition, offset; its key; when the broker took it."""

    topic: str
    topic_id: str
    partition: int
    offset: int
    ingested_ms: int
    key: bytes | None

    @property
    def source(self) -> str:
        """The partition by the topic's id: a topic made anew is another source."""
        return f"{self.topic_id}:{self.partition}"

    @property
    def identity(self) -> bytes:
        """What a sealed payload is bound to."""
        return _identity(self.topic_id, self.partition, self.offset)


def _identity(topic_id: str, partition: int, offset: int) -> bytes:
    return f"{topic_id}:{partition}:{offset}".encode()
