"""Reader of CTranslate2's ``model.bin``: a list of named arrays, no code."""

import struct
from pathlib import Path
from typing import Any, Dict

import numpy as np

from ume.errors import UmeError

DTYPES = {0: "<f4", 1: "<i1", 2: "<i2", 3: "<i4", 4: "<f2"}  # 5, bfloat16, is unknown to numpy
OLDEST = 4  # the first version of the format that stores dtypes and aliases as read here


class Cursor:
    """Reads little-endian values off a buffer, and knows when it ends too early."""

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.offset = 0

    def take(self, size: int) -> memoryview:
        """The next ``size`` bytes."""
        part = self.data[self.offset : self.offset + size]
        if len(part) < size:
            raise EOFError
        self.offset += size
        return part

    def number(self, code: str) -> int:
        """The next unsigned number: "B", "H" or "I" as in :mod:`struct`."""
        code = "<" + code
        return int(struct.unpack(code, self.take(struct.calcsize(code)))[0])

    def string(self) -> str:
        """The next string: a length, then characters and a closing zero."""
        return bytes(self.take(self.number("H"))[:-1]).decode()

    def array(self) -> "np.ndarray[Any, Any]":
        """The next array: rank, shape, dtype, size in bytes, values."""
        shape = [self.number("I") for _ in range(self.number("B"))]
        dtype = np.dtype(DTYPES[self.number("B")])
        values: np.ndarray[Any, Any] = np.frombuffer(self.take(self.number("I")), dtype)
        return values.reshape(shape)


def read_ctranslate2(path: Path, spec: str) -> Dict[str, "np.ndarray[Any, Any]"]:
    """Arrays of the ``model.bin`` at ``path`` by their names; aliases are resolved.

    Layout: version, name of the specification, its revision, number of arrays; per array its name
    and the array; number of aliases; per alias its name and the name it stands for.

    Raises:
        UmeError: the file is not of this format or not of the specification ``spec``, truncated,
            or of a type other than fp32, fp16 or integers.
    """
    cursor = Cursor(memoryview(path.read_bytes()))
    try:
        version, name = cursor.number("I"), cursor.string()
        if version < OLDEST or name != spec:
            raise UmeError(f"{path} is not a {spec} of CTranslate2; give a Whisper model")
        cursor.number("I")  # revision of the specification
        arrays = {cursor.string(): cursor.array() for _ in range(cursor.number("I"))}
        for _ in range(cursor.number("I")):
            alias = cursor.string()
            arrays[alias] = arrays[cursor.string()]
    except (EOFError, KeyError, ValueError):
        raise UmeError(
            f"{path} is truncated, or no fp32 or fp16 model.bin of CTranslate2; fetch it again"
        ) from None
    return arrays
