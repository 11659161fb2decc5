"""Damaged files: whatever a decoder trips over becomes one line for people."""

from collections.abc import Iterator
from contextlib import contextmanager

from elmgan.errors import ImageError, one_line

LACKING = "lacks part of its pixels, as after a broken copy; copy or save it again"


@contextmanager
def damage_told() -> Iterator[None]:
    """Turn what decoders raise on damaged bytes into an :class:`ImageError` without the path.

    >>> with damage_told():
    ...     raise KeyError("strip")
    Traceback (most recent call last):
        ...
    elmgan.errors.ImageError: is damaged or of a kind that cannot be read ('strip'); save it again
    """
    try:
        yield
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError("needs more memory than there is; count it in parts, or on a larger machine") from error
    except Exception as error:
        if isinstance(error, OSError) and error.strerror:
            raise ImageError(f"cannot be read ({error.strerror}); make it readable or leave it out") from error
        raise ImageError(f"is damaged or of a kind that cannot be read ({one_line(error)}); save it again") from error
