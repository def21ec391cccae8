"""An annotation of PASCAL VOC: the size of its image, and the classes and boxes of its objects."""

import math
from xml.parsers import expat

from mindbyol.command import quoted

_MAX_BYTES = 2**20  # of an annotation; those of VOC have some hundred lines
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def objects_of(path):
    """The objects of an annotation.

    Args:
        path (Path): XML as VOC has it. A document type, and with it entities that grow when they are read, is
            refused: no annotation of VOC has one.

    Returns:
        list[tuple[str, bool]]: Class and whether it is marked as difficult, of each object.

    Raises:
        ValueError: It is something else, in one line.
    """
    return [_class_of(path, one) for one in _read(path).objects]


def boxes_of(path):
    """The size of the image, and the objects of an annotation with their boxes.

    Args:
        path (Path): As of `objects_of`.

    Returns:
        tuple[int, int, list]: Height and width in pixels, and of each object (class, whether it is difficult, box): x1,
        y1, x2, y2 in pixels, as the file has them, without the fractions that some of VOC 2012 have.

    Raises:
        ValueError: It is no annotation, or a size or a corner is not there or no number, in one line.
    """
    found = _read(path)
    height, width = (_number(path, found.size, key, "the size of the image") for key in ("height", "width"))
    if not (0 < height < 2**31 and 0 < width < 2**31):
        raise ValueError(f"data_dir: {path}: an image of {width} x {height} pixels; mend the size in the annotation")
    objects = []
    for number, one in enumerate(found.objects, 1):
        box = [_number(path, one, key, f"object {number}") for key in _CORNERS]
        objects.append((*_class_of(path, one), box))
    return height, width, objects


def _class_of(path, one):
    name, difficult = one.get("name", "").strip(), one.get("difficult", "0").strip()
    if not name or difficult not in ("0", "1"):
        raise ValueError(
            f"data_dir: {path} is no annotation of VOC (an object with the name {quoted(name)}, difficult "
            f"{quoted(difficult)}); fetch it again"
        )
    return name, difficult == "1"


def _number(path, texts, key, what):
    try:
        number = float(texts[key])
    except (KeyError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        given = quoted(texts[key].strip()) if key in texts else "not there"
        raise ValueError(f"data_dir: {path}: {key} of {what} is {given}, and no number; mend the annotation")
    return int(number)


def _read(path):
    if not path.is_file():
        raise ValueError(f"data_dir: {path} is no regular file; put the annotation there")
    with open(path, "rb") as file:
        text = file.read(_MAX_BYTES + 1)
    if len(text) > _MAX_BYTES:
        raise ValueError(f"data_dir: {path} has more than {_MAX_BYTES:,} bytes, so it is no annotation of VOC")
    reader = _Reader()
    try:
        reader.parse(text)
    except (expat.ExpatError, ValueError) as error:
        raise ValueError(f"data_dir: {path} is no annotation of VOC ({error}); fetch it again") from error
    return reader


class _Reader:
    """The texts of `annotation/size/*`, `annotation/object/*` and `annotation/object/bndbox/*`.

    Parts of objects have names and boxes of their own, deeper down.
    """

    def __init__(self):
        self.size = {}
        self.objects = []
        self._path = []

    def parse(self, text):
        parser = expat.ParserCreate()
        parser.StartDoctypeDeclHandler = _refuse
        parser.StartElementHandler = self._start
        parser.EndElementHandler = lambda _: self._path.pop()
        parser.CharacterDataHandler = self._take
        parser.Parse(text, True)

    def _start(self, name, _):
        if not self._path and name != "annotation":
            raise ValueError(f"its outermost element is {quoted(name)}")
        self._path.append(name)
        if self._path == ["annotation", "object"]:
            self.objects.append({})

    def _take(self, text):
        above, key = self._path[1:-1], self._path[-1]
        if above == ["size"]:
            texts = self.size
        elif above in (["object"], ["object", "bndbox"]):
            texts = self.objects[-1]
        else:
            return
        texts[key] = texts.get(key, "") + text


def _refuse(*_):
    raise ValueError("it declares a document type")
