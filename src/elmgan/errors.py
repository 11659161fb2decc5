"""The errors a user can meet.

    ElmganError
    ├── UsageError       the command or call cannot be carried out as given
    │   └── ConfigError  a training configuration has faults
    ├── ImageError       an image cannot be read, or is not what the model takes
    ├── DataError        a data set folder has faults
    ├── ModelError       a model is missing, damaged or of a newer format
    ├── OutputError      a result cannot be written
    └── TrainingError    training cannot go on

Every message says what was found, where, and what to do, in one line, or one line per fault where faults are collected.
"""


class ElmganError(Exception):
    """Base of every error that is the user's to mend; shown without a traceback."""


class UsageError(ElmganError):
    """The command or call cannot be carried out as given."""


class ConfigError(UsageError):
    """A training configuration has faults; the message names all of them."""


class ImageError(ElmganError):
    """An image cannot be read, or is not of a kind that the model takes."""


class DataError(ElmganError):
    """A data set folder has faults; the message names all of them."""


class ModelError(ElmganError):
    """A model is missing, damaged or of a newer format."""


class OutputError(ElmganError):
    """A result cannot be written."""


class TrainingError(ElmganError):
    """Training cannot go on; the last good state is kept."""


def one_line(error: object) -> str:
    r"""Tell an exception, or other words, in one line; by its type if it says nothing.

    >>> one_line(ValueError("over\nthe edge")), one_line(ValueError())
    ('over the edge', 'ValueError')
    """
    return " ".join(str(error).split()) or type(error).__name__
