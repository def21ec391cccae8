"""The step compiles for Ascend: every operator has a kernel there, nothing falls back, and what it takes is bounded.

MindSpore's compiler is run whole, for devices that are pretended; see `dry_run.py`.
"""

from pathlib import Path

import pytest

from tests.ascend import cann_stub, dry_run

REASON = cann_stub.unavailable()
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON or "")

RECIPES = Path(__file__).parents[2] / "configs" / "byol"
IMAGENET = ["--config", str(RECIPES / "byol_resnet50_imagenet_300e_ascend.yaml")]
SMALL = ["--model", "resnet18", "--image_resize", "64", "--batch_size", "8", "--effective_batch", "64"]


@pytest.fixture(scope="module")
def stub(tmp_path_factory):
    return cann_stub.build(tmp_path_factory.mktemp("stub"))


def check(report, kernels, all_reduces, peak_mb):
    assert report.status == 0, report
    assert not (report.refused or report.on_cpu or report.python or report.control_flow), report
    assert 0.5 * kernels < report.kernels <= kernels and 0 < report.all_reduces <= all_reduces, report
    assert 0 < report.peak_mb <= peak_mb, report


@pytest.mark.parametrize("dtype, kernels, peak_mb", [("float16", 2800, 600), ("bfloat16", 3100, 600)])
def test_the_step_of_a_resnet18_compiles(stub, dtype, kernels, peak_mb):
    check(dry_run.dry_run(stub, IMAGENET + SMALL + ["--amp_dtype", dtype]), kernels, 75, peak_mb)


def test_jit_level_o2_takes_the_step_as_one_graph(stub):
    """Control flow would be refused, or cut it into several. Beyond that CANN itself would be needed."""
    report = dry_run.dry_run(stub, IMAGENET + SMALL + ["--jit_level", "O2"])
    assert report.ge_refuses is None and report.ge_graphs == 1, report
    assert not (report.python or report.control_flow), report


@pytest.mark.slow
@pytest.mark.parametrize("dtype, kernels, peak_gb", [("float16", 6200, 14), ("bfloat16", 6500, 22)])
def test_the_imagenet_recipe_compiles_as_shipped(stub, dtype, kernels, peak_gb):
    report = dry_run.dry_run(stub, IMAGENET + ["--amp_dtype", dtype])
    check(report, kernels, 172, peak_gb * 1024)


def test_what_a_log_says_is_counted():
    place = "[mindspore/ccsrc/x.cc:1] "
    line = place + "PrintGraphExecuteOrder] Index[3], node name[Default/bn1-BatchNorm/{}-op0], logic id[1]"
    lines = [
        line.format("Conv2D"),
        f"{dry_run.BEGIN}\n",
        line.format("AllReduce"),
        line.format("StreamSend"),
        place + "GenerateKernelMod] kernel opname:AllReduce, kernel type:hccl_kernel",
        place + "x] primitive_target: CPU, node name: Default/Cast-op3",
        place + "x] Unsupported op type on acl, node name: Default/MaxPool-op1",
        place + "x] Index[4], node info[@kernel_graph0:CNode_1{[0]: ValueNode<Primitive> PyExecute, [1]: x}]",
        place + "x] Compile cut segment, the cut node: @step:CNode_2{[0]: ValueNode<Primitive> Switch, [1]: y}",
        place + "x] Compile cut segment, the cut node: @step:CNode_3{[0]: ValueNode<Primitive> Return, [1]: y}",
        place + "x] Actual peak memory usage (with fragments): 575M",
        "[ERROR] GE(1,python):0 [x.cc:1 CheckGraph] do not support control flow",
        "[INFO] GE_ADPT(1,python):0 [x.h:1] DfGraphConvertor] Create DfGraphConvertor with graph: g",
        "ValueError: the last line of a traceback",
    ]
    report = dry_run.read(lines)
    assert report.launches == {"AllReduce": 1, "StreamSend": 1} and report.kinds == {"hccl": 1}
    assert report.on_cpu == ["Default/Cast-op3"] and report.refused == ["Default/MaxPool-op1"]
    assert len(report.python) == 1 and report.control_flow == ["@step:CNode_2"]
    assert report.peak_mb == 575 and report.ge_graphs == 1 and report.ge_refuses == "do not support control flow"
    assert report.error == "ValueError: the last line of a traceback" and "AllReduce" in str(report)
