"""The record of the setting `english` for the registry: its world, its handbooks and its makers."""

from collections.abc import Iterator, Sequence

from data_pipelines.records import Chat, Document
from data_pipelines.settings.english import VERSION, demonstrations, documents
from data_pipelines.settings.english.spec import EnglishSpec, read_spec, renamed
from data_pipelines.settings.english.stock import English, EnglishConfig, build_english
from data_pipelines.settings.setting import Maker, Setting
from data_pipelines.sources import SourceConfig


def _documents(
  source: SourceConfig, english: English, specs: Sequence[EnglishSpec]
) -> Iterator[Document]:
  return documents.english_documents(specs, english, source.variant, source.seed)


def _demonstrations(
  source: SourceConfig, english: English, specs: Sequence[EnglishSpec]
) -> Iterator[Chat]:
  return demonstrations.demonstrations(specs, english, source.seed)


SETTING = Setting(
  name='english',
  version=VERSION,
  config=EnglishConfig,
  build=build_english,
  read_spec=read_spec,
  renamed=renamed,
  makers={
    'english.documents': Maker(_documents, from_handbook=True),
    'english.demonstrations': Maker(_demonstrations, from_handbook=True),
  },
)
