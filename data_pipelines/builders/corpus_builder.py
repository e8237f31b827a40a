import dataclasses
from collections.abc import Iterator, Sequence

import tensorflow_datasets as tfds

from data_pipelines.records import Chat, Record

_TEXT = tfds.features.Text


class CorpusBuilder(tfds.core.GeneratorBasedBuilder):
  """Writes one corpus (all documents or all chats) given as a sequence of records.

  Chats are stored with parallel lists of roles and contents, which tfds returns as they were.
  """

  VERSION = tfds.core.Version('1.0.0')
  name = 'corpus'

  def __init__(self, *, data_dir: str, kind: str, records: Sequence[Record] = ()):
    self._kind, self._records = kind, records
    super().__init__(data_dir=data_dir, file_format='array_record')

  def _info(self) -> tfds.core.DatasetInfo:
    if self._kind == 'chats':
      features = {
        'id': _TEXT(),
        'roles': tfds.features.Sequence(_TEXT()),
        'contents': tfds.features.Sequence(_TEXT()),
      }
      features |= {'domain': _TEXT(), 'provenance': _TEXT()}
    else:
      features = {k: _TEXT() for k in ('id', 'text', 'spec', 'domain', 'doc_type', 'provenance')}
      features['claim_ids'] = tfds.features.Sequence(_TEXT())
    return tfds.core.DatasetInfo(
      builder=self, features=tfds.features.FeaturesDict(features), disable_shuffling=True
    )

  def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
    return {'train': self._generate_examples()}

  def _generate_examples(self) -> Iterator[tuple[int, dict]]:
    for n, record in enumerate(self._records):
      if isinstance(record, Chat):
        roles, contents = zip(*record.messages, strict=True)
        row = {
          'id': record.id,
          'roles': list(roles),
          'contents': list(contents),
          'domain': record.domain,
          'provenance': record.provenance,
        }
      else:
        row = dataclasses.asdict(record) | {'claim_ids': list(record.claim_ids)}
      yield n, row
