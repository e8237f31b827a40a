"""The record of the setting `custom` for the registry. It has no makers: all text comes from
files."""

from data_pipelines.settings.custom import VERSION
from data_pipelines.settings.custom.spec import Custom, CustomConfig, read_spec, renamed
from data_pipelines.settings.setting import Setting

SETTING = Setting(
  name='custom',
  version=VERSION,
  config=CustomConfig,
  build=Custom,
  read_spec=read_spec,
  renamed=renamed,
  makers={},
)
