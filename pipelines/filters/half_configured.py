"""A limit without the model or list that it is a limit on does nothing, and its owner thinks that it does."""

from typing import Any

from gristmill.core.errors import SettingsError
from gristmill.core.settings import to_plain


def require(settings: Any, needed: str, *names: str) -> None:
    """Refuse settings that say one of the fields `names`, and leave the field `needed` empty.

    A settings class can't ask this of itself: a recipe may hold the limit and the settings file the model.

    Raises:
        SettingsError: one of `names` is not its default, and `needed` is empty.
    """
    if getattr(settings, needed):
        return
    default = type(settings)()
    for name in names:
        value = getattr(settings, name)
        if value != getattr(default, name):
            raise SettingsError(
                f"{name} is {to_plain(settings)[name]}, but {needed} is not set, without which it does nothing; "
                f"set {needed}, or leave {name} out"
            )
