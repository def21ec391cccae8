"""MindRecord: any source in a few large files, that MindSpore's MindDataset can read too.

A split is `<split>.json` (what is in it) and shards `<split>-00000.mindrecord`, each with its SQLite index
`<split>-00000.mindrecord.db`. The images keep their numbers, so views are those of the files they came from. The shards
are read at the offsets that the index gives: any image, in any order, from any thread or process.
"""

import contextlib
import json
import logging
import os
import sqlite3
import tempfile
import urllib.parse
from pathlib import Path

import cv2
import numpy as np

from mindbyol.data.decode import BadImage
from mindbyol.data.names import printable
from mindbyol.files import replacing

logger = logging.getLogger(__name__)

_SCHEMA = {
    "number": {"type": "int64"},
    "label": {"type": "int32"},
    "name": {"type": "string"},
    "image": {"type": "bytes"},
}
_FORBIDDEN = set("\\/:*?\"<>|`&';")  # In names of MindRecord files.
_LENGTH_BYTES = 8  # In front of each image.
_BROKEN = "start again, on another disk if that does not help"


class MindRecordFiles:
    """The images of a split.

    Args:
        data_dir (str): Folder of the shards.
        split (str): Split that they were made from.

    Raises:
        FileNotFoundError: The split or one of its shards is not there.
        ValueError: A shard does not hold what the split's description says.
    """

    def __init__(self, data_dir, split):
        description = Path(data_dir) / f"{split}.json"
        if not description.is_file():
            there = ", ".join(sorted(file.stem for file in Path(data_dir).glob("*.json"))) or "none"
            raise FileNotFoundError(f"data_dir: {description} is not there; splits in {data_dir}: {there}")
        content = _read_description(description)
        if not content["complete"]:
            raise ValueError(
                f"data_dir: {description} is not complete; start make_mindrecord.py again, it goes on where it was"
            )
        self._files = [str(Path(data_dir) / shard["file"]) for shard in content["shards"]]
        tables = [_read_index(file) for file in self._files]
        for file, table, shard in zip(self._files, tables, content["shards"]):
            _check_index(file, table, shard, content)
        self._firsts = np.array([shard["first"] for shard in content["shards"]])
        self._starts = np.concatenate([table["start"] for table in tables])
        self._ends = np.concatenate([table["end"] for table in tables])
        self.class_names = content["class_names"]
        self.labels = np.concatenate([table["label"] for table in tables]) if content["has_labels"] else None
        self.description = f"{printable(content['description'])} (MindRecord)"
        self._open_files = {}

    def __len__(self):
        return len(self._starts)

    def __getitem__(self, index):
        """Returns the bytes of the image file."""
        shard = self._shard(index)
        if shard not in self._open_files:
            self._open_files[shard] = open(self._files[shard], "rb", buffering=0)
        start = int(self._starts[index])
        # At an offset: threads share the file.
        return os.pread(self._open_files[shard].fileno(), int(self._ends[index]) - start, start)

    def name(self, index):
        """Returns the name of the image in the source that the shards were made from."""
        shard = self._shard(index)
        with _connect(self._files[shard]) as connection:
            row = int(index - self._firsts[shard])
            query = f"SELECT {_columns(connection)['name']} FROM INDEXES WHERE ROW_ID = ?"
            name = connection.execute(query, (row,)).fetchone()[0]
        connection.close()
        return name

    def _shard(self, index):
        return int(np.searchsorted(self._firsts, index, "right")) - 1

    def __getstate__(self):
        return {**self.__dict__, "_open_files": {}}


def write_split(source, output_dir, split, shard_bytes):
    """Writes a source to shards, checks each against the source, and goes on where an earlier call was stopped.

    Args:
        source (Source): What to write. Pixels are stored as PNG files, files as they are.
        output_dir (str): Folder for the shards.
        split (str): Name of the split.
        shard_bytes (int): Size of a shard in bytes, roughly; MindRecord sets a limit of 20 GB.

    Raises:
        ValueError: The folder holds this split of another source, or MindRecord cannot have files of the split's name.
        RuntimeError: What was written is not what was read back, or MindSpore could not write it.
    """
    from mindspore.mindrecord.common.exceptions import MindRecordException  # Only writing needs MindSpore.

    forbidden = sorted(set(split) & _FORBIDDEN)
    if forbidden or split != split.strip(" "):
        what = f"holds {forbidden[0]}" if forbidden else "starts or ends with a space"
        raise ValueError(f"split '{split}' {what}, which MindRecord takes in no name of a file: give the split another")
    if not str(output_dir).isascii() and os.fsencode(output_dir).decode(errors="ignore") != str(output_dir):
        raise ValueError(
            f"{printable(str(output_dir))}: its name is no UTF-8 text, which MindRecord needs, or LANG is C"
        )
    os.makedirs(output_dir, exist_ok=True)
    description = Path(output_dir) / f"{split}.json"
    content = {
        "description": source.description,
        "images": len(source),
        "has_labels": source.labels is not None,
        "class_names": source.class_names,
        "shard_bytes": shard_bytes,
        "complete": False,
        "shards": [],
    }
    if description.exists():
        if not description.is_file():  # a pipe would be waited for, forever
            raise ValueError(f"{description} is no regular file: remove it, or choose another folder")
        found = _read_description(description)
        if any(found[key] != content[key] for key in ("description", "images", "has_labels", "class_names")):
            raise ValueError(
                f"output_dir: {description} is of another data set ({found['description']}); choose another folder"
            )
        content.update(shards=found["shards"], complete=found["complete"])
        logger.info("%d shards of %s are there already", len(content["shards"]), description)
    done = sum(shard["images"] for shard in content["shards"])
    while done < len(source):
        file = f"{split}-{len(content['shards']):05d}.mindrecord"
        try:
            images = _write_shard(source, done, output_dir, file, shard_bytes)
        except MindRecordException as error:
            raise RuntimeError(f"{description.with_name(file)}: {str(error).splitlines()[0]}") from error
        content["shards"].append({"file": file, "first": done, "images": images})
        done += images
        content["complete"] = done == len(source)
        _write_json(description, content)
        logger.info("%s: %d images, checked; %d of %d done", file, images, done, len(source))


def _write_shard(source, first, output_dir, file, shard_bytes):
    from mindspore.mindrecord import FileWriter  # Only writing needs MindSpore.

    # The index knows its file by name, so the shard is made under its name in a folder beside.
    with tempfile.TemporaryDirectory(dir=output_dir) as beside:
        path = os.path.join(beside, file)
        writer = FileWriter(path, 1)
        writer.add_schema(_SCHEMA, "images")
        writer.add_index(["number", "label", "name"])
        size, index, rows = 0, first, []
        while index < len(source) and (size < shard_bytes or index == first):
            label = -1 if source.labels is None else int(source.labels[index])
            try:
                image = _image_file(source[index])
            except BadImage as error:
                raise ValueError(
                    f"data_dir: {source.name(index)}: {error}; remove it, and call again to go on"
                ) from error
            if not image:
                raise ValueError(f"data_dir: {source.name(index)} is an empty file; remove it, and call again to go on")
            rows.append({"number": index, "label": label, "name": source.name(index), "image": image})
            size += len(image)
            index += 1
            if len(rows) == 64:
                writer.write_raw_data(rows)
                rows = []
        if rows:
            writer.write_raw_data(rows)
        writer.commit()
        _check_shard(source, first, index, path)
        for made in (f"{path}.db", path):
            os.replace(made, os.path.join(output_dir, os.path.basename(made)))
    return index - first


def _check_shard(source, first, stop, path):
    table = _read_index(path)
    if not np.array_equal(table["number"], np.arange(first, stop)):
        raise RuntimeError(f"output_dir: {path}: the index does not list images {first} to {stop - 1}; {_BROKEN}")
    if source.labels is not None and not np.array_equal(table["label"], source.labels[first:stop]):
        raise RuntimeError(f"output_dir: {path}: the labels are not those of the source; {_BROKEN}")
    with open(path, "rb") as shard:
        for index in range(first, stop):
            shard.seek(int(table["start"][index - first]))
            stored = shard.read(int(table["end"][index - first] - table["start"][index - first]))
            if stored != _image_file(source[index]):
                raise RuntimeError(
                    f"output_dir: {path}: {source.name(index)} does not read back as it was written; {_BROKEN}"
                )


def _image_file(item):
    if isinstance(item, np.ndarray):
        return cv2.imencode(".png", item[..., ::-1])[1].tobytes()
    return item


def _read_description(file):
    """Reads what `write_split` wrote about a split, of which every part is checked before it is used."""
    try:
        content = json.loads(file.read_bytes())
        shards, names = content["shards"], content["class_names"]
        whole = (
            isinstance(content["complete"], bool)
            and isinstance(content["has_labels"], bool)
            and isinstance(content["description"], str)
            and isinstance(content["images"], int)
            and (names is None or all(isinstance(name, str) for name in names))
            and (names is not None or not content["has_labels"])
            and isinstance(shards, list)
            and (len(shards) > 0 or not content["complete"])
            and all(isinstance(shard["first"], int) and isinstance(shard["images"], int) for shard in shards)
            and all(os.path.basename(shard["file"]) == shard["file"] for shard in shards)
        )
    except (ValueError, RecursionError, KeyError, TypeError):
        whole = False
    if not whole:
        raise ValueError(f"{file}: is damaged, or does not describe a split; make the split again")
    return content


def _check_index(file, table, shard, content):
    """Checks the index of a shard against the description of its split."""
    numbers, labels = table["number"], table["label"]
    if (
        len(numbers) != shard["images"]
        or not np.array_equal(numbers, shard["first"] + np.arange(len(numbers)))
        or not (0 <= table["start"]).all()
        or not (table["start"] <= table["end"]).all()
        or os.path.getsize(file) < table["end"].max(initial=1)
        or (content["has_labels"] and not ((0 <= labels) & (labels < len(content["class_names"]))).all())
    ):
        raise ValueError(f"{file}: is damaged, or from another split; make it again")


def _read_index(file):
    """Reads number, label and place (start and end in the file) of the images of a shard, in order."""
    if not os.path.isfile(file) or not os.path.isfile(f"{file}.db"):
        raise FileNotFoundError(f"{file}: it, or its index {file}.db, is not there; make it again")
    try:
        with open(file, "rb") as shard:
            length = int.from_bytes(shard.read(8), "little")
            header = json.loads(shard.read(min(length, os.path.getsize(file))))
        with contextlib.closing(_connect(file)) as connection:
            columns = _columns(connection)
            query = f"""SELECT {columns['number']}, {columns['label']}, PAGE_ID_BLOB, PAGE_OFFSET_BLOB,
                        PAGE_OFFSET_BLOB_END FROM INDEXES ORDER BY ROW_ID"""
            flat = np.fromiter((value for row in connection.execute(query) for value in map(int, row)), np.int64)
        number, label, page, start, end = flat.reshape(-1, 5).T
        page_start = header["header_size"] + page * header["page_size"]
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError, sqlite3.Error) as error:
        raise ValueError(f"{file}: it, or its index {file}.db, is damaged; make it again") from error
    return {
        "number": number,
        "label": label.astype(np.int32),
        "start": page_start + start + _LENGTH_BYTES,
        "end": page_start + end,
    }


def _connect(file):
    path = urllib.parse.quote(os.fsencode(os.path.abspath(file)))  # "%", "?" and "#" mean something in a URI
    return sqlite3.connect(f"file:{path}.db?mode=ro", uri=True)


def _columns(connection):
    """Fields that are indexed are columns `<field>_<number of the schema>`."""
    names = [row[1] for row in connection.execute("PRAGMA table_info(INDEXES)")]
    return {name.rpartition("_")[0]: name for name in names}


def _write_json(path, content):
    with replacing(path) as beside:
        beside.write_text(json.dumps(content, indent=1))
