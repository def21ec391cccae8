"""The only place that knows about devices: device target, mode, seeds, and the other processes."""

import atexit
import contextlib
import functools
import hashlib
import logging
import os
from typing import NamedTuple

import numpy as np

import mindspore as ms
from mindspore import Tensor, amp, nn, ops
from mindspore.communication import get_group_size, get_rank, init

from mindbyol import cpu_guard_note

logger = logging.getLogger(__name__)


@atexit.register
def _end_quietly():
    """MindSpore's cells clean up after themselves, and fail in pages of output where Python has cleaned up already."""
    nn.Cell.__del__ = lambda cell: None


@contextlib.contextmanager
def pynative():
    """Runs the block operator by operator, whatever the mode: for single forward passes not worth compiling."""
    with someone_elses_mode():
        ms.set_context(mode=ms.PYNATIVE_MODE)
        yield


@contextlib.contextmanager
def someone_elses_mode():
    """Around `setup` in a program that is not ours: gives the mode back that was there."""
    mode = ms.get_context("mode")
    try:
        yield
    finally:
        ms.set_context(mode=mode)


class World(NamedTuple):
    """Where this process runs. The processes that work together are called ranks, one a device, numbered from 0.

    Attributes:
        target (str): Device target: `Ascend`, `GPU` or `CPU`.
        rank (int): Number of this process.
        ranks (int): How many there are.
    """

    target: str
    rank: int = 0
    ranks: int = 1


def setup(device_target=None, mode=ms.GRAPH_MODE, jit_level=None, distribute=None, seed=None, deterministic=False):
    """Sets device, mode, compiler level and seeds, and meets the other processes. Called once, before any tensor.

    Args:
        device_target (str): `Ascend`, `GPU` or `CPU`; None for what this MindSpore takes by default.
        mode (int): `ms.GRAPH_MODE` or `ms.PYNATIVE_MODE`.
        jit_level (str): `O0`, `O1` or `O2`; None for MindSpore's default.
        distribute (bool): Whether other processes take part; None to find out from whether msrun or a rank table has
            started this one.
        seed (int): Of initial weights and the like, the same on all ranks, so that they start with the same weights;
            None to leave them to chance.
        deterministic (bool): Whether operators and collectives are to add up in one order, so that a run can be
            repeated to the bit. Ascend's are faster without; the CPU's do so anyway.

    Returns:
        World: Device target and place among the processes.

    Raises:
        ValueError: The device target is not there, or the processes to work with are not.
    """
    if cpu_guard_note:
        logger.info(cpu_guard_note)
    if device_target:
        _set_device_target(device_target)
    if deterministic:
        _set_deterministic()
    ms.set_context(mode=mode)
    if jit_level:
        ms.set_context(jit_config={"jit_level": jit_level})
    launched = "MS_WORKER_NUM" in os.environ or "RANK_TABLE_FILE" in os.environ
    rank, ranks = 0, 1
    if launched if distribute is None else distribute:
        rank, ranks = _join(launched)
    if seed is not None:
        ms.set_seed(seed)
    return World(ms.get_context("device_target"), rank, ranks)


def setup_for(recipe):
    """`setup` with the system keys of a recipe."""
    keys = ("device_target", "mode", "jit_level", "distribute", "seed", "deterministic")
    return setup(**{key: getattr(recipe, key) for key in keys})


def _set_device_target(target):
    try:
        if hasattr(ms, "set_device"):  # from MindSpore 2.5 on
            # msrun's ranks find their devices themselves. Elsewhere DEVICE_ID names one; set_device does not read it.
            number = None if "MS_WORKER_NUM" in os.environ else os.environ.get("DEVICE_ID")
            ms.set_device(target, int(number) if number else None)
        else:
            ms.set_context(device_target=target)
    except (ValueError, RuntimeError) as error:
        if ms.get_context("device_target") == target:
            return  # an operator has run there already: nothing can be set any more, and nothing needs to be
        first_line = str(error).strip().splitlines()[0]
        raise ValueError(f"device_target: this MindSpore has no {target} ({first_line})") from None


@functools.lru_cache(maxsize=None)  # MindSpore takes it once a process
def _set_deterministic():
    if hasattr(ms, "set_deterministic"):  # from MindSpore 2.5 on
        ms.set_deterministic(True)
    else:
        ms.set_context(deterministic="ON")


def _join(launched):
    """Meets the other processes; gradients are then averaged over them.

    In the process that is msrun's scheduler, `init` does not return.
    """
    if not launched:
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
        average_over(ranks)
    return rank, ranks


def average_over(ranks):
    """Gradients become means over so many ranks, which have been met.

    On Ascend the compiler puts collectives that can travel together into one, up to 64 MB: gradients, and the batch
    norms of both views. HCCL's time for a small collective hardly depends on its size.
    """
    fused = (
        {"comm_fusion": {"allreduce": {"mode": "auto", "config": None}}}
        if ms.get_context("device_target") == "Ascend"
        else {}
    )
    ms.set_auto_parallel_context(
        device_num=ranks, parallel_mode=ms.ParallelMode.DATA_PARALLEL, gradients_mean=True, **fused
    )


def clear_overflow_status():
    """Makes the device forget overflows of earlier work; called once, before the first training step.

    An Ascend that computes with saturation gives no infinities. It keeps a mark of any overflow until somebody reads
    it, and a first step would count one that building the network had left. Reading, as after each step, clears it.
    """
    amp.all_finite((Tensor(0.0, ms.float32),)).asnumpy()


class Communicator:
    """Small messages between the processes of all ranks; where there is one rank, nothing is sent.

    All ranks must call the same methods in the same order. A call returns when all have made it; `any_before` alone
    does not wait. Messages travel as float32, which every device target can sum and gather over devices.

    Args:
        world (World): Who takes part.
    """

    def __init__(self, world):
        self.world = world
        self._asked = None

    def barrier(self):
        """Returns when all ranks have come here."""
        self.any(False)

    def any(self, flag):
        """Whether `flag` is true on any rank."""
        return bool(self._sum(np.array([float(flag)], np.float32))[0] > 0)

    def any_before(self, flag):
        """Whether `flag` was true on any rank at their call before this one; False at the first call.

        Nobody has to wait: the ranks' flags of this call are added up while the device computes what comes next, and
        the sum is read at the next call. With one rank, the answer is `flag` itself, at once.
        """
        if self.world.ranks == 1:
            return flag
        before, self._asked = self._asked, self._start_sum(np.array([float(flag)], np.float32))
        return before is not None and bool(before.asnumpy()[0] > 0)

    def all_equal(self, text):
        """Whether all ranks hold the same text."""
        # The digest as numbers of 16 bits: float32 adds them up over ranks without rounding.
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
        gathered = ops.AllGather()(Tensor(np.ascontiguousarray(array, np.float32))).asnumpy()
        return gathered.reshape(self.world.ranks, *array.shape)

    def _sum(self, array):
        return array if self.world.ranks == 1 else self._start_sum(array).asnumpy()

    def _start_sum(self, array):
        return ops.AllReduce()(Tensor(array))
