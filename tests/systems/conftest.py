"""The made-up corpus and the toy upstream of the recipe tests."""

from tests.recipes.conftest import corpus, toy_upstream

__all__ = ["corpus", "toy_upstream"]
