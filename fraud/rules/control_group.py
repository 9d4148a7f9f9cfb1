"""The control group: a share of what a policy would block is let through, so that its outcome is seen.

What is blocked never shows whether it was fraud. Who is let through by a known chance stands for those who were not:
inverse-propensity weights (Horvitz, Thompson 1952) make estimates from what was let through unbiased for all.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from hashlib import sha256

# Eight bytes of the digest: the share is then exact to 1e-19, far below what any number of payments could show.
_DRAW_BYTES = 8
_DRAWS = 1 << (8 * _DRAW_BYTES)


@dataclass(frozen=True)
class ControlGroup:
    """`share`, above 0 and below 1, of the payments that rules or score would block is let through.

    Who is drawn follows from `key` and the transaction's identity alone: a replay draws the same, and a policy with
    other rules and the same key draws the same among what it blocks. Block-lists are never let through.
    """

    share: float
    key: str = field(repr=False)

    def draws(self, user_id: str, transaction_id: str) -> bool:
        """Whether this transaction is let through should it be blocked."""
        # With the length no two identities are the same text.
        identity = f"{len(user_id)}:{user_id}{transaction_id}"
        digest = hmac.digest(self.key.encode(), identity.encode(), sha256)
        return int.from_bytes(digest[:_DRAW_BYTES], "big") < self.share * _DRAWS
