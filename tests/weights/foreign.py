"""Checkpoints in the layouts of other projects, written by hand from mindbyol's names."""

import functools
import io
import re
import struct
import zipfile
from collections import namedtuple

import dill
import numpy as np
from fill import rng

from mindbyol.weights.resnets import resnet_shapes
from mindbyol.weights.torch_files import write_zip

HIDDEN, OUT, CLASSES = 24, 8, 5
_TORCH_LEAVES = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


def mlp_shapes(width, first_bias=True, last_bias=False):
    shapes = {"fc0.weight": (HIDDEN, width), "fc0.bias": (HIDDEN,)}
    shapes.update({f"bn0.{kind}": (HIDDEN,) for kind in _TORCH_LEAVES})
    shapes.update({"fc1.weight": (OUT, HIDDEN), "fc1.bias": (OUT,)})
    left_out = {"fc0.bias": first_bias, "fc1.bias": last_bias}
    return {name: shape for name, shape in shapes.items() if left_out.get(name, True)}


def make(model="resnet18", stem="imagenet", first_bias=True, last_bias=False):
    """All parts of a checkpoint under mindbyol's names; every array is different."""
    backbone, width = resnet_shapes(model, stem)
    parts = {
        "online.backbone.": backbone,
        "online.projector.": mlp_shapes(width, first_bias, last_bias),
        "predictor.": mlp_shapes(OUT, first_bias, last_bias),
        "target.backbone.": backbone,
        "target.projector.": mlp_shapes(width, first_bias, last_bias),
        "probe.": {"weight": (CLASSES, width), "bias": (CLASSES,)},
    }
    names = {part + name: shape for part, shapes in parts.items() for name, shape in shapes.items()}
    return {name: rng(name).standard_normal(shape, np.float32) for name, shape in names.items()}


def healthy():
    """As `make`, but features neither vanish nor overflow, and some statistics are not neutral."""
    made = make()
    for name, array in made.items():
        leaf = name.rpartition(".")[2]
        if leaf == "moving_variance":
            made[name] = 1 + np.abs(array)
        elif leaf == "gamma":
            made[name] = 1 + 0.1 * array
        elif leaf == "weight":
            made[name] = array * np.float32(np.sqrt(2 / np.prod(array.shape[1:])))
    return made


@functools.lru_cache(None)
def arrays_of(**options):
    """What `make` gives, made once; not to be changed."""
    return make(**options)


def part(arrays, prefix):
    return {name[len(prefix) :]: array for name, array in arrays.items() if name.startswith(prefix)}


def torch_names(arrays, prefix="", head=None):
    """PyTorch's names: batch norms by their leaves, counters beside the statistics, `head` renames the layers."""
    state = {}
    for name, array in arrays.items():
        module, _, leaf = name.rpartition(".")
        module = module.replace("down_sample", "downsample")
        for ours, theirs in (head or {}).items():
            module = re.sub(f"^{ours}$", theirs, module)
        state[f"{prefix}{module}.{_TORCH_LEAVES.get(leaf, leaf)}".replace("..", ".")] = array
        if leaf == "moving_mean":
            state[f"{prefix}{module}.num_batches_tracked"] = np.array(3, np.int64)
    return state


def probe(arrays, prefix):
    return {prefix + name: array for name, array in part(arrays, "probe.").items()}


def mmselfsup1(arrays):
    return {
        **torch_names(part(arrays, "online.backbone."), "backbone."),
        **torch_names(part(arrays, "online.projector."), "neck."),
        **torch_names(part(arrays, "predictor."), "head.predictor."),
        "target_net.steps": np.array(9, np.int64),
        **torch_names(part(arrays, "target.backbone."), "target_net.module.0."),
        **torch_names(part(arrays, "target.projector."), "target_net.module.1."),
    }


def mmselfsup0(arrays):
    online = torch_names(part(arrays, "online.backbone.")), torch_names(part(arrays, "online.projector."))
    return {
        **{f"online_net.{index}.{name}": array for index, state in enumerate(online) for name, array in state.items()},
        **torch_names(part(arrays, "target.backbone."), "target_net.0."),
        **torch_names(part(arrays, "target.projector."), "target_net.1."),
        **{f"backbone.{name}": array for name, array in online[0].items()},
        **{f"neck.{name}": array for name, array in online[1].items()},
        **torch_names(part(arrays, "predictor."), "head.predictor."),
    }


_SEQUENTIAL_MLP = {"fc0": "0", "bn0": "1", "fc1": "3"}


def lightly(arrays):
    return {
        **torch_names(part(arrays, "online.backbone."), "backbone."),
        **torch_names(part(arrays, "online.projector."), "projection_head.layers.", _SEQUENTIAL_MLP),
        **torch_names(part(arrays, "predictor."), "prediction_head.layers.", _SEQUENTIAL_MLP),
        **torch_names(part(arrays, "target.backbone."), "teacher_backbone."),
        **torch_names(part(arrays, "target.projector."), "teacher_projection_head.layers.", _SEQUENTIAL_MLP),
        **probe(arrays, "online_classifier.classification_head."),
    }


def lightly_tutorial(arrays):
    """The backbone cut out of torchvision with nn.Sequential(*list(resnet.children())[:-1])."""

    def cut_out(state, prefix):
        places = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}
        words = (name.split(".", 1) for name in state)
        return {f"{prefix}{places[first]}.{rest}": state[f"{first}.{rest}"] for first, rest in words}

    return {
        **cut_out(torch_names(part(arrays, "online.backbone.")), "backbone."),
        **torch_names(part(arrays, "online.projector."), "projection_head.layers.", _SEQUENTIAL_MLP),
        **torch_names(part(arrays, "predictor."), "prediction_head.layers.", _SEQUENTIAL_MLP),
        **cut_out(torch_names(part(arrays, "target.backbone.")), "backbone_momentum."),
        **torch_names(part(arrays, "target.projector."), "projection_head_momentum.layers.", _SEQUENTIAL_MLP),
    }


def solo_learn(arrays, backbone="backbone"):
    return {
        **torch_names(part(arrays, "online.backbone."), f"{backbone}."),
        **probe(arrays, "classifier."),
        **torch_names(part(arrays, "online.projector."), "projector.", _SEQUENTIAL_MLP),
        **torch_names(part(arrays, "predictor."), "predictor.", _SEQUENTIAL_MLP),
        **torch_names(part(arrays, "target.backbone."), f"momentum_{backbone}."),
        **torch_names(part(arrays, "target.projector."), "momentum_projector.", _SEQUENTIAL_MLP),
        **{f"momentum_classifier.{name}": array + 1 for name, array in part(arrays, "probe.").items()},
    }


def torchvision(arrays):
    return {**torch_names(part(arrays, "online.backbone.")), **probe(arrays, "fc.")}


def mm_linear(arrays, head="head.fc."):
    return {**torch_names(part(arrays, "online.backbone."), "backbone."), **probe(arrays, head)}


def haiku_name(name):
    """(module, leaf) in Haiku of one of MindCV's names or ours of a head."""
    module, _, leaf = name.rpartition(".")
    for pattern, replacement in (
        (r"^conv1$", "initial_conv"),
        (r"^bn1$", "initial_batchnorm"),
        (r"^layer(\d)\.(\d+)\.", lambda m: f"block_group_{int(m[1]) - 1}/~/block_{m[2]}/~/"),
        (r"down_sample\.0$", "shortcut_conv"),
        (r"down_sample\.1$", "shortcut_batchnorm"),
        (r"~/conv(\d)$", lambda m: f"~/conv_{int(m[1]) - 1}"),
        (r"~/bn(\d)$", lambda m: f"~/batchnorm_{int(m[1]) - 1}"),
        (r"^fc0$", "linear"),
        (r"^fc1$", "linear_1"),
        (r"^bn0$", "batch_norm"),
    ):
        module = re.sub(pattern, replacement, module)
    leaves = {"weight": "w", "bias": "b", "gamma": "scale", "beta": "offset"}
    return module, leaves.get(leaf, leaf)


def deepmind(arrays, file):
    """Writes the dill pickle of DeepMind's BYOL: a named tuple of Haiku's dictionaries, layouts HWIO and (in, out).

    One function makes both networks, so the target has a predictor and a classifier, too.
    """
    params, state = {"online": {}, "target": {}}, {"online": {}, "target": {}}
    prefixes = {
        "online.backbone.": ("online", "res_net18/~/"),
        "online.projector.": ("online", "projector/"),
        "predictor.": ("online", "predictor/"),
        "probe.": ("online", "classifier"),
        "target.backbone.": ("target", "res_net18/~/"),
        "target.projector.": ("target", "projector/"),
        "target predictor": ("target", "predictor/"),
        "target probe": ("target", "classifier"),
    }
    for prefix, (network, place) in prefixes.items():
        source = {"target predictor": "predictor.", "target probe": "probe."}.get(prefix)
        of_part = {n: a + 1 for n, a in part(arrays, source).items()} if source else part(arrays, prefix)
        for name, array in of_part.items():
            module, leaf = haiku_name(name)
            if array.ndim == 1 and leaf != "b":
                array = array.reshape((1, 1, 1, -1) if "backbone" in prefix else (1, -1))
            array = array.transpose(2, 3, 1, 0) if array.ndim == 4 and leaf == "w" else array
            array = array.T if array.ndim == 2 and leaf == "w" else array
            if leaf.startswith("moving_"):
                kind = {"moving_mean": "mean_ema", "moving_variance": "var_ema"}[leaf]
                values = {"counter": np.array(9, np.int32), "hidden": array * 2, "average": array}
                state[network][f"{place}{module}/~/{kind}"] = values
            else:
                params[network].setdefault(place + module, {})[leaf] = array
    dump_experiment(file, params["online"], params["target"], state["online"], state["target"], step=1234)


def dump_experiment(file, params, target_params, state, target_state, step):
    """DeepMind's dictionary around four trees of Haiku."""
    parts = "online_params target_params online_state target_state opt_state"
    experiment = namedtuple("_ByolExperimentState", parts.split())
    content = experiment(params, target_params, state, target_state, {"trace": params})
    with open(file, "wb") as stream:
        dill.dump({"experiment_state": content, "step": step, "rng": np.arange(2)}, stream, protocol=2)


def rewrite_pickle(path, program):
    """Replaces the pickle inside a PyTorch zip file."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    entries["archive/data.pkl"] = program
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


def zip_around(path, program):
    """A PyTorch zip file with this pickle and one small storage."""
    write_zip(path, {"state_dict": {"conv1.weight": np.arange(4, dtype=np.float32)}})
    rewrite_pickle(path, program)


def legacy_around(path, program):
    """A file of PyTorch before 1.6 with this pickle."""
    import pickle

    stream = io.BytesIO()
    for item in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
        stream.write(pickle.dumps(item, 2))
    stream.write(program + pickle.dumps(["0"], 2) + struct.pack("<q", 4) + np.arange(4, dtype="<f4").tobytes())
    path.write_bytes(stream.getvalue())
