"""What the site has beside the pages of this folder: the commands, from their help, and pages from other folders."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
ELSEWHERE = {
    "experiments/README.md": "experiments.md",
    "benchmarks/peers/README.md": "peers.md",
    "benchmarks/earlier/README.md": "earlier.md",
}
"""File of the repository -> page of the site."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie nowhere in this folder."""
    files.append(File.generated(config, "commands.md", content=commands()))
    for source, page in ELSEWHERE.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=re.sub(r"\]\((?:\.\./)+docs/", "](", text)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Let links to files of the repository lead to their pages."""
    for source, page in ELSEWHERE.items():
        markdown = markdown.replace(f"](../{source}", f"]({page}")
    return markdown


def on_page_content(html: str, **_: Any) -> str:
    """Write what docstrings refer to, as :func:`~elmgan.images.open_image`, by its name alone."""
    return re.sub(r":(?:func|class|meth|attr|mod):<code>~?(?:[\w.]+\.)?(\w+)</code>", r"<code>\1</code>", html)


def commands() -> str:
    """Write what every command takes, from its help."""
    arguments = ["elmgan.apps.cli", "utils", "docs", "--name", "elmgan", "--title", "Commands"]
    done = subprocess.run([sys.executable, "-m", "typer", *arguments], check=True, capture_output=True, text=True)
    return done.stdout
