"""The tfds builder of one corpus. `data_pipelines/corpora.py` writes and reads corpora through
it."""

import contextlib
import struct
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from unittest import mock

import tensorflow_datasets as tfds
from tensorflow_datasets.core import example_serializer, shuffle
from tensorflow_datasets.proto import tf_example_pb2

from data_pipelines.records import PREFERENCE_PARTS, Chat, Document, PreferencePair, Record

_TEXT = tfds.features.Text


class CorpusBuilder(tfds.core.GeneratorBasedBuilder):
  """Writes one corpus, given as a sequence of records of one kind.

  Messages are stored as parallel lists of roles and contents, since a list of dicts would come back
  from tfds as a dict of lists.
  """

  VERSION = tfds.core.Version('1.0.0')
  name = 'corpus'

  def __init__(self, *, data_dir: str, kind: str, records: Iterable[Record] = ()):
    """Opens the corpus in a folder.

    Args:
      data_dir: the folder.
      kind: 'documents', 'chats' or 'preferences'.
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
    elif self._kind == 'preferences':
      features = {'id': _TEXT(), 'domain': _TEXT(), 'provenance': _TEXT()}
      for part in PREFERENCE_PARTS:
        features[f'{part}_roles'] = tfds.features.Sequence(_TEXT())
        features[f'{part}_contents'] = tfds.features.Sequence(_TEXT())
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
      elif isinstance(record, PreferencePair):
        yield n, _row_of_preference(record)
      else:
        yield n, _row_of_document(record)


class InOrder:
  """Stands in for the shuffler of tfds, which would hold a whole corpus in memory.

  Rows stay in the order in which they come, and wait in a file on the same disk until tfds knows
  how many there are and how many files it divides them into.
  """

  def __init__(
    self,
    dirpath: Any,
    hash_salt: Any,
    disable_shuffling: bool = False,
    ignore_duplicates: bool = False,
  ):
    """Opens the file. The arguments are those of tfds's own shuffler.

    Args:
      dirpath: the folder of the corpus.
      hash_salt: not used: keys are numbers that rise.
      disable_shuffling: must be true.
      ignore_duplicates: not used, as there are none.
    """
    assert disable_shuffling, 'this keeps the order'
    del hash_salt, ignore_duplicates
    dirpath.mkdir(parents=True, exist_ok=True)
    # It has no name, so nothing is left of it when the process ends.
    self._file = tempfile.TemporaryFile(dir=dirpath)  # noqa: SIM115
    self.size = 0
    self.num_examples = 0

  @property
  def bucket_lengths(self) -> list[int]:
    """The rows of each part that tfds may write by itself: there is one part."""
    return [self.num_examples]

  def add(self, key: int, data: bytes) -> None:
    """Takes the next row.

    Args:
      key: the number of the row.
      data: the serialised row.
    """
    assert key == self.num_examples, 'rows come in order'
    self._file.write(struct.pack('<Q', len(data)))
    self._file.write(data)
    self.size += len(data)
    self.num_examples += 1

  def __iter__(self) -> Iterator[tuple[int, bytes]]:
    self._file.seek(0)
    for key in range(self.num_examples):
      (length,) = struct.unpack('<Q', self._file.read(8))
      yield key, self._file.read(length)
    self._file.close()


class TextSerializer:
  """Stands in for the serializer of tfds, which makes arrays of NumPy of every field.

  All fields of a corpus are texts or lists of texts. Writing these alone takes a tenth of the time,
  which would be a large part of the time of writing a corpus.
  """

  def __init__(self, example_specs: Mapping[str, Any]):
    """Takes the fields.

    Args:
      example_specs: field -> what tfds knows of it, of which the names count here.
    """
    self._fields = tuple(example_specs)

  def serialize_example(self, example: Mapping[str, str | list[str]]) -> bytes:
    """Serialises a row.

    Args:
      example: field -> its text or texts.

    Returns:
      The message that tfds reads: a `tf.train.Example` with a list of bytes for every field.
    """
    message = tf_example_pb2.Example()
    features = message.features.feature
    # Filled in place: making it of other messages copies these, which takes three times as long.
    for field in self._fields:
      value = example[field]
      stored = features[field].bytes_list
      # An empty list is a list too.
      stored.SetInParent()
      if isinstance(value, str):
        stored.value.append(value.encode())
      else:
        stored.value.extend([text.encode() for text in value])
    return message.SerializeToString()


def _unchanged(features: tfds.features.FeaturesDict, row: dict[str, Any]) -> dict[str, Any]:
  """Stands in for the encoding of rows by tfds, since `TextSerializer` takes texts as they are."""
  assert set(row) == set(features), 'a row has the fields of its corpus'
  return row


@contextlib.contextmanager
def rows_are_text_in_order() -> Iterator[None]:
  """Has tfds write rows of text, in bounded memory and in little time, while the context lasts; see
  `InOrder` and `TextSerializer`."""
  with (
    mock.patch.object(shuffle, 'Shuffler', InOrder),
    mock.patch.object(example_serializer, 'ExampleSerializer', TextSerializer),
    mock.patch.object(tfds.features.FeaturesDict, 'encode_example', _unchanged),
  ):
    yield


def _row_of_document(document: Document) -> dict[str, Any]:
  return vars(document) | {'claim_ids': list(document.claim_ids)}


def _row_of_chat(chat: Chat) -> dict[str, Any]:
  return {
    'id': chat.id,
    'roles': _roles(chat.messages),
    'contents': _contents(chat.messages),
    'domain': chat.domain,
    'provenance': chat.provenance,
  }


def _row_of_preference(record: PreferencePair) -> dict[str, Any]:
  row: dict[str, Any] = {
    'id': record.id,
    'domain': record.domain,
    'provenance': record.provenance,
  }
  for part in PREFERENCE_PARTS:
    messages = getattr(record, part)
    row[f'{part}_roles'] = _roles(messages)
    row[f'{part}_contents'] = _contents(messages)
  return row


def _roles(messages: Iterable[tuple[str, str]]) -> list[str]:
  return [role for role, _ in messages]


def _contents(messages: Iterable[tuple[str, str]]) -> list[str]:
  return [content for _, content in messages]
