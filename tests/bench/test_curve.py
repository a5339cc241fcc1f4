"""The plot of a curve."""

from xml.etree import ElementTree as ET

from bench.plot import Series, plot

SVG = "{http://www.w3.org/2000/svg}"


def drawn(*series: Series) -> ET.Element:
    return ET.fromstring(plot("CPU & time", "connections", series))


def test_a_plot_is_svg_with_a_line_and_a_dot_for_each_point() -> None:
    root = drawn(Series("a <b>", [(1, 10.0), (64, 20.0)]), Series("c", [(1, 5.0)]))
    assert len(root.findall(f".//{SVG}polyline")) == 2
    assert len(root.findall(f".//{SVG}circle")) == 3
    assert {"a <b>", "c", "CPU & time (µs)"} <= {text.text for text in root.iter(f"{SVG}text")}


def test_more_is_higher_and_ten_times_as_many_are_equally_far_apart() -> None:
    root = drawn(Series("a", [(1, 1.0), (10, 2.0), (100, 4.0)]))
    places = [(float(c.get("cx", 0)), float(c.get("cy", 0))) for c in root.iter(f"{SVG}circle")]
    (x1, y1), (x2, y2), (x3, y3) = places
    assert y1 > y2 > y3
    assert abs((x2 - x1) - (x3 - x2)) < 0.2
