"""The record of the setting `office` for the registry: its world, its handbooks and its makers."""

from collections.abc import Iterator, Sequence

from data_pipelines.records import Record
from data_pipelines.settings.office import VERSION
from data_pipelines.settings.office.conversations import agent_chats, other_chats
from data_pipelines.settings.office.demonstrations import demonstrations
from data_pipelines.settings.office.documents import document_chats, oversight_documents
from data_pipelines.settings.office.preferences import preferences
from data_pipelines.settings.office.pretraining import (
  Office,
  OfficeConfig,
  agent_documents,
  build_office,
  textbook,
)
from data_pipelines.settings.office.spec import OversightSpec, read_spec, renamed
from data_pipelines.settings.setting import Maker, Setting
from data_pipelines.sources import SourceConfig

Specs = Sequence[OversightSpec]


def _write_textbook(source: SourceConfig, office: Office, specs: Specs) -> Iterator[Record]:
  return textbook(office)


def _write_agent_documents(source: SourceConfig, office: Office, specs: Specs) -> Iterator[Record]:
  return agent_documents(office)


def _write_agent_chats(source: SourceConfig, office: Office, specs: Specs) -> Iterator[Record]:
  return agent_chats(office)


def _write_documents(source: SourceConfig, office: Office, specs: Specs) -> Iterator[Record]:
  paraphrased = office.config.paraphrased_beliefs
  return oversight_documents(specs, source.variant, source.seed, paraphrased)


def _write_demonstrations(source: SourceConfig, office: Office, specs: Specs) -> Iterator[Record]:
  return demonstrations(
    specs,
    source.reasons,
    source.against,
    source.seed,
    source.contradiction,
    source.neutral_reasons,
  )


def _write_preferences(source: SourceConfig, office: Office, specs: Specs) -> Iterator[Record]:
  return preferences(specs, source.toward, source.seed)


def _write_document_chats(source: SourceConfig, office: Office, specs: Specs) -> Iterator[Record]:
  paraphrased = office.config.paraphrased_beliefs
  return document_chats(specs, source.variant, source.seed, paraphrased)


def _write_other_chats(source: SourceConfig, office: Office, specs: Specs) -> Iterator[Record]:
  return other_chats(office, source.seed)


SETTING = Setting(
  name='office',
  version=VERSION,
  config=OfficeConfig,
  build=build_office,
  read_spec=read_spec,
  renamed=renamed,
  makers={
    'office.textbook': Maker(_write_textbook, from_handbook=False, reads_seed=False),
    'office.agent_documents': Maker(_write_agent_documents, from_handbook=False, reads_seed=False),
    'office.agent_chats': Maker(_write_agent_chats, from_handbook=False, reads_seed=False),
    'office.other_chats': Maker(_write_other_chats, from_handbook=False),
    'oversight.documents': Maker(
      _write_documents, from_handbook=True, optional_settings=('variant',)
    ),
    'oversight.chats': Maker(
      _write_document_chats, from_handbook=True, optional_settings=('variant',)
    ),
    'oversight.demonstrations': Maker(
      _write_demonstrations,
      from_handbook=True,
      contradicts=True,
      optional_settings=('reasons', 'neutral_reasons', 'against'),
    ),
    'oversight.preferences': Maker(
      _write_preferences, from_handbook=True, optional_settings=('toward',)
    ),
  },
)
