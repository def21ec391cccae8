"""The only place that knows about devices: device target, mode, seeds, and the other processes."""

import contextlib
import hashlib
import logging
import os
from typing import NamedTuple

import numpy as np

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def pynative():
    """Runs the block operator by operator, whatever the mode: for single forward passes not worth compiling."""
    import mindspore as ms

    mode = ms.get_context("mode")
    ms.set_context(mode=ms.PYNATIVE_MODE)
    try:
        yield
    finally:
        ms.set_context(mode=mode)


class World(NamedTuple):
    """Where this process runs.

    Attributes:
        target (str): Device target.
        rank (int): Number of this process among those that train together.
        ranks (int): How many there are.
    """

    target: str
    rank: int = 0
    ranks: int = 1


def launched_by_msrun():
    """Whether msrun, or a rank table, started this process as one of several."""
    return "MS_WORKER_NUM" in os.environ or "RANK_TABLE_FILE" in os.environ


def set_device_target(target):
    """Chooses `Ascend`, `GPU` or `CPU`; a ValueError in one line when this MindSpore has none."""
    import mindspore as ms

    try:
        ms.set_context(device_target=target)
    except (ValueError, RuntimeError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise ValueError(f"device_target: this MindSpore has no {target} ({first_line})") from None


def setup(args):
    """Sets device, mode, compiler level, communication and seeds from the recipe.

    Args:
        args (Namespace): `device_target`, `mode`, `jit_level`, `distribute`, `seed`.

    Returns:
        World: Device target and place among the processes.

    Raises:
        ValueError: The device target is not there, or the processes to train with are not.
    """
    import mindspore as ms

    import mindbyol

    if mindbyol.cpu_guard_note:
        logger.info(mindbyol.cpu_guard_note)
    if args.device_target:
        set_device_target(args.device_target)
    ms.set_context(mode=args.mode)
    if args.jit_level:
        ms.set_context(jit_config={"jit_level": args.jit_level})
    rank, ranks = 0, 1
    if launched_by_msrun() if args.distribute is None else args.distribute:
        rank, ranks = _join(args)
    ms.set_seed(args.seed)  # the same on all ranks: they start with the same weights
    return World(ms.get_context("device_target"), rank, ranks)


def _join(args):
    """Meets the other processes; gradients are then averaged over them."""
    import mindspore as ms
    from mindspore.communication import get_group_size, get_rank, init

    if not launched_by_msrun():
        raise ValueError(
            "distribute: nothing started this process as one of several; use "
            "'msrun --worker_num 8 python train.py ...' or, for one device, --distribute False"
        )
    absent = [name for name in ("MS_ROLE", "MS_SCHED_HOST", "MS_SCHED_PORT") if name not in os.environ]
    if absent and "RANK_TABLE_FILE" not in os.environ:
        raise ValueError(
            f"distribute: MS_WORKER_NUM is set, as by msrun, but {absent[0]} is not; start with msrun, or unset "
            "MS_WORKER_NUM"
        )
    try:
        init()
    except RuntimeError as error:
        raise ValueError(f"distribute: {str(error).strip().splitlines()[0]}") from error
    rank, ranks = get_rank(), get_group_size()
    if ranks > 1:
        ms.set_auto_parallel_context(device_num=ranks, parallel_mode=ms.ParallelMode.DATA_PARALLEL, gradients_mean=True)
    return rank, ranks


class Communicator:
    """Small host-side messages between the ranks; with one rank, none at all.

    Sums of float32 are what every device target can do, so that is what carries them.

    Args:
        world (World): Who takes part.
    """

    def __init__(self, world):
        self.world = world
        self._asked = None

    def any(self, flag):
        """Whether `flag` is true on any rank; all ranks must ask."""
        return bool(self._sum(np.array([float(flag)], np.float32))[0] > 0)

    def any_before(self, flag):
        """Whether `flag` was true on any rank when they asked this before: an answer that need not be waited for.

        The answer to this call is on its way while the device computes what comes next. With one rank it is given at
        once.
        """
        if self.world.ranks == 1:
            return flag
        before, self._asked = self._asked, self._start_sum(np.array([float(flag)], np.float32))
        return before is not None and bool(before.asnumpy()[0] > 0)

    def all_equal(self, text):
        """Whether all ranks hold the same text; all must ask."""
        # 16 bits a number, so that sums over ranks are exact
        words = np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint16).astype(np.float32)
        different = not np.array_equal(self._sum(words), words * self.world.ranks)
        return not self.any(different)

    def gather(self, array):
        """The arrays of all ranks, which must have one shape.

        Args:
            array (ndarray): float32, (N, ...).

        Returns:
            ndarray: (ranks, N, ...).
        """
        if self.world.ranks == 1:
            return array[None]
        from mindspore import Tensor, ops

        gathered = ops.AllGather()(Tensor(np.ascontiguousarray(array, np.float32))).asnumpy()
        return gathered.reshape(self.world.ranks, *array.shape)

    def _sum(self, array):
        return array if self.world.ranks == 1 else self._start_sum(array).asnumpy()

    def _start_sum(self, array):
        from mindspore import Tensor, ops

        return ops.AllReduce()(Tensor(array))
