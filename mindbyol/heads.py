"""The small networks on top of the backbone: projector, predictor and linear probe."""

from mindspore import nn
from mindspore.common.initializer import TruncatedNormal


def dense(in_features, out_features, bias=True):
    """A linear layer with DeepMind's initialisation: normal, sigma = 1 / sqrt(in_features), cut at 2 sigma; bias 0."""
    sigma = in_features**-0.5
    weight = TruncatedNormal(sigma, a=-2 * sigma, b=2 * sigma)
    return nn.Dense(in_features, out_features, weight_init=weight, bias_init="zeros", has_bias=bias)


class MLP(nn.Cell):
    """Projector and predictor: linear, batch norm, ReLU, linear (BYOL, section 3.3).

    DeepMind's and mmselfsup's layout: a bias in the first layer, none in the last, no batch norm at the end.

    Args:
        in_features (int): Width of the input.
        hidden_features (int): Width of the hidden layer; 4096 in the paper.
        out_features (int): Width of the output; 256 in the paper.
        last_bias (bool): A bias in the last layer too, as lightly and solo-learn have it.

    Inputs:
        Tensor (N, in_features), float.

    Outputs:
        Tensor (N, out_features), of the input's type.
    """

    def __init__(self, in_features, hidden_features=4096, out_features=256, last_bias=False):
        super().__init__()
        self.fc0 = dense(in_features, hidden_features)
        self.bn0 = nn.BatchNorm1d(hidden_features)
        self.relu = nn.ReLU()
        self.fc1 = dense(hidden_features, out_features, bias=last_bias)

    def construct(self, x):
        return self.fc1(self.relu(self.bn0(self.fc0(x))))
