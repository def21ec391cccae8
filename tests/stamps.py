"""Cut-outs as Debian's package of stamps has them, drawn: the package is not everywhere."""

import cv2
import numpy as np

from mindbyol.data.stamps import CLASSES


def write_cutouts(folder, count=4):
    """Writes PNG files with an alpha channel: ellipses, of each class in a colour of its own.

    Args:
        folder (Path): The cut-outs of each class go to the folder of its category below it.
        count (int): Of each class.
    """
    for place, category in enumerate(CLASSES.values()):
        (folder / category / "cartoon").mkdir(parents=True)
        for number in range(count):
            pixels = np.zeros((60, 80, 4), np.uint8)
            pixels[..., :3] = (40 + 30 * place, 250 - 30 * place, 20 * number)
            alpha = np.zeros((60, 80), np.uint8)
            cv2.ellipse(alpha, (40, 30), (30, 12 + 4 * number), 20 * number, 0, 360, 255, -1, cv2.LINE_AA)
            pixels[..., 3] = alpha
            assert cv2.imwrite(str(folder / category / f"{number}.png"), pixels)
        (folder / category / "cartoon" / "drawing.png").write_bytes(b"")
