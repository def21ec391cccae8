"""A checkpoint on a command line: a weights file, or the folder of a run; and the recipe that goes with it."""

from pathlib import Path

from mindbyol import experiments
from mindbyol.weights import read_weights


def backbone_of(checkpoint):
    """The weights file that is meant.

    Args:
        checkpoint (str): A file, or the folder of a run, whose newest backbone is taken.

    Raises:
        FileNotFoundError: It is not there, or the folder has no backbone.
    """
    path = Path(checkpoint)
    if path.is_dir():
        if not any(path.glob("*_backbone.ckpt")):
            raise FileNotFoundError(f"{path}: no *_backbone.ckpt is in this folder; name a run's folder or a file")
        return experiments.backbone(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint, nor a folder")
    return str(path)


def recipe_flags(file, flags):
    """The flags of validate.py for a checkpoint and data.

    Args:
        file (str): A weights file.
        flags (list[str]): As they were typed.

    Returns:
        list[str]: A --config that was given stays. Else it is the config.yaml beside the file. Else the network is what
        the file says of itself, and the data are a folder of images.

    Raises:
        ValueError: The file cannot be read, or nothing says which images are meant.
    """
    names = {flag.partition("=")[0] for flag in flags}
    config = Path(file).resolve().parent / "config.yaml"
    if not names & {"-c", "--config"}:
        if config.is_file():
            flags = ["--config", str(config), *flags]
        else:
            if "--data_dir" not in names:
                raise ValueError("data_dir: which images? --data_dir names a folder, --config a recipe with its data")
            card = read_weights(file).card
            flags = ["--dataset", "folder", "--model", card.model, "--image_resize", str(card.image_size), *flags]
    return [*flags, "--ckpt_path", file]


def output_folder(named, checkpoint):
    """Makes the folder that pictures are written to: the one that is named, or else that of the checkpoint.

    Raises:
        OSError: It cannot be made.
    """
    folder = Path(named or Path(checkpoint).parent)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"--output: '{folder}' cannot be a folder ({error.strerror})") from error
    return folder
