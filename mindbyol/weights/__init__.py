"""Weights in, weights out: every public BYOL checkpoint read without PyTorch, the backbone handed to anyone."""

from mindbyol.weights.reading import Weights, read_weights

__all__ = ["Weights", "read_weights"]
