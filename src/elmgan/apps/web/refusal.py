"""What the server answers when it does not do what was asked, and the bounds on what it does."""

from dataclasses import dataclass


class RefusedError(Exception):
    """A request that is not carried out: a status of HTTP, and a sentence that says why and what to do."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


@dataclass(frozen=True)
class Limits:
    """Bounds on what clients may send and leave.

    Attributes:
        files: Files of one upload.
        file_bytes: Bytes of one file.
        upload_bytes: Bytes of one upload.
        stored_bytes: Bytes of all uploads that are kept at a time.
        free_bytes: Bytes of the disk that stay free.
        unfinished: Jobs of all clients that wait or are counted.
        of_session: The same, of one session.
        planes: Planes of one job.
        pixels: Pixels of one plane; None for as many as are read.
        idle: Seconds after which a job that nobody asks for is removed.
    """

    files: int = 20_000
    file_bytes: int = 8 << 30
    upload_bytes: int = 32 << 30
    stored_bytes: int = 64 << 30
    free_bytes: int = 1 << 30
    unfinished: int = 200
    of_session: int = 40
    planes: int = 100_000
    pixels: int | None = None
    idle: float = 3600.0


def size_told(number: float) -> str:
    """Write a number of bytes for people.

    >>> size_told(2_500_000), size_told(3 << 30), size_told(900)
    ('2.5 MB', '3.22 GB', '0.9 kB')
    """
    for unit, bytes_of in (("GB", 1e9), ("MB", 1e6)):
        if number >= bytes_of:
            return f"{number / bytes_of:.3g} {unit}"
    return f"{number / 1e3:.1f} kB"
