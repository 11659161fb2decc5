"""Several processes that train one model."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import elmgan
from elmgan.data.synthetic import write_data_set
from elmgan.training.config import read_config
from elmgan.training.trainer import train

# Instance norm looks at one image at a time, so that nothing depends on which process has which image. A learning rate
# that small keeps rounding from growing over the steps.
SETTINGS = [
    "architecture={width: 4, depth: 4, norm: instance}",
    "discriminator={width: 4, start: 0, learning_rate: 1e-6}",
    *("optimisation.epochs=2", "optimisation.steps=null", "optimisation.batch=2", "optimisation.learning_rate=1e-6"),
    "optimisation.precision=fp32",
]


def curves(run: Path) -> list[dict[str, float]]:
    with (run / "curves.csv").open(encoding="utf-8") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


NORMS = """
import torch
from elmgan.training.processes import average_buffers, joined, share
with joined(torch.device("cpu")):
    network = torch.nn.Sequential(torch.nn.BatchNorm2d(2), torch.nn.BatchNorm2d(3))
    rank = share()[0]
    network[0].running_mean.copy_(torch.tensor([1.0, 2.0]) * rank)
    network[1].running_var.copy_(torch.tensor([2.0, 4.0, 6.0]) + 2 * rank)
    network[1].num_batches_tracked += 5
    average_buffers(network)
    assert network[0].running_mean.tolist() == [0.5, 1.0], network[0].running_mean
    assert network[1].running_var.tolist() == [3.0, 5.0, 7.0], network[1].running_var
    assert int(network[1].num_batches_tracked) == 5
"""


def on_two_processes(*command: str) -> subprocess.CompletedProcess[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.run([*launcher, *command], env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_processes_agree_on_the_mean_of_their_running_statistics(tmp_path: Path) -> None:
    script = tmp_path / "norms.py"
    script.write_text(NORMS, encoding="utf-8")
    done = on_two_processes(str(script))
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path: Path) -> None:
    """Five images by twos: in the last step one of the processes has nothing to do."""
    data = tmp_path / "data"
    write_data_set(data, 6, seed=3, size=(96, 128))
    train(data, tmp_path / "one", read_config("base", SETTINGS))
    command = ["-m", "elmgan", "train", str(data), "-o", str(tmp_path / "two"), "--json"]
    for setting in SETTINGS:
        command += ["--set", setting]
    done = on_two_processes(*command)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('"epoch"') == 2  # the first process speaks for both
    for row, other in zip(curves(tmp_path / "one"), curves(tmp_path / "two"), strict=True):
        for name in ("mask", "count", "adversarial", "coordination", "discriminator", "validation_mae", "score"):
            assert other[name] == pytest.approx(row[name], rel=1e-3), name
    states = [torch.load(tmp_path / run / "last.pt", weights_only=True)["step"] for run in ("one", "two")]
    for part in ("generator_optimiser", "discriminator_optimiser"):
        one, two = (state[part]["state"] for state in states)
        assert one.keys() == two.keys()
        for k in one:  # Adam's first moments: averages over the gradients of all steps
            largest = one[k]["exp_avg"].abs().max().item()
            torch.testing.assert_close(two[k]["exp_avg"], one[k]["exp_avg"], rtol=1e-3, atol=1e-3 * largest)
    assert elmgan.load(tmp_path / "two/model").card.data[0].images == 6
