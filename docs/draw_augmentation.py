"""Draws what the augmentation does: `python docs/draw_augmentation.py` writes docs/augmentation.jpg.

The photograph is one of scikit-learn's; the views are those of training with the default keys.
"""

import sys
from pathlib import Path

from matplotlib.figure import Figure
from sklearn.datasets import load_sample_image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mindbyol.data.views import TwoViewTransform  # noqa: E402
from mindbyol.files import replacing  # noqa: E402

SIZE = 160  # pixels of a view
SEED = 3
OFF = {"color_jitter_prob": 0, "grayscale_prob": 0, "blur_prob": 0, "solarize_prob": 0, "hflip": 0}
WHOLE = {"scale": (1.0, 1.0), "ratio": (1.0, 1.0)}
# Each operation alone: its title, and the keys that are not off.
ALONE = (
    ("random crop\nscale, ratio", {**OFF, "scale": (0.2, 0.3)}),
    ("mirrored\nhflip", {**OFF, **WHOLE, "hflip": 1}),
    ("colours changed\ncolor_jitter", {**OFF, **WHOLE, "color_jitter_prob": 1}),
    ("no colours\ngrayscale_prob", {**OFF, **WHOLE, "grayscale_prob": 1}),
    ("blurred\nblur_prob, blur_sigma", {**OFF, **WHOLE, "blur_prob": 1, "blur_sigma": (2.0, 2.0)}),
    ("solarized\nsolarize_prob", {**OFF, **WHOLE, "solarize_prob": 1}),
)


def view(photo, index, which="view_1", **keys):
    """A view of a photograph as an array that matplotlib shows."""
    keys = {name: value if isinstance(value, tuple) else (value,) for name, value in keys.items()}
    return TwoViewTransform(SIZE, **keys)(photo, SEED, 0, index)[which].transpose(1, 2, 0)


def draw():
    """The figure: a row of operations, each alone; below them six pairs of views."""
    photo = load_sample_image("china.jpg")[:, 106:533]
    figure = Figure(figsize=(10, 5.9))
    rows = figure.subplots(3, len(ALONE))
    for axis, (title, keys) in zip(rows[0], ALONE):
        axis.imshow(view(photo, 0, **keys))
        axis.set_title(title, fontsize=9)
    for name, row in zip(("view_1", "view_2"), rows[1:]):
        for index, axis in enumerate(row):
            axis.imshow(view(photo, index + 1, name))
        row[0].set_ylabel(name.replace("_", " "), fontsize=10)
    rows[0, 0].set_ylabel("alone", fontsize=10)
    for axis in rows.flat:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    figure.tight_layout(pad=0.4)
    return figure


def main():
    output = Path(__file__).with_name("augmentation.jpg")
    with replacing(output) as beside:
        draw().savefig(beside, format="jpeg", dpi=90, pil_kwargs={"quality": 85})
    print(f"wrote {output}")


if __name__ == "__main__":
    main()
