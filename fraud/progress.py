"""The progress bar of everything that takes longer than two seconds; quiet when the output is not a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

# Whatever is done sooner needs no bar.
SHOWN_AFTER_SECONDS = 2


@contextmanager
def progress_bar(total_bytes: int) -> Iterator[Callable[[int, int], None]]:
    """A bar over the bytes of the input; call the result with bytes read and records processed so far."""
    with tqdm(
        total=total_bytes, unit="B", unit_scale=True, delay=SHOWN_AFTER_SECONDS, disable=None, dynamic_ncols=True
    ) as bar:

        def advance(bytes_read: int, records: int) -> None:
            elapsed_seconds = bar.format_dict["elapsed"]
            if elapsed_seconds:
                bar.set_postfix_str(f"{records / elapsed_seconds:,.0f} transactions/s", refresh=False)
            bar.update(bytes_read - bar.n)

        yield advance
