"""The progress bar of everything that takes longer than two seconds; quiet when the output is not a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

# Whatever is done sooner needs no bar.
SHOWN_AFTER_SECONDS = 2
# What a terminal has if it does not say: serial lines and some containers report a size of zero, where no bar fits.
USUAL_COLUMNS, USUAL_ROWS = 80, 24


@contextmanager
def progress_bar(total_bytes: int) -> Iterator[Callable[[int, int], None]]:
    """A bar over the bytes of the input; call the result with bytes read and records processed so far."""
    says_its_size = _terminal_says_its_size()
    with tqdm(
        total=total_bytes,
        unit="B",
        unit_scale=True,
        delay=SHOWN_AFTER_SECONDS,
        disable=None,
        ncols=None if says_its_size else USUAL_COLUMNS,
        nrows=None if says_its_size else USUAL_ROWS,
        # A window that is made smaller must not break the bar into lines.
        dynamic_ncols=says_its_size,
    ) as bar:

        def advance(bytes_read: int, records: int) -> None:
            elapsed_seconds = bar.format_dict["elapsed"]
            if elapsed_seconds:
                bar.set_postfix_str(f"{records / elapsed_seconds:,.0f} transactions/s", refresh=False)
            bar.update(bytes_read - bar.n)

        yield advance


def tell_of_compiling() -> None:
    """Say on a terminal why nothing seems to happen, unless the compiled code of this version is there."""
    # The compiler takes half a second to import, which commands that only show a bar must not pay.
    from fraud.features.compiled import HAS_CODE

    if not HAS_CODE and sys.stderr.isatty():
        sys.stderr.write("compiling what computes features and decides, once for this version: half a minute\n")


def _terminal_says_its_size() -> bool:
    try:
        return min(os.get_terminal_size(sys.stderr.fileno())) > 0
    except (OSError, ValueError):
        # Not a terminal: there is no bar either.
        return True
