"""Runs the original libraries on made-up weights and records what they save and what features they give.

    python tests/weights/record_originals.py torch tests/weights/fixtures [--full DIR]
    python tests/weights/record_originals.py haiku tests/weights/fixtures [--full DIR]

`torch` needs torch, torchvision, lightly, pytorch_lightning, mmengine, mmcv-lite and mmpretrain; `haiku` needs jax,
dm-haiku and dill. MindSpore is not needed: run each in an environment of its own. Without --full only what is committed
is written: names, shapes and features (the weights are made again from their names by `fill.py`), and small files that
show how each library pickles. With --full the whole checkpoint files are written too, as the library saves them.
"""

import argparse
import json
import sys
from argparse import Namespace
from collections import OrderedDict, namedtuple
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from fill import fill, images  # noqa: E402

SIZES = (224, 163)  # at 163 the map that is pooled has an even side, as at 224: that is where paddings differ


def record(folder, family, shapes, outputs):
    """Writes FAMILY.npz: the names and shapes of a checkpoint, and `outputs`, one array a size and output."""
    entries = json.dumps([[name, list(shape)] for name, shape in shapes.items()])
    np.savez_compressed(folder / f"{family}.npz", entries=entries, **outputs)


def fill_module(module):
    import torch

    state = module.state_dict()
    module.load_state_dict(
        {name: torch.from_numpy(np.asarray(fill(name, tuple(t.shape)))) for name, t in state.items()}
    )
    return module.eval()


def torch_outputs(backbone, projector=None, predictor=None):
    import torch

    outputs = {}
    with torch.no_grad():
        for size in SIZES:
            features = backbone(torch.from_numpy(images(size)))
            features = features[-1].mean((2, 3)) if isinstance(features, (tuple, list)) else features
            outputs[f"features_{size}"] = features.numpy()
            if projector is not None:
                projection = projector(features)
                outputs[f"projection_{size}"] = projection.numpy()
                outputs[f"prediction_{size}"] = predictor(projection).numpy()
    return outputs


def record_torchvision(folder, full):
    import torch
    import torchvision

    for name in ("resnet18", "resnet50"):
        network = fill_module(getattr(torchvision.models, name)(num_classes=10))
        state = network.state_dict()
        network.fc = torch.nn.Identity()
        record(folder, f"torchvision_{name}", {key: tuple(t.shape) for key, t in state.items()}, torch_outputs(network))
        if full:
            torch.save(state, full / f"torchvision_{name}.pth")


def record_lightly(folder, full):
    import copy

    import pytorch_lightning
    import torch
    import torchvision
    from lightly.models.modules import BYOLPredictionHead, BYOLProjectionHead
    from lightly.utils.benchmarking import OnlineLinearClassifier

    class BYOL(pytorch_lightning.LightningModule):
        def __init__(self, batch_size_per_device, num_classes, options):
            super().__init__()
            self.save_hyperparameters()
            self.backbone = torchvision.models.resnet18()
            self.backbone.fc = torch.nn.Identity()
            self.projection_head = BYOLProjectionHead(512, 64, 16)
            self.prediction_head = BYOLPredictionHead(16, 64, 16)
            self.teacher_backbone = copy.deepcopy(self.backbone)
            self.teacher_projection_head = BYOLProjectionHead(512, 64, 16)
            self.online_classifier = OnlineLinearClassifier(feature_dim=512, num_classes=num_classes)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)

    module = fill_module(BYOL(4, 10, Namespace(folder=Path("runs"), epochs=100)))
    shapes = {key: tuple(t.shape) for key, t in module.state_dict().items()}
    outputs = torch_outputs(module.backbone, module.projection_head, module.prediction_head)
    record(folder, "lightly", shapes, outputs)
    if full:
        trainer = pytorch_lightning.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
        trainer.strategy.connect(module)
        trainer.save_checkpoint(full / "lightly.ckpt")


def record_mmpretrain(folder, full):
    import torch
    from mmengine.logging import MessageHub
    from mmengine.runner.checkpoint import save_checkpoint
    from mmpretrain.models import build_backbone  # noqa: F401  (fills the registry)
    from mmpretrain.registry import MODELS

    neck = dict(
        type="NonLinearNeck", hid_channels=64, out_channels=16, num_layers=2, with_bias=True, with_last_bn=False
    )
    network = MODELS.build(
        dict(
            type="BYOL",
            base_momentum=0.01,
            backbone=dict(type="ResNet", depth=18, zero_init_residual=False),
            neck=dict(**neck, in_channels=512, with_avg_pool=True),
            head=dict(
                type="LatentPredictHead",
                loss=dict(type="CosineSimilarityLoss"),
                predictor=dict(**neck, in_channels=16, with_avg_pool=False),
            ),
            data_preprocessor=dict(
                type="SelfSupDataPreprocessor", mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375), to_rgb=True
            ),
        )
    )
    fill_module(network)
    shapes = {key: tuple(t.shape) for key, t in network.state_dict().items()}

    def projector(features):
        return network.neck((features[:, :, None, None],))[0]

    def predictor(projection):
        return network.head.predictor((projection,))[0]

    record(folder, "mmpretrain", shapes, torch_outputs(network.backbone, projector, predictor))
    if full:
        hub = MessageHub.get_instance("run")
        hub.update_scalar("train/loss", 1.5)
        hub.update_info("epoch", 199)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        meta = dict(epoch=200, iter=1000, cfg="default_scope = 'mmpretrain'", time="today")
        content = dict(
            meta=meta,
            state_dict=network.state_dict(),
            message_hub=hub.state_dict(),
            optimizer=optimizer.state_dict(),
            param_schedulers=[dict(last_step=3, _last_value=[0.1])],
        )
        save_checkpoint(content, str(full / "mmpretrain.pth"))


def record_pickles(folder):
    """Small files with every way in which PyTorch stores a tensor, and the same values as an .npz."""
    import torch

    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    state = OrderedDict(
        plain=base,
        transposed=base.t(),
        part=base[1:3, 2:5],
        parameter=torch.nn.Parameter(base + 1),
        half=base.half(),
        bfloat=(base / 7).bfloat16(),
        double=base.double() / 3,
        counter=torch.tensor(7),
        bytes=base.byte(),
        truth=base > 5,
        empty=torch.zeros(0, 3),
    )
    state._metadata = {"": {"version": 1}}
    content = {"state_dict": state, "epoch": 3, "beside": [Namespace(path=Path("a")), {1, 2}, torch.Size([2]), None]}
    torch.save(content, folder / "torch_zip.bin")
    torch.save(content, folder / "torch_legacy.bin", _use_new_zipfile_serialization=False)
    np.savez_compressed(folder / "torch_values.npz", **{key: t.detach().float().numpy() for key, t in state.items()})


ExperimentState = namedtuple(
    "_ByolExperimentState", "online_params target_params online_state target_state opt_state".split()
)


def record_haiku(folder, full):
    import dill
    import haiku
    import jax
    import jax.numpy as jnp

    def forward(inputs, training=False):
        torso = haiku.nets.ResNet50(10, bn_config={"decay_rate": 0.9, "eps": 1e-5})
        out = jax.nn.relu(torso.initial_batchnorm(torso.initial_conv(inputs), training, False))
        out = haiku.max_pool(out, window_shape=(1, 3, 3, 1), strides=(1, 2, 2, 1), padding="SAME")
        for group in torso.block_groups:
            out = group(out, training, False)
        return jnp.mean(out, axis=(1, 2))

    network = haiku.without_apply_rng(haiku.transform_with_state(forward))
    shapes = network.init(jax.random.PRNGKey(0), jnp.zeros((1, 64, 64, 3)), True)

    def filled(role, tree):
        return {
            module: {name: np.asarray(fill(f"{role}/{module}/{name}", tuple(v.shape))) for name, v in values.items()}
            for module, values in tree.items()
        }

    params, state = filled("online_params", shapes[0]), filled("online_state", shapes[1])
    outputs = {}
    for size in SIZES:
        inputs = images(size).transpose(0, 2, 3, 1)
        outputs[f"features_{size}"] = np.asarray(network.apply(params, state, inputs)[0])
    names = {
        f"{part}/{module}/{name}": tuple(v.shape)
        for part, tree in (("online_params", shapes[0]), ("online_state", shapes[1]))
        for module, values in tree.items()
        for name, v in values.items()
    }
    record(folder, "deepmind", names, outputs)
    small = ExperimentState(
        {"projector/linear": {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.float32([1, 2, 3])}},
        {"projector/linear": {"w": np.ones((2, 3), np.float32)}},
        {"projector/batch_norm/~/mean_ema": {"average": np.ones((1, 3), np.float32), "counter": np.int32(9)}},
        {},
        ExperimentState(1, 2, 3, 4, 5),
    )
    with open(folder / "dill.bin", "wb") as file:
        dill.dump({"experiment_state": small, "step": 300, "rng": np.arange(2, dtype=np.uint32)}, file, protocol=2)
    weights = {"projector/linear": {"w": jnp.arange(6, dtype=jnp.float32).reshape(2, 3)}}
    small = ExperimentState(weights, {}, {}, {}, {"trace": weights})
    with open(folder / "jax.bin", "wb") as file:
        dill.dump({"experiment_state": small, "step": jnp.int32(3), "rng": jax.random.PRNGKey(0)}, file, protocol=2)
    if full:
        target = filled("target_params", shapes[0]), filled("target_state", shapes[1])
        content = ExperimentState(params, target[0], state, target[1], {"momentum": params})
        with open(full / "deepmind.pkl", "wb") as file:
            dill.dump({"experiment_state": content, "step": 300, "rng": np.arange(2)}, file, protocol=2)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", choices=("torch", "haiku"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--full", type=Path)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    if args.full:
        args.full.mkdir(parents=True, exist_ok=True)
    if args.which == "haiku":
        record_haiku(args.folder, args.full)
        return
    record_pickles(args.folder)
    for function in (record_torchvision, record_lightly, record_mmpretrain):
        function(args.folder, args.full)


if __name__ == "__main__":
    main()
