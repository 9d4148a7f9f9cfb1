"""Functions that run as machine code, and how they reach the memory of an `array.array`.

Numba compiles a function at its first call and keeps the code on disk for the next process. What it keeps depends on
the file of the function alone, not on the functions that it calls in other files, so the folder is named after the
content of all of them.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numba.core import cgutils, types
from numba.extending import intrinsic
from numpy.typing import NDArray

Function = TypeVar("Function", bound=Callable[..., Any])
Integers = NDArray[np.int64]
Reals = NDArray[np.float64]
Octets = NDArray[np.uint8]

_SOURCES = Path(__file__).parent
# Enough to tell versions of one folder apart.
_DIGEST_CHARACTERS = 16


def _code_folder() -> Path | None:
    """Where compiled code is kept: beside the sources if they may be written to, else in the user's cache.

    None where neither can be written to: numba would choose another folder, and find the code of other versions there.
    """
    # Code that checks every index is other code.
    digest = hashlib.sha256(str(numba.config.BOUNDSCHECK).encode())
    for file in sorted(_SOURCES.glob("*.py")):
        digest.update(file.read_bytes())
    name = f"compiled-{digest.hexdigest()[:_DIGEST_CHARACTERS]}"
    for parent in (_SOURCES / "__pycache__", Path("~/.cache/fraud-engine")):
        try:
            folder = parent.expanduser() / name
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except (OSError, RuntimeError):
            # Not writable, or nobody's home is known.
            continue
    return None


_CODE_FOLDER = _code_folder()
# Whether an earlier process has left its code. Else whoever calls first waits for half a minute.
HAS_CODE = _CODE_FOLDER is not None and any(_CODE_FOLDER.rglob("*.nbi"))
if _CODE_FOLDER is not None:
    numba.config.CACHE_DIR = str(_CODE_FOLDER)


def compiled(function: Function) -> Function:
    """`function` as machine code: of numbers and arrays of numbers only, with the results of the same Python code.

    Additions and multiplications are neither reordered nor joined. Integers have 64 bits and wrap around.
    """
    # Without a folder each process compiles for itself.
    return cast(Function, numba.njit(cache=_CODE_FOLDER is not None)(function))


def inlined(function: Function) -> Function:
    """As `compiled`, made part of each function that calls it: for what is called for every value of an array.

    Else each call would count the references to the arrays that it is given, which takes longer than to write a number.
    """
    return cast(Function, numba.njit(cache=_CODE_FOLDER is not None, forceinline=True)(function))


def name_hash(name: str | None) -> int:
    """A name as compiled code knows it, 0 for none: Python's own hash, the same in this process alone.

    Two different names have the same one as good as never.
    """
    return 0 if name is None else hash(name) or 1


@intrinsic  # type: ignore[untyped-decorator]
def _pointer(_typing_context: Any, _address: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def _copy(_typing_context: Any, _target: Any, _source: Any, _count: Any) -> Any:
    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        target, source = (builder.inttoptr(address, cgutils.voidptr_t) for address in arguments[:2])
        cgutils.raw_memcpy(builder, target, source, arguments[2], 1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def trailing_zeros(_typing_context: Any, _word: Any) -> Any:
    """How many bits stand below the lowest one that is set, of an unsigned word in which one is."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        counted = builder.cttz(arguments[0], cgutils.true_bit)
        return context.cast(builder, counted, signature.args[0], types.int64)

    return types.int64(_word), generate


@inlined
def copy_bytes(source: Octets, start: int, end: int, target: Octets, at: int) -> int:
    """Copy bytes from `start` until `end` to the place `at` of another array; where they end there.

    A fifth of the time of a loop over them, in which every place might be counted from the end.
    """
    _copy(target.ctypes.data + at, source.ctypes.data + start, end - start)
    return at + end - start


@compiled
def integers_at(address: int) -> Integers:
    """The words at an address, int64; the first of them says how many there are."""
    length = numba.carray(_pointer(address), (1,), np.int64)[0]
    words: Integers = numba.carray(_pointer(address), (length,), np.int64)
    return words


@compiled
def reals_at(address: int) -> Reals:
    """The same words read as float64."""
    length = numba.carray(_pointer(address), (1,), np.int64)[0]
    words: Reals = numba.carray(_pointer(address), (length,), np.float64)
    return words
