"""Photographs, as the tests of data have them."""

from tests.data.conftest import photos  # noqa: F401
