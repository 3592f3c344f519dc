"""The figures as JSON lines, and as a table with the ratios that matter."""

import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

__all__ = ["json_lines", "show"]

REFERENCES = ("floor", "celery")


def json_lines(lines: Sequence[dict[str, Any]]) -> str:
    """One JSON object on a line for each system."""
    return "".join(json.dumps(line) + "\n" for line in lines)


def show(lines: Sequence[dict[str, Any]], console: Console) -> None:
    """Print the table. `x floor` and `x celery` are ratios of sagas per second."""
    rates = {line["system"]: line["sagas_per_s"] for line in lines}
    references = [name for name in REFERENCES if name in rates]
    table = Table(
        title="sagas of three no-op steps",
        caption="µs: CPU time for each step; others: what else kept this machine's cores busy meanwhile",
    )
    table.add_column("system")
    heads = ["sagas/s", "steps/s", "p50 ms", "p99 ms", "µs", "broker µs", "client µs", "RSS MiB", "others"]
    for name in (*heads, *(f"x {name}" for name in references)):
        table.add_column(name, justify="right")
    for line in lines:
        figures = [
            f"{line['sagas_per_s']:,.0f}",
            f"{line['steps_per_s']:,.0f}",
            f"{line['p50_ms']:.1f}",
            f"{line['p99_ms']:.1f}",
            f"{line['cpu_us_per_step']:,}",
            f"{line['broker_cpu_us_per_step']:,}",
            f"{line['client_cpu_us_per_step']:,}",
            f"{line['rss_mb']:.0f}",
            f"{line['others_cpu_percent']}%",
        ]
        ratios = [f"{line['sagas_per_s'] / rates[name]:.2f}" for name in references]
        table.add_row(line["system"], *figures, *ratios)
    console.print(table)
