from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from elmgan.report import MOST_POINTS, Dots, Line, Points, distribution_plot, dot_plot, scatter
from elmgan.report.plot import HEIGHT, MOST_BINS, WIDTH, ticks

ENDS = st.floats(-1e6, 1e6)


@given(ENDS, ENDS)
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    assume(high - low > 1e-3)
    values = ticks(low, high)
    slack = 1e-6 * (high - low)
    assert 2 <= len(values) <= 7
    assert low - slack <= values[0]
    assert values[-1] <= high + slack
    steps = np.diff(values)
    assert steps == pytest.approx(np.full(len(steps), steps[0]), rel=1e-6)
    assert round(steps[0] / 10 ** np.floor(np.log10(steps[0] * (1 + 1e-9))), 6) in (1, 2, 5)


def drawn(x: list[float], y: list[float], texts: list[str]) -> ElementTree.Element:
    """The plot of these points and a line over 0..10, as a browser would take it apart."""
    return ElementTree.fromstring(
        scatter(
            [Points("model", np.array(x), np.array(y), texts)],
            [Line("reference", (0, 10), (0, 10))],
            title="a < b",
            x_label="a & b",
            y_label="c",
            x_range=(0, 10),
            y_range=(0, 10),
        )
    )


def test_points_lie_where_they_belong() -> None:
    plot = drawn([0, 10, 5], [0, 10, 50], ["<first>", "second", "beyond"])
    first, second = plot.findall("circle")
    texts = [text.text for text in plot.iter("title")]
    assert texts == ["<first>", "second", "beyond"]
    line = next(path for path in plot.findall("path") if path.get("class") == "line reference")
    places = [f"{float(point.get('cx', '')):.1f} {float(point.get('cy', '')):.1f}" for point in (first, second)]
    assert line.get("d") == "M" + "L".join(places)
    for point in (first, second):
        assert 0 < float(point.get("cx", "")) < WIDTH
        assert 0 < float(point.get("cy", "")) < HEIGHT
    assert "▲ beyond the scale" in [text.text for text in plot.findall("text")]
    assert "▲ beyond the scale" not in [text.text for text in drawn([1], [1], ["inside"]).findall("text")]


def test_a_plot_of_many_points_stays_small() -> None:
    number = 2 * MOST_POINTS + 1
    assert len(drawn([1.0] * number, [1.0] * number, ["a"] * number).findall("circle")) <= MOST_POINTS


def test_a_plot_of_nothing() -> None:
    assert not drawn([], [], []).findall("circle")


@given(st.lists(st.tuples(st.integers(0, 10**9), st.booleans()), min_size=1))
def test_a_histogram_shows_every_value_once(values: list[tuple[int, bool]]) -> None:
    numbers, marked = np.array(values).T
    plot = ElementTree.fromstring(
        distribution_plot(numbers.astype(float), marked.astype(bool), title="a < b", x_label="a & b", y_label="images")
    )
    bars = plot.findall("rect")
    assert len({bar.get("x") for bar in bars}) <= MOST_BINS
    for style, wanted in (("model", marked == 0), ("flagged", marked == 1)):
        told = [bar[0].text or "" for bar in bars if bar.get("class") == style]
        assert sum(int(text.partition(": ")[2].split()[0]) for text in told) == wanted.sum()
    for bar in bars:
        top, left = float(bar.get("y", "")), float(bar.get("x", ""))
        assert 0 < left < left + float(bar.get("width", "")) < WIDTH
        assert 0 < top < top + float(bar.get("height", "")) < HEIGHT


def test_dots_lie_on_a_logarithmic_scale() -> None:
    drawn = dot_plot(
        [Dots("<one>", {"a": (0.5, 1, 10), "b": (100, 100, 100)}), Dots("two", {"b": (10, 10, 10)})],
        title="a < b",
        x_label="c & d",
        marked=(1,),
    )
    picture = ElementTree.fromstring(drawn)
    space = "{http://www.w3.org/2000/svg}"
    dots = {circle[0].text: float(circle.get("cx", "")) for circle in picture.iter(f"{space}circle") if len(circle)}
    assert list(dots) == ["a, <one>: 1", "b, <one>: 100", "b, two: 10"]
    one, hundred, ten = dots.values()
    assert hundred - ten == pytest.approx(ten - one, abs=0.2)
    (marked,) = (path for path in picture.iter(f"{space}path") if path.get("class") == "mark")
    assert marked.get("d", "").startswith(f"M{one:.1f} ")
    texts = [text.text for text in picture.iter(f"{space}text")]
    assert {"a", "b", "<one>", "two", "c & d", "1", "10", "100"} <= set(texts)


def test_a_dot_plot_of_one_value() -> None:
    assert "nan" not in dot_plot([Dots("one", {"a": (1, 1, 1)})], title="", x_label="")


def test_dots_lie_on_a_linear_scale() -> None:
    values = {"a": (-0.3, -0.2, -0.1), "b": (0.0, 0.0, 0.0), "c": (0.1, 0.2, 0.3)}
    drawn = dot_plot([Dots("one", values)], title="", x_label="", marked=(0,), linear=True)
    picture = ElementTree.fromstring(drawn)
    space = "{http://www.w3.org/2000/svg}"
    below, none, above = (float(dot.get("cx", "")) for dot in picture.iter(f"{space}circle") if len(dot))
    assert above - none == pytest.approx(none - below, abs=0.2)
    (marked,) = (path for path in picture.iter(f"{space}path") if path.get("class") == "mark")
    assert marked.get("d", "").startswith(f"M{none:.1f} ")
    assert {"−0.2", "0", "0.2"} <= {text.text for text in picture.iter(f"{space}text")}
    assert "nan" not in dot_plot([Dots("one", {"a": (-1, -1, -1)})], title="", x_label="", linear=True)
