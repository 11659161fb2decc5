"""The errors a user can meet.

    ElmganError
    ├── UsageError       the command or call cannot be carried out as given
    │   └── ConfigError  a training configuration has faults
    ├── ImageError       an image cannot be read, or is not what the model takes
    ├── DataError        a data set folder has faults
    ├── ModelError       a model is missing, damaged or of a newer format
    ├── OutputError      a result cannot be written
    └── TrainingError    training cannot go on

Every message is one line: what was found, where, what to do.
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
