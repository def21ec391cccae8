"""Recipes: which keys there are, from YAML and command line to one frozen value."""

from mindbyol.config.recipe import Recipe, parse_args

__all__ = ["Recipe", "parse_args"]
