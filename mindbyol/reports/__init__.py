"""Plots, sheets of images and the page of a run: made from results and metrics; nothing here trains or scores."""
