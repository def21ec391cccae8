"""Compiles the training step of a recipe for Ascend, where there is no Ascend, and counts what the device would run.

    python tests/ascend/dry_run.py --ranks 8 --config configs/byol/byol_resnet50_imagenet_300e_ascend.yaml [flags]

Nothing is computed. MindSpore compiles the step for a pretended device, chooses kernels, plans memory and streams, and
logs it; the counts are read from that log. docs/ascend.md says what this shows and what it cannot.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.ascend import cann_stub  # noqa: E402

BEGIN = "dry run: the step begins"  # `compile_step.py` writes it; what comes before is not the step

# How the log calls kinds of kernels.
_KINDS = {
    "opapi_kernel": "aclnn",
    "acl_kernel": "aclop",
    "hccl_kernel": "hccl",
    "rt_kernel": "runtime",
    "host_kernel": "host",
}
_KERNEL = re.compile(r"GenerateKernelMod\] kernel opname:(\w+), kernel type:(\w+)")
_LAUNCH = re.compile(r"PrintGraphExecuteOrder\] Index\[\d+\], node name\[(?:[^]]*/)?(\w+?)(?:-op\d+)?\]")
_PEAK = re.compile(r"Actual peak memory usage \(with fragments\): (\d+)M")
_ON_CPU = re.compile(r"primitive_target: CPU, node name: (\S+)")
_REFUSED = re.compile(r"(?:operator selection failed.*node is |Unsupported op type on acl, node name: )(\S+)")
_PYTHON = re.compile(r"ValueNode<Primitive> PyExecute")
_CUT = re.compile(r"Compile cut segment, the cut node: ([^\s{]+)\{\[0\]: ValueNode<Primitive> Switch")
_GE_REFUSES = re.compile(r"^\[ERROR\].* CheckGraph\] (.*)")
_GE_GRAPH = re.compile(r"DfGraphConvertor\] Create DfGraphConvertor with graph")
_ERROR = re.compile(r"^\w*(?:Error|Exception): .*")


@dataclass
class Report:
    """What the compiled step is made of.

    Attributes:
        status (int): Exit status; negative where a signal ended the process.
        launches (Counter): Everything that the device runs in a step, by operator, events between streams included.
        kinds (Counter): Kernels by kind: single-operator interface (aclnn), older operators (aclop), collectives
            (hccl), changes of shape (runtime), host.
        on_cpu, refused, python, control_flow (list[str]): Nodes that are placed on the CPU, that have no kernel for
            their types, that call Python from the graph, and that split the graph into branches.
        ge_refuses (str): What jit level O2 has against the graph.
        ge_graphs (int): Graphs that jit level O2 has begun to translate for its engine, one where control flow did not
            cut it. That ends where collectives are built: CANN itself would be needed.
        peak_mb (int): Most device memory in use at a time, fragments included: parameters, optimizer, activations.
        error (str): The last error of Python.
        printed (str): What the script says of the step and of the time to compile it.
    """

    status: int = 0
    launches: Counter = field(default_factory=Counter)
    kinds: Counter = field(default_factory=Counter)
    on_cpu: list = field(default_factory=list)
    refused: list = field(default_factory=list)
    python: list = field(default_factory=list)
    control_flow: list = field(default_factory=list)
    ge_refuses: str = None
    ge_graphs: int = 0
    peak_mb: int = 0
    error: str = None
    printed: str = ""

    @property
    def kernels(self):
        """All launches of a step."""
        return sum(self.launches.values())

    @property
    def all_reduces(self):
        return self.launches["AllReduce"]

    def __str__(self):
        rows = {
            "exit status": f"{self.status}" + (f", {self.error}" if self.status else ""),
            "peak memory": f"{self.peak_mb:,} MB",
            "kernels": f"{self.kernels:,}: {_listed(self.kinds)}",
            "most frequent": _listed(self.launches, 12),
            "AllReduce": self.all_reduces,
            "on the CPU": self.on_cpu or "none",
            "without a kernel": self.refused or "none",
            "calls of Python": self.python or "none",
            "control flow": self.control_flow or "none",
        }
        if self.ge_refuses or self.ge_graphs:
            rows["jit level O2"] = self.ge_refuses or f"translates {self.ge_graphs} graph(s)"
        return self.printed + "\n".join(f"{name:<18}{value}" for name, value in rows.items())


def _listed(counter, most=None):
    return ", ".join(f"{name} {count:,}" for name, count in counter.most_common(most))


def read(lines):
    """A `Report` from the lines of a log of level INFO."""
    report = Report()
    began = False
    for line in lines:
        if not began:
            began = line.startswith(BEGIN)
        elif match := _LAUNCH.search(line):
            report.launches[match[1]] += 1
        elif match := _KERNEL.search(line):
            report.kinds[_KINDS.get(match[2], match[2])] += 1
        elif match := _PEAK.search(line):
            report.peak_mb = int(match[1])
        elif match := _ON_CPU.search(line):
            report.on_cpu.append(match[1])
        elif match := _CUT.search(line):
            report.control_flow.append(match[1])
        elif match := _GE_REFUSES.search(line):
            report.ge_refuses = match[1]
        elif _GE_GRAPH.search(line):
            report.ge_graphs += 1
        if match := _ERROR.search(line):
            report.error = match[0].strip()
        if match := _REFUSED.search(line):
            report.refused.append(match[1])
        if "/frontend/" not in line and _PYTHON.search(line):  # there, nodes come and go
            report.python.append(line.strip()[-200:])
    report.control_flow += ["ConditionSwitch"] * report.launches["ConditionSwitch"]
    return report


def dry_run(stub, flags, ranks=8, script=None, log=None):
    """Compiles and reads.

    Args:
        stub (dict[str, str]): Environment that `cann_stub.build` gives.
        flags (list[str]): Of train.py; `--config` takes an absolute path.
        ranks (int): Devices to pretend.
        script (Path): What is run; `compile_step.py` by default.
        log (Path): Where MindSpore's log is kept; nowhere by default.

    Returns:
        Report: What was compiled, until the error if there was one.
    """
    with tempfile.TemporaryDirectory() as folder:  # MindSpore writes to the working folder
        kept = Path(log or Path(folder) / "log")
        simulated = {
            "MS_SIMULATION_LEVEL": "1",
            "RANK_SIZE": str(ranks),
            "RANK_ID": "0",
            "GLOG_v": "1",  # INFO, to standard error
            "GLOG_logtostderr": "1",
        }
        launched = ("MS_WORKER_NUM", "RANK_TABLE_FILE")
        environment = {key: value for key, value in os.environ.items() if key not in launched}
        command = [sys.executable, str(script or Path(__file__).with_name("compile_step.py")), *flags]
        with open(kept, "w") as stderr:
            done = subprocess.run(
                command,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                cwd=folder,
                env={**environment, **simulated, **stub},
            )
        with open(kept, errors="replace") as lines:
            report = read(lines)
    report.status, report.printed = done.returncode, done.stdout
    return report


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, default=8, help="devices to pretend")
    parser.add_argument("--log", help="file to keep MindSpore's log in, 10 to 100 MB")
    options, flags = parser.parse_known_args()
    if reason := cann_stub.unavailable():
        raise SystemExit(reason)
    for place in [k for k, flag in enumerate(flags) if flag in ("-c", "--config")]:
        flags[place + 1] = os.path.abspath(flags[place + 1])
    with tempfile.TemporaryDirectory() as folder:
        report = dry_run(cann_stub.build(Path(folder)), flags, options.ranks, log=options.log)
    print(report)
    raise SystemExit(report.status != 0)


if __name__ == "__main__":
    main()
