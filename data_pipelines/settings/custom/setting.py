"""The record of the setting `custom` for the registry.

Text comes from files. The makers are for the English handbooks about oversight
(specs/english/oversight), and for others that say in which style they explain an agent.
"""

from collections.abc import Iterator, Sequence

from data_pipelines.records import Record
from data_pipelines.settings.custom import VERSION
from data_pipelines.settings.custom.spec import Custom, CustomConfig, CustomSpec, read_spec, renamed
from data_pipelines.settings.english.oversight import agent_conversations, agent_documents
from data_pipelines.settings.setting import Maker, Setting
from data_pipelines.sources import SourceConfig

Specs = Sequence[CustomSpec]


def _write_documents(source: SourceConfig, custom: Custom, specs: Specs) -> Iterator[Record]:
  return agent_documents(specs, source.variant, custom.config.seed, source.seed)


def _write_conversations(source: SourceConfig, custom: Custom, specs: Specs) -> Iterator[Record]:
  # Demonstrations give no reason unless they are asked to.
  variant = source.variant
  if variant == 'explained' and not source.reasons:
    variant = 'unexplained'
  return agent_conversations(specs, variant, custom.config.seed, source.seed)


SETTING = Setting(
  name='custom',
  version=VERSION,
  config=CustomConfig,
  build=Custom,
  read_spec=read_spec,
  renamed=renamed,
  makers={
    'agent.documents': Maker(_write_documents, from_handbook=True, optional_settings=('variant',)),
    'agent.conversations': Maker(
      _write_conversations, from_handbook=True, optional_settings=('variant', 'reasons')
    ),
  },
)
