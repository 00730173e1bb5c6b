# SPDX-License-Identifier: Apache-2.0
"""Measure an operator of OMJobs on fake nodes: delays, throughput, requests, memory.

The operator, the load generator and the cluster are processes of their own on one machine. Pods
run in name only (KWOK), so what is measured is the operator and the control plane:

  seen from outside   times at which the load generator's own watches showed something
  operator's own part the API server's audit log: from the change that an operator reacts to until
                      its request for the pod arrives, less the time in which the API server
                      worked on its other requests for that run

Figures mean something on a machine that does nothing else; the report tells when it did.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import metrics
from audit import WRITES, Window
from cluster import NAMESPACE, Cluster, Load, Operator, load, note
from machine import machine
from processes import Meter, Usage, peak_mib, resident_mib, waited_seconds
from results import Report, percentile

MAIN, EXIT = 1000, 500  # milliseconds that the stages of a run take
PODS_SECONDS = (MAIN + EXIT) / 1000
STEADY_RATE, STEADY_SECONDS = 10, 60
BURST = 1000
RUNNING = 200
RAMP_RATES = (20, 40, 60, 80, 100, 130, 160, 200)
RAMP_SECONDS = 10
# A queue that is this long for this many of a hundred runs is growing.
RAMP_LATENCY = 1.0
FINISHED = 10_000
FILL_UNFINISHED = 150
SETTLE_SECONDS = 20
IDLE_SECONDS = 120
SOAK_RATE, SOAK_TTL = 5, 5
SOAK_SAMPLE_SECONDS = 5
# Allocators round up: less than this between two quarters of a soak is no growth.
SOAK_BOUND_MIB = 2
# More than this of the machine in other programs' hands, and the figures are theirs too.
NOISE = 0.1


def main() -> None:
    options = parse()
    command = os.environ["OPERATOR"]
    report = Report(machine(), command)
    print(f"On {report.machine}.\n\nOperator: `{Path(command.split()[0]).name}`.")
    with tempfile.TemporaryDirectory() as scratch:
        for part in PARTS:
            if options.only and part.__name__ not in options.only:
                continue
            with Cluster(Path(scratch)) as cluster:
                part(cluster, report, options)
    report.write(options.output)
    note(f"all of it is in {options.output}")
    if options.check and (missed := report.missed()):
        sys.exit("not met: " + "; ".join(figure.what for figure in missed))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure an operator of OMJobs.")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument(
        "--check", action="store_true", help="fail when a goal is missed"
    )
    parser.add_argument("--soak-minutes", type=float, default=20)
    parser.add_argument(
        "--only",
        nargs="+",
        choices=[part.__name__ for part in PARTS],
        help="measure these parts alone",
    )
    return parser.parse_args()


def delays(cluster: Cluster, report: Report, _: argparse.Namespace) -> None:
    """How long the operator takes, when nobody is in its way."""
    with Operator(cluster) as operator:
        report.title("At rest")
        time.sleep(SETTLE_SECONDS)
        report.add("start until ready", operator.seconds_to_ready, "s")
        report.add("memory", resident_mib(operator.pid), "MiB", 32)
        at_rest(cluster, operator, report, seconds=30)

        report.title("One run at a time")
        runs = [
            load(
                cluster,
                f"one-{turn}",
                runs=1,
                main=MAIN,
                exit=EXIT,
                failed=0,
                oom_killed=0,
            )
            for turn in range(10)
        ]
        for what, start, end in STEPS:
            report.add(
                what,
                1000 * statistics.median(run.between(start, end)[0] for run in runs),
                "ms",
                remark="median of 10",
            )
        whole = [run.between("seen", "terminal")[0] for run in runs]
        report.add(
            "created → terminal",
            statistics.median(whole),
            "s",
            remark=f"{PODS_SECONDS} s of it the pods run",
        )

        report.title(f"{STEADY_RATE} runs/s for {STEADY_SECONDS} s")
        steady(cluster, operator, report)


# All of them from one of the load generator's watches to the other, which show a change equally late.
STEPS = (
    ("created → main pod created", "seen", "main_pod"),
    ("main end → exit pod created", "main_end", "exit_pod"),
    ("exit end → terminal", "exit_end", "terminal"),
)


def steady(cluster: Cluster, operator: Operator, report: Report) -> None:
    before = operator.samples()
    cluster.audit.skip()
    api_server = cluster.pids()["apiserver"]
    before_cpu, before_waited = operator.cpu(), operator.waited()
    before_api_waited = waited_seconds(api_server)
    meter = operator.meter()
    count = STEADY_RATE * STEADY_SECONDS
    seen = load(cluster, "steady", runs=count, rate=STEADY_RATE, main=MAIN, exit=EXIT)
    usage = meter.read({"load": seen.cpu})
    cluster.audit.quiet()
    cpu, waited = operator.cpu() - before_cpu, operator.waited() - before_waited
    api_waited = waited_seconds(api_server) - before_api_waited
    window = cluster.audit.window()
    for what, start, end in STEPS:
        spread(report, f"{what}, seen from outside", seen.between(start, end))
    own_parts(report, window, goal=50)
    report.add(
        "operator's wait for a processor per run",
        1000 * waited / count,
        "ms",
        remark="all waits of a run together",
    )
    report.add(
        "API server's wait for a processor per run", 1000 * api_waited / count, "ms"
    )
    per_run(report, window, cpu, count, goals=False)
    closing(report, "steady", operator, before, seen, usage)


def spread(
    report: Report, what: str, delays: Iterable[float], goal: float | None = None
) -> None:
    delays = [delay * 1000 for delay in delays]
    report.add(f"{what}, p50", percentile(delays, 0.5), "ms")
    report.add(f"{what}, p99", percentile(delays, 0.99), "ms", goal)


def own_parts(report: Report, window: Window, goal: float | None) -> None:
    runs = window.runs.values()
    for what, parts in (
        (
            "created → main pod created",
            [run.own_part(run.created, run.main_pod) for run in runs],
        ),
        (
            "main end → exit pod created",
            [run.own_part(run.main_end, run.exit_pod) for run in runs],
        ),
    ):
        known = [part for part in parts if part is not None]
        spread(report, f"{what}, operator's own part", known, goal)


def per_run(
    report: Report, window: Window, operator_cpu: float, runs: int, goals: bool = True
) -> None:
    limit = (lambda value: value) if goals else (lambda _: None)
    kinds = ", ".join(
        f"{count / runs:.2f} {kind}" for kind, count in window.by_kind().most_common()
    )
    writes = window.count(*WRITES) / runs
    events = window.events() / runs
    report.add("API writes per run, events aside", writes, "", limit(9), remark=kinds)
    report.add("events per run", events, "")
    report.add("gets per run", window.count("get") / runs, "")
    report.add("lists", window.count("list"), "", limit(0))
    report.add("requests refused or lost to a conflict", window.refused(), "")
    report.add("operator's CPU per run", 1000 * operator_cpu / runs, "ms", limit(3))


def closing(
    report: Report,
    name: str,
    operator: Operator,
    before: metrics.Samples,
    seen: Load,
    usage: Usage,
) -> None:
    """What belongs to every measurement with a load."""
    wrong = sum(phase != expected(run) for run, phase in seen.phases.items())
    report.add("runs without an end, or with a wrong one", wrong + missing(seen), "", 0)
    report.details[name] = {
        "cpu shares": usage.shares(),
        "operator's histograms": metrics.histograms(
            metrics.between(before, operator.samples())
        ),
        "seconds": usage.seconds,
    }
    who_ran(usage)
    each = ", ".join(
        f"{who} {1000 * seconds / len(seen.runs):.1f}"
        for who, seconds in usage.cpu.items()
    )
    print(f"In milliseconds per run: {each}.")


def who_ran(usage: Usage) -> None:
    told = ", ".join(
        f"{who} {share:.0%}" for who, share in usage.shares().items() if share >= 0.01
    )
    print(f"\nThe machine's processor time: {told}.")
    if usage.share("everything else") > NOISE:
        print("**Other programs were busy: these figures are theirs too.**")


def expected(run: str) -> str:
    """The load generator lets 6 of 100 runs fail, unless told otherwise."""
    return "Failed" if int(run.rpartition("-")[2]) % 100 < 6 else "Succeeded"


def missing(seen: Load) -> int:
    return sum("terminal" not in times for times in seen.runs.values())


def control_plane(cluster: Cluster, report: Report, _: argparse.Namespace) -> None:
    """What the machine's control plane does with as many pods and no operator of ours."""
    count = 2 * BURST
    report.title(f"For comparison: one Job of Kubernetes' own, {count} pods at once")
    meter = Meter(cluster.pids())
    cluster.create(plain_job(count))
    cluster.kubectl(
        "-n",
        NAMESPACE,
        "wait",
        "--for=condition=Complete",
        "job/plain",
        "--timeout=600s",
    )
    usage = meter.read()
    report.add("all pods over", usage.seconds, "s")
    who_ran(usage)


def plain_job(count: int) -> dict:
    """Pods as those of a run: created, scheduled, started, ended, tracked by a finalizer."""
    annotations = {"pod-complete.stage.kwok.x-k8s.io/delay": f"{EXIT}ms"}
    container = {
        "name": "main",
        "image": "docker.getcollate.io/openmetadata/ingestion:1.13.1",
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}},
    }
    pod = {
        "restartPolicy": "Never",
        "nodeSelector": {"type": "kwok"},
        "tolerations": [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}],
        "containers": [container],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "plain", "namespace": NAMESPACE},
        "spec": {
            "completions": count,
            "parallelism": count,
            "template": {"metadata": {"annotations": annotations}, "spec": pod},
        },
    }


def volume(cluster: Cluster, report: Report, _: argparse.Namespace) -> None:
    """How much the operator can do, and what it holds while it does."""
    with Operator(cluster) as operator:
        report.title(f"{BURST} OMJobs at once")
        burst(cluster, operator, report)

        report.title(f"{BURST} finished and {RUNNING} running")
        load(
            cluster,
            "running",
            runs=RUNNING,
            main=60_000,
            exit=EXIT,
            until="main-running",
        )
        time.sleep(SETTLE_SECONDS)
        report.add("memory", resident_mib(operator.pid), "MiB", 64)
        report.add("peak memory so far", peak_mib(operator.pid), "MiB")

        report.title("A ramp")
        done = BURST + RUNNING + ramp(cluster, report)

        report.title(f"{FINISHED} finished")
        fill(cluster, report, FINISHED - done)
        time.sleep(SETTLE_SECONDS)
        report.add("memory", resident_mib(operator.pid), "MiB", 120)
        report.add("peak memory so far", peak_mib(operator.pid), "MiB")
        at_rest(cluster, operator, report, seconds=IDLE_SECONDS)

    report.title(f"Started with {FINISHED} finished")
    with Operator(cluster) as operator:
        report.add("start until ready", operator.seconds_to_ready, "s")
        time.sleep(SETTLE_SECONDS)
        report.add("memory", resident_mib(operator.pid), "MiB", 120)
        report.add("peak memory", peak_mib(operator.pid), "MiB")


def burst(cluster: Cluster, operator: Operator, report: Report) -> None:
    before = operator.samples()
    cluster.audit.skip()
    before_writes, before_cpu = cluster.writes(), operator.cpu()
    meter = operator.meter()
    seen = load(cluster, "burst", runs=BURST, main=MAIN, exit=EXIT)
    usage = meter.read({"load": seen.cpu})
    cluster.audit.quiet()
    cpu = operator.cpu() - before_cpu
    window = cluster.audit.window()
    start = seen.first("asked")
    report.add("all created", seen.last("created") - start, "s")
    report.add("all terminal", seen.last("terminal") - start, "s", 20)
    share = 100 * usage.share("operator")
    report.add("operator's share of the machine's CPU time", share, "%", 20)
    spread(report, "main end → exit pod created", seen.between("main_end", "exit_pod"))
    own_parts(report, window, goal=None)
    per_run(report, window, cpu, BURST)
    writes = cluster.writes() - before_writes
    report.add("API writes of everybody per run, events included", writes / BURST, "")
    closing(report, "burst", operator, before, seen, usage)


def ramp(cluster: Cluster, report: Report) -> int:
    """Raise the rate until runs queue; how many runs that took."""
    done = 0
    for rate in RAMP_RATES:
        count = rate * RAMP_SECONDS
        seen = load(
            cluster, f"ramp-{rate}", runs=count, rate=rate, main=MAIN, exit=EXIT
        )
        done += count
        late = percentile(seen.between("seen", "main_pod"), 0.99)
        exits = percentile(seen.between("main_end", "exit_pod"), 0.99)
        asked = (count - 1) / (seen.last("asked") - seen.first("asked"))
        report.add(
            f"{rate} runs/s: created → main pod, p99",
            late * 1000,
            "ms",
            remark=f"{asked:.0f} runs/s made, main end → exit pod p99 {exits * 1000:.0f} ms",
        )
        if max(late, exits) > RAMP_LATENCY or asked < 0.9 * rate:
            break
    return done


def fill(cluster: Cluster, report: Report, count: int) -> None:
    seen = load(
        cluster,
        "fill",
        runs=count,
        unfinished=FILL_UNFINISHED,
        main=MAIN,
        exit=EXIT,
        patience=1800,
    )
    seconds = seen.last("terminal") - seen.first("asked")
    report.add(
        f"{count} runs, {FILL_UNFINISHED} at a time",
        count / seconds,
        "runs/s",
        remark="terminal",
    )
    report.add("runs without an end", missing(seen), "", 0)


def at_rest(
    cluster: Cluster, operator: Operator, report: Report, seconds: float
) -> None:
    cluster.audit.skip()
    before = operator.cpu()
    time.sleep(seconds)
    share = 100 * (operator.cpu() - before) / seconds
    window = cluster.audit.window()
    kinds = ", ".join(f"{count} {kind}" for kind, count in window.by_kind().items())
    report.add("CPU, of one core", share, "%", 1)
    report.add(f"lists in {seconds:.0f} s", window.count("list"), "", 0)
    requests = sum(1 for _ in window.of_operator())
    report.add(f"requests for objects in {seconds:.0f} s", requests, "", remark=kinds)


def soak(cluster: Cluster, report: Report, options: argparse.Namespace) -> None:
    """Whether anything grows that should not."""
    seconds = options.soak_minutes * 60
    with Operator(cluster) as operator:
        report.title(
            f"{SOAK_RATE} runs/s for {options.soak_minutes:g} minutes, gone after {SOAK_TTL} s"
        )
        samples = during(
            lambda: load(
                cluster,
                "soak",
                runs=int(SOAK_RATE * seconds),
                rate=SOAK_RATE,
                main=MAIN,
                exit=EXIT,
                ttl=SOAK_TTL,
                until="gone",
                patience=int(seconds + 300),
            ),
            lambda: resident_mib(operator.pid),
        )
        first, last = quarters(samples)
        report.details["soak memory"] = [round(sample, 2) for sample in samples]
        report.add("memory, first quarter after warm-up", first, "MiB")
        report.add("memory, last quarter", last, "MiB", first + SOAK_BOUND_MIB)
        report.add("OMJobs left", cluster.count("omjobs"), "", 0)
        report.add("pods left", cluster.count("pods"), "", 0)


def during(work: Callable[[], Load], sample: Callable[[], float]) -> list[float]:
    """Samples at an even pace while some work is done."""
    samples: list[float] = []
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(work)
        while not working.done():
            samples.append(sample())
            time.sleep(SOAK_SAMPLE_SECONDS)
        if not working.result().complete:
            note("the soak ran out of time: not every run is gone")
    return samples


def quarters(samples: list[float]) -> tuple[float, float]:
    """Means of the first quarter after a tenth for warming up, and of the last."""
    warm = samples[len(samples) // 10 :]
    quarter = max(1, len(warm) // 4)
    return statistics.mean(warm[:quarter]), statistics.mean(warm[-quarter:])


PARTS = (delays, control_plane, volume, soak)


if __name__ == "__main__":
    main()
