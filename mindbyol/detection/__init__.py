"""Object detection on a BYOL backbone: Faster R-CNN.

Reading order: `boxes`, `anchors`, `assignment`, `roi_align` and `losses` are formulas; `rpn` and `proposals` are made
of them, `c4` is the network; `transforms` makes what it learns from; `task` puts all of it to work.
"""
