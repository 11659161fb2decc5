"""How a generator is trained: configuration, windows, the alternating step, the trainer, and the way to a bundle."""

from elmgan.training.config import name_of, read_config, shipped_configs
from elmgan.training.trainer import CONFIG, starting_from, train

__all__ = [
    "CONFIG",
    "name_of",
    "read_config",
    "shipped_configs",
    "starting_from",
    "train",
]
