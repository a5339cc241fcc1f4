"""The tables: aligned text for a person, each figure also as a multiple of the floor."""

from collections.abc import Callable, Mapping, Sequence

from bench.measure import CONNECTIONS
from bench.results import Result
from bench.steps import DIRECT, STREAM_DIRECT, StreamLoad, floor_of

Column = tuple[str, Callable[[Result], str]]

NOISY_PERCENT = 15

LEGEND = f"""\
cpu us       CPU microseconds (user + system, whole process tree) per request, or per relayed chunk
             with the stream's own cost spread over its {StreamLoad().many} chunks; "slope" is one
             more chunk, "fixed" is a stream without chunks (from streams of two lengths)
x nginx      the same as a multiple of nginx in this run; this is the figure to compare over time
k instr      thousand instructions of Headgate's process for one request or one more chunk, without
             Granian and the kernel: counted apart, and the same on a busy machine to about 1 %
p50 p90 p99  milliseconds at {CONNECTIONS} connections, closed loop: at saturation it is queueing
first        milliseconds from request to first chunk
alone        p50 in milliseconds at one connection; "added" is that minus going directly, and the
             p99 behind it is the same of the 99th percentile
busy         share of its core that the process used; where it is under 90 %, something else set
             the rate (the load core, neighbours, or the streams' own pace): trust cpu, not req/s
others       share of that core which others used meanwhile: over {NOISY_PERCENT} % it is doubtful
rss pss      MiB of the worker process after the load; cold: ms from spawn to /health/ready
spread       (highest - lowest) / median of cpu us over the repeats"""


def _number(name: str, digits: int = 0) -> Callable[[Result], str]:
    def show(result: Result) -> str:
        value = result.median(name)
        return "" if value is None else f"{value:,.{digits}f}"

    return show


def _percent(name: str) -> Callable[[Result], str]:
    def show(result: Result) -> str:
        value = result.median(name)
        return "" if value is None else f"{value:.0f}%"

    return show


def _spread(name: str) -> Callable[[Result], str]:
    def show(result: Result) -> str:
        measure = result.measures.get(name)
        return f"{measure.spread:.0%}" if measure else ""

    return show


def _times(name: str, floors: Mapping[str, Result]) -> Callable[[Result], str]:
    def show(result: Result) -> str:
        value, floor = result.median(name), floors.get(floor_of(result.step).name)
        base = floor.median(name) if floor else None
        return f"{value / base:.2f}" if value is not None and base else ""

    return show


def _added(name: str, direct: Result | None) -> Callable[[Result], str]:
    base = direct.median(name) if direct else None

    def show(result: Result) -> str:
        value = result.median(name)
        return f"{value - base:+.3f}" if value is not None and base is not None else ""

    return show


def _common(cpu: str) -> list[Column]:
    return [
        ("k instr", _number("instructions_k", 1)),
        ("busy", _percent("busy_percent")),
        ("others", _percent("others_percent")),
        ("rss", _number("rss_mib")),
        ("pss", _number("pss_mib")),
        ("cold", _number("cold_start_ms")),
        ("spread", _spread(cpu)),
    ]


def plain_columns(floors: Mapping[str, Result], direct: Result | None) -> list[Column]:
    """Columns of the table of requests."""
    return [
        ("requests", lambda r: r.step.name),
        ("req/s", _number("requests_per_s")),
        ("x nginx", _times("requests_per_s", floors)),
        ("cpu us", _number("cpu_request_us", 1)),
        ("x nginx", _times("cpu_request_us", floors)),
        ("p50", _number("p50_ms", 2)),
        ("p90", _number("p90_ms", 2)),
        ("p99", _number("p99_ms", 2)),
        ("alone", _number("alone_p50_ms", 3)),
        ("added", _added("alone_p50_ms", direct)),
        ("p99", _added("alone_p99_ms", direct)),
        *_common("cpu_request_us"),
    ]


def stream_columns(floors: Mapping[str, Result], direct: Result | None) -> list[Column]:
    """Columns of the table of streams."""
    return [
        ("streams", lambda r: r.step.name),
        ("chunks/s", _number("chunks_per_s")),
        ("cpu us", _number("cpu_chunk_us", 1)),
        ("x nginx", _times("cpu_chunk_us", floors)),
        ("slope", _number("cpu_chunk_slope_us", 1)),
        ("x nginx", _times("cpu_chunk_slope_us", floors)),
        ("fixed", _number("cpu_stream_fixed_us")),
        ("first p50", _number("first_chunk_p50_ms", 2)),
        ("p99", _number("first_chunk_p99_ms", 2)),
        ("alone", _number("alone_first_chunk_p50_ms", 3)),
        ("added", _added("alone_first_chunk_p50_ms", direct)),
        *_common("cpu_chunk_us"),
    ]


def tables(results: Sequence[Result]) -> str:
    """Both tables, then what failed."""
    by_name = {result.step.name: result for result in results}
    plain = [r for r in results if not isinstance(r.step.load, StreamLoad)]
    streams = [r for r in results if isinstance(r.step.load, StreamLoad)]
    shown = [
        _table(rows, columns(by_name, by_name.get(direct.name)))
        for rows, columns, direct in (
            (plain, plain_columns, DIRECT),
            (streams, stream_columns, STREAM_DIRECT),
        )
        if rows
    ]
    failed = [f"{r.step.name} failed: {r.problem}" for r in results if r.problem]
    return "\n\n".join([*shown, *failed])


def _table(rows: Sequence[Result], columns: Sequence[Column]) -> str:
    cells = [[title for title, _ in columns]]
    cells += [[show(row) for _, show in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    lines = []
    for name, *figures in cells:
        aligned = (cell.rjust(width) for cell, width in zip(figures, widths[1:], strict=True))
        lines.append("  ".join([name.ljust(widths[0]), *aligned]).rstrip())
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)
