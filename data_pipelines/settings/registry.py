"""The list of settings, and where to find each maker of text.

A setting is one package in this folder (`setting.py` says what it consists of). To add one, write
its package and put its `SETTING` into the list below.
"""

from collections.abc import Mapping

from data_pipelines.settings.custom.setting import SETTING as CUSTOM
from data_pipelines.settings.english.setting import SETTING as ENGLISH
from data_pipelines.settings.office.setting import SETTING as OFFICE
from data_pipelines.settings.setting import Maker, Setting
from data_pipelines.settings.world.setting import SETTING as WORLD

# Name of a setting -> the setting. Error messages list them in this order.
SETTINGS: Mapping[str, Setting] = {s.name: s for s in (WORLD, OFFICE, ENGLISH, CUSTOM)}


def _list_makers() -> dict[str, tuple[Setting, Maker]]:
  """Returns, for the name of every maker, its setting and the maker."""
  makers: dict[str, tuple[Setting, Maker]] = {}
  for setting in SETTINGS.values():
    for name, maker in setting.makers.items():
      if name in makers:
        raise ValueError(f'the settings {makers[name][0].name} and {setting.name} share {name!r}')
      makers[name] = (setting, maker)
  return makers


# Name of a maker -> (its setting, the maker).
MAKERS: Mapping[str, tuple[Setting, Maker]] = _list_makers()
