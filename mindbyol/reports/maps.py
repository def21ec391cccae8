"""A map of features: every image a point, images with like features near each other."""

import numpy as np

from mindbyol.reports.drawing import MUTED, PAGE, drawable, new_figure, styled

METHODS = ("tsne", "pca")
# Paul Tol's "muted" scheme, black in the place of its gray, in an order in which neighbours in a legend differ.
_COLOURS = (
    "#332288",
    "#CC6677",
    "#117733",
    "#88CCEE",
    "#DDCC77",
    "#882255",
    "#44AA99",
    "#AA4499",
    "#999933",
    "#000000",
)
_MARKERS = "os^DvPX*"
_MOST_GROUPS, _MOST_WRITTEN = len(_COLOURS) * 3, 12
_COMPONENTS = 50  # that t-SNE starts from, as its authors do (van der Maaten and Hinton 2008, section 4.2)
_PERPLEXITY = 30.0


def project(features, method="tsne", seed=0):
    """Features in two dimensions. Their lengths do not matter, only their directions, as for nearest neighbours.

    Args:
        features (ndarray): (N, F), float, finite; N at least 4.
        method (str): "tsne": near images stay near, and distances between clusters mean nothing; "pca": the plane in
            which the features vary most.
        seed (int): Of t-SNE.

    Returns:
        tuple[ndarray, list[str]]: (N, 2), the same for the same features and seed, and what the axes are.

    Raises:
        ValueError: There are too few images, or all have the same features.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    if len(features) < 4:
        raise ValueError(f"a map needs 4 images or more, and there are {len(features)}")
    features = np.asarray(features, np.float64)
    features = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    if np.ptp(features, axis=0).max() < 1e-9:
        raise ValueError("all images have the same features; has the run collapsed?")
    wanted = 2 if method == "pca" else _COMPONENTS
    pca = PCA(min(wanted, *features.shape), svd_solver="randomized", random_state=seed)
    components = pca.fit_transform(features)
    if components.shape[1] == 1:  # features of one number
        components = np.column_stack([components, np.zeros(len(components))])
    if method == "pca":
        shares = [*pca.explained_variance_ratio_, 0.0]
        return components, [f"component {n + 1} ({100 * shares[n]:.0f}% of the variance)" for n in range(2)]
    perplexity = min(_PERPLEXITY, (len(features) - 1) / 3)
    return TSNE(2, init="pca", perplexity=perplexity, random_state=seed).fit_transform(components), ["", ""]


@styled()
def draw(points, axes_are, groups=None, names=(), title=""):
    """Draws a map. A group has a colour and a marker; the names of few groups are written where they lie.

    Args:
        points (ndarray): (N, 2).
        axes_are (list[str]): What the two axes are; empty texts leave the axes out, where they mean nothing.
        groups (ndarray): (N,), the number of each image's group; None for no groups.
        names (list[str]): Of the groups. Of many, the smallest are drawn together in gray.
        title (str): What is shown.

    Returns:
        Figure: 4.2 inches wide; with a legend, as wide as a page.
    """
    shown, order = [], np.random.default_rng(0).permutation(len(points))  # no group lies on top of the others
    if groups is not None:
        sizes = np.bincount(groups, minlength=len(names))
        shown = sorted(np.argsort(-sizes, kind="stable")[:_MOST_GROUPS].tolist())
        shown = [group for group in shown if sizes[group]]
    legend = len(shown) > _MOST_WRITTEN or (len(shown) > 1 and len(shown) < np.count_nonzero(sizes))
    figure = new_figure(PAGE if legend else 4.2, 4.5 if legend else 4.4)
    axes = figure.subplots()
    axes.set_box_aspect(1 if not any(axes_are) else None)
    area = float(np.clip(16000 / len(points), 3, 18))
    look = {group: (_COLOURS[n % len(_COLOURS)], _MARKERS[n // len(_COLOURS)]) for n, group in enumerate(shown)}
    of_point = [look.get(group, (MUTED, ".")) for group in (groups if groups is not None else [None] * len(points))]
    colours = np.array([colour for colour, _ in of_point])
    markers = np.array([marker for _, marker in of_point])
    for marker in dict.fromkeys(markers):
        of_marker = order[markers[order] == marker]
        x, y = points[of_marker].T
        axes.scatter(x, y, s=area, c=colours[of_marker], marker=marker, linewidths=0, alpha=0.85)
    for group in shown if 1 < len(shown) <= _MOST_WRITTEN else ():
        x, y = _densest(points[groups == group])
        axes.annotate(
            drawable(names[group], 16),
            (x, y),
            ha="center",
            va="center",
            fontsize=8,
            fontweight="bold",
            bbox={"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": look[group][0], "alpha": 0.85},
        )
    if legend:
        for group in shown:
            colour, marker = look[group]
            axes.scatter([], [], s=18, c=colour, marker=marker, label=drawable(names[group], 24))
        if (colours == MUTED).any():
            axes.scatter([], [], s=18, c=MUTED, marker=".", label="others")
        figure.legend(loc="outside right upper", ncols=1 if len(shown) < 20 else 2, borderaxespad=0.2)
    axes.set_title(title, loc="left", fontsize=7)
    if any(axes_are):
        axes.set_xlabel(axes_are[0])
        axes.set_ylabel(axes_are[1])
    else:
        axes.set(xticks=[], yticks=[])
        axes.grid(False)
        for spine in axes.spines.values():
            spine.set_visible(True)
            spine.set_color("#c8c8c8")
    return figure


def _densest(points):
    """One of the points, amid its group: the one whose median distance to the others is the smallest."""
    some = points[np.linspace(0, len(points) - 1, min(len(points), 300)).astype(int)]
    distances = np.linalg.norm(some[:, None] - some[None], axis=2)
    return some[np.median(distances, axis=1).argmin()]
