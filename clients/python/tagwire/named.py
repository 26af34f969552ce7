"""Numbers with names from a generated table. Numbers that the table does not know pass through and print."""

from __future__ import annotations

from typing import Any, ClassVar


class _NamedType(type):
    """Gives `CloseCode.SLOW` by asking the table; nothing is written down twice."""

    def __getattr__(cls, name: str) -> Any:
        try:
            if not name.startswith("_"):
                return cls(cls._table.Value(name))
        except ValueError:
            pass
        raise AttributeError(f"{cls.__name__} has no value called {name}")

    def __dir__(cls) -> list[str]:
        return [*super().__dir__(), *cls._table.keys()]


class Named(int, metaclass=_NamedType):
    """An `int` that knows its name."""

    _table: ClassVar[Any]

    @property
    def name(self) -> str:
        """The name, or the number as text when the table of this library has none for it."""
        try:
            return str(self._table.Name(int(self)))
        except ValueError:
            return str(int(self))

    def __str__(self) -> str:
        return self.name if self.name == str(int(self)) else f"{self.name} ({int(self)})"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self})"
