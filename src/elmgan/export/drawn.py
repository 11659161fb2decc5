"""Regions as other programs wrote them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from elmgan.counting import Region


@dataclass(frozen=True)
class DrawnRegions:
    """The regions of a file, and what else it holds -> how often."""

    regions: Sequence[Region]
    passed_over: Counter[str] = field(default_factory=Counter)

    @property
    def told(self) -> str:
        """Say in words for people what was passed over; empty if nothing was."""
        return ", ".join(f"{number} {what}" for what, number in self.passed_over.items())
