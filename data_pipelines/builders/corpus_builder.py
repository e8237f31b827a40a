"""The tfds builder of one corpus. `data_pipelines/corpora.py` writes and reads corpora through
it."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow_datasets as tfds

from data_pipelines.records import Chat, Record

_TEXT = tfds.features.Text


class CorpusBuilder(tfds.core.GeneratorBasedBuilder):
  """Writes one corpus (all documents or all chats), given as a sequence of records.

  The messages of a chat are stored as parallel lists of roles and contents, since a list of dicts
  would come back from tfds as a dict of lists.
  """

  VERSION = tfds.core.Version('1.0.0')
  name = 'corpus'

  def __init__(self, *, data_dir: str, kind: str, records: Sequence[Record] = ()):
    """Opens the corpus in a folder.

    Args:
      data_dir: the folder.
      kind: 'documents' or 'chats'.
      records: what to write; not needed for reading.
    """
    self._kind = kind
    self._records = records
    super().__init__(data_dir=data_dir, file_format='array_record')

  def _info(self) -> tfds.core.DatasetInfo:
    if self._kind == 'chats':
      features = {
        'id': _TEXT(),
        'roles': tfds.features.Sequence(_TEXT()),
        'contents': tfds.features.Sequence(_TEXT()),
        'domain': _TEXT(),
        'provenance': _TEXT(),
      }
    else:
      features = {
        'id': _TEXT(),
        'text': _TEXT(),
        'spec': _TEXT(),
        'domain': _TEXT(),
        'doc_type': _TEXT(),
        'provenance': _TEXT(),
        'claim_ids': tfds.features.Sequence(_TEXT()),
      }
    # With shuffling, tfds would order the rows by hashes of their keys.
    return tfds.core.DatasetInfo(
      builder=self, features=tfds.features.FeaturesDict(features), disable_shuffling=True
    )

  def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
    return {'train': self._generate_examples()}

  def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
    for n, record in enumerate(self._records):
      if isinstance(record, Chat):
        yield n, _row_of_chat(record)
      else:
        yield n, dataclasses.asdict(record) | {'claim_ids': list(record.claim_ids)}


def _row_of_chat(chat: Chat) -> dict[str, Any]:
  return {
    'id': chat.id,
    'roles': [role for role, _ in chat.messages],
    'contents': [content for _, content in chat.messages],
    'domain': chat.domain,
    'provenance': chat.provenance,
  }
