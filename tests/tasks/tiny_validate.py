"""validate.py, whole, with the model of tiny_train.py."""

import tiny_train  # noqa: F401  (registers the model)

from mindbyol.commands import validate

if __name__ == "__main__":
    validate.main()
