# SPDX-License-Identifier: Apache-2.0
"""What an operator, or the API server, says about itself at /metrics, between two moments."""

import re
import urllib.request
from collections import defaultdict

SAMPLE = re.compile(r"^(?P<name>\w+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")

Samples = dict[tuple[str, str], float]


def scrape(url: str) -> Samples:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return parse(answer.read().decode())


def parse(text: str) -> Samples:
    found = (
        SAMPLE.match(line) for line in text.splitlines() if not line.startswith("#")
    )
    return {
        (sample["name"], sample["labels"] or ""): float(sample["value"])
        for sample in found
        if sample
    }


def api_writes(samples: Samples) -> float:
    """Writes that an API server has answered, but for what goes on all the time."""
    return sum(
        value
        for (name, labels), value in samples.items()
        if name == "apiserver_request_total"
        and re.search(r'verb="(POST|PUT|PATCH|DELETE)"', labels)
        and 'resource="leases"' not in labels
    )


def between(before: Samples, after: Samples) -> Samples:
    """What was added; of gauges, the difference."""
    return {key: value - before.get(key, 0.0) for key, value in after.items()}


def histograms(samples: Samples) -> dict[str, dict[str, float]]:
    """Count, p50 and p99 of every histogram, as upper bounds of the buckets that they fall into."""
    buckets: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for (name, labels), value in samples.items():
        bound = re.search(r'le="([^"]+)"', labels)
        if name.endswith("_bucket") and bound:
            others = re.sub(r',?le="[^"]+",?', "", labels)
            series = f"{name.removesuffix('_bucket')}{{{others}}}"
            buckets[series].append((float(bound[1]), value))
    return {
        series: {
            "count": max(count for _, count in bounds),
            "p50": quantile(sorted(bounds), 0.5),
            "p99": quantile(sorted(bounds), 0.99),
        }
        for series, bounds in buckets.items()
        if max(count for _, count in bounds) > 0
    }


def quantile(bounds: list[tuple[float, float]], share: float) -> float:
    wanted = bounds[-1][1] * share
    return next(bound for bound, count in bounds if count >= wanted)
