"""A small plot as SVG: lines over a logarithmic axis. Pure: points in, text out."""

import math
from collections.abc import Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, BELOW, ABOVE = 560, 320, 56, 48, 36
COLOURS = ("#1f6feb", "#d1242f", "#1a7f37", "#8250df")


class Series(NamedTuple):
    """One line; x is above 0."""

    name: str
    points: Sequence[tuple[float, float]]


def plot(title: str, x_name: str, series: Sequence[Series]) -> str:
    """The whole drawing; y begins at 0, x is logarithmic."""
    xs = sorted({x for one in series for x, _ in one.points})
    top = _round_up(max((y for one in series for _, y in one.points), default=1))
    low, high = math.log(xs[0]), math.log(xs[-1])

    def place(x: float, y: float) -> tuple[float, float]:
        across = (math.log(x) - low) / (high - low or 1) * (WIDTH - LEFT - 24)
        return LEFT + across, HEIGHT - BELOW - y / top * (HEIGHT - BELOW - ABOVE)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">',
        '<g font-family="sans-serif" font-size="12" fill="#57606a">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="20" font-size="14">{escape(title)} (µs)</text>',
    ]
    for step in range(5):
        y = top * step / 4
        _, at = place(xs[0], y)
        parts.append(f'<path d="M{LEFT} {at:.1f}H{WIDTH - 24}" stroke="#d0d7de"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{y:g}</text>')
    for x in xs:
        at, _ = place(x, 0)
        parts.append(
            f'<text x="{at:.1f}" y="{HEIGHT - BELOW + 16}" text-anchor="middle">{x:,g}</text>'
        )
    parts.append(
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x_name)}</text>'
    )
    for number, one in enumerate(series):
        parts += _line(one, number, [place(x, y) for x, y in one.points])
    return "\n".join([*parts, "</g>", "</svg>", ""])


def _line(one: Series, number: int, places: list[tuple[float, float]]) -> list[str]:
    colour = COLOURS[number % len(COLOURS)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
    label = (
        f'<text x="{LEFT + 8 + number * 110}" y="{ABOVE}" fill="{colour}">{escape(one.name)}</text>'
    )
    return [f'<polyline points="{path}" fill="none" stroke="{colour}"/>', *dots, label]


def _round_up(value: float) -> float:
    """The next 1, 2, 4 or 8 with zeros."""
    power = 10 ** math.floor(math.log10(value)) if value > 0 else 1.0
    return next(f * power for f in (1, 2, 4, 8, 10) if f * power >= value)
