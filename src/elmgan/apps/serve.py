"""The serve command: the page and its API, which need FastAPI and are imported when they are asked for."""

from pathlib import Path
from typing import Annotated

import typer

from elmgan.apps.terminal import Debug, Quiet, console, errors_told
from elmgan.errors import UsageError


def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than this machine's own ask for a token.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port; by default 8000, or a free one.", show_default=False)
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option("--model", metavar="PATH", help="A model of your own to offer; repeatable.")
    ] = None,
    models: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder whose models are offered, and where calibrated ones are saved."),
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open the page in the browser.")] = False,
    max_pixels: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Planes of more pixels are refused.")
    ] = None,
    engine: Annotated[
        str, typer.Option("--engine", help="auto, the fastest that is installed; onnxruntime, openvino or torch.")
    ] = "auto",
    precision: Annotated[
        str, typer.Option(help="int8, bf16 or fp32; auto is the fastest that counts the same on this machine.")
    ] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Open a page to count images in the browser, with an API behind it. Nothing leaves this machine."""
    with errors_told(debug):
        try:
            from elmgan.apps.web.models import Models
            from elmgan.apps.web.refusal import Limits
            from elmgan.apps.web.server import run_server
        except ModuleNotFoundError as error:
            raise UsageError(f"the page needs {error.name}: pip install fastapi uvicorn python-multipart") from error
        terminal = console()
        run_server(
            Models(model or [], models, engine=engine, precision=precision, device=device),
            host=host,
            port=port,
            open_browser=not no_browser,
            limits=Limits(pixels=max_pixels),
            tell=(lambda line: None) if quiet else terminal.out,
        )
