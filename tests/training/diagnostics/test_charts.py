"""Charts: well-formed, within their frame, and free of anything from elsewhere."""

import xml.etree.ElementTree as ET

import pytest

from training.diagnostics.charts import HEIGHT, WIDTH, Chart, Mark, Reference, Series, draw, number

CURVE = Series("a < b", [(100, 0.5), (200, 0.25), (400, 1.0)], band=[(100, 0.4, 0.6), (400, 0.9, 1.1)])


def drawn(chart: Chart, *marks: Mark) -> ET.Element:
    return ET.fromstring(draw(chart, 400, marks))  # noqa: S314 - it was drawn here


def heights(element: ET.Element) -> list[float]:
    """Of the first curve's points."""
    polyline = element.find(".//polyline")
    assert polyline is not None
    return [float(point.split(",")[1]) for point in polyline.attrib["points"].split()]


def test_higher_values_stand_higher_and_everything_stays_within_the_frame() -> None:
    element = drawn(Chart("c", "title", "caption", [CURVE], [Reference("top", 2.0)]))
    first, second, third = heights(element)
    assert third < first < second
    for circle in element.iter("circle"):
        assert 0 < float(circle.attrib["cx"]) < WIDTH
        assert 0 < float(circle.attrib["cy"]) < HEIGHT


def test_on_a_logarithmic_axis_equal_factors_are_equal_distances() -> None:
    curve = Series("decades", [(0, 1e-4), (100, 1e-2), (400, 1.0)])
    low, middle, high = heights(drawn(Chart("c", "title", "caption", [curve], logarithmic=True)))
    assert low - middle == pytest.approx(middle - high, abs=0.11)


def test_a_constant_and_a_single_point_can_be_drawn() -> None:
    for points in ([(400.0, 0.0)], [(0.0, 3.0), (400.0, 3.0)]):
        for logarithmic in (False, True):
            if not (logarithmic and points[0][1] == 0):
                drawn(Chart("c", "title", "caption", [Series("flat", points)], logarithmic=logarithmic))


def test_a_point_says_its_numbers_and_a_mark_what_happened() -> None:
    element = drawn(Chart("c", "title", "caption", [CURVE]), Mark(200, "collapse & more"))
    titles = [title.text for title in element.iter("title")]
    assert "a < b: 0.25 at 200 samples" in titles
    assert "collapse & more" in titles


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.534, "0.534"), (2.1e-5, "2e-05"), (6_400, "6,400"), (1.25e6, "1.25M"), (-3, "-3")],
)
def test_numbers_read_well(value: float, text: str) -> None:
    assert number(value) == text
