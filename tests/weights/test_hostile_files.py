"""Files made to hang, crash or fill the memory, whatever their kind: each ends in one line that names it."""

import json
import os
import pickle
import socket
import struct
from pathlib import Path

import numpy as np
import pytest
from limited import one_line, read_all
from test_pickle_safety import rewrite_zip

from mindbyol.weights.files import open_weights
from mindbyol.weights.torch_files import write_zip


def reencoded(path, change):
    """Changes the bytes of a zip file that is there: `change(flags or version)` of all entries, in both directories."""
    data = bytearray(path.read_bytes())
    for signature, at in ((b"PK\x03\x04", 4), (b"PK\x01\x02", 6)):
        start = data.find(signature)
        while start >= 0:
            change(data, start + at)
            start = data.find(signature, start + 4)
    path.write_bytes(data)


def encrypted(path):
    def change(data, at):
        data[at + 2] |= 1

    reencoded(path, change)


def newer(path):
    def change(data, at):
        data[at] = 99

    reencoded(path, change)


def strong(path):
    def change(data, at):
        data[at + 2] |= 0x40

    reencoded(path, change)


def small_zip(path, **options):
    write_zip(path, {"x": np.zeros(4, np.float32)}, **options)


def sparse(path, start, size=40 * 10**9):
    """A file of 40 GB that takes no room on the disk."""
    with open(path, "wb") as file:
        file.write(start)
        file.truncate(size)


def sparse_zip(path):
    """A zip file whose directory claims to be 30 GB of zeros."""
    sparse(path, b"PK\x03\x04", 30 * 10**9)
    with open(path, "ab") as file:
        record = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 1, 1, 30 * 10**9 - 4, 4)
        locator = b"PK\x06\x07" + struct.pack("<IQI", 0, 30 * 10**9, 1)
        file.write(record + locator + b"PK\x05\x06" + b"\xff" * 16 + b"\0\0")


def safetensors(header, data=b""):
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data


def entry(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def legacy_header(path, *items):
    path.write_bytes(b"".join(pickle.dumps(item, 2) for item in (0x1950A86A20F9469CFC6C, *items)))


HUGE = safetensors({"x": entry(shape=(10**10,), offsets=(0, 4 * 10**10))})
DEEP = "[" * 100_000 + "]" * 100_000

FILES = {
    "one byte of a pickle": (lambda p: p.write_bytes(b"\x80"), "damaged|truncated"),
    "one other byte": (lambda p: p.write_bytes(b"x"), "not a MindSpore checkpoint"),
    "a legacy header that is a number": (lambda p: legacy_header(p, 1001, 5, {}, []), "the header"),
    "a legacy header that is a list": (lambda p: legacy_header(p, 1001, [], {}, []), "the header"),
    "a legacy list of tensors that is a number": (lambda p: legacy_header(p, 1001, {}, {}, 5), "no list of texts"),
    "a legacy list of deep tuples": (lambda p: legacy_header(p, 1001, {}, {}, [((),)]), "no list of texts"),
    "a legacy list of other tensors": (lambda p: legacy_header(p, 1001, {}, {}, ["7"]), "differ"),
    "an encrypted zip": (lambda p: (small_zip(p), encrypted(p)), "encrypted"),
    "a newer zip": (lambda p: (small_zip(p), newer(p)), "version 9.9"),
    "a zip with strong encryption": (lambda p: (small_zip(p), strong(p)), "encrypt"),
    "a zip with a card that is a list": (lambda p: small_zip(p, card=[1]), "model card is .1., not a JSON object"),
    "a zip with a card that is a number": (lambda p: small_zip(p, card=5), "model card is 5"),
    "a zip with a deep card": (
        lambda p: (small_zip(p), rewrite_zip(p, **{"archive/extra/mindbyol.json": DEEP})),
        "model card is no JSON",
    ),
    "a zip with a large byte order": (
        lambda p: (small_zip(p), rewrite_zip(p, **{"archive/byteorder": b"x" * 1000})),
        "at most 16 are read",
    ),
    "a zip with a directory of 30 GB": (sparse_zip, "damaged or truncated"),
    "zeros": (lambda p: sparse(p, b""), "not a MindSpore checkpoint"),
    "a MindSpore checkpoint and zeros": (lambda p: sparse(p, b"\n\x10\n\x01x"), "more than 16 GiB"),
    "a pickle and zeros": (lambda p: sparse(p, b"\x80\x02"), "damaged or truncated"),
    "a pickle of 30 GB": (
        lambda p: sparse(p, b"\x80\x04" + pickle.BINBYTES8 + struct.pack("<q", 30 * 10**9)),
        "more than 4294967296 bytes",
    ),
    "a pickle of 3 GB": (
        lambda p: sparse(p, b"\x80\x04" + pickle.BINBYTES8 + struct.pack("<q", 3 * 10**9)),
        "not enough memory",
    ),
    "a pickle of too many instructions": (
        lambda p: p.write_bytes(b"\x80\x02" + b"N0" * 10**6),
        "more than 2000000 inst",
    ),
    "a line of 40 GB": (lambda p: sparse(p, b"\x80\x02V" + b"x"), "damaged"),
    "safetensors and zeros": (
        lambda p: sparse(p, safetensors({"x": entry(shape=(9999999980,), offsets=(0, 39999999920))}), 40 * 10**9),
        "damaged or truncated",
    ),
    "safetensors of one huge tensor": (
        lambda p: sparse(p, HUGE, len(HUGE) + 4 * 10**10),
        "10,000,000,000 values; at most",
    ),
    "an ONNX file of 40 GB": (lambda p: sparse(p, b"\x08\x07\x12\x00"), "2 GiB"),
    "a MINDIR file of 40 GB": (lambda p: sparse(p, b"\n\x050.1.1\x12"), "2 GiB"),
    "safetensors with a deep header": (lambda p: p.write_bytes(safetensors(b'{"x":' + DEEP.encode())), "damaged"),
    "safetensors without a place": (lambda p: p.write_bytes(safetensors({"x": {}})), "no shape or place"),
    "safetensors with a number": (lambda p: p.write_bytes(safetensors({"x": 5})), "'x' is 5"),
    "safetensors of negative shape": (lambda p: p.write_bytes(safetensors({"x": entry(shape=(-1,))})), "no shape"),
    "safetensors that overlap": (
        lambda p: p.write_bytes(safetensors({"x": entry(), "y": entry()}, b"\0" * 4)),
        "does not begin where",
    ),
    "safetensors with data to spare": (lambda p: p.write_bytes(safetensors({"x": entry()}, b"\0" * 9)), "9 bytes of"),
    "safetensors of complex numbers": (
        lambda p: p.write_bytes(safetensors({"x": entry("C64")}, b"\0" * 4)),
        "of type C64",
    ),
    "safetensors with a card that is a list": (
        lambda p: p.write_bytes(safetensors({"__metadata__": {"card": "[1]"}, "x": entry()}, b"\0" * 4)),
        "model card is .1., not a JSON object",
    ),
    "safetensors with metadata that are numbers": (
        lambda p: p.write_bytes(safetensors({"__metadata__": {"card": 5}})),
        "metadata are no texts",
    ),
    "safetensors with a header that is cut": (lambda p: p.write_bytes(safetensors(b'{"x":')[:12]), "not complete"),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    return read_all(tmp_path_factory.mktemp("hostile"), {what: write for what, (write, _) in FILES.items()})


@pytest.mark.parametrize("what", FILES)
def test_whole_files(outcomes, what):
    one_line(outcomes[what], FILES[what][1])


def test_only_regular_files_are_opened(tmp_path):
    fifo, address = tmp_path / "fifo.ckpt", tmp_path / "socket.ckpt"
    os.mkfifo(fifo)
    link = tmp_path / "link.ckpt"
    link.symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(address))
        for path in (fifo, address, link, Path("/dev/null")):
            with pytest.raises(ValueError, match=f"{path}: not a regular file"):
                open_weights(path)


def test_graphs_with_damaged_or_absent_values(tmp_path):
    onnx = pytest.importorskip("onnx")
    path = tmp_path / "graph.onnx"
    inside, text = onnx.numpy_helper.from_array(np.ones(4, np.float32), "x"), onnx.TensorProto()
    text.CopyFrom(inside)
    text.data_type, outside, short = onnx.TensorProto.STRING, onnx.TensorProto(), onnx.TensorProto()
    outside.CopyFrom(inside)
    outside.data_location = onnx.TensorProto.EXTERNAL
    outside.external_data.add(key="location", value="/etc/hostname")
    short.CopyFrom(inside)
    short.dims[0] = 10**12
    for tensor, reason in ((outside, "in another file"), (text, "no plain numbers"), (short, "are damaged")):
        graph = onnx.helper.make_graph([], "graph", [], [], [tensor])
        path.write_bytes(onnx.helper.make_model(graph, producer_name="x").SerializeToString())
        with pytest.raises(ValueError, match=f"{path}: the values of x .*{reason}"):
            open_weights(path)


def test_mindir_with_names_that_are_no_text(tmp_path):
    from mindspore.train.mind_ir_pb2 import ModelProto

    path = tmp_path / "graph.mindir"
    path.write_bytes(ModelProto(ir_version="0.1.1", producer_name="MindSpore").SerializeToString()[:-1] + b"\xff")
    with pytest.raises(ValueError, match=f"{path}: the MINDIR file is damaged"):
        open_weights(path)
