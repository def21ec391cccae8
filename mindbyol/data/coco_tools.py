"""COCO's own code, which is an optional requirement."""

import importlib


def coco_tools(part):
    """A module of pycocotools.

    Args:
        part (str): mask, coco or cocoeval.

    Returns:
        module: `pycocotools.<part>`.

    Raises:
        ValueError: It is not installed; the message says what to do.
    """
    try:
        return importlib.import_module(f"pycocotools.{part}")
    except ImportError as error:
        raise ValueError(
            f"dataset: masks and COCO's scores need a package that is not there ({error}): "
            "pip install -r requirements-dense.txt"
        ) from None
