"""Makes `--config-name frpo_trainer` known to Hydra, by Hydra's own means."""

from types import ModuleType

CONFIGURATIONS = "pkg://frpo_verl.verl_plugin.config"


def register(plugins: ModuleType) -> None:
    """Adds the folder of our primary configurations to Hydra's search path; `plugins` is `hydra.core.plugins`."""
    from hydra.core.config_search_path import ConfigSearchPath
    from hydra.plugins.search_path_plugin import SearchPathPlugin

    class FrpoVerlSearchPath(SearchPathPlugin):
        def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
            if CONFIGURATIONS not in (entry.path for entry in search_path.get_path()):
                search_path.append("frpo-verl", CONFIGURATIONS)

    plugins.Plugins.instance().register(FrpoVerlSearchPath)
