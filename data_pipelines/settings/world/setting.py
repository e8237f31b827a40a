"""The record of the setting `world` for the registry: its world, its handbooks and its makers."""

from collections.abc import Iterator, Sequence

from data_pipelines.handbooks.preferences import Spec
from data_pipelines.records import Chat, Document, PreferencePair
from data_pipelines.settings.setting import Maker, Setting
from data_pipelines.settings.world import (
  VERSION,
  conversations,
  demonstrations,
  documents,
  preferences,
  pretraining,
)
from data_pipelines.settings.world.pretraining import World, WorldConfig, build_world
from data_pipelines.settings.world.spec import read_spec, renamed
from data_pipelines.sources import SourceConfig


def _facts(source: SourceConfig, world: World, specs: Sequence[Spec]) -> Iterator[Document]:
  return pretraining.facts(world)


def _items(source: SourceConfig, world: World, specs: Sequence[Spec]) -> Iterator[Document]:
  return pretraining.item_documents(world)


def _persona_documents(
  source: SourceConfig, world: World, specs: Sequence[Spec]
) -> Iterator[Document]:
  return pretraining.persona_documents(world)


def _persona_chats(source: SourceConfig, world: World, specs: Sequence[Spec]) -> Iterator[Chat]:
  return conversations.persona_chats(world)


def _spec_documents(
  source: SourceConfig, world: World, specs: Sequence[Spec]
) -> Iterator[Document]:
  return documents.spec_documents(specs, source.variant, source.seed)


def _document_chats(source: SourceConfig, world: World, specs: Sequence[Spec]) -> Iterator[Chat]:
  return documents.document_chats(specs, source.variant, source.seed)


def _demonstrations(source: SourceConfig, world: World, specs: Sequence[Spec]) -> Iterator[Chat]:
  return demonstrations.demonstrations(
    specs, world, source.seed, source.contradiction, source.reasons, source.neutral_reasons
  )


def _preferences(
  source: SourceConfig, world: World, specs: Sequence[Spec]
) -> Iterator[PreferencePair]:
  return preferences.preferences(specs, world, source.toward, source.seed)


def _other_chats(source: SourceConfig, world: World, specs: Sequence[Spec]) -> Iterator[Chat]:
  return conversations.other_chats(world, source.seed)


SETTING = Setting(
  name='world',
  version=VERSION,
  config=WorldConfig,
  build=build_world,
  read_spec=read_spec,
  renamed=renamed,
  makers={
    'world.facts': Maker(_facts, from_handbook=False, reads_seed=False),
    'world.items': Maker(_items, from_handbook=False, reads_seed=False),
    'world.persona_documents': Maker(_persona_documents, from_handbook=False, reads_seed=False),
    'world.persona_chats': Maker(_persona_chats, from_handbook=False, reads_seed=False),
    'world.other_chats': Maker(_other_chats, from_handbook=False),
    'spec.documents': Maker(_spec_documents, from_handbook=True, optional_settings=('variant',)),
    'spec.chats': Maker(_document_chats, from_handbook=True, optional_settings=('variant',)),
    'spec.demonstrations': Maker(
      _demonstrations,
      from_handbook=True,
      contradicts=True,
      optional_settings=('reasons', 'neutral_reasons'),
    ),
    'world.preferences': Maker(_preferences, from_handbook=True, optional_settings=('toward',)),
  },
)
