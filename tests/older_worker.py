"""`python older_worker.py`: a worker as a version before might be, whose forms of what is stored differ from today's.

Its snapshots have another version, so that either ignores the other's. Its events lack the fields that were added to a
transaction last. Its functions in Redis have other names. The product knows nothing of it.
"""

from __future__ import annotations

import sys

import msgspec

from fraud.cli import main
from fraud.features import snapshot
from fraud.stores import history_items
from fraud.stores.entity_windows import library

OLDER_SNAPSHOT = 0
FIELDS_ADDED_SINCE = 1
_encode_today = history_items._ENCODE


def _encode(values: tuple[object, ...]) -> bytes:
    *rest, transaction = values
    assert isinstance(transaction, tuple)
    # Only where it was not there yet: an older worker has no value for it.
    fields = transaction[:-FIELDS_ADDED_SINCE] if transaction[-1] is None else transaction
    return msgspec.msgpack.encode((*rest, fields)) if fields is not transaction else _encode_today(values)


if __name__ == "__main__":
    snapshot._READERS = {OLDER_SNAPSHOT: snapshot._read_version_1}
    snapshot.VERSION = OLDER_SNAPSHOT
    history_items._ENCODE = _encode
    library.VERSION = "before"
    library.LIBRARY = library._TEMPLATE.replace("@version@", library.VERSION)
    sys.argv[1:] = ["worker"]
    main()
