"""Object detection on a BYOL backbone: Faster R-CNN.

Reading order: `anchors`, `boxes`, `assignment` and `roi_align` are formulas; `proposals` (with `nms`) and the heads
(`rpn`, `roi_head`) are made of them; `c4` is the network.
"""
