"""The record of the setting `office` for the registry: its world, its handbooks and its makers."""

from collections.abc import Iterator, Sequence

from data_pipelines.records import Chat, Document
from data_pipelines.settings.office import (
  VERSION,
  conversations,
  demonstrations,
  documents,
  pretraining,
)
from data_pipelines.settings.office.pretraining import Office, OfficeConfig, build_office
from data_pipelines.settings.office.spec import OversightSpec, read_spec, renamed
from data_pipelines.settings.setting import Maker, Setting
from data_pipelines.sources import SourceConfig


def _textbook(
  source: SourceConfig, office: Office, specs: Sequence[OversightSpec]
) -> Iterator[Document]:
  return pretraining.textbook(office)


def _agent_documents(
  source: SourceConfig, office: Office, specs: Sequence[OversightSpec]
) -> Iterator[Document]:
  return pretraining.agent_documents(office)


def _agent_chats(
  source: SourceConfig, office: Office, specs: Sequence[OversightSpec]
) -> Iterator[Chat]:
  return conversations.agent_chats(office)


def _oversight_documents(
  source: SourceConfig, office: Office, specs: Sequence[OversightSpec]
) -> Iterator[Document]:
  return documents.oversight_documents(specs, source.variant, source.seed)


def _demonstrations(
  source: SourceConfig, office: Office, specs: Sequence[OversightSpec]
) -> Iterator[Chat]:
  return demonstrations.demonstrations(specs, source.reasons, source.against, source.seed)


SETTING = Setting(
  name='office',
  version=VERSION,
  config=OfficeConfig,
  build=build_office,
  read_spec=read_spec,
  renamed=renamed,
  makers={
    'office.textbook': Maker(_textbook, from_handbook=False),
    'office.agent_documents': Maker(_agent_documents, from_handbook=False),
    'office.agent_chats': Maker(_agent_chats, from_handbook=False),
    'oversight.documents': Maker(_oversight_documents, from_handbook=True),
    'oversight.demonstrations': Maker(_demonstrations, from_handbook=True),
  },
)
