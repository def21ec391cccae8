"""Semantic segmentation with an FCN on a pretrained ResNet: `task` is the module that train.py and validate.py run."""
