"""The bench's tables, as text that is also Markdown."""

from __future__ import annotations

import math

from benchmark.cells import Cell

#: A core that the one under test had to share this much makes its rates worthless.
_NOISE = 0.05
_SCALE_MS = 0.106


def table(head: list[str], rows: list[list[str]]) -> str:
    """Columns aligned, the first to the left."""
    widths = [max(len(row[at]) for row in [head, *rows]) for at in range(len(head))]

    def line(cells: list[str]) -> str:
        padded = [cells[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:]))]
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join("-" * (width + 1) + (":" if at else "-") for at, width in enumerate(widths)) + "|"
    return "\n".join([line(head), rule, *(line(row) for row in rows)])


def _cpu(figures: dict, scale: float) -> str:
    """One number for a single process, the sum spelt out for several."""
    parts = {name: value * scale for name, value in figures["cpu_ms"].items()}
    if len(parts) == 1:
        return _three(*parts.values())
    spelt = " + ".join(f"{name} {_three(value)}" for name, value in parts.items())
    return f"{spelt} = {_three(sum(parts.values()))}"


def _three(value: float) -> str:
    """Three significant digits, for figures that span µs to seconds."""
    if math.isnan(value):
        return "-"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _over(figures: dict, base: dict | None, key: str) -> str:
    return f"{figures[key] / base[key]:.2f}" if base and base[key] else "-"


def cell_table(cell: Cell, of: dict[str, dict]) -> str:
    """One cell, a row for each contender."""
    base, straight = of.get("passthrough"), of.get("direct")
    return _streaming(of, base, straight, cell) if cell.streaming else _plain(of, base, straight)


def _plain(of: dict[str, dict], base: dict | None, straight: dict | None) -> str:
    head = ["", "req/s", "[min-max]", "× pass-through", "p50 ms", "p99 ms", "added p50",
            "CPU-ms per request", "errors"]
    rows = []
    for name, figures in of.items():
        added = _three(figures["p50_ms"] - straight["p50_ms"]) if straight else "-"
        rows.append([
            name, f"{figures['rps']:,.0f}", f"[{figures['lowest']:,.0f}-{figures['highest']:,.0f}]",
            _over(figures, base, "rps"), _three(figures["p50_ms"]), _three(figures["p99_ms"]), added,
            _cpu(figures, 1), str(figures["errors"]),
        ])
    return table(head, rows)


def _streaming(of: dict[str, dict], base: dict | None, straight: dict | None, cell: Cell) -> str:
    head = ["", "chunks/s", "× pass-through", "TTFT p50 ms", "p99", "added p50", "added p99",
            "chunk delay p50 ms", "p99", "CPU-µs per chunk", "behind", "errors"]
    rows = []
    for name, figures in of.items():
        added = [_three(figures[key] - straight[key]) if straight else "-" for key in ("ttft_p50_ms", "ttft_p99_ms")]
        delay = [_three(figures[key]) if cell.paced else "-" for key in ("delay_p50_ms", "delay_p99_ms")]
        rows.append([
            name, f"{figures['chunks_per_s']:,.0f}", _over(figures, base, "chunks_per_s"),
            _three(figures["ttft_p50_ms"]), _three(figures["ttft_p99_ms"]), *added, *delay,
            _cpu(figures, 1000), str(figures["behind"]) if cell.paced else "-", str(figures["errors"]),
        ])
    return table(head, rows)


def remarks(of: dict[str, dict]) -> str:
    """What makes a cell's figures doubtful: errors, and a core that was not free."""
    lines = [
        f"  {name}: {figures['errors']} errors, the first: {figures['first_error'][:200]!r}"
        for name, figures in of.items()
        if figures["errors"]
    ]
    lines += [
        f"  {name}: waited {figures['core_wait']:.0%} of the window for its core: "
        "other programs, or its own threads, ran there"
        for name, figures in of.items()
        if name != "direct" and figures["core_wait"] > _NOISE
    ]
    return "".join(line + "\n" for line in lines)


def start_line(start: dict) -> str:
    return f"start: healthy after {start['healthy_s']:.2f} s, first answer after {start['first_answer_s']:.2f} s\n"


def publisher_line(publisher: dict) -> str:
    return (
        f"publisher with {publisher['providers']} LLMs: its rows are there after {publisher['start_s']:.2f} s, idle "
        f"{publisher['idle_mb']:.1f} MB and {publisher['idle_cpu_share']:.2%} of a core\n"
    )


def chat_line(chat: dict) -> str:
    return (
        f"a turn on a thread of {chat['messages']:,} messages is at the LLM's server after {chat['turn_ms']:.2f} ms, a plain "
        f"call after {chat['plain_ms']:.2f} ms; CPU-ms of the whole turn: broker {chat['turn_broker_cpu_ms']:.2f} + redis "
        f"{chat['turn_redis_cpu_ms']:.2f}, of the plain call: broker {chat['plain_broker_cpu_ms']:.2f}\n"
    )


def fleet_line(fleet: dict) -> str:
    return (
        f"fleet of {fleet['count']}: {fleet['broker_kb_each']:.0f} KB of broker and {fleet['redis_kb_each']:.0f} KB of "
        f"Redis each, {fleet['redis_connections']} Redis connections, all up in {fleet['joined_s']:.1f} s, "
        f"then {fleet['idle_cpu_share']:.1%} of a core\n"
    )


def scale(cells: dict[str, dict[str, dict]]) -> str:
    """How fast this machine is, for the bars that are absolute."""
    here = cells.get("json32", {}).get("passthrough")
    if not here:
        return ""
    return (
        f"for scale: at 32 clients the pass-through costs {here['cpu_ms']['gateway']:.3f} ms of CPU per request here; "
        f"it cost {_SCALE_MS} where the bars were set\n"
    )


def memory_table(memory: dict[str, dict]) -> str:
    rows = [
        [name, part, f"{of['idle_mb']:.0f}", f"{of['after_mb']:.0f}"]
        for name, parts in memory.items()
        for part, of in parts.items()
    ]
    return table(["", "process", "idle MB", "after the load MB"], rows)


def bars_table(bars: list[dict]) -> str:
    rows = [[bar["bar"], bar["limit"], bar.get("shown", "-"), bar["verdict"]] for bar in bars]
    return table(["bar", "limit", "measured", ""], rows)
