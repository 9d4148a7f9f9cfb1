"""The first step of the core: a message becomes a valid transaction, or is refused by name.

Clear identifiers end here. What is derived from them (card prefix, ip prefix) is taken first.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import msgspec

from fraud.money import RateTable, amount_to_minor
from fraud.privacy import REMEMBERED_TOKENS, Tokeniser, card_prefix, ip_prefix
from fraud.transaction import (
    Attribute,
    InvalidTransactionError,
    Transaction,
    TransactionMessage,
    check_text,
    check_timestamp,
    timestamp_to_ms,
)

# Card and address identify a person by themselves, wherever they are stored; settings can name more fields.
ALWAYS_TOKENISED = ("card_id", "ip_address")
TOKENISABLE = (
    *ALWAYS_TOKENISED,
    "user_id",
    "merchant_id",
    "terminal_id",
    "counterparty_id",
    "device_id",
)


class Admission:
    """Turns messages into transactions under one rate table and one token key.

    `tokenised_fields` names the fields to tokenise besides card and ip address: those of `TOKENISABLE`, or
    `attributes.NAME` for text attributes. Raises `ValueError` for any other. `accepts_zero_amounts` is for sources that
    hold account verifications (authorisations of nothing): they count as transactions of amount 0.
    """

    def __init__(
        self,
        rates: RateTable,
        tokeniser: Tokeniser,
        tokenised_fields: tuple[str, ...] = (),
        *,
        accepts_zero_amounts: bool = False,
    ) -> None:
        unknown = [name for name in tokenised_fields if name not in TOKENISABLE and not name.startswith("attributes.")]
        if unknown:
            raise ValueError(
                f"cannot tokenise {', '.join(unknown)}; possible: {', '.join(TOKENISABLE)}, attributes.NAME"
            )
        self.rates = rates
        self._smallest_amount_minor = 0 if accepts_zero_amounts else 1
        self._tokeniser = tokeniser
        # As tokens: the same card and address come again within seconds.
        self._card_prefix = lru_cache(REMEMBERED_TOKENS)(card_prefix)
        self._ip_prefix = lru_cache(REMEMBERED_TOKENS)(ip_prefix)
        self._more_fields = tuple(
            name for name in tokenised_fields if name in TOKENISABLE and name not in ALWAYS_TOKENISED
        )
        self._attributes = tuple(
            name.removeprefix("attributes.") for name in tokenised_fields if name.startswith("attributes.")
        )

    def admit(self, message: TransactionMessage) -> Transaction:
        """The transaction of `message`; raises `InvalidTransactionError`."""
        check_text(message)
        timestamp_ms = timestamp_to_ms(message.timestamp)
        check_timestamp(timestamp_ms)
        currency = message.currency
        amount_minor = amount_to_minor(message.amount, currency, self._smallest_amount_minor)
        base_amount_minor = self.rates.to_base_minor(amount_minor, currency, timestamp_ms)
        if (message.latitude is None) != (message.longitude is None):
            raise InvalidTransactionError("half_a_position", "latitude", "latitude and longitude come together")
        token = self._tokeniser.token
        card_id, ip_address = message.card_id, message.ip_address
        transaction = Transaction(
            message.transaction_id,
            message.user_id,
            timestamp_ms,
            amount_minor,
            currency,
            base_amount_minor,
            message.event_type,
            message.auth_result,
            message.original_transaction_id,
            message.entry_mode,
            message.is_recurring,
            None if card_id is None else token("card_id", card_id),
            None if card_id is None else self._card_prefix(card_id),
            message.merchant_id,
            message.merchant_category,
            message.terminal_id,
            message.counterparty_id,
            message.channel,
            message.country,
            message.city,
            message.latitude,
            message.longitude,
            message.device_id,
            None if ip_address is None else token("ip_address", ip_address),
            None if ip_address is None else self._ip_prefix(ip_address),
            message.attributes,
        )
        if self._more_fields or self._attributes:
            return self._tokenise_more(transaction)
        return transaction

    def _tokenise_more(self, transaction: Transaction) -> Transaction:
        clear = {name: getattr(transaction, name) for name in self._more_fields}
        changes: dict[str, object] = {
            name: self._tokeniser.token(name, value) for name, value in clear.items() if value is not None
        }
        if self._attributes:
            changes["attributes"] = self._tokenised_attributes(transaction.attributes)
        values = {name: getattr(transaction, name) for name in Transaction.__struct_fields__}
        return msgspec.convert({**values, **changes}, Transaction)

    def _tokenised_attributes(self, attributes: Mapping[str, Attribute]) -> dict[str, Attribute]:
        return {
            name: self._tokeniser.token(f"attributes.{name}", str(value)) if name in self._attributes else value
            for name, value in attributes.items()
        }
