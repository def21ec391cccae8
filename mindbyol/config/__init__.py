"""Recipes: which keys there are, from YAML and command line to one frozen value."""

from mindbyol.config.recipe import Recipe, parse_args, recipe_from

__all__ = ["Recipe", "parse_args", "recipe_from"]
