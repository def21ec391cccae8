"""Weights in, weights out: every public BYOL checkpoint read without PyTorch, the backbone handed to anyone."""

from mindbyol.weights.convert import Weights, load_pretrained, read_weights

__all__ = ["Weights", "load_pretrained", "read_weights"]
