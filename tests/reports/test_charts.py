import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunewright.reports import charts

NUMBERS = st.floats(-1e6, 1e6, allow_nan=False)
POINTS = st.lists(NUMBERS, min_size=2, max_size=80).map(lambda ys: [(float(step), y) for step, y in enumerate(ys, 1)])


def elements(svg, css):
    return [node for node in ET.fromstring(svg).iter() if css in (node.get("class") or "").split()]


def percent(node, attribute):
    return float(node.get(attribute).rstrip("%"))


def test_a_dot_stands_at_its_value_and_the_whisker_at_its_interval():
    svg = charts.whisker(0.48, 0.4, 0.56, scale=charts.RATES, label="tuned: 48%", role="tuned")
    assert percent(elements(svg, "dot")[0], "cx") == 48
    assert (percent(elements(svg, "span")[0], "x1"), percent(elements(svg, "span")[0], "x2")) == (40, 56)


def test_a_label_cannot_leave_its_attribute():
    label = '"><script>x</script><img onerror="y"'
    for svg in (
        charts.whisker(0.5, 0.4, 0.6, scale=charts.RATES, label=label, role=label),
        charts.curve([(1, 1), (2, 2)], ident=label, label=label),
        charts.bar(0.5, label),
        charts.axis(charts.RATES, [0.5], [label]),
    ):
        tree = ET.fromstring(svg)
        assert {node.tag for node in tree.iter()} <= {"svg", "title", "line", "circle", "text", "polyline", "rect"}
        assert "<script" not in svg


def test_every_chart_says_itself_to_a_screen_reader():
    for svg in (charts.whisker(0.5, 0.4, 0.6, scale=charts.RATES, label="a b", role="base"), charts.bar(1, "a b")):
        assert ET.fromstring(svg).get("role") == "img"
        assert ET.fromstring(svg).get("aria-label") == "a b"


def test_what_stands_beside_has_another_shape_not_only_another_colour():
    base = charts.whisker(0.5, 0.4, 0.6, scale=charts.RATES, label="", role="base")
    beside = charts.whisker(0.5, 0.4, 0.6, scale=charts.RATES, label="", role="beside")
    assert elements(base, "dot")[0].tag == "circle" and elements(beside, "dot")[0].tag == "rect"


@given(st.lists(NUMBERS.map(lambda x: x / 1e6), max_size=6))
def test_a_scale_around_zero_holds_zero_and_all_values(values):
    scale = charts.around_zero(values)
    assert scale.low < 0 < scale.high
    assert all(scale.low - 1e-9 <= value <= scale.high + 1e-9 for value in values)


@given(NUMBERS, NUMBERS)
def test_ticks_rise_cover_the_values_and_are_few(one, other):
    low, high = min(one, other), max(one, other)
    found = charts.ticks(low, high)
    assert found == sorted(set(found)) and 2 <= len(found) <= 7
    assert found[0] <= low + 1e-6 * abs(low) + 1e-9 and found[-1] >= high - 1e-6 * abs(high) - 1e-9


@pytest.mark.parametrize(("low", "high", "found"), [(0, 1, [0, 0.25, 0.5, 0.75, 1]), (3, 17, [0, 5, 10, 15, 20])])
def test_ticks_are_round_numbers(low, high, found):
    assert charts.ticks(low, high) == found


@given(POINTS)
def test_a_curve_is_drawn_inside_its_plot(points):
    svg = charts.curve(points, ident="loss", label="loss")
    for line in elements(svg, "main") + elements(svg, "raw"):
        spots = [tuple(map(float, spot.split(","))) for spot in line.get("points").split()]
        assert all(0 <= x <= 100 and 0 <= y <= 100 for x, y in spots)


def test_smoothing_keeps_the_mean_of_a_line_and_is_left_out_for_short_curves():
    assert charts.smooth([1, 2, 3, 4, 5], 3) == [1.5, 2, 3, 4, 4.5]
    assert charts.smoothing_width(8) == 1
    assert charts.smoothing_width(100) % 2 == 1
    assert charts.with_mean([(1.0, 1.0), (2.0, 2.0)], True)[1] == []


def test_a_long_curve_is_thinned_but_keeps_its_ends():
    points = [(float(step), float(step)) for step in range(1, 10_001)]
    kept = charts.thin(points)
    assert len(kept) == charts.MOST_POINTS and kept[0] == points[0] and kept[-1] == points[-1]


def test_a_flat_curve_is_drawn():
    assert elements(charts.curve([(1, 0.5), (2, 0.5)], ident="x", label="x"), "main")


def test_a_tug_draws_losses_to_the_left_and_gains_to_the_right_of_the_middle():
    svg = charts.tug(0.5, 1.0, "3 better <&> 1 worse")
    assert '<rect class="lost" x="25.0%" y="2" height="10" width="25.0%"/>' in svg
    assert '<rect class="gained" x="50%" y="2" height="10" width="50.0%"/>' in svg
    assert "3 better &lt;&amp;&gt; 1 worse" in svg
