"""MATLAB's .mat files, in which some data sets have their lists."""

import numpy as np


def read_mat(path, variable, fields=None):
    """Reads one variable.

    Args:
        path (Path): The file.
        variable (str): Its name there.
        fields (tuple[str]): The columns to take, where it is an array of structs.

    Returns:
        ndarray or dict[str, ndarray]: Flat, of numbers or texts; with `fields`, one such array each.

    Raises:
        FileNotFoundError: The file is not there.
        ValueError: It is no MATLAB file, or has no such variable.
    """
    from scipy.io import loadmat  # Takes a while, and only few data sets need it.

    if not path.is_file():
        raise FileNotFoundError(f"data_dir: {path} is not there; put it beside the images")
    try:
        found = loadmat(path, squeeze_me=True, variable_names=[variable])[variable]
        if fields is None:
            return np.atleast_1d(found).ravel()
        return {field: np.atleast_1d(found[field]).ravel() for field in fields}
    except KeyError:
        raise ValueError(f"data_dir: {path} has no variable '{variable}'; fetch it again") from None
    except Exception as error:  # scipy's parser raises whatever a damaged file makes it raise
        raise ValueError(f"data_dir: {path} is no MATLAB file that can be read ({error}); fetch it again") from error
