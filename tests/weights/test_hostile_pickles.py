"""Pickles made to hang, crash or fill the memory: each ends in one line that names the file."""

import pickle
import struct

import numpy as np
import pytest
from foreign import legacy_around, zip_around
from limited import one_line, read_all
from test_pickle_safety import call, integers, name, numpy_array, tensor, text

from mindbyol.weights.files import open_weights
from mindbyol.weights.torch_files import write_zip

GET, PUT = pickle.BINGET, pickle.BINPUT


def long(value):
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little")
    return pickle.LONG4 + struct.pack("<i", len(raw)) + raw


def nested(depth):
    """A tuple in a tuple in a tuple ..."""
    return pickle.EMPTY_TUPLE + pickle.TUPLE1 * depth


def doubling(times):
    """A tuple that holds the same tuple twice, and so on: 2**times leaves in four bytes each."""
    return text("x") + b"".join(PUT + bytes([i]) + GET + bytes([i]) + pickle.TUPLE2 for i in range(times))


def as_key(key):
    return pickle.EMPTY_DICT + key + b"N" + pickle.SETITEM


def over_and_over(function, argument, times):
    """Calls a function many times with the same large argument."""
    first = name(function) + PUT + b"\xfa" + argument + pickle.TUPLE1 + PUT + b"\xfb" + pickle.REDUCE
    return pickle.MARK + first + (GET + b"\xfa" + GET + b"\xfb" + pickle.REDUCE) * times + pickle.LIST


def dictionary(size):
    items = b"".join(pickle.BININT + struct.pack("<i", i) + b"N" for i in range(size))
    return pickle.EMPTY_DICT + pickle.MARK + items + pickle.SETITEMS


def members(*values):
    return pickle.MARK + b"".join(values) + pickle.LIST


SLOW_INTEGERS = [i * (2**61 - 1) for i in range(1, 20000)]  # all have the hash 0
BYTES = pickle.BINBYTES + struct.pack("<I", 10**6) + b"x" * 10**6
TEXT = text("x" * 10**6)

# What stands in the place of a value beside the weights, and the reason that is given.
VALUES = {
    "a deep tuple as a key": (as_key(nested(200_000)), "a tuple as a key"),
    "a doubling tuple as a key": (as_key(doubling(60)), "a tuple as a key"),
    "a deep tuple in a set": (call("builtins.set", members(nested(200_000))), "a tuple as a key"),
    "a doubling tuple in a frozenset": (call("builtins.frozenset", members(doubling(60))), "a tuple as a key"),
    "a deep tuple as a key of pairs": (
        call("collections.OrderedDict", members(members(nested(200_000), b"N"))),
        "a tuple as a key",
    ),
    "integers that hash alike": (
        pickle.EMPTY_DICT + pickle.MARK + b"".join(long(i) + b"N" for i in SLOW_INTEGERS) + pickle.SETITEMS,
        "a huge integer as a key",
    ),
    "integers that hash alike as memo": (b"N" + b"".join(b"p%d\n" % i for i in SLOW_INTEGERS), "the memo"),
    "long texts as keys": (as_key(TEXT), "as a key"),
    "doubling lists in a tensor": (call("torch._utils._rebuild_tensor_v2", *[doubling(30)] * 4), "a tensor without"),
    "doubling lists as a shape": (numpy_array(doubling(60)), "an array without plain numbers"),
    "doubling lists as a dtype": (call("numpy.dtype", doubling(60)), "the NumPy dtype a tuple"),
    "doubling lists as an encoding": (call("_codecs.encode", text("x"), doubling(60)), "encode with a tuple"),
    "doubling lists called": (doubling(60) + pickle.EMPTY_TUPLE + pickle.REDUCE, "a call of a tuple"),
    "doubling lists as a class": (
        call("copyreg._reconstructor", doubling(60), name("builtins.object"), b"N"),
        "_reconstructor",
    ),
    "doubling lists that wrap an array": (
        call("dill._dill._create_array", doubling(60), b"N", b"N"),
        "made by a tuple",
    ),
    "doubling lists that get a state": (doubling(60) + b"N" + pickle.BUILD, "a state set on a tuple"),
    "doubling lists as reference": (doubling(60) + pickle.BINPERSID, "an unknown reference|outside the pickle"),
    "a call within a call": (
        call("torch._tensor._rebuild_from_type_v2", *[name("torch._tensor._rebuild_from_type_v2"), b"N", b")", b"N"]),
        "contains torch._tensor._rebuild_from_type_v2",
    ),
    "copied dictionaries": (
        over_and_over("collections.OrderedDict", dictionary(50_000), 5000),
        "the same entries over and over",
    ),
    "copied sets": (
        over_and_over("builtins.set", members(*[pickle.BININT + struct.pack("<i", i) for i in range(50_000)]), 5000),
        "the same entries over and over",
    ),
    "copied bytes": (over_and_over("builtins.bytearray", BYTES, 5000), "the same bytes over and over"),
    "copied texts": (over_and_over("_codecs.encode", TEXT, 5000), "the same bytes over and over"),
    "many arguments": (
        name("numpy.dtype") + members(*[b"N"] * 1000)[:-1] + pickle.TUPLE + pickle.REDUCE,
        "a call of numpy.dtype with 1000 arguments",
    ),
    "marks without an end": (pickle.MARK * 5000, "more than 1000 levels deep"),
    "a long name": (call("lightly." + "x" * 10**6), "of 1000007 characters"),
    "a name with control characters": (call("lightly.\x1b[31m"), r"\\x1b\[31m"),
    "a shape of many dimensions": (tensor((1,) * 100, (1,) * 100), "the shape a tuple|outside the pickle"),
    "a shape of huge integers": (
        numpy_array(call("numpy.dtype", text("f8")), shape=()).replace(
            integers(), pickle.MARK + long(2**80000) * 2 + pickle.TUPLE, 1
        ),
        "the shape a tuple",
    ),
    "a storage of negative size": (tensor((1,), (1,), size=-5), "of size -5|outside the pickle"),
    "a structured dtype": (
        call("numpy.dtype", text("f8"))
        + members(b"K\x03", text("<"), doubling(60), b"N", b"N")[:-1]
        + pickle.TUPLE
        + pickle.BUILD,
        "a structured NumPy dtype",
    ),
    "bytes that the file has not": (pickle.BINBYTES8 + struct.pack("<q", 2**50), "more than 4294967296 bytes"),
    "an integer that is called by getattr": (call("builtins.getattr", doubling(60), text("x")), "builtins.getattr"),
}


def program(value):
    """A pickle of {"state_dict": {"x": array}, "beside": value}."""
    array = numpy_array(call("numpy.dtype", text("f8")))
    state = pickle.EMPTY_DICT + text("x") + array + pickle.SETITEM
    entries = text("state_dict") + state + text("beside") + value
    return b"\x80\x02" + pickle.EMPTY_DICT + pickle.MARK + entries + pickle.SETITEMS + pickle.STOP


# What stands in the place of the weights, and the reason that is given.
WEIGHTS = {
    "a number as a name": (as_key(b"K\x05"), "None under 5"),
    "a number as the name of a tensor": (pickle.EMPTY_DICT + b"K\x05" + tensor((4,), (1,)) + b"s", "an entry under 5"),
    "None as the name of a tensor": (pickle.EMPTY_DICT + b"N" + tensor((4,), (1,)) + b"s", "an entry under None"),
    "a tuple as the name of a tensor": (pickle.EMPTY_DICT + b")" + tensor((4,), (1,)) + b"s", "a key"),
    "control characters in a name": (
        pickle.EMPTY_DICT + text("a\x1b[31m\n") + tensor((4,), (1,)) + b"s",
        r"'a\\x1b\[31m\\n' of 7 characters is no name",
    ),
    "a doubling list as a tensor": (pickle.EMPTY_DICT + text("x") + doubling(60) + b"s", "a tuple under 'x'"),
    "an expanded tensor of 10^18 values": (
        pickle.EMPTY_DICT + text("x") + tensor((10**9, 10**9), (0, 0)) + b"s",
        "x has 1,000,000,000,000,000,000 values; at most",
    ),
}


def weights(value):
    return b"\x80\x02" + pickle.EMPTY_DICT + text("state_dict") + value + b"s."


CONTAINERS = (zip_around, legacy_around, lambda path, data: path.write_bytes(data))


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    files = {what: lambda p, value=value: zip_around(p, weights(value)) for what, (value, _) in WEIGHTS.items()}
    for number, (what, (value, _)) in enumerate(VALUES.items()):
        write = CONTAINERS[number % len(CONTAINERS)]
        files[what] = lambda p, write=write, value=value: write(p, program(value))
    return read_all(tmp_path_factory.mktemp("hostile"), files)


@pytest.mark.parametrize("what", VALUES)
def test_values_beside_the_weights(outcomes, what):
    one_line(outcomes[what], VALUES[what][1])


@pytest.mark.parametrize("what", WEIGHTS)
def test_values_in_place_of_weights(outcomes, what):
    one_line(outcomes[what], WEIGHTS[what][1])


def test_values_that_nobody_looks_into_are_harmless(tmp_path):
    """Deep and endless values beside the weights are dropped, neither printed nor walked through."""
    path = tmp_path / "weights.pth"
    endless = pickle.EMPTY_LIST + PUT + b"\0" + GET + b"\0" + pickle.APPEND
    for value in (nested(200_000), doubling(60), endless, pickle.EMPTY_DICT + text("cfg") + doubling(60) + b"s"):
        zip_around(path, program(value))
        contents = open_weights(path)
        assert list(contents.tensors) == ["x"]
        assert contents.beside.get("beside", {}) == {}


def test_state_of_a_large_run_keeps_the_limits(tmp_path):
    """A ResNet-152 with its target and its optimizer has 2,300 tensors; here are 6,000, and a long log."""
    path = tmp_path / "weights.pth"
    state = {f"layer{i}.weight": np.zeros((2, 2), np.float32) for i in range(3000)}
    write_zip(path, {"state_dict": state, "optimizer": [state, {"log": list(range(200_000))}]})
    assert len(open_weights(path).tensors) == 3000
