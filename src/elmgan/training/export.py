"""From a generator in PyTorch to the ONNX graph that counting runs."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from copy import deepcopy
from itertools import chain

import torch
from torch import Tensor, nn
from torch.export import Dim

from elmgan.errors import TrainingError
from elmgan.nn.generator import Generator, MapCountHead


class Exported(Generator):
    """A generator as the graph has it: probabilities instead of log-odds."""

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Give probability and count map."""
        prediction = super().forward(image)
        return torch.sigmoid(prediction.mask_logits), prediction.count_map


def rounded(generator: Generator) -> Generator:
    """Copy a generator and round the count map's last layer to bf16, as an engine that computes in bf16 would.

    Errors of rounding cancel out in most layers. Of these few weights, and the one number that is added to them, every
    value of the count map is made: rounded by some engines alone, they would move all counts the same way, in one
    ``nuclei`` by 0.6 %.
    """
    copied = deepcopy(generator)
    if isinstance(copied.count_head, MapCountHead):
        for parameter in copied.count_head.out.parameters():
            parameter.data.copy_(parameter.data.bfloat16())
    return copied


def to_onnx(generator: Generator) -> bytes:
    """Export a generator; its initialisers are named as its parameters, so that training can read them again.

    The graph takes ``image`` (n, 1, row, column) float32, normalised, with sides that are multiples of
    ``architecture.multiple`` (of exactly ``architecture.size`` where that is set), and gives ``probability`` of the
    same shape and ``count_map`` (n, 1, row / 4, column / 4), or (n, 1, 1, 1) from the pooled head, both float32.

    Args:
        generator: Stays as it is; norms and dropout are exported as they are at inference.

    Returns:
        The ONNX file's bytes.

    Raises:
        TrainingError: When PyTorch's exporter fails.
    """
    architecture = generator.architecture
    multiple = architecture.multiple
    rows, columns = architecture.size or (2 * multiple, 3 * multiple)
    free: dict[int, object] = {0: Dim("n")}
    if architecture.size is None:
        free |= {2: multiple * Dim("row_blocks"), 3: multiple * Dim("column_blocks")}
    model = Exported(architecture)
    model.load_state_dict(generator.state_dict())
    return export(model, torch.zeros(2, 1, rows, columns), outputs=["probability", "count_map"], free=free)


def export(
    network: nn.Module,
    images: Tensor,
    *,
    outputs: Sequence[str] | None = None,
    free: Mapping[int, object] | None = None,
) -> bytes:
    """Export a network as it is at inference, with ``image`` as its only input.

    Args:
        network: Afterwards as at inference.
        images: What it takes.
        outputs: Names of its outputs; None leaves them to the exporter.
        free: Axis of the images -> torch.export's Dim, for axes of any length; the others keep that of ``images``.

    Returns:
        The ONNX file's bytes.

    Raises:
        TrainingError: When PyTorch's exporter fails.
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's about its own insides
        program = torch.onnx.export(
            network.eval(),
            (images,),
            dynamo=True,
            input_names=["image"],
            output_names=outputs,
            dynamic_shapes=[free] if free else None,
            optimize=False,  # it would merge norms into convolutions; ONNX Runtime does so when it loads the graph
            verbose=False,
        )
    if program is None:
        raise TrainingError("PyTorch's exporter gave no ONNX graph")
    model = program.model_proto
    graph = model.graph
    # The exporter notes beside every value which lines of which files it came from, with this machine's paths, and
    # beside the whole what it knows of sizes, in an order that differs from run to run.
    lists = (graph.node, graph.input, graph.output, graph.value_info, graph.initializer, model.functions)
    for part in (model, graph, *chain(*lists)):
        del part.metadata_props[:]
    return bytes(model.SerializeToString())
