"""train.py or validate.py, whole, with the model `tiny_resnet` in MindCV's registry."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from mindbyol.commands import train, validate  # noqa: E402
from tests.detection import tiny_resnet  # noqa: E402, F401  (registers the model)

if __name__ == "__main__":
    {"train": train, "validate": validate}[sys.argv.pop(1)].main()
