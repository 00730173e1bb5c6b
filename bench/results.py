# SPDX-License-Identifier: Apache-2.0
"""Figures beside their goals, as a table and as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass
class Figure:
    """One measured number; a goal, if there is one, is the most that it may be."""

    what: str
    value: float
    unit: str
    goal: float | None = None
    remark: str = ""

    @property
    def met(self) -> bool | None:
        return None if self.goal is None else self.value <= self.goal

    def row(self) -> list[str]:
        goal = "" if self.goal is None else f"≤ {number(self.goal)} {self.unit}"
        verdict = {None: "", True: "yes", False: "**no**"}[self.met]
        return [
            self.what,
            f"{number(self.value)} {self.unit}".strip(),
            goal.strip(),
            verdict,
            self.remark,
        ]


def number(value: float) -> str:
    """Three digits, which is more than such figures are good for."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of all values do not exceed; not interpolated."""
    ordered = sorted(values)
    return (
        ordered[min(int(len(ordered) * share), len(ordered) - 1)]
        if ordered
        else float("nan")
    )


@dataclass
class Report:
    """Everything that was measured, in order."""

    machine: str
    operator: str
    figures: list[Figure] = field(default_factory=list)
    details: dict[str, object] = field(default_factory=dict)

    def title(self, text: str) -> None:
        print(f"\n### {text}\n", flush=True)
        print(
            "| | measured | goal | met | |\n| --- | --: | --: | --- | --- |", flush=True
        )

    def add(self, *figure: object, **options: object) -> None:
        self.figures.append(Figure(*figure, **options))
        print(f"| {' | '.join(self.figures[-1].row())} |", flush=True)

    def missed(self) -> list[Figure]:
        return [figure for figure in self.figures if figure.met is False]

    def write(self, path: Path) -> None:
        document = {
            "machine": self.machine,
            "operator": self.operator,
            "figures": [
                asdict(figure) | {"met": figure.met} for figure in self.figures
            ],
            "details": self.details,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=1) + "\n")
