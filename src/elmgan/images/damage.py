"""Damaged files: whatever a decoder trips over becomes one line for people."""

from collections.abc import Iterator
from contextlib import contextmanager

from elmgan.errors import ImageError, one_line

LACKING = "lacks part of its pixels, as after a broken copy; copy or save it again"


def problem(error: Exception) -> str:
    """Say what is wrong with a file, and what to do, without its path.

    >>> problem(KeyError("strip"))
    "is damaged or of a kind that cannot be read ('strip'); save it again, or as OME-TIFF in Fiji"
    """
    if isinstance(error, ImageError):
        return str(error)
    if isinstance(error, FileNotFoundError):
        return "does not exist; check its name and folder"
    if isinstance(error, MemoryError):
        return "asks for more memory than there is; its header may be damaged: save it again, or cut it into parts"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read ({error.strerror}); make it readable or leave it out"
    return f"is damaged or of a kind that cannot be read ({one_line(error)}); save it again, or as OME-TIFF in Fiji"


@contextmanager
def damage_told() -> Iterator[None]:
    """Turn what decoders raise on damaged bytes into an :class:`ImageError` without the path."""
    try:
        yield
    except ImageError:
        raise
    except Exception as error:  # on damaged bytes the decoders raise whatever they trip over
        raise ImageError(problem(error)) from error
