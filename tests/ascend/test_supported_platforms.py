"""Every API of MindSpore that the package uses says that it runs on Ascend."""

import ast
import importlib
import inspect
import re
import types
from pathlib import Path

import mindspore as ms

import mindbyol

PACKAGE = Path(mindbyol.__file__).parent

# Documented without a word of platforms: they work on the host, on whatever device there is, or on Ascend only.
HOST = {
    "HeNormal": "initial weights are drawn on the host",
    "Normal": "initial weights are drawn on the host",
    "Parameter": "data, not an operator",
    "ParameterTuple": "data, not an operator",
    "Tensor": "data, not an operator",
    "TruncatedNormal": "initial weights are drawn on the host",
    "amp.custom_mixed_precision": "puts cells around cells",
    "amp.get_black_list": "names cells",
    "nn.Cell.__call__": "counts what layers give, on CPUs alone",
    "nn.Cell.__del__": "nothing is left to do when a program ends",
    "nn.learning_rate_schedule.LearningRateSchedule": "the base class of schedules, without an operator of its own",
    "ms.ParallelMode": "names",
    "ms.export": "writes a file",
    "ms.from_numpy": "a tensor on the host's memory",
    "ms.get_context": "settings",
    "ms.load": "reads a file",
    "ms.save_checkpoint": "writes a file",
    "ms.set_auto_parallel_context": "settings",
    "ms.set_context": "settings",
    "ms.set_deterministic": "settings",
    "ms.set_device": "settings",
    "ms.set_seed": "settings",
    "Checkpoint": "layout of a file",
    "FileWriter": "writes a file",
    "MindRecordException": "an error",
    "ModelProto": "layout of a file",
    "np_dtype.bfloat16": "a type of NumPy",
    "np_dtype.np_dtype_valid": "a type of NumPy",
    # Primitives of Ascend alone, whose documentation names no platform; the dry run finds a kernel for each.
    "auto_generate.BatchNormElemt": "Ascend's batch norm",
    "auto_generate.BatchNormElemtGrad": "Ascend's batch norm",
    "auto_generate.BatchNormReduceGrad": "Ascend's batch norm",
    "auto_generate.BatchNormStats": "Ascend's batch norm",
}


def imported(tree):
    """What the names of a module stand for that come from MindSpore: {name: object}."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] == "mindspore":
                    module = importlib.import_module(alias.name)
                    found[alias.asname or "mindspore"] = module if alias.asname else ms
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "mindspore":
            module = importlib.import_module(node.module)
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                there = getattr(module, alias.name, None)
                found[alias.asname or alias.name] = there or importlib.import_module(inner)
    return found


def resolve(node, names):
    """The object that an expression such as `ms.ops.AllReduce` stands for, None where it is none of MindSpore's."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        owner = resolve(node.value, names)
        return getattr(owner, node.attr, None) if isinstance(owner, (types.ModuleType, type)) else None
    return None


def used(text):
    """APIs of MindSpore in the text of a module: {name: object}.

    Methods of tensors are told by their names, whatever they are called on, and count where their documentation names
    platforms: NumPy's arrays have methods of the same names. A module without MindSpore has no tensors.
    """
    tree = ast.parse(text)
    names = imported(tree)
    if not names:
        return {}
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Name, ast.Attribute)):
            api = resolve(node, names)
            if inspect.isclass(api) or callable(api):
                found[ast.unparse(node)] = api
        method = getattr(ms.Tensor, node.attr, None) if isinstance(node, ast.Attribute) else None
        if method and not resolve(node, names) and platforms(method):
            found[f"Tensor.{node.attr}"] = method
    return found


def platforms(api):
    """What stands under "Supported Platforms" in the documentation of an API; None where there is no such heading."""
    found = re.search(r"Supported Platforms:\s*\n\s*(.+)", inspect.getdoc(api) or "")
    return found and found[1]


def lacking(text):
    """Names of the APIs in the text of a module that do not say that they run on Ascend."""
    return sorted(name for name, api in used(text).items() if "Ascend" not in (platforms(api) or ""))


def test_what_the_package_uses_runs_on_ascend():
    found = {str(file.relative_to(PACKAGE)): set(lacking(file.read_text())) for file in PACKAGE.rglob("*.py")}
    assert not {file: names - HOST.keys() for file, names in found.items() if names - HOST.keys()}
    assert not HOST.keys() - set().union(*found.values()), "no longer used"


def test_what_does_not_run_there_is_found():
    text = "import mindspore as ms\nfrom mindspore import nn, ops as o\nfrom mindspore.nn import ReLU, InstanceNorm2d\n"
    text += "ms.nn.FractionalMaxPool2d(2), o.AdaptiveMaxPool3D(), ReLU(), InstanceNorm2d(3), nn.Dense(1, 1), x.median()"
    expected = ["InstanceNorm2d", "Tensor.median", "ms.nn.FractionalMaxPool2d", "o.AdaptiveMaxPool3D"]
    assert lacking(text) == expected
    assert lacking("import numpy as np\nnp.ones(3).median()") == []
