"""Reading a JSON object from a stranger, key by key: every value typed, bounded and used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from csbrnn.checks import is_integer
from csbrnn.errors import CsbrnnError, FormatError

__all__ = ["Fields", "located", "shown"]

_SHOWN = 60


def shown(value: object) -> str:
    """Return ``value`` for an error message: ASCII, and short however large the value is."""
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    text = ascii(value[: _SHOWN + 1] if isinstance(value, str) else value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


@contextmanager
def located(where: str) -> Iterator[None]:
    """Say where it happened: prefix the message of any error of ours, as a `FormatError`.

    Raises:
        FormatError: A `CsbrnnError` was raised within.
    """
    try:
        yield
    except CsbrnnError as error:
        raise FormatError(f"{where}: {error}") from error


class Fields:
    """The keys of one JSON object, each read once and checked as it is read.

    ``done()`` refuses the keys nobody asked for, so that a misspelt or a newer key is never
    silently ignored.

    Args:
        value: What JSON gave; anything but an object is refused.
        where: Its place, as the start of every message ("config.json: layers[0]").
        separator: What comes between the place and a key: ": " after a file's name.

    Raises:
        FormatError: From every method, if the value is missing or is not what was asked for.
    """

    def __init__(self, value: object, where: str, separator: str = ".") -> None:
        if not isinstance(value, Mapping):
            raise FormatError(f"{where} must be an object, not {shown(value)}")
        self.where = where
        self._separator = separator
        self._values: dict[str, object] = dict(value)

    def place(self, key: str) -> str:
        """Return the full name of a key, for messages."""
        return f"{self.where}{self._separator}{key}"

    def take(self, key: str) -> object:
        """Return any value, unchecked."""
        if key not in self._values:
            raise FormatError(f"{self.place(key)} is missing")
        return self._values.pop(key)

    def integer(self, key: str, low: int, high: int) -> int:
        """Return an integer in low..high; ``True``, ``2.0`` and ``null`` are not integers."""
        return _integer(self.take(key), low, high, self.place(key))

    def integers(self, key: str, length: int, low: int, high: int) -> tuple[int, ...]:
        """Return a list of exactly ``length`` integers in low..high."""
        values = self.items(key, length)
        if len(values) != length:
            raise FormatError(f"{self.place(key)} must hold {length} integers, not {len(values)}")
        return tuple(
            _integer(value, low, high, f"{self.place(key)}[{i}]") for i, value in enumerate(values)
        )

    def boolean(self, key: str) -> bool:
        """Return true or false; 0 and 1 are neither."""
        value = self.take(key)
        if not isinstance(value, bool):
            raise FormatError(f"{self.place(key)} must be true or false, not {shown(value)}")
        return value

    def string(self, key: str, max_length: int) -> str:
        """Return a string of at most ``max_length`` characters."""
        return _string(self.take(key), max_length, self.place(key))

    def strings(self, key: str, max_items: int, max_length: int) -> tuple[str, ...]:
        """Return a list of at most ``max_items`` strings."""
        return tuple(
            _string(value, max_length, f"{self.place(key)}[{i}]")
            for i, value in enumerate(self.items(key, max_items))
        )

    def choice(self, key: str, choices: Iterable[str]) -> str:
        """Return one of the given strings."""
        value, known = self.take(key), tuple(choices)
        if not isinstance(value, str) or value not in known:
            raise FormatError(
                f"{self.place(key)} must be one of {', '.join(known)}, not {shown(value)}"
            )
        return value

    def items(self, key: str, max_items: int) -> list[object]:
        """Return a list of at most ``max_items`` values."""
        value = self.take(key)
        if not isinstance(value, list | tuple):
            raise FormatError(f"{self.place(key)} must be a list, not {shown(value)}")
        if len(value) > max_items:
            raise FormatError(f"{self.place(key)} must hold at most {max_items}, not {len(value)}")
        return list(value)

    def fields(self, key: str) -> Fields:
        """Return a nested object."""
        return Fields(self.take(key), self.place(key))

    def rest(self) -> dict[str, object]:
        """Return all that was not read: the entries of an object whose keys are names."""
        rest, self._values = self._values, {}
        return rest

    def done(self) -> None:
        """Refuse the keys that were not read."""
        if self._values:
            names = ", ".join(shown(key) for key in list(self._values)[:8])
            raise FormatError(f"{self.where} has unknown keys: {names}")


def _integer(value: object, low: int, high: int, place: str) -> int:
    if not is_integer(value) or not low <= value <= high:
        raise FormatError(f"{place} must be an integer in {low}..{high}, not {shown(value)}")
    return value


def _string(value: object, max_length: int, place: str) -> str:
    if not isinstance(value, str):
        raise FormatError(f"{place} must be a string, not {shown(value)}")
    if len(value) > max_length:
        raise FormatError(f"{place} must have at most {max_length} characters, not {len(value)}")
    return value
