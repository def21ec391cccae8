"""Half precision inside the networks, float32 everywhere else."""

import mindspore as ms
from mindspore import amp, nn

from mindbyol.training.batch_norm import BatchNormOfViews
from mindbyol.training.cells import replace_cells


class _HalfLayer(nn.Cell):
    """Computes one layer in half precision and hands its result on in float32."""

    def __init__(self, layer, dtype):
        super().__init__(auto_prefix=False)
        self.layer = layer.to_float(dtype)

    def construct(self, x):
        return self.layer(x).astype(ms.float32)


def set_precision(network, cells, level, dtype):
    """Lets some cells of a network compute in half precision; the rest of the step stays float32.

    All parameters, running statistics, the optimizer and what follows it stay float32 at every level.

    Args:
        network (Cell): Changed in place; parameters keep their names.
        cells (sequence[tuple[Cell, str]]): Those cells, each as the cell that holds it and its name there.
        level (str): `O0`, nothing; `O1`, convolutions and linear layers; `O2`, all but normalisation; `O3`, all.
        dtype (str): `float16` or `bfloat16`, with which max-pools stay float32.

    Raises:
        ValueError: bfloat16 on a CPU, which has no such convolutions.
    """
    if level == "O0":
        return
    if dtype == "bfloat16" and ms.get_context("device_target") == "CPU":
        raise ValueError("amp_dtype: MindSpore has no bfloat16 convolution on the CPU; use float16, or amp_level O0")
    on_ascend = ms.get_context("device_target") == "Ascend"
    dtype = getattr(ms, dtype)
    names = {id(parameter): parameter.name for parameter in network.get_parameters()}
    for parent, name in cells:
        cell = getattr(parent, name)
        if level == "O1":
            replace_cells(cell, (nn.Conv2d, nn.Dense), lambda layer: _HalfLayer(layer, dtype))
            continue
        # Batch norms keep their parameters in float32 at every level; Ascend's kernels take x as it comes.
        keep = ([] if on_ascend else [BatchNormOfViews]) + (amp.get_black_list() if level == "O2" else [])
        if dtype == ms.bfloat16:  # of which Ascend has no max-pool
            keep.append(nn.MaxPool2d)
        setattr(parent, name, amp.custom_mixed_precision(cell, black_list=keep, dtype=dtype))
        if on_ascend:
            _leave_uncast(cell)
    for parameter in network.get_parameters():  # the wrappers that amp puts around cells would be in the names
        parameter.name = names[id(parameter)]


def _leave_uncast(network):
    """Takes amp's casts from batch norms: running statistics would go to copies of the parameters."""
    for _, cell in network.cells_and_names():
        if isinstance(cell, BatchNormOfViews):
            cell.add_flags_recursive(fp16=False, fp32=False, bf16=False)
