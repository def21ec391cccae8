"""Replacing layers inside a network that somebody else wrote."""

from mindspore import nn


def replace_cells(network, kinds, make):
    """Puts `make(cell)` in the place of every cell of some kinds, at any depth; parameters keep their names.

    Args:
        network (Cell): Changed in place.
        kinds (tuple[type]): What is replaced.
        make (Callable[[Cell], Cell]): Gives the new cell; it may hold the old one or its parameters.

    Returns:
        int: How many were replaced.
    """
    names = {id(parameter): parameter.name for parameter in network.get_parameters()}
    replaced = _replace(network, kinds, make)
    for parameter in network.get_parameters():
        parameter.name = names[id(parameter)]
    return replaced


def _replace(network, kinds, make):
    replaced = 0
    for name, cell in list(network.name_cells().items()):
        if isinstance(cell, kinds):
            setattr(network, name, make(cell).set_train(cell.training))
            replaced += 1
        else:
            replaced += _replace(cell, kinds, make)
    if replaced and isinstance(network, nn.SequentialCell):
        network.cell_list = list(network.cells())
    return replaced
