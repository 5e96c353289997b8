"""What code of a plug-in refers to besides its own text: values of its module, of its class and of its closures.

A data source in a notebook that returns a DataFrame gives other tables once the frame changes, though its text does
not. Values are compared by content, objects by what pickling them would keep
(nothing is pickled). What has no content that can be compared, such as a connection, is named.
"""

from __future__ import annotations

import contextlib
import dis
import hashlib
import inspect
import types
from collections.abc import Iterable, Iterator
from typing import Any

SCALARS = (type(None), bool, int, float, complex, str, type(Ellipsis))
UNTOLD = {"__module__", "__doc__", "__dict__", "__weakref__", "__annotations__", "__firstlineno__"}
WRAPPED = (staticmethod, classmethod)


class Captured:
    """Reads a class.

    Args:
        kind: the class.
        text: whether the text of its functions is read, too: that of a file is known already.
        plain: whether plain values count (numbers, texts, lists of them), and not tables and arrays alone.

    Attributes:
        digest: of all that it refers to.
        unknown: type names of what cannot be compared.
    """

    def __init__(self, kind: type, *, text: bool, plain: bool = True) -> None:
        self._module, self._text, self._plain = kind.__module__, text, plain
        self._known: dict[int, tuple[Any, bytes]] = {}  # with the value, so that its number is not given again
        self.unknown: list[str] = []
        self.digest = self._of(kind).hex()

    def _of(self, value: Any) -> bytes:
        if isinstance(value, SCALARS):
            return _hashed(type(value).__name__, repr(value).encode()) if self._plain else b""
        if isinstance(value, bytes | bytearray | memoryview):
            return _hashed("bytes", bytes(value)) if self._plain else b""
        if id(value) not in self._known:
            self._known[id(value)] = value, b"within itself"
            parts = [part for part in self._parts(value) if part or self._plain]
            digest = _hashed(type(value).__qualname__, *parts) if parts or self._plain else b""
            self._known[id(value)] = value, digest
        return self._known[id(value)][1]

    def _parts(self, value: Any) -> Iterable[bytes]:
        if isinstance(value, types.ModuleType):
            return [value.__name__.encode()]
        if isinstance(value, type):
            return self._class(value) if value.__module__ == self._module else [_name(value)]
        if isinstance(value, types.FunctionType):
            return self._function(value) if value.__module__ == self._module else [_name(value)]
        if isinstance(value, property):
            return [self._of(part) for part in (value.fget, value.fset, value.fdel)]
        if isinstance(value, WRAPPED):
            return [self._of(value.__func__)]
        if isinstance(value, list | tuple):
            return [self._of(item) for item in value]
        if isinstance(value, set | frozenset):
            return sorted(self._of(item) for item in value)
        if isinstance(value, dict):
            return sorted(self._of(key) + self._of(item) for key, item in value.items())
        return self._object(value)

    def _object(self, value: Any) -> Iterable[bytes]:
        try:
            table = _table(value)
            if table is not None:
                return table
            made = value.__reduce_ex__(4)
        except Exception:  # whatever others' classes raise here
            self.unknown.append(type(value).__qualname__)
            return []
        if isinstance(made, str):
            return [made.encode()]
        function, args, *rest = made
        state, items, pairs = (*rest, None, None, None)[:3]
        return [self._of(part) for part in (function, args, state, list(items or ()), list(pairs or ()))]

    def _class(self, kind: type) -> Iterator[bytes]:
        yield _name(kind)
        for base in kind.__bases__:
            yield self._of(base)
        if hasattr(kind, "model_fields"):
            return  # settings: their values are part of the configuration
        for name, member in sorted(vars(kind).items()):
            if name not in UNTOLD and not isinstance(member, types.GetSetDescriptorType | types.MemberDescriptorType):
                yield name.encode() + self._of(member)

    def _function(self, function: types.FunctionType) -> Iterator[bytes]:
        code = function.__code__
        yield _name(function)
        if self._text:
            yield self._source(function)
        for name in sorted(set(_names(code))):
            if name in function.__globals__ and not name.startswith("__"):
                yield name.encode() + self._of(function.__globals__[name])
        yield self._of([function.__defaults__, function.__kwdefaults__])
        for cell in function.__closure__ or ():
            with contextlib.suppress(ValueError):  # an empty one
                yield self._of(cell.cell_contents)

    def _source(self, function: types.FunctionType) -> bytes:
        try:
            return inspect.getsource(function).encode()
        except (OSError, TypeError):
            return self._code(function.__code__)

    def _code(self, code: types.CodeType) -> bytes:
        inner = [self._code(one) if isinstance(one, types.CodeType) else self._of(one) for one in code.co_consts]
        return _hashed("code", code.co_code, " ".join((*code.co_names, *code.co_varnames)).encode(), *inner)


def _names(code: types.CodeType) -> Iterator[str]:
    """Yield the names that code looks up in its module, those of functions within it, too."""
    yield from (one.argval for one in dis.get_instructions(code) if one.opname in ("LOAD_GLOBAL", "LOAD_NAME"))
    for one in code.co_consts:
        if isinstance(one, types.CodeType):
            yield from _names(one)


def _table(value: Any) -> list[bytes] | None:
    """Return the content of an array or a table; ``None``: it is neither."""
    package = type(value).__module__.partition(".")[0]
    if package == "torch" and hasattr(value, "detach"):
        value, package = value.detach().cpu().numpy(), "numpy"
    if package == "numpy" and hasattr(value, "tobytes") and not value.dtype.hasobject:
        return [str(value.dtype).encode(), str(value.shape).encode(), value.tobytes()]
    if package == "polars" and type(value).__name__ == "LazyFrame":
        value = value.collect()
    if package == "polars" and type(value).__name__ in ("DataFrame", "Series"):
        frame = value if type(value).__name__ == "DataFrame" else value.to_frame()
        return [frame.rechunk().serialize(format="binary")]
    if package == "pandas" and hasattr(value, "memory_usage"):
        from pandas.util import hash_pandas_object

        frame = value.to_frame() if hasattr(value, "to_frame") else value
        return [repr(list(frame.dtypes.items())).encode(), hash_pandas_object(frame).to_numpy().tobytes()]
    return None


def _name(value: Any) -> bytes:
    return f"{value.__module__}.{value.__qualname__}".encode()


def _hashed(kind: str, *parts: bytes) -> bytes:
    total = hashlib.blake2b(kind.encode(), digest_size=16)
    for part in parts:
        total.update(len(part).to_bytes(8, "big") + part)
    return total.digest()
