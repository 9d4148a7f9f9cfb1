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


class _Sealed(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """`payload` is nonce and AES-256-GCM of a message, bound to its place."""

    key_id: str
    payload: bytes


_encode = msgspec.json.Encoder().encode
_encode_sealed = msgspec.msgpack.Encoder().encode
_decode_sealed = msgspec.msgpack.Decoder(_Sealed).decode
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
        return self.letter(error, place, self.sealed_message(place, value), secret_fields)

    def sealed_message(self, place: MessagePlace, value: bytes | None) -> bytes:
        """What a message is kept as while it waits."""
        nonce = self._random(_NONCE_BYTES)
        payload = nonce + self._cipher.encrypt(nonce, value or b"", place.identity)
        return _encode_sealed(_Sealed(self._key_id, payload))

    def letter(
        self, error: InvalidTransactionError, place: MessagePlace, sealed: bytes, secret_fields: tuple[str, ...] = ()
    ) -> bytes:
        """The message for the dead-letter topic, of one that is sealed, under whatever key."""
        message = _decode_sealed(sealed)
        letter = DeadLetter(
            code=error.code,
            field=error.field,
            ingested_at=timestamp_to_text(place.ingested_ms),
            key=shown_key(place, secret_fields),
            key_id=message.key_id,
            offset=place.offset,
            partition=place.partition,
            payload=base64.b64encode(message.payload).decode(),
            reason=error.reason,
            topic=place.topic,
            topic_id=place.topic_id,
            value=shown_value(error.value, error.field, secret_fields),
        )
        return _encode(letter)

    def open(self, letter: DeadLetter) -> bytes:
        """The original bytes. Raises `DeadLetterKeyError`."""
        identity = _identity(letter.topic_id, letter.partition, letter.offset)
        return self._opened(_Sealed(letter.key_id, base64.b64decode(letter.payload)), identity)

    def open_message(self, sealed: bytes, place: MessagePlace) -> bytes:
        """The original bytes of a message that waits. Raises `DeadLetterKeyError`."""
        return self._opened(_decode_sealed(sealed), place.identity)

    def _opened(self, message: _Sealed, identity: bytes) -> bytes:
        if message.key_id != self._key_id:
            raise DeadLetterKeyError(
                f"the dead letter was sealed with key {message.key_id!r}, the settings have {self._key_id!r}: set "
                "FRAUD_DEAD_LETTER_KEY and FRAUD_DEAD_LETTER_KEY_ID to that key"
            )
        try:
            return self._cipher.decrypt(message.payload[:_NONCE_BYTES], message.payload[_NONCE_BYTES:], identity)
        except InvalidTag:
            raise DeadLetterKeyError(
                f"the dead letter cannot be opened: FRAUD_DEAD_LETTER_KEY is not the key that {message.key_id!r} "
                "was when it was sealed, or the letter was changed"
            ) from None


def shown_key(place: MessagePlace, secret_fields: tuple[str, ...] = ()) -> str | None:
    """The key of a message, masked, and shortened: no customer has a name of a million letters."""
    return None if place.key is None else shown_value(place.key.decode(errors="replace"), "", secret_fields)


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
