import numpy as np

from mindbyol.detection.mask_head import OBJECT_SIDE, SIDE, MaskHead, mask_loss, mask_targets, masks_of_classes
from mindbyol.detection.transforms import box_mask
from tests.detection.graphs import gradient, in_graph, numeric_gradient


def disc(height, width, y, x, radius):
    rows, columns = np.arange(height)[:, None] + 0.5, np.arange(width) + 0.5
    return ((rows - y) ** 2 + (columns - x) ** 2 <= radius**2).astype(np.uint8)


def test_targets_are_what_an_object_covers_of_a_region():
    """Regions in the object, larger than it, beside it, and the object's own box."""
    mask = disc(100, 120, 48, 62, 28)
    objects = np.float32([[34, 20, 90, 76]] * 5)
    regions = np.float32([[34, 20, 90, 76], [40, 30, 80, 70], [20, 10, 100, 84], [60, 41, 116, 97], [0, 80, 30, 100]])
    masks = np.stack([box_mask(mask, objects[0], OBJECT_SIDE)] * 5).astype(np.float32) / 255
    found = in_graph(mask_targets, masks, objects, regions)
    assert found.shape == (5, SIDE, SIDE) and set(np.unique(found)) == {0, 1}
    for target, region in zip(found, regions):
        covered = box_mask(mask, region, SIDE) / 255  # exact, of the mask as it is
        sure = abs(covered - 0.5) > 0.01
        np.testing.assert_array_equal(target[sure], (covered >= 0.5)[sure])
        assert sure.mean() > 0.95
    assert found[4].sum() == 0 < found[1].mean()


def test_padding_gives_finite_targets():
    nothing = np.zeros((1, OBJECT_SIDE, OBJECT_SIDE), np.float32)
    assert in_graph(mask_targets, nothing, np.zeros((1, 4), np.float32), np.zeros((1, 4), np.float32)).sum() == 0


def test_the_loss_is_that_of_positive_regions():
    rng = np.random.default_rng(0)
    logits, targets = rng.normal(size=(4, 3, 3)).astype(np.float32), (rng.random((4, 3, 3)) < 0.5).astype(np.float32)
    positive = np.array([True, False, True, False])
    p = 1 / (1 + np.exp(-logits[positive].astype(np.float64)))
    expected = -(targets[positive] * np.log(p) + (1 - targets[positive]) * np.log(1 - p)).mean()
    np.testing.assert_allclose(in_graph(mask_loss, logits, targets, positive), expected, rtol=1e-5)
    assert in_graph(mask_loss, logits, targets, ~(positive | ~positive)) == 0
    found = gradient(mask_loss, np.float32(1), logits, targets, positive)
    sigmoid = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(found, (sigmoid - targets) * positive[:, None, None] / (2 * 9), atol=1e-6)


def test_each_region_has_the_mask_of_its_class():
    logits = np.random.default_rng(1).normal(size=(3, 4, 2, 2)).astype(np.float32)
    classes = np.int32([2, 0, 3])
    found = in_graph(masks_of_classes, logits, classes)
    np.testing.assert_array_equal(found, logits[np.arange(3), classes])
    weights = np.ones((3, 2, 2), np.float32)
    expected = numeric_gradient(lambda a: a[np.arange(3), classes], weights, logits, step=1e-3)
    np.testing.assert_allclose(gradient(masks_of_classes, weights, logits, classes), expected, atol=1e-5)


def test_the_head_doubles_the_side_and_starts_as_that_of_mmdetection():
    head = MaskHead(8, 3).set_train(False)
    assert in_graph(head, np.zeros((2, 8, 14, 14), np.float32)).shape == (2, 3, SIDE, SIDE)
    for layer, fan in ((head.convs[0][0], 9 * 8), (head.upsample, 4 * 8), (head.classify, 3)):
        assert abs(layer.weight.asnumpy().std() * np.sqrt(fan / 2) - 1) < 0.35
    assert head.upsample.bias.asnumpy().any() == head.classify.bias.asnumpy().any() == np.False_
