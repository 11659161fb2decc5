"""Faults of a data set, collected and told all at once."""

from elmgan.errors import DataError

MOST_TOLD = 20
"""Faults of one kind that are told; of more, only how many there are."""


class Faults:
    """What is wrong with a data set: each fault says where, what was found, and what to do.

    >>> faults = Faults()
    >>> for number in range(1, 50):
    ...     faults.add("name", f"{number}.tif: has no name; give it one")
    >>> faults.lines()[-2:]
    ['20.tif: has no name; give it one', '... and 29 more of this kind']
    """

    def __init__(self) -> None:
        self.by_kind: dict[str, list[str]] = {}

    def add(self, kind: str, fault: str) -> None:
        """Note a fault; ``kind`` is a word that it shares with those that are cut short together."""
        self.by_kind.setdefault(kind, []).append(fault)

    def lines(self) -> list[str]:
        """Give the faults of each kind together, long lists cut short."""
        lines = []
        for faults in self.by_kind.values():
            lines += faults[:MOST_TOLD]
            if len(faults) > MOST_TOLD:
                lines.append(f"... and {len(faults) - MOST_TOLD} more of this kind")
        return lines

    def raise_if_any(self, what: str) -> None:
        """Raise a DataError that tells all faults of something, if there are any."""
        if self.by_kind:
            raise DataError(f"{what} has faults:\n  " + "\n  ".join(self.lines()))
