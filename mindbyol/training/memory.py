"""What a step of BYOL needs of a CPU's memory, and what is free: a system without enough ends a run without a word."""

import contextlib
import logging
from pathlib import Path

import numpy as np

import mindspore as ms
from mindcv.models.swintransformer import SwinTransformer
from mindcv.models.swintransformerv2 import SwinTransformerV2
from mindspore import Tensor, nn

from mindbyol.runtime import pynative

logger = logging.getLogger(__name__)

GIGA = 1e9
_FLOAT = 4  # bytes
# Measured (docs/scaling.md): parameters with gradients, moments and what the compiler holds, as a multiple of the
# networks' parameters; and what is held for an image, as a multiple of its layers' outputs for two views. Attention has
# operators between its layers; Swin's cuts maps into windows and back as well.
_OF_PARAMETERS, _OF_OUTPUTS, _OF_ATTENTION, _OF_WINDOWS = 6.0, 1.5, 1.7, 3.4


def outputs_of_layers(encoder, image_size):
    """Numbers that the layers of an encoder give for one image, all together.

    Args:
        encoder (Cell): Takes images (N, 3, H, W); it is left in training mode.
        image_size (int): H and W.

    Returns:
        int: How many.
    """
    count, call = 0, nn.Cell.__call__

    def counted(cell, *args, **kwargs):
        nonlocal count
        result = call(cell, *args, **kwargs)
        if not cell.name_cells():
            results = result if isinstance(result, tuple) else (result,)
            count += sum(one.size for one in results if isinstance(one, Tensor))
        return result

    with pynative():
        nn.Cell.__call__ = counted
        try:
            encoder.set_train(False)(Tensor(np.zeros((1, 3, image_size, image_size), np.float32), ms.float32))
        finally:
            nn.Cell.__call__ = call
            encoder.set_train(True)
    return count


def note(network, batch_size, image_size, images_a_step):
    """What is needed and what is free, for the log; warns where less is free.

    Args:
        network (BYOL): What will be trained; its encoder runs once, on one image.
        batch_size (int): Images a forward pass.
        image_size (int): Side of the images, in pixels.
        images_a_step (int): Of this process, accumulated batches together; batches that divide it are proposed.

    Returns:
        str: Such as "about 5.2 GB for a step, of 20.1 GB that are free".
    """
    parameters = _FLOAT * sum(parameter.size for parameter in network.get_parameters())
    for_weights = _OF_PARAMETERS * parameters
    for_image = _multiple(network.online) * 2 * _FLOAT * outputs_of_layers(network.online, image_size)
    needed, there = for_weights + batch_size * for_image, free()
    about = f"about {needed / GIGA:.1f} GB"
    if there is None:
        return f"{about} for a step"
    if needed > there:
        fits = [n for n in range(2, batch_size) if images_a_step % n == 0 and for_weights + n * for_image < 0.8 * there]
        advice = (
            f"try --batch_size {fits[-1]} --effective_batch {images_a_step} --gradient_accumulation_steps auto, "
            "which makes the same step of smaller batches"
            if fits
            else "take a smaller model, or a smaller --image_resize"
        )
        logger.warning(
            f"batch_size: a step needs {about} of memory, and {there / GIGA:.1f} GB are free: the system may end "
            f"this process without a word; {advice}"
        )
    return f"{about} for a step, of {there / GIGA:.1f} GB that are free"


def _multiple(encoder):
    cells = [cell for _, cell in encoder.cells_and_names()]
    if any(isinstance(cell, (SwinTransformer, SwinTransformerV2)) for cell in cells):
        return _OF_WINDOWS
    return _OF_ATTENTION if any(isinstance(cell, nn.LayerNorm) for cell in cells) else _OF_OUTPUTS


def free(meminfo="/proc/meminfo", cgroup="/sys/fs/cgroup"):
    """Bytes that this process may still take: what the machine has left, or a container's limit; None if unknown.

    Args:
        meminfo (str): Linux's file with `MemAvailable`.
        cgroup (str): Folder of the container's limits (version 2).
    """
    found = []
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path(meminfo).read_text().splitlines()
        found.append(1024 * int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1]))
    with contextlib.suppress(OSError, ValueError):  # "max" where there is no limit
        limit, used = (Path(cgroup, f"memory.{name}").read_text() for name in ("max", "current"))
        found.append(int(limit) - int(used))
    return min(found) if found else None
