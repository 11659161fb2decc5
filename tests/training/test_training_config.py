from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from architectures import words
from elmgan.errors import ConfigError
from elmgan.models import Architecture
from elmgan.nn.generator import PRESETS
from elmgan.nn.loss import LossWeights
from elmgan.training.config import TrainingConfig, dump_config, read_config, shipped_configs


@pytest.mark.parametrize("name", shipped_configs())
def test_every_shipped_configuration_loads_and_survives_writing(name: str, tmp_path: Path) -> None:
    config = read_config(name)
    file = tmp_path / "config.yaml"
    file.write_text(dump_config(config), encoding="utf-8")
    assert read_config(file) == config


def test_the_shipped_configurations_are_those_promised() -> None:
    assert shipped_configs() == ["base", "nuclei", "paper", "small"]
    assert read_config() == read_config("base")
    for name in ("base", "small"):
        assert read_config(name).architecture == PRESETS[name]


def test_the_papers_configuration_is_the_published_training() -> None:
    config = read_config("paper")
    assert config.architecture == PRESETS["paper"].model_copy(update={"size": None})  # that of the data, once known
    assert config.loss == LossWeights(coordination=0.001)  # whose weight alone is ours
    assert config.loss.mask == 10
    assert config.loss.count == config.loss.adversarial == 1
    o = config.optimisation
    assert (o.optimiser, o.learning_rate, o.betas, o.batch) == ("adam", 1e-4, (0.5, 0.999), 1)
    assert config.discriminator is not None
    assert (config.discriminator.width, config.discriminator.norm) == (64, "instance")


configurations = st.builds(
    TrainingConfig,
    name=st.sampled_from(["a", "nuclei-2.1", "9"]),
    description=st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"])),
    architecture=st.builds(
        Architecture,
        width=st.integers(1, 64),
        norm=st.sampled_from(words(Architecture, "norm")),
        dropout=st.floats(0, 0.9),
    ),
    discriminator=st.sampled_from([None, TrainingConfig().discriminator]),
    loss=st.builds(LossWeights, mask=st.floats(0, 1e6), count_norm=st.sampled_from(words(LossWeights, "count_norm"))),
)


@given(config=configurations)
def test_what_is_written_reads_back(config: TrainingConfig, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.getbasetemp() / "written.yaml"
    file.write_text(dump_config(config), encoding="utf-8")
    assert read_config(file) == config


def test_settings_change_single_values(tmp_path: Path) -> None:
    settings = [
        "optimisation.learning_rate=1e-3",
        "data.tile=",
        "data.squares=",
        "discriminator=null",
        "augmentation.zoom=[0.5, 2]",
    ]
    config = read_config("nuclei", [*settings, "description=a = b"])
    assert config.optimisation.learning_rate == 1e-3
    assert config.data.tile is None
    assert config.discriminator is None
    assert config.description == "a = b"
    assert config.augmentation.zoom == (0.5, 2)
    assert config.optimisation.batch == read_config("nuclei").optimisation.batch


def faults_of(name_or_path: str | Path | None = None, *settings: str) -> list[str]:
    """The faults that are reported, one by one."""
    with pytest.raises(ConfigError) as caught:
        read_config(name_or_path, list(settings))
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


def test_all_faults_are_reported_at_once_by_the_names_the_user_typed(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    faulty = {
        "name": "two words",
        "epochs": 3,
        "architecture": {"width": 0, "upsampling": "magic"},
        "optimisation": {"epochs": "many", "betas": [0.5, 2]},
        "data": {"tile": 128, "margin": 64},
        "augmentation": {"zoom": [2, 1], "gain": [0, 1]},
        "normalisation": {"low": 90, "high": 10},
        "loss": 3,
    }
    file.write_text(yaml.safe_dump(faulty), encoding="utf-8")
    settings = ["discriminator.width=-1", "data.overhang", "seed=[", "name.first=x", "colour=red"]
    faults = faults_of(file, *settings)
    expected = [
        "--set data.overhang: expected key=value",
        "--set seed=[: '[' is not a value",
        "--set name.first=x: name has no keys below it",
        "name: string should match pattern",
        "epochs: there is no such key",
        "colour: there is no such key",
        "architecture.width: input should be greater than or equal to 1 (found 0)",
        "architecture.upsampling: input should be 'fbu', 'nearest', 'bilinear', 'bilinear-1x1' or 'transposed' (found",
        "optimisation.epochs: input should be a valid integer",
        "optimisation.betas.1: input should be less than 1 (found 2)",
        "data.margin must be under half of tile (128), is 64",
        "augmentation.zoom: must run from low to high (found [2, 1])",
        "augmentation.gain.0: input should be greater than 0 (found 0)",
        "normalisation.low (90) must be less than high (10)",
        "loss: expected keys and values (found 3)",
        "discriminator.width: input should be greater than or equal to 1 (found -1)",
    ]
    for fault in expected:
        assert any(line.startswith(fault) for line in faults), (fault, faults)
    assert len(faults) == len(expected)


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        (["data.tile=96"], "data.tile must be a multiple of 64, is 96"),
        (["data.tile=128", "architecture.depth=8"], "data.tile must be a multiple of 256, is 128"),
        (["data.tile=100"], "data.tile: input should be a multiple of 16 (found 100)"),
        (["data.tile=128", "data.squares=48"], "data.squares must divide the side of tiles of at most data.pixels"),
        (["data.margin=20"], "data.margin: input should be a multiple of 16 (found 20)"),
        (["architecture.count_head=pooled", "data.tile=128"], "data.tile must be absent"),
        (["architecture.count_head=pooled", "augmentation.zoom=[0.5, 2]"], "augmentation.zoom must be 1, 1"),
        (["architecture.count_head=pooled", "augmentation.mosaic=0.5"], "augmentation.mosaic must be 0: the pooled"),
        (["data.tile=128", "augmentation.mosaic=0.5"], "augmentation.mosaic must be 0: whole images"),
    ],
)
def test_parts_have_to_fit_together_whatever_else_is_wrong(settings: list[str], fault: str) -> None:
    (found,) = faults_of("base", *settings)
    assert found.startswith(fault)
    found, other = sorted(faults_of("base", *settings, "optimisation.epochs=0"))
    assert found.startswith(fault)
    assert other.startswith("optimisation.epochs")


@pytest.mark.parametrize("name", ["", "..", "-x", "a/b", "a b", "é"])
def test_a_name_is_one_that_a_folder_may_have(name: str) -> None:
    (fault,) = faults_of("base", f"name={name!r}")
    assert fault.startswith("name: string should match pattern")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "mine.yaml is not YAML"),
        ("- 1\n- 2\n", "mine.yaml: expected keys and values, found list"),
        (b"\xff\xfe\x00", "mine.yaml is neither a readable file nor one of base, nuclei, paper, small"),
        (None, "mine.yaml is neither a readable file nor one of base, nuclei, paper, small"),
    ],
)
def test_a_file_that_is_no_configuration(text: str | bytes | None, message: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    if text is not None:
        file.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_config(file)
    assert len(str(caught.value).splitlines()) == 1


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("# nothing\n", encoding="utf-8")
    assert read_config(file) == TrainingConfig()
