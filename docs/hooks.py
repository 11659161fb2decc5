"""What the site has beside the pages of this folder: the commands, from their help, and pages from other folders."""

import re
from pathlib import Path
from typing import Any

import typer
from click import Command, Context, Group, Option
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from elmgan.apps.cli import app

ROOT = Path(__file__).parents[1]
ELSEWHERE = {"experiments/README.md": "experiments.md", "benchmarks/peers/README.md": "peers.md"}
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
    command = typer.main.get_command(app)
    parts = ["# Commands\n", "`elmgan COMMAND --help` prints the same.\n"]
    return "\n".join([*parts, *sections(command, Context(command, info_name="elmgan"))])


def sections(command: Command, context: Context) -> list[str]:
    """Write a command and those below it."""
    if isinstance(command, Group):
        parts = []
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None:
                parts += sections(inner, Context(inner, info_name=name, parent=context))
        return parts
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [f"## {context.command_path}\n", f"{command.help}\n", f"    {context.command_path} {usage}\n"]
    rows = ["| | what |", "|---|---|"]
    for parameter in command.get_params(context):
        told = parameter.get_help_record(context) if isinstance(parameter, Option) else None
        name = told[0] if told else parameter.make_metavar(context)
        text = told[1] if told else getattr(parameter, "help", "") or ""
        rows.append("| `{}` | {} |".format(*(cell.replace("|", "\\|") for cell in (name, text))))
    return [*lines, "\n".join(rows) + "\n"]
