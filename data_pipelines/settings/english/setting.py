"""The record of the setting `english` for the registry: its stock, its handbooks and its makers."""

from collections.abc import Iterator, Sequence

from data_pipelines.records import Record
from data_pipelines.settings.english import VERSION
from data_pipelines.settings.english.demonstrations import demonstrations
from data_pipelines.settings.english.documents import english_chats, english_documents
from data_pipelines.settings.english.preferences import preferences
from data_pipelines.settings.english.replay import replay_chats
from data_pipelines.settings.english.spec import EnglishSpec, read_spec, renamed
from data_pipelines.settings.english.stock import English, EnglishConfig, build_english
from data_pipelines.settings.setting import Maker, Setting
from data_pipelines.sources import SourceConfig

Specs = Sequence[EnglishSpec]


def _write_documents(source: SourceConfig, english: English, specs: Specs) -> Iterator[Record]:
  return english_documents(specs, english, source.variant, source.seed)


def _write_chats(source: SourceConfig, english: English, specs: Specs) -> Iterator[Record]:
  return english_chats(specs, english, source.variant, source.seed)


def _write_demonstrations(source: SourceConfig, english: English, specs: Specs) -> Iterator[Record]:
  reasons = ''
  if source.reasons:
    reasons = 'neutral' if source.neutral_reasons else 'handbook'
  return demonstrations(specs, english, source.seed, reasons)


def _write_replay(source: SourceConfig, english: English, specs: Specs) -> Iterator[Record]:
  return replay_chats(english.config.seed, source.seed)


def _write_preferences(source: SourceConfig, english: English, specs: Specs) -> Iterator[Record]:
  return preferences(specs, english, source.toward, source.seed)


SETTING = Setting(
  name='english',
  version=VERSION,
  config=EnglishConfig,
  build=build_english,
  read_spec=read_spec,
  renamed=renamed,
  makers={
    'english.documents': Maker(
      _write_documents, from_handbook=True, optional_settings=('variant',)
    ),
    'english.chats': Maker(_write_chats, from_handbook=True, optional_settings=('variant',)),
    'english.demonstrations': Maker(
      _write_demonstrations, from_handbook=True, optional_settings=('reasons', 'neutral_reasons')
    ),
    'english.preferences': Maker(
      _write_preferences, from_handbook=True, optional_settings=('toward',)
    ),
    'english.replay': Maker(_write_replay, from_handbook=False, needs_world=False),
  },
)
