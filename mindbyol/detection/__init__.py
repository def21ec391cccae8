"""Object detection on a BYOL backbone: Faster R-CNN, and Mask R-CNN on a feature pyramid.

Reading order: `boxes`, `anchors`, `assignment`, `roi_align` and `losses` are formulas; `rpn`, `proposals` and
`two_stage` are made of them, `c4` is the first network; `fpn` and `mask_head` are what the second, `mask_rcnn`, has
beside; `transforms` makes what they learn from; `task` puts all of it to work.
"""
