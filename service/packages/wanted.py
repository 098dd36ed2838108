"""Which models should be served: those that the settings name, unless an operator asked otherwise since.

*Configured* models are the default and those that were named at the start; the service promises to have them, and is
not ready without. It knows names alone: neither whether there is such a model, nor where it stands.
"""

from service.settings import Settings


class Wanted:
    """Names of models, wanted or not.

    Args:
        settings: which model is the default, and which to load.

    Attributes:
        configured: what the settings name, the default first.
    """

    def __init__(self, settings: Settings) -> None:
        named = [name.strip() for name in settings.load_models.split(",") if name.strip()]
        self.configured = tuple(dict.fromkeys((settings.default_model, *named)))
        self._every_package = not named
        self._asked: dict[str, bool] = {}

    def __contains__(self, name: str) -> bool:
        return self._asked.get(name, self._every_package or name in self.configured)

    def want(self, name: str) -> None:
        """Want a model from now on."""
        self._asked[name] = True

    def leave(self, name: str) -> None:
        """Want a model no more."""
        self._asked[name] = False
