"""The options of the view, the same in every command that looks at images."""

from typing import Annotated

import typer

PANEL = "View: which pixels are counted, and how they are shown to the network"

SceneOption = Annotated[
    str | None, typer.Option(metavar="each|N", help="Scenes of a file: each, or one.", rich_help_panel=PANEL)
]
TimeOption = Annotated[
    str | None, typer.Option("--t", metavar="each|N", help="Time points: each, or one.", rich_help_panel=PANEL)
]
DepthOption = Annotated[
    str | None,
    typer.Option(
        "--z",
        metavar="max|mean|each|N",
        help="Focal planes of a stack: their maximum (the default), their mean, each, or one.",
        rich_help_panel=PANEL,
    ),
]
ChannelOption = Annotated[
    str | None,
    typer.Option(
        metavar="N|NAME",
        help="Channel by number or name; of colour luminance, red or haematoxylin; auto where there is one answer.",
        rich_help_panel=PANEL,
    ),
]
ScaleOption = Annotated[
    str | None,
    typer.Option(
        metavar="auto|FACTOR",
        help="Resize the images for the network; results keep their size. auto finds out.",
        rich_help_panel=PANEL,
    ),
]
CellsOption = Annotated[
    str | None,
    typer.Option(
        metavar="auto|bright|dark",
        help="Whether cells are brighter or darker than the background; auto finds out.",
        rich_help_panel=PANEL,
    ),
]
AxesOption = Annotated[
    str | None,
    typer.Option(
        metavar="ZYX",
        help="What the axes of files mean that do not say so: letters of T, Z, C, then YX.",
        rich_help_panel=PANEL,
    ),
]
