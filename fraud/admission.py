"""The first step of the core: a message becomes a valid transaction, or is refused by name.

Clear identifiers end here. What is derived from them (card prefix, ip prefix) is taken first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from fraud.money import RateTable, amounts_to_minor
from fraud.privacy import REMEMBERED_TOKENS, Tokeniser, card_prefix, ip_prefix
from fraud.transaction import (
    Attribute,
    InvalidTransactionError,
    Transaction,
    TransactionMessage,
    check_texts,
    check_timestamp,
    message_columns,
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
        self._tokenised_fields = [name for name in TOKENISABLE if name in (*ALWAYS_TOKENISED, *tokenised_fields)]
        self._attributes = tuple(
            name.removeprefix("attributes.") for name in tokenised_fields if name.startswith("attributes.")
        )

    def admit(self, message: TransactionMessage) -> Transaction:
        """The transaction of `message`; raises `InvalidTransactionError`."""
        return self._admitted([message])[0]

    def admit_each(self, messages: Sequence[TransactionMessage]) -> list[Transaction | InvalidTransactionError]:
        """The transaction of each message, or why it is refused."""
        try:
            return [*self._admitted(messages)] if messages else []
        except InvalidTransactionError as error:
            if len(messages) == 1:
                return [error]
        # Messages are checked together, and nearly always all of them pass; if not, who fails is found by halves.
        half = len(messages) // 2
        return self.admit_each(messages[:half]) + self.admit_each(messages[half:])

    def _admitted(self, messages: Sequence[TransactionMessage]) -> list[Transaction]:
        """The transactions of at least one message; raises the `InvalidTransactionError` of one that is refused."""
        columns = message_columns(messages)
        check_texts(columns)
        currencies, cards, addresses = columns["currency"], columns["card_id"], columns["ip_address"]
        timestamps_ms = list(map(timestamp_to_ms, columns["timestamp"]))
        check_timestamp(min(timestamps_ms))
        check_timestamp(max(timestamps_ms))
        amounts_minor = amounts_to_minor(columns["amount"], currencies, self._smallest_amount_minor)
        base_amounts_minor = list(map(self.rates.to_base_minor, amounts_minor, currencies, timestamps_ms))
        if [one is None for one in columns["latitude"]] != [one is None for one in columns["longitude"]]:
            raise InvalidTransactionError("half_a_position", "latitude", "latitude and longitude come together")
        columns |= {
            "timestamp_ms": timestamps_ms,
            "amount_minor": amounts_minor,
            "base_amount_minor": base_amounts_minor,
            "card_prefix": [None if card is None else self._card_prefix(card) for card in cards],
            "ip_prefix": [None if address is None else self._ip_prefix(address) for address in addresses],
            **{name: self._tokens(name, columns[name]) for name in self._tokenised_fields},
        }
        if self._attributes:
            columns["attributes"] = list(map(self._tokenised_attributes, columns["attributes"]))
        return list(map(Transaction, *(columns[name] for name in Transaction.__struct_fields__)))

    def _tokens(self, name: str, values: Sequence[str | None]) -> list[str | None]:
        token = self._tokeniser.token
        return [None if value is None else token(name, value) for value in values]

    def _tokenised_attributes(self, attributes: Mapping[str, Attribute]) -> dict[str, Attribute]:
        return {
            name: self._tokeniser.token(f"attributes.{name}", str(value)) if name in self._attributes else value
            for name, value in attributes.items()
        }
