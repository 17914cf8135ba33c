"""Typed access to what the operator tells its agents: a wrong field is named, with the remedy."""

from __future__ import annotations

from typing import Any, Callable, Optional, TypeVar

Part = TypeVar("Part")


class DocumentError(ValueError):
    """The document is not what an agent is told; the text names what is wrong, and the remedy."""


class Document:
    """One JSON object of a document.

    Parameters
    ----------
    name
        Where the document stands, such as a variable.
    path
        Where the object stands in it, with a dot at its end; empty: the whole.

    Raises
    ------
    DocumentError
        It is no object. All methods raise it for what is not as it has to be.
    """

    def __init__(self, data: Any, name: str, path: str = "") -> None:
        self._name, self._path = name, path
        if not isinstance(data, dict):
            raise self.disagreement("", "an object")
        self._data = data

    def text(self, key: str, default: Optional[str] = None) -> str:
        """Return a text."""
        return str(self._get(key, str, "a text", default))

    def integer(self, key: str, default: Optional[int] = None) -> int:
        """Return a whole number."""
        return int(self._get(key, int, "a whole number", default))

    def seconds(self, key: str, default: float) -> float:
        """Return a number of seconds."""
        return float(self._get(key, (int, float), "a number of seconds", default))

    def limit(self, key: str) -> Optional[float]:
        """Return a number of seconds, or None where there is no limit."""
        return None if self._data.get(key) is None else self.seconds(key, 0)

    def flag(self, key: str, *, default: bool) -> bool:
        """Return whether something is so."""
        return bool(self._data.get(key, default))

    def mapping(self, key: str) -> dict[str, Any]:
        """Return an object as it is; an empty one in place of all else."""
        value = self._data.get(key)
        return dict(value) if isinstance(value, dict) else {}

    def items(self, key: str) -> list[Any]:
        """Return a list."""
        return list(self._get(key, list, "a list", []))

    def child(self, key: str) -> Document:
        """Return an object within."""
        return Document(self._data.get(key), self._name, f"{self._path}{key}.")

    def children(self, key: str) -> list[Document]:
        """Return the objects of a list."""
        return [
            Document(item, self._name, f"{self._path}{key}[{i}].") for i, item in enumerate(self.items(key))
        ]

    def optional(self, key: str, read: Callable[[Document], Part]) -> Optional[Part]:
        """Return what is read of an object within, if there is one."""
        return None if self._data.get(key) is None else read(self.child(key))

    def disagreement(self, field: str, words: str) -> DocumentError:
        """Return the error that says what a field is not."""
        place = f"{self._path}{field}".rstrip(".") or "the document"
        return DocumentError(
            f"{self._name}: {place} is not {words}; the operator and the agent's image must be of the same "
            "release"
        )

    def _get(self, key: str, kind: Any, words: str, default: Any) -> Any:
        value = self._data.get(key, default)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise self.disagreement(key, words)
        return value
