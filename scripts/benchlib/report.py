"""Figures as aligned tables with ratios, and as JSON."""

import json
import math
import re
from dataclasses import dataclass

Figures = dict[str, float]


@dataclass(frozen=True)
class Column:
    """One figure: its key, its heading, decimals, and whose figure it is compared with.

    A fact is 1 or 0 and is printed as a word.
    """

    key: str
    title: str
    decimals: int
    ratio_to: str | None = None
    is_fact: bool = False


def columns(rows: str) -> list[Column]:
    """Read columns from lines of a key, a heading, decimals or `yes/no` for a fact, and `/ name` to compare with.

    Two spaces or more separate them.
    """
    found = []
    for line in rows.strip().splitlines():
        key, title, form, *ratio_to = re.split(r"  +", line.strip())
        other = ratio_to[0].removeprefix("/ ") if ratio_to else None
        is_fact = form == "yes/no"
        found.append(Column(key, title, 0 if is_fact else int(form), other, is_fact))
    return found


def cell(column: Column, value: float | None) -> str:
    """Write a figure as people read it."""
    if value is None or math.isnan(value):
        return "–"
    if column.is_fact:
        return "yes" if value == 1 else "NO"
    return "never" if math.isinf(value) else f"{value:.{column.decimals}f}"


def ratio(column: Column, figures: dict[str, Figures], name: str) -> str:
    """Write a contender's figure as a multiple of the one it is compared with."""
    own = figures[name].get(column.key)
    other = figures.get(column.ratio_to or "", {}).get(column.key)
    if own is None or not other or math.isinf(own) or math.isinf(other):
        return "–"
    return f"×{own / other:.2f}"


def table(columns: list[Column], figures: dict[str, Figures]) -> str:
    """Lay figures out: a row for each contender; columns without a figure are left out."""
    shown = [column for column in columns if any(column.key in row for row in figures.values())]
    head = [""]
    for column in shown:
        head += [column.title, *([f"/ {column.ratio_to}"] if column.ratio_to in figures else [])]
    rows = [head]
    for name, row in figures.items():
        line = [name]
        for column in shown:
            line.append(cell(column, row.get(column.key)))
            if column.ratio_to in figures:
                line.append(ratio(column, figures, name))
        rows.append(line)
    widths = [max(len(row[place]) for row in rows) for place in range(len(head))]
    return "\n".join(
        "  "
        + row[0].ljust(widths[0])
        + "".join(f"  {text:>{width}}" for text, width in zip(row[1:], widths[1:], strict=True))
        for row in rows
    )


def to_json(document: dict[str, object]) -> str:
    """Encode; what never came is the word `never`, as JSON has no infinity."""
    return json.dumps(_plain(document), indent=2, ensure_ascii=False) + "\n"


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "never" if math.isinf(value) else None
    return value
