"""The distance of an image from those that a model knows."""

import json
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from elmgan.trust import KnownImages
from elmgan.trust.nearness import MEASURES, ImagePlace


def cloud(number: int, seed: int = 0) -> list[ImagePlace]:
    """Places of images, each measure with a spread of its own."""
    rng = np.random.default_rng(seed)
    spreads = 10.0 ** np.arange(-3, len(MEASURES) - 3)
    return [dict(zip(MEASURES, rng.normal(0, spreads).tolist(), strict=True)) for _ in range(number)]


def test_images_of_one_cloud_are_near_and_others_are_far() -> None:
    known = KnownImages.of(cloud(300))
    distances = np.array([known.distance(place) for place in cloud(300, seed=1)])
    assert 0.9 < (distances <= known.near).mean() < 0.99
    assert (distances <= known.far).mean() > 0.95
    assert known.near < known.far < known.distance(dict.fromkeys(MEASURES, 1e6))


@pytest.mark.parametrize("measure", MEASURES)
def test_one_measure_alone_takes_an_image_away_whatever_its_spread(measure: str) -> None:
    known = KnownImages.of(cloud(300))
    spread = 10.0 ** (MEASURES.index(measure) - 3)
    middle: Any = dict.fromkeys(MEASURES, 0.0)
    assert known.distance(middle) < known.near
    assert known.distance(middle | {measure: 20 * spread}) > known.far


def test_the_unit_of_a_measure_does_not_matter() -> None:
    places = cloud(100)
    ours, theirs = KnownImages.of(places[1:]), KnownImages.of([in_other_units(place) for place in places[1:]])
    assert ours.distance(places[0]) == pytest.approx(theirs.distance(in_other_units(places[0])), rel=0.01)


def in_other_units(place: ImagePlace) -> ImagePlace:
    return {name: value * 7 + 3 for name, value in place.items()}


def test_what_an_image_has_no_value_for_is_passed_over() -> None:
    places = cloud(60)
    known = KnownImages.of([*places, {"outside": 0.0}])
    some: Any = {name: value for name, value in places[5].items() if name in ("outside", "below", "density")}
    assert known.distance(some) < known.near
    assert known.distance({}) == float("inf")


def test_a_place_among_them_is_its_own_image() -> None:
    places = cloud(50)
    known = KnownImages.of(places)
    other: Any = dict.fromkeys(MEASURES, 1e5)
    added = known.with_calibrated(cloud(25, seed=7)).with_calibrated([other] * 3)
    assert added.least_distance(other) == 0
    assert added.distance(other) == known.distance(other) > added.far
    assert (added.near, added.far) == (known.near, known.far), "calibration narrows nothing"
    assert added.calibrated == added.calibrated[:1], "the same image is known once"


def test_few_images_or_other_measures_are_not_compared() -> None:
    assert KnownImages.of(cloud(20)).usable
    assert not KnownImages.of(cloud(19)).usable
    assert not KnownImages(measures=("roundness",), images=((0.5,),) * 30).usable


def test_the_diameter_is_of_the_middle_image() -> None:
    known = KnownImages.of([{"diameter": float(np.log(size))} for size in (10, 20, 80)])
    assert known.diameter == pytest.approx(20, rel=0.01)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e300"])
def test_a_number_without_a_bound_is_refused(value: str) -> None:
    content = KnownImages.of(cloud(3)).model_dump_json()
    first = json.loads(content)["images"][0][0]
    with pytest.raises(ValidationError):
        KnownImages.model_validate_json(content.replace(json.dumps(first), value, 1))


def test_a_measure_that_no_known_image_has_is_passed_over_in_words() -> None:
    rows = [{name: 0.01 * k for name in MEASURES if name not in ("smaller", "contrast")} for k in range(30)]
    known = KnownImages.of(rows)
    assert "larger cells" in known.unlike({**dict.fromkeys(MEASURES, 0.1), "smaller": -9.0, "diameter": 9.0})


def test_images_that_were_measured_before_a_measure_was_added_are_still_known() -> None:
    rows = [dict.fromkeys(MEASURES, 0.01 * k) for k in range(30)]
    known = KnownImages.of(rows)
    fewer = tuple(name for name in MEASURES if name != "stained")
    columns = [MEASURES.index(name) for name in fewer]
    older = KnownImages(measures=fewer, images=tuple(tuple(row[k] for k in columns) for row in known.images))
    assert older.usable
    near, far = dict.fromkeys(MEASURES, 0.1), dict.fromkeys(MEASURES, 9.0)
    assert older.distance(near) < older.far < older.distance(far)
