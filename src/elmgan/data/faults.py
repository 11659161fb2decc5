"""Faults of a data set, collected and told all at once, and what is worth a word but no fault."""

from collections.abc import Callable, Iterator

from elmgan.errors import DataError

MOST_TOLD = 20
"""Faults of one kind that are told; of more, only how many there are."""

MOST_NOTES = 3
"""Likewise of notes."""

Tell = Callable[[str], None]
"""Takes a line for people: what was taken for granted, or looks wrong but may be right."""


class Faults:
    """What is wrong with a data set, and notes: each says where, what was found, and what to do.

    >>> faults = Faults()
    >>> for number in range(1, 50):
    ...     faults.add("name", f"{number}.tif: has no name; give it one")
    >>> faults.lines()[-2:]
    ['20.tif: has no name; give it one', '... and 29 more of this kind']
    """

    def __init__(self) -> None:
        self.by_kind: dict[str, list[str]] = {}
        self.notes_by_kind: dict[str, list[str]] = {}

    def add(self, kind: str, fault: str) -> None:
        """Take down a fault; ``kind`` is a word that it shares with those that are cut short together."""
        self.by_kind.setdefault(kind, []).append(fault)

    def note(self, kind: str, note: str) -> None:
        """Take down what does not stand in the way; ``kind`` as in :meth:`add`."""
        self.notes_by_kind.setdefault(kind, []).append(note)

    def lines(self) -> list[str]:
        """Give the faults of each kind together, long lists cut short."""
        return list(_cut(self.by_kind, MOST_TOLD))

    def notes(self) -> list[str]:
        """Give the notes of each kind together, long lists cut short."""
        return list(_cut(self.notes_by_kind, MOST_NOTES))

    def raise_if_any(self, what: str) -> None:
        """Raise a DataError that tells all faults of something, if there are any."""
        if self.by_kind:
            raise DataError(f"{what} has faults:\n  " + "\n  ".join(self.lines()))


def _cut(by_kind: dict[str, list[str]], most: int) -> Iterator[str]:
    for lines in by_kind.values():
        yield from lines[:most]
        if len(lines) > most:
            yield f"... and {len(lines) - most} more of this kind"
