"""Exports a network with its weights: MINDIR and ONNX, any batch size, the model card inside the file."""

import json
import logging
import os

import numpy as np

import mindspore as ms
from mindcv.models.resnet import BasicBlock, Bottleneck
from mindspore import Tensor, nn

from mindbyol.training.cells import replace_cells
from mindbyol.weights.networks import forward, relative_difference


class _AddOutOfPlace(nn.Cell):
    """A residual block that adds without `+=`: ONNX has no such operator, and in MINDIR it cannot be ordered."""

    def __init__(self, block):
        super().__init__(auto_prefix=False)
        self.block = block
        self.bottleneck = isinstance(block, Bottleneck)

    def construct(self, x):
        out = self.block.relu(self.block.bn1(self.block.conv1(x)))
        out = self.block.bn2(self.block.conv2(out))
        if self.bottleneck:
            out = self.block.bn3(self.block.conv3(self.block.relu(out)))
        identity = x
        if self.block.down_sample is not None:
            identity = self.block.down_sample(x)
        return self.block.relu(out + identity)


def write_mindir(network, path, card, images):
    """Writes MINDIR and runs it with two batch sizes.

    Args:
        network (Cell): In evaluation mode, with one image input.
        path (Path): File to write, ending in .mindir.
        card (dict): Stored as the entry `card` of the model's `user_info`.
        images (ndarray): (N, 3, H, W) float32 to compare on, N >= 2; the file keeps this H and W.

    Returns:
        float: Largest difference to the network's own outputs, relative to their root mean square.

    Raises:
        ValueError: MindSpore cannot compile the network.
    """

    def add_card(model):
        model.user_info["card"] = json.dumps(card)

    expected = _prepare(network, images)
    _export(network, Tensor(shape=[None, 3, *images.shape[2:]], dtype=ms.float32), path, "MINDIR", add_card)
    loaded = nn.GraphCell(ms.load(str(path)))

    def run(batch):
        outputs = loaded(Tensor(batch))
        return [output.asnumpy() for output in (outputs if isinstance(outputs, tuple) else (outputs,))]

    return max(relative_difference(run(batch), outputs) for batch, outputs in expected)


def write_onnx(network, path, card, images):
    """Writes ONNX, lets the batch size vary, and runs it with two; arguments and result as for `write_mindir`.

    MindSpore 2.10 fails at the second ONNX export of a process: one process writes one file.

    Raises:
        ValueError: onnx or onnxruntime is not installed, MindSpore has no ONNX operator for a layer, or what it writes
            is refused by onnxruntime.
    """
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise ValueError(
            f"--format onnx: needs the package {error.name}; pip install -r requirements-export.txt"
        ) from None
    expected = _prepare(network, images)
    _export(network, Tensor(images), path, "ONNX")
    os.chmod(path, 0o644)
    model = onnx.load(str(path))
    names = ["images", "features", "projections"]
    for value, name in zip([*model.graph.input, *model.graph.output], names):
        _rename(model.graph, value.name, name)
        value.name = name
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    _free_batch(model.graph, len(images))
    onnx.helper.set_model_props(model, {"card": json.dumps(card)})
    onnx.save(model, str(path))
    try:
        onnx.checker.check_model(model)
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ValueError(
            f"--format onnx: MindSpore's file of this network is no ONNX ({_first_line(error)})"
        ) from error
    try:
        return max(relative_difference(session.run(None, {"images": batch}), outputs) for batch, outputs in expected)
    except Exception as error:
        raise ValueError(
            f"--format onnx: the file does not run with every batch size ({_first_line(error)})"
        ) from error


def _export(network, images, path, kind, custom_func=None):
    logging.disable(logging.WARNING)  # MindSpore warns that there will be another function for ONNX
    try:
        ms.export(network, images, file_name=str(path), file_format=kind, custom_func=custom_func)
    except Exception as error:  # whatever compiler and exporter raise
        raise ValueError(
            f"--format {kind.lower()}: MindSpore cannot export this network ({_first_line(error)})"
        ) from error
    finally:
        logging.disable(logging.NOTSET)


def _rename(graph, old, new):
    for node in graph.node:
        for values in (node.input, node.output):
            for index, value in enumerate(values):
                if value == old:
                    values[index] = new


def _free_batch(graph, batch):
    """Lets reshapes take the batch from their input, where the export has put the size that it was made with."""
    from onnx import numpy_helper

    shapes = {node.input[1] for node in graph.node if node.op_type == "Reshape"}
    constants = [node for node in graph.node if node.op_type == "Constant" and node.output[0] in shapes]
    for tensor in [t for t in graph.initializer if t.name in shapes] + [node.attribute[0].t for node in constants]:
        shape = numpy_helper.to_array(tensor).copy()
        if shape.size and shape[0] == batch:
            shape[0] = 0
            tensor.CopyFrom(numpy_helper.from_array(shape, tensor.name))


def _first_line(error):
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _prepare(network, images):
    """Runs a batch and a larger one, then makes the network ready for export: [(batch, outputs)]."""
    batches = (images, np.concatenate([images, images[:1]]))
    expected = [(batch, forward(network, batch)) for batch in batches]
    replace_cells(network, (BasicBlock, Bottleneck), _AddOutOfPlace)
    ms.set_context(mode=ms.GRAPH_MODE)
    return expected
