"""run.json: what is needed to tell later how a table came about."""

import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy
import PIL
import tifffile

from elmgan import __version__
from elmgan.counting import Model


def run_record(model: Model, options: dict[str, Any], command: str | None = None) -> dict[str, Any]:
    """Describe a run that begins now, as JSON: command, options, model, engine, versions, machine, time.

    Args:
        model: What counts.
        options: Name -> value, for people and for a later ``--resume``.
        command: The command line that gives the run again; None where it was begun from Python.
    """
    libraries = (numpy, cv2, tifffile, PIL)
    calibration, runtime = model.card.calibration, model.runtime
    return {
        "command": command,
        "options": options,
        "model": {
            "version": model.version,
            "learned": list(model.card.learned),
            "hashes": model.card.hashes,
            "normalisation": model.card.normalisation.model_dump(mode="json"),
            "threshold": model.card.threshold,
            "calibration": None if calibration is None else calibration.model_dump(mode="json"),
        },
        "engine": {"name": runtime.name, "precision": runtime.precision, "device": runtime.device},
        "versions": {
            "elmgan": __version__,
            "python": platform.python_version(),
            **{library.__name__: library.__version__ for library in libraries},
            runtime.name: runtime.version,
        },
        "machine": machine(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": None,
    }


def machine() -> dict[str, str | int | None]:
    """Describe this machine: platform, processor, cores and memory in bytes (None where the system does not tell)."""
    memory = None
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"platform": platform.platform(), "processor": _processor(), "cores": os.cpu_count(), "memory": memory}


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():  # Linux tells the name only there
        for line in information.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
