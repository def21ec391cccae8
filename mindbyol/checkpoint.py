"""Checkpoint files: written whole or not at all, read with their digest checked, loaded name by name.

A file is MindSpore's own .ckpt (protobuf, no code in it) with two text entries beside the arrays: `card`, a JSON object
that says what the file is (model, padding, normalisation, recipe, ...), and `digest`, the SHA-256 of the rest. Files of
others have neither.

A full checkpoint holds `online.*`, `predictor.*`, `target.*`, `probe.*` and the optimizer's state; a backbone-only one
MindCV's names, so that `mindcv.create_model(name, checkpoint_path=...)` loads it.
"""

import hashlib
import json
import logging
from pathlib import Path

import numpy as np

import mindspore as ms
from mindspore import Tensor

from mindbyol.checkpoint_entries import read_entries
from mindbyol.command import escaped
from mindbyol.files import replacing
from mindbyol.model_card import Card, parse_card

_CARD, _DIGEST = "card", "digest"
_ONLINE = "online.backbone."


class NonFinite(ValueError):
    """Weights hold NaN or infinite values."""


def digest(arrays, card=""):
    """SHA-256 over names, types, shapes and values, independent of order.

    Args:
        arrays (dict[str, ndarray]): What to digest.
        card (str): Text that belongs to it.
    """
    sha = hashlib.sha256(card.encode("utf-8", "surrogatepass"))  # which the texts of a damaged file may hold
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        sha.update(f"{name} {array.dtype.str} {array.shape}".encode("utf-8", "surrogatepass"))
        sha.update(array.data if array.size else b"")
    return sha.hexdigest()


def write(path, arrays, card):
    """Writes a checkpoint; `path` is never a partial file (see `files.replacing`).

    Args:
        path (Path): Must end in .ckpt.
        arrays (dict[str, ndarray]): What to store.
        card (Card): Stored beside the arrays.

    Raises:
        OSError: The file cannot be written; nothing is left behind.
    """
    path = Path(path)
    card = json.dumps(card.to_dict())
    # Tensors that share the arrays' memory. A scalar needs a dimension in the file; `read` hands back what it says.
    entries = [{"name": name, "data": ms.from_numpy(np.ascontiguousarray(array))} for name, array in arrays.items()]
    texts = {_CARD: card, _DIGEST: digest({e["name"]: e["data"].asnumpy() for e in entries}, card)}
    try:
        with replacing(path) as beside:
            logging.disable(logging.CRITICAL)  # MindSpore logs before it raises
            try:
                ms.save_checkpoint(entries, str(beside), append_dict=texts)
            finally:
                logging.disable(logging.NOTSET)
    except Exception as error:  # whatever MindSpore raises
        raise OSError(f"cannot write checkpoint '{path}': {str(error).strip().splitlines()[0]}") from error


def read(path):
    """Reads a MindSpore checkpoint, ours or another's.

    Args:
        path (Path): A .ckpt file.

    Returns:
        tuple[dict[str, ndarray], Card]: The arrays, and the card; one that says nothing for files that have none.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is truncated, damaged or no checkpoint, or it is ours and has no digest.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        entries = read_entries(path)
    except ValueError as error:
        raise ValueError(f"{path}: is truncated or not a MindSpore checkpoint ({error}); copy it again") from None
    texts = {name: entries.pop(name) for name in (_CARD, _DIGEST) if isinstance(entries.get(name), str)}
    arrays = {name: value for name, value in entries.items() if not isinstance(value, str)}
    if not arrays:
        raise ValueError(f"{path}: holds no parameters; name a checkpoint")
    if not texts and not any(name.startswith(_ONLINE) for name in arrays):
        return arrays, Card()
    if texts.keys() != {_CARD, _DIGEST}:
        lost = "digest" if _CARD in texts else "model card" if _DIGEST in texts else "model card and digest"
        raise ValueError(f"{path}: is damaged: a checkpoint of mindbyol whose {lost} is missing; copy it again")
    if texts[_DIGEST] != digest(arrays, texts[_CARD]):
        raise ValueError(f"{path}: is damaged: its contents do not match its digest; copy it again")
    return arrays, parse_card(texts[_CARD], path)


def check_finite(arrays, source):
    """Makes sure that no array holds NaN or an infinite number.

    Args:
        arrays (dict[str, ndarray]): By name; integers are always finite.
        source (Path): The file they come from, for messages.

    Raises:
        NonFinite: One does; the message names the file, the first such parameter and how many there are.
    """
    bad = [name for name, array in arrays.items() if _not_finite(array)]
    if bad:
        raise NonFinite(
            f"{source}: {bad[0]} holds {_not_finite(arrays[bad[0]])} values that are NaN or infinite ({len(bad)} of "
            f"{len(arrays)} parameters hold such): the run has diverged"
        )


def _not_finite(array):
    """How many values of an array are not finite."""
    if array.dtype.kind in "iub":
        return 0
    numbers = array if array.dtype.kind == "f" else array.astype(np.float32)  # NumPy does not know bfloat16
    return numbers.size - np.count_nonzero(np.isfinite(numbers))


def online_backbone(arrays):
    """The online backbone of a full checkpoint, or a backbone-only checkpoint as it is.

    Args:
        arrays (dict[str, ndarray]): As `read` gives them.
    """
    if any(name.startswith(_ONLINE) for name in arrays):
        return {name[len(_ONLINE) :]: array for name, array in arrays.items() if name.startswith(_ONLINE)}
    return dict(arrays)


def to_mindcv(arrays, names):
    """Gives a backbone's arrays the names of MindCV's checkpoints; `names` is a backbone's `mindcv_names`."""
    return {names.get(name, name): array for name, array in arrays.items()}


def from_mindcv(arrays, names):
    """The reverse of `to_mindcv`; arrays that are named by their place already stay as they are."""
    return to_mindcv(arrays, {theirs: ours for ours, theirs in names.items()})


def load_into(cell, arrays, source):
    """Sets every parameter of a cell, by its exact name within the cell and its shape.

    Args:
        cell (Cell): What to load into.
        arrays (dict[str, ndarray]): One array a parameter, named as if the cell stood alone.
        source (str): What to call the arrays in messages: a path.

    Returns:
        int: Number of parameters set.

    Raises:
        ValueError: A parameter is missing, left over, of another shape, or of whole numbers where real ones belong;
            nothing has been set then.
    """
    return load_parameters(dict(cell.parameters_and_names()), arrays, source)


def load_parameters(parameters, arrays, source):
    """Sets parameters by exact name and shape; nothing is guessed and nothing left out. See `load_into`."""
    problems = []
    missing = [name for name in parameters if name not in arrays]
    unexpected = [name for name in arrays if name not in parameters]
    if missing:
        problems.append(f"{len(missing)} of {len(parameters)} parameters missing ({_some(missing)})")
    if unexpected:
        problems.append(f"{len(unexpected)} unexpected ({_some(unexpected)})")
    shapes = [
        f"{name}: {arrays[name].shape} in the file, {tuple(p.shape)} in the network"
        for name, p in parameters.items()
        if name in arrays and arrays[name].shape != (tuple(p.shape) or (1,))  # scalars are stored as one element
    ]
    if shapes:
        problems.append(f"{len(shapes)} of another shape ({_some(shapes)})")
    kinds = [
        f"{name}: {arrays[name].dtype}"
        for name, p in parameters.items()
        if name in arrays and p.dtype in (ms.float16, ms.float32) and arrays[name].dtype.kind in "iubc"
    ]
    if kinds:
        problems.append(f"{len(kinds)} not of real numbers ({_some(kinds)})")
    if problems:
        raise ValueError(f"{source}: does not fit the network: {'; '.join(problems)}")
    for name, parameter in parameters.items():
        parameter.set_data(Tensor(arrays[name].reshape(parameter.shape), parameter.dtype))
    return len(parameters)


def _some(names, count=3):
    return ", ".join(escaped(name).replace("\n", "\\n") for name in names[:count]) + (
        ", ..." if len(names) > count else ""
    )
