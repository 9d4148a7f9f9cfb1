"""Whether the card was at the terminal, and whether the attempt was declined: the flags of a customer's rows."""

from __future__ import annotations

from typing import Final

from fraud.transaction import Transaction

UNKNOWN_PRESENCE: Final = 0
CARD_PRESENT: Final = 1
CARD_NOT_PRESENT: Final = 2
# Added to the presence of a declined attempt.
DECLINED: Final = 4
_PRESENT_ENTRY_MODES = frozenset(("chip", "contactless", "magstripe"))
_PRESENT_CHANNELS = frozenset(("pos", "atm"))
_REMOTE_CHANNELS = frozenset(("online", "app", "phone", "mail"))


def card_presence(transaction: Transaction) -> int:
    """Whether the card was at the terminal: by entry mode (ISO 8583 field 22), else by channel, else unknown."""
    entry_mode = transaction.entry_mode
    if entry_mode is not None:
        return CARD_PRESENT if entry_mode in _PRESENT_ENTRY_MODES else CARD_NOT_PRESENT
    channel = transaction.channel
    if channel in _PRESENT_CHANNELS:
        return CARD_PRESENT
    return CARD_NOT_PRESENT if channel in _REMOTE_CHANNELS else UNKNOWN_PRESENCE


def attempt_flags(transaction: Transaction) -> int:
    """The presence, and `DECLINED` for a declined attempt."""
    presence = card_presence(transaction)
    return presence + DECLINED if transaction.auth_result == "declined" else presence
