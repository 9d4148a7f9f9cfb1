"""Pasts that this process has read: bounded, extended by what was added since, so that a busy entity loads cheaply."""

from __future__ import annotations

from collections import OrderedDict

from fraud.stores.entity_windows.layout import EPOCH_BYTES, EntityLayout, Head, PastRows
from fraud.stores.entity_windows.library import Command

# 32 bytes a row at most: 64 MB, or 180 entities that were busy in every bucket of their windows.
CACHED_ROWS = 2_000_000


class Pasts:
    """Pasts by the name of their key, those used last."""

    def __init__(self, cached_rows: int = CACHED_ROWS) -> None:
        self._cached_rows = cached_rows
        self._rows = 0
        self._pasts: OrderedDict[str, PastRows] = OrderedDict()

    def known(self, name: str, head: Head) -> PastRows | None:
        """The past if all rows that `head` names are here."""
        past = self._pasts.get(name)
        if past is None or past.epoch != head.epoch or past.rows < head.past_rows:
            return None
        self._pasts.move_to_end(name)
        return past

    def missing(self, name: str, head: Head, layout: EntityLayout) -> list[Command]:
        """The commands that read what is not here: the epoch, and rows up to those that `head` names."""
        past = self._pasts.get(name)
        rows = past.rows if past is not None and past.epoch == head.epoch else 0
        start = EPOCH_BYTES + rows * layout.row_bytes
        end = EPOCH_BYTES + head.past_rows * layout.row_bytes
        return [["GETRANGE", name, 0, EPOCH_BYTES - 1], ["GETRANGE", name, start, end - 1]]

    def add(self, name: str, head: Head, layout: EntityLayout, epoch: bytes, data: bytes) -> None:
        """Keep the answers to `missing`, unless the past changed between head and answers: then it stays unknown."""
        past = self._pasts.pop(name, None)
        if past is not None:
            self._rows -= past.rows
        if int.from_bytes(epoch, "little") != head.epoch:
            return
        if past is None or past.epoch != head.epoch:
            past = layout.past(head.epoch)
        if len(data) != (head.past_rows - past.rows) * layout.row_bytes:
            return
        layout.extend(past, data)
        self._pasts[name] = past
        self._rows += past.rows

    def trim(self) -> None:
        """Forget those not used for longest until the rest is within bounds."""
        while self._rows > self._cached_rows:
            _, past = self._pasts.popitem(last=False)
            self._rows -= past.rows
