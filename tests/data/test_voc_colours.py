"""VOC's colours."""

from mindbyol.data.voc_colours import palette


def test_the_colours_are_those_of_voc():
    colours = palette().tolist()
    assert colours[:3] == [[0, 0, 0], [128, 0, 0], [0, 128, 0]]
    assert colours[15] == [192, 128, 128] and colours[255] == [224, 224, 192]  # a person, and what is ignored
