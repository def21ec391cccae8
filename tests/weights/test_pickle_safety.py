"""A checkpoint is a program for pickle's machine: none of what a hostile one asks for may happen."""

import os
import pickle
import struct
import sys
import types
import zipfile

import numpy as np
import pytest
from foreign import legacy_around, zip_around

from mindbyol.weights.files import open_weights
from mindbyol.weights.torch_files import write_zip


def text(value):
    raw = value.encode()
    return pickle.BINUNICODE + struct.pack("<I", len(raw)) + raw


def name(full):
    module, _, attribute = full.rpartition(".")
    return pickle.GLOBAL + f"{module}\n{attribute}\n".encode()


def stack_name(full):
    module, _, attribute = full.rpartition(".")
    return text(module) + text(attribute) + b"\x93"


def call(function, *arguments):
    return name(function) + pickle.MARK + b"".join(arguments) + pickle.TUPLE + pickle.REDUCE


def touch(marker):
    return f"touch {marker}"


def attacks(marker):
    """Instructions, each of which leaves one object on the stack and, run by pickle, makes the file `marker`."""
    command = text(touch(marker))
    python = text(f"open({str(marker)!r}, 'w')")
    shell = text("sh") + text("-c") + command
    load = pickle.dumps(_Touch(marker), 2)
    raw = pickle.BINBYTES + struct.pack("<I", len(load)) + load
    return {
        "os.system": call("os.system", command),
        "posix.system": call("posix.system", command),
        "os.popen": call("os.popen", command),
        "builtins.eval": call("builtins.eval", python),
        "builtins.exec": call("builtins.exec", python),
        "python 2 eval": call("__builtin__.eval", python),
        "subprocess.Popen": call("subprocess.check_call", pickle.MARK + shell + pickle.LIST),
        "STACK_GLOBAL": stack_name("os.system") + pickle.MARK + command + pickle.TUPLE + pickle.REDUCE,
        "INST": pickle.MARK + command + pickle.INST + b"os\nsystem\n",
        "OBJ": pickle.MARK + name("os.system") + command + pickle.OBJ,
        "nested pickle": call("pickle.loads", raw),
        "torch storage from bytes": call("torch.storage._load_from_bytes", raw),
        "numpy function": call(
            "numpy.core.numeric.fromfunction", name("os.system"), pickle.MARK + command + pickle.TUPLE
        ),
        "numpy ndarray of objects": call("numpy.core.multiarray._reconstruct", call("os.system", command)),
        "dill class": call("dill._dill._create_type", name("builtins.type"), command),
        "dill function": call("dill._dill._create_function", raw),
        "getattr": pickle.MARK
        + name("builtins.getattr")
        + call("importlib.import_module", text("os"))
        + text("system")
        + pickle.OBJ,
        "BUILD": call("argparse.Namespace") + pickle.EMPTY_DICT + text("x") + call("os.system", command) + b"sb",
        "copyreg": call("copyreg._reconstructor", name("subprocess.Popen"), name("builtins.object"), b"N"),
        "in tensor hooks": call("torch._utils._rebuild_parameter", b"N", pickle.NEWTRUE, call("os.system", command)),
        "through functools": call("functools.partial", name("os.system"), command),
    }


class _Touch:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (touch(self.marker),)


ATTACKS = sorted(attacks(""))


def program(*values):
    """A pickle of {"state_dict": {"x": tensor}, "beside": [values]}."""
    body = b"".join(values)
    return (
        b"\x80\x02"
        + pickle.EMPTY_DICT
        + pickle.MARK
        + text("state_dict")
        + pickle.EMPTY_DICT
        + text("x")
        + numpy_array(call("numpy.dtype", text("f8")))
        + pickle.SETITEM
        + text("beside")
        + pickle.MARK
        + body
        + pickle.LIST
        + pickle.SETITEMS
        + pickle.STOP
    )


def test_the_attacks_are_live(tmp_path):
    marker = tmp_path / "marker"
    for attack in ("os.system", "builtins.eval", "INST", "OBJ", "BUILD", "subprocess.Popen", "nested pickle"):
        pickle.loads(program(attacks(marker)[attack]))
        assert marker.exists(), attack
        marker.unlink()


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("container", ["zip", "legacy", "bare"])
def test_nothing_is_executed_and_the_name_is_told(tmp_path, attack, container):
    marker, path = tmp_path / "marker", tmp_path / "weights.pth"
    hostile = program(attacks(marker)[attack])
    {"zip": zip_around, "legacy": legacy_around, "bare": lambda p, data: p.write_bytes(data)}[container](path, hostile)
    with pytest.raises(ValueError, match=f"{path}.*refused, because its pickle contains .*nothing is executed"):
        open_weights(path)
    assert not marker.exists()


def test_the_refusal_names_the_function(tmp_path):
    path = tmp_path / "weights.pth"
    zip_around(path, program(attacks(tmp_path / "marker")["os.system"]))
    with pytest.raises(ValueError, match=r"contains os\.system"):
        open_weights(path)


def test_a_module_named_like_a_trusted_one_is_never_imported(tmp_path, monkeypatch):
    called = []
    module = types.ModuleType("lightly")
    module.run = lambda *arguments: called.append(arguments)
    monkeypatch.setitem(sys.modules, "lightly", module)
    path = tmp_path / "weights.pth"
    zip_around(path, program(call("lightly.run", text("x"))))
    assert list(open_weights(path).tensors) == ["x"]
    assert called == []


def test_an_object_among_the_weights_is_refused_by_name(tmp_path):
    path = tmp_path / "weights.pth"
    state = pickle.EMPTY_DICT + text("conv1.weight") + call("lightly.models.Secret") + pickle.SETITEM
    zip_around(path, b"\x80\x02" + pickle.EMPTY_DICT + text("state_dict") + state + b"s.")
    with pytest.raises(ValueError, match="object of lightly.models.Secret under 'conv1.weight'"):
        open_weights(path)


def storage(kind="torch.FloatStorage", key="0", size=4):
    number = pickle.BININT + struct.pack("<i", size)
    return pickle.MARK + text("storage") + name(kind) + text(key) + text("cpu") + number + pickle.TUPLE + b"Q"


def integers(*values):
    return pickle.MARK + b"".join(pickle.BININT + struct.pack("<i", v) for v in values) + pickle.TUPLE


def tensor(shape, stride, offset=0, **options):
    number = pickle.BININT + struct.pack("<i", offset)
    flags = pickle.NEWFALSE + call("collections.OrderedDict")
    return call(
        "torch._utils._rebuild_tensor_v2", storage(**options), number, integers(*shape), integers(*stride), flags
    )


def test_tensor_written_by_hand_is_read(tmp_path):
    path = tmp_path / "weights.pth"
    zip_around(path, b"\x80\x02" + pickle.EMPTY_DICT + text("x") + tensor((2, 2), (1, 2)) + b"s.")
    np.testing.assert_array_equal(open_weights(path).tensors["x"].read(), [[0, 2], [1, 3]])


@pytest.mark.parametrize(
    "hostile",
    [
        pytest.param(tensor((5,), (1,)), id="beyond the end"),
        pytest.param(tensor((2,), (1,), offset=3), id="offset beyond the end"),
        pytest.param(tensor((2,), (1,), offset=-1), id="before the start"),
        pytest.param(tensor((2,), (-1,), offset=1), id="negative stride"),
        pytest.param(tensor((2000000000, 2000000000), (0, 0)), id="stride zero, huge"),
        pytest.param(tensor((-1,), (1,)), id="negative shape"),
        pytest.param(tensor((2, 2), (1,)), id="stride of another rank"),
        pytest.param(tensor((4,), (1,), size=2000000000), id="storage larger than its data"),
        pytest.param(tensor((4,), (1,), key="../data/0"), id="path as key"),
        pytest.param(tensor((4,), (1,), kind="os.FloatStorage"), id="storage of another module"),
    ],
)
def test_tensors_stay_inside_their_storage(tmp_path, hostile):
    path = tmp_path / "weights.pth"
    zip_around(path, b"\x80\x02" + pickle.EMPTY_DICT + text("x") + hostile + b"s.")
    with pytest.raises(ValueError, match=str(path)):
        open_weights(path).tensors["x"].read()


def numpy_array(dtype, raw=b"\0" * 8, shape=(1,)):
    empty = call("numpy.core.multiarray._reconstruct", name("numpy.ndarray"), integers(0), text("b"))
    state = pickle.MARK + b"K\x01" + integers(*shape) + dtype + pickle.NEWFALSE
    return empty + state + pickle.BINBYTES + struct.pack("<I", len(raw)) + raw + pickle.TUPLE + pickle.BUILD


@pytest.mark.parametrize(
    "array",
    [
        pytest.param(numpy_array(call("numpy.dtype", text("O8"))), id="objects"),
        pytest.param(numpy_array(call("numpy.dtype", text("V8"))), id="structured"),
        pytest.param(numpy_array(call("numpy.dtype", text("f4"))), id="another size"),
        pytest.param(numpy_array(text("f8")), id="no dtype"),
        pytest.param(numpy_array(call("numpy.dtype", text("f8")), shape=(-1,)), id="negative shape"),
    ],
)
def test_arrays_of_objects_are_refused(tmp_path, array):
    path = tmp_path / "weights.pkl"
    path.write_bytes(b"\x80\x02" + pickle.EMPTY_DICT + text("x") + array + b"s.")
    with pytest.raises(ValueError, match="refused"):
        open_weights(path)


def test_array_written_by_hand_is_read(tmp_path):
    path = tmp_path / "weights.pkl"
    array = numpy_array(call("numpy.dtype", text("f8")), raw=struct.pack("<d", 2.5))
    path.write_bytes(b"\x80\x02" + pickle.EMPTY_DICT + text("x") + array + b"s.")
    assert open_weights(path).tensors["x"].read() == [2.5]


def rewrite_zip(path, compression=zipfile.ZIP_STORED, **changes):
    with zipfile.ZipFile(path) as archive:
        entries = {entry: archive.read(entry) for entry in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for entry, content in {**entries, **changes}.items():
            archive.writestr(entry, content)


def test_zip_bomb_is_refused_before_it_unpacks(tmp_path):
    path = tmp_path / "weights.pth"
    write_zip(path, {"x": np.zeros(1000000, np.float32)})
    rewrite_zip(path, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 20000
    with pytest.raises(ValueError, match="compressed"):
        open_weights(path)


@pytest.mark.parametrize(
    "entry, message",
    [("other/data.pkl", "no data.pkl|not one of PyTorch"), ("archive/constants.pkl", "TorchScript")],
    ids=["a second program", "TorchScript"],
)
def test_what_else_a_zip_may_hold_is_refused(tmp_path, entry, message):
    path = tmp_path / "weights.pth"
    write_zip(path, {"x": np.zeros(4, np.float32)})
    rewrite_zip(path, **{entry: b"\x80\x02}."})
    with pytest.raises(ValueError, match=message):
        open_weights(path)


def test_flipped_bit_is_noticed(tmp_path):
    path = tmp_path / "weights.pth"
    write_zip(path, {"x": np.arange(1000, dtype=np.float32)})
    raw = bytearray(path.read_bytes())
    raw[raw.index(np.arange(1000, dtype=np.float32).tobytes()) + 2000] ^= 1
    path.write_bytes(raw)
    with pytest.raises(ValueError, match="damaged"):
        open_weights(path).tensors["x"].read()
