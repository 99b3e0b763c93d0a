"""Presets of ``train`` and ``few-shot``: ``pointadapt list recipes`` shows them.

A recipe is a :class:`Recipe` in a module of this package; nothing here imports torch.
"""

from ..core.errors import UnknownNameError
from .base import Recipe
from .few_shot import FEW_SHOT
from .folder import FOLDER
from .laptop import LAPTOP
from .published import PUBLISHED
from .s3dis import S3DIS
from .scenes import SCENES

ALL = (*PUBLISHED, *S3DIS, *FEW_SHOT, *LAPTOP, *FOLDER, *SCENES)
RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in ALL}


def get_recipe(name: str) -> Recipe:
    """The recipe called ``name``.

    Raises:
        UnknownNameError: there is none.
    """
    if name not in RECIPES:
        raise UnknownNameError("recipe", name, RECIPES)
    return RECIPES[name]


__all__ = ["RECIPES", "Recipe", "get_recipe"]
