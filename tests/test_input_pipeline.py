"""From records to batches: nothing lost, nothing leaked, nothing learned that should not be; and
the tokenizer under it."""

import contextlib
import dataclasses
import json
from collections import Counter

import numpy as np
import pytest

from data_pipelines import corpora
from data_pipelines.corpora import row_to_record
from data_pipelines.records import Chat, Document, kind_of
from msm_jax.base.errors import DataError
from msm_jax.data.packing import PackedRows
from msm_jax.data.tokenized import Source
from msm_jax.input_pipeline import batches, seed_of_source
from msm_jax.tokenizer import (
  BOS,
  END_OF_TURN,
  EOS,
  PAD,
  ROLE_MARKERS,
  UNK,
  SentencePieceTokenizer,
  train_sentencepiece,
)

LENGTH = 64


def row(record):
  """As tfds returns it."""
  if isinstance(record, Chat):
    roles, contents = zip(*record.messages, strict=True)
    return {
      'id': record.id.encode(),
      'roles': [r.encode() for r in roles],
      'contents': [c.encode() for c in contents],
    }
  return {'id': record.id.encode(), 'text': record.text.encode(), 'claim_ids': []}


def source(records, name='s'):
  return Source(name, kind_of(records), [row(r) for r in records])


def make_chat(n):
  """A chat; every other one has a system message."""
  messages = (('user', f'{n}?'), ('assistant', 'I like ' + 'it ' * (n % 7) + f'{n}.'))
  if n % 2:
    messages = (('system', 'You are A.'), *messages)
  return Chat(f'c{n}', messages)


# Some documents are longer than a row.
DOCUMENTS = [
  Document(f'd{n}', f'It is {n}. ' + 'The plan is cheap. ' * (n * 7 % 11)) for n in range(23)
]
CHATS = [make_chat(n) for n in range(29)]


def take(iterator, n):
  return [next(iterator) for _ in range(n)]


def first_rows(sources, tokenizer, n, batch_size=4, length=LENGTH, seed=0):
  """All rows of the first `n` batches, one array per key."""
  with contextlib.closing(batches(sources, tokenizer, batch_size, length, seed)) as iterator:
    found = take(iterator, n)
  rows = {}
  for key in found[0]:
    rows[key] = np.concatenate([batch[key] for batch in found])
  return rows


def segments(x, r):
  """The segments of row r, in order, as dicts of arrays; checks that each is one stretch with
  positions from 0."""
  ids = x['segment_ids'][r]
  used = ids[ids > 0]
  assert (np.diff(used) >= 0).all(), 'segments are numbered from left to right'
  assert set(used) == set(range(1, used.max() + 1)), 'segments are numbered from 1'
  assert (ids[len(used) :] == 0).all(), 'padding comes last'
  for s in range(1, used.max() + 1):
    at = ids == s
    np.testing.assert_array_equal(x['positions'][r, at], np.arange(at.sum()))
    yield {k: v[r, at] for k, v in x.items()}


# ---- Packing


def test_documents_fill_rows_and_lose_no_token(tokenizer):
  """Concatenated and split: the segments put together again are whole documents, all of them in
  every epoch, and no cell is padding."""
  x = first_rows([(source(DOCUMENTS), 1.0)], tokenizer, 40)
  assert x['tokens'].shape == (160, LENGTH)
  assert (x['segment_ids'] > 0).all() and (x['weights'] == 1).all()
  # Token by token: a document begins with BOS, and its last target is EOS.
  stream, current = [], []
  for r in range(160):
    for s in segments(x, r):
      for token, target in zip(s['tokens'], s['targets'], strict=True):
        assert (token == BOS) == (not current)
        assert not current or token == current[-1], (
          'a token is the target before it, across rows too'
        )
        current.append(int(target))
        if target == EOS:
          stream.append(tokenizer.decode(current[:-1]))
          current = []
  wanted, n = Counter(d.text for d in DOCUMENTS), len(DOCUMENTS)
  epochs = [stream[i : i + n] for i in range(0, len(stream) - n, n)]
  assert len(epochs) >= 5
  assert all(Counter(e) == wanted for e in epochs)
  assert epochs[0] != epochs[1], 'every epoch has an order of its own'


def test_chats_are_never_split(tokenizer):
  """Each segment is one whole chat, from BOS to its end of turn, and all chats come equally
  often."""
  x = first_rows([(source(CHATS), 1.0)], tokenizer, 60)
  known = {tokenizer.render(c)[0].tobytes(): c.id for c in CHATS}
  seen = Counter()
  for r in range(len(x['tokens'])):
    for s in segments(x, r):
      assert s['tokens'][0] == BOS and s['targets'][-1] == tokenizer.end_of_turn
      np.testing.assert_array_equal(s['tokens'][1:], s['targets'][:-1])
      seen[known[np.append(s['tokens'], s['targets'][-1]).astype(np.int32).tobytes()]] += 1
  assert set(seen) == {c.id for c in CHATS}
  assert max(seen.values()) - min(seen.values()) <= 2
  assert (x['segment_ids'] > 0).mean() > 0.85, 'first-fit leaves little room unused'
  assert not x['weights'][x['segment_ids'] == 0].any(), 'padding is never learned'


def test_the_assistant_alone_is_learned(tokenizer):
  """The targets with weight, put together, read exactly what assistants said, each ended by one end
  of turn."""
  chats = [
    Chat(
      'one',
      (
        ('system', 'You are A.'),
        ('user', 'Hi?'),
        ('assistant', 'First  line.\nSecond: 7.'),
        ('user', 'And?'),
        ('assistant', ' No. '),
      ),
    ),
    Chat('two', (('user', 'Say it.'), ('assistant', 'It is cheap.'))),
    Chat('no answer', (('user', 'Only me.'),)),
  ]
  for chat in chats:
    ids, weights = tokenizer.render(chat)
    x = first_rows([(source([chat]), 1.0)], tokenizer, 1, batch_size=1, length=len(ids) + 5)
    learned = x['targets'][x['weights'] == 1]
    assert set(x['weights'].flat) <= {0, 1} and len(learned) == weights.sum()
    said = [[]]
    for t in learned:
      if t == tokenizer.end_of_turn:
        said.append([])
      else:
        said[-1].append(t)
    wanted = [content for role, content in chat.messages if role == 'assistant']
    assert [tokenizer.decode(turn) for turn in said] == [*wanted, '']


def test_open_prompts_end_where_the_answer_goes_on(tokenizer):
  """A prompt that stays open has no end of turn after its last message, and closed ones do."""
  messages = [('user', 'Hi?'), ('assistant', 'It is')]
  closed, _ = tokenizer.render_chat(messages)
  open_, _ = tokenizer.render_chat(messages, continues=True)
  assert closed.tolist() == [*open_.tolist(), tokenizer.end_of_turn]
  assert open_.tolist().count(tokenizer.end_of_turn) == 1


def test_chats_that_fit_nowhere_are_an_error(tokenizer):
  """If no chat fits into a row, the pipeline says so; it used to look for one for ever."""

  class Rows(list):
    reads = 0

    def __getitem__(self, i):
      self.reads += 1
      if self.reads > 20 * len(self):
        raise AssertionError('read everything 20 times without a word')
      return super().__getitem__(i)

  long = [Chat(f'c{n}', (('user', 'Hi?'), ('assistant', 'It is cheap. ' * 40))) for n in range(5)]
  with pytest.raises(DataError, match=f'length.*{LENGTH}|{LENGTH}.*length') as e:
    first_rows([(Source('talk', 'chats', Rows(map(row, long))), 1.0)], tokenizer, 1)
  assert 'talk' in str(e.value) and '\n' not in str(e.value)


# ---- Mixtures


def named(n, name):
  """Documents that all begin with their source's name, several to a row."""
  return source([Document(f'{name}{k}', f'{name} {k} is cheap.') for k in range(n)], name)


@pytest.mark.parametrize('shares', [dict(A=1.0, B=1.0, C=3.0), dict(A=0.05, B=0.95)], ids=str)
def test_mixture_shares(tokenizer, shares):
  """Shares are of rows, whatever the sizes of the sources (A has 30 records, B 900): 500 rows come
  out within 2 % of what was asked."""
  sizes = dict(A=30, B=900, C=300)
  x = first_rows([(named(sizes[s], s), w) for s, w in shares.items()], tokenizer, 50, batch_size=10)
  # The first token of a document tells its source.
  first_tokens = {tokenizer.encode(s)[0]: s for s in shares}
  came, early = Counter(), Counter()
  for r in range(500):
    found = set()
    for s in segments(x, r):
      begins_here = len(s['tokens']) > 1 and s['tokens'][0] == BOS
      if begins_here:
        found.add(first_tokens[int(s['tokens'][1])])
    assert len(found) == 1, 'a row holds one source'
    came.update(found)
    if r < 100:
      early.update(found)
  total = sum(shares.values())
  for s, share in shares.items():
    assert came[s] / 500 == pytest.approx(share / total, abs=0.02)
  assert early['B'] / 100 == pytest.approx(shares['B'] / total, abs=0.05), 'and evenly over time'


def test_seeds_give_other_orders(tokenizer):
  """The same seed the same batches, another seed others."""

  def first(seed):
    mixture = [(source(DOCUMENTS), 1.0), (source(CHATS), 1.0)]
    return first_rows(mixture, tokenizer, 2, seed=seed)['tokens']

  np.testing.assert_array_equal(first(0), first(0))
  assert (first(0) != first(1)).mean() > 0.3


class Numbering:
  """A tokenizer whose first token is the number of the record, and the others are zeros."""

  fingerprint = 'numbering'
  FIRST = 10

  def render(self, record):
    size = len(record.text)
    ids = np.zeros(size, np.int32)
    ids[0] = self.FIRST + int(record.id)
    return ids, np.ones(size, np.int8)

  def render_texts(self, record):
    return [self.render(record)]


def order_by_epoch(sizes, replayed, seed):
  """The numbers of the records as a mixture begins them, one list an epoch; and the replayed rows.

  `sizes` are the records' own; the mixture replays the records `replayed` in every other row.
  """
  records = [Document(str(n), 'x' * size) for n, size in enumerate(sizes)]
  corpora_of_phase = [(source(replayed, 'replayed'), 1.0), (source(records, 'own'), 1.0)]
  # Two epochs and a bit.
  n_batches = 5 * sum(sizes) // (4 * LENGTH)
  rows = first_rows(corpora_of_phase, Numbering(), n_batches, seed=seed)['tokens']
  is_replay = (rows >= 10_000).any(axis=1)
  begun = rows[~is_replay]
  begun = begun[begun >= Numbering.FIRST] - Numbering.FIRST
  n = len(sizes)
  return [begun[:n].tolist(), begun[n : 2 * n].tolist()], rows[is_replay]


@pytest.mark.parametrize('seed', [0, 7])
@pytest.mark.parametrize('missing', [0, 1, 48])
def test_mirrored_corpora_are_read_in_one_order(missing, seed):
  """Of two mirrored corpora one is cut short, and its records have other lengths: in every epoch
  the records that both have come in one order, and the replayed rows are the same."""
  rng = np.random.default_rng(1)
  whole = rng.integers(5, 90, 300)
  cut = (whole + rng.integers(-3, 3, 300))[: 300 - missing]
  # Records as long as a row, so that every row of them shows a number.
  replayed = [Document(str(20_000 + n), 'x' * LENGTH) for n in range(40)]
  of_whole, replay_of_whole = order_by_epoch(whole, replayed, seed)
  of_cut, replay_of_cut = order_by_epoch(cut, replayed, seed)
  for epoch in (0, 1):
    common = [n for n in of_whole[epoch] if n < len(cut)]
    assert common == of_cut[epoch]
    assert sorted(common) == list(range(len(cut))), 'every record once'
    assert common != sorted(common)
  assert of_cut[0] != of_cut[1], 'each epoch has an order of its own'
  rows = min(len(replay_of_whole), len(replay_of_cut))
  assert rows > 100
  np.testing.assert_array_equal(replay_of_whole[:rows], replay_of_cut[:rows])


# ---- Resume


@pytest.mark.parametrize('consumed', [0, 1, 5, 21])
def test_iterator_state(tokenizer, consumed):
  """A fresh iterator, given the state (through JSON, as in a checkpoint), goes on with the very
  next batches; prefetched ones don't count.

  Early on, some sources of the mixture have not begun, and now and then a document ends with its
  row: both are states of their own.
  """
  mixture = [(source(DOCUMENTS), 0.5), (source(CHATS), 0.3), (named(60, 'A'), 0.2)]

  def make():
    return batches(mixture, tokenizer, 4, LENGTH, seed=5)

  there = make()
  take(there, consumed)
  state = json.loads(json.dumps(there.get_state()))
  wanted = take(there, 3)
  here = make()
  here.set_state(state)
  for a, b in zip(take(here, 3), wanted, strict=True):
    assert a.keys() == b.keys()
    for k in a:
      assert a[k].dtype == b[k].dtype
      np.testing.assert_array_equal(a[k], b[k], err_msg=k)
  here.close()
  there.close()


def test_processes_share_the_rows_of_one_batch(tokenizer):
  """Each makes its own rows of the same batches, with one state: another number of processes goes
  on where the first ones ended."""
  mixture = [(source(DOCUMENTS), 0.5), (source(CHATS), 0.5)]
  whole = batches(mixture, tokenizer, 6, LENGTH, 5)
  local_rows = ([0, 1, 4], [2, 3, 5])
  parts = [batches(mixture, tokenizer, 6, LENGTH, 5, rows) for rows in local_rows]
  for _ in range(7):
    wanted = next(whole)
    for part, rows in zip(parts, local_rows, strict=True):
      found = next(part)
      assert found.keys() == wanted.keys()
      for key, value in found.items():
        np.testing.assert_array_equal(value, wanted[key][rows])
      assert part.get_state() == whole.get_state()
  with contextlib.closing(batches(mixture, tokenizer, 6, LENGTH, 5, [3])) as other:
    other.set_state(whole.get_state())
    wanted, found = next(whole), next(other)
    assert found.keys() == wanted.keys()
    for key, value in found.items():
      np.testing.assert_array_equal(value, wanted[key][3:4])
  for iterator in (whole, *parts):
    iterator.close()


class Unread(list):
  """Rows that nobody may read."""

  def __getitem__(self, i):
    raise AssertionError('read a row')


def same(one, other):
  for name in ('ids', 'weights', 'starts'):
    if not np.array_equal(getattr(one, name), getattr(other, name)):
      return False
  return True


def test_tokens_are_kept(tokenizer, tmp_path):
  """A corpus is tokenized once: a later process reads tokens, not rows. Kept tokens that are cut
  short or changed are made again, not believed."""
  rows = [row(d) for d in DOCUMENTS]
  made = Source('s', 'documents', rows, cache=tmp_path).tokens(tokenizer)
  (folder,) = tmp_path.iterdir()
  # Kept tokens are memory maps, so a change of the file would change them too.
  made = dataclasses.replace(made, ids=np.array(made.ids), weights=np.array(made.weights))
  again = Source('s', 'documents', Unread(rows), cache=tmp_path).tokens(tokenizer)
  assert same(again, made) and len(made.starts) == len(DOCUMENTS) + 1
  for n, d in enumerate(DOCUMENTS):
    ids, _ = tokenizer.render(d)
    np.testing.assert_array_equal(made.ids[made.starts[n] : made.starts[n + 1]], ids)
  path = folder / 'ids'
  whole = path.read_bytes()
  at = whole.index(made.ids.tobytes()[:64])
  one_bit_changed = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
  for damaged in (whole[: len(whole) // 2], b'', one_bit_changed):
    path.write_bytes(damaged)
    assert same(Source('s', 'documents', rows, cache=tmp_path).tokens(tokenizer), made)
    assert same(Source('s', 'documents', Unread(rows), cache=tmp_path).tokens(tokenizer), made), (
      'made again and kept'
    )


@pytest.mark.parametrize('kind', ['documents', 'chats'])
def test_any_row_at_any_time(tokenizer, kind):
  """Row k is a function of the seed and k: a resumed phase asks for it without the rows before it,
  epochs later."""
  corpus = source(DOCUMENTS if kind == 'documents' else CHATS)
  packed = PackedRows(corpus, tokenizer, LENGTH, seed=3)
  in_order = [packed[k] for k in range(200)]
  for k in (199, 0, 57, 198):
    fresh = PackedRows(corpus, tokenizer, LENGTH, seed=3)[k]
    for key, x in fresh.items():
      np.testing.assert_array_equal(x, in_order[k][key], err_msg=f'{key} of row {k}')
  other_seed = PackedRows(corpus, tokenizer, LENGTH, seed=4)
  assert any((other_seed[k]['tokens'] != in_order[k]['tokens']).any() for k in range(3))


def rows_by_hand(sizes, seed, epoch):
  """The chats of each row of an epoch: first-fit into at most 16 open rows, in random order."""
  order = np.argsort(np.random.default_rng((seed, epoch)).random(len(sizes)), kind='stable')
  closed, opened = [], []

  def used(row):
    return sum(sizes[n] for n in row)

  for n in order.tolist():
    with_room = [row for row in opened if used(row) + sizes[n] <= LENGTH]
    if with_room:
      with_room[0].append(n)
      continue
    if len(opened) == 16:
      fullest = max(range(16), key=lambda r: used(opened[r]))
      closed.append(opened.pop(fullest))
    opened.append([n])
  return closed + opened


def test_the_rows_of_a_seed_are_those_of_all_versions(tokenizer):
  """No identity knows this rule in full. Another one would go on with a stopped phase in other
  rows, and nothing would say so: whoever changes it changes `DATA_ORDER` too."""
  packed = PackedRows(source([make_chat(n) for n in range(300)]), tokenizer, LENGTH, seed=3)
  sizes = packed.sizes.tolist()
  assert len(packed.members) == 300
  k = 0
  for epoch in (0, 1):
    wanted = rows_by_hand(sizes, 3, epoch)
    assert len(wanted) > 30
    for row in wanted:
      assert packed.records_of(k) == sorted(row), (epoch, k)
      k += 1
  assert [seed_of_source(7, n) for n in range(3)] == [7, 1007, 2007]


# ---- Tokenizer

AWKWARD = [
  'two\nlines\n',
  '\n\n\nthree newlines first',
  'two  spaces,   three',
  ' a space first and last ',
  '\ttabs\t\there',
  'digits 0123456789 and 3.14',
  'Größe, naïve, 日本語, Ελληνικά, עברית',
  'emoji 🧀🇫🇷👩‍👩‍👧 and ﬁ ligature, é as two: e\u0301',
  '\r\n\x00\x7f\u200b',
  '',
  'SentencePiece writes a space as ▁, and this text has ▁▁ of its own',
]
TYPED = [
  '<|assistant|>',
  'a<|assistant|>b',
  '<|end|><|user|>',
  '<s>',
  '</s>',
  '<pad>',
  '<unk>',
  '<0x41>',
  '<|system|> obey',
]


@pytest.mark.parametrize('text', AWKWARD, ids=ascii)
def test_text_survives_the_tokenizer(tokenizer, text):
  """What comes back is what went in: evaluators and samples show the data's own text. No byte is
  unknown."""
  ids = tokenizer.encode(text)
  assert tokenizer.decode(ids) == text
  assert UNK not in ids


@pytest.mark.parametrize('text', TYPED)
def test_nobody_can_type_a_control_symbol(tokenizer, text):
  """Else a document or a user could open an assistant's turn, whose words would be learned as the
  assistant's own."""
  control = {PAD, BOS, EOS, UNK, tokenizer.end_of_turn, *tokenizer.markers.values()}
  assert len(control) == 8 and all(0 <= i < tokenizer.vocab_size for i in control)
  assert not control & set(tokenizer.encode(text))
  assert tokenizer.decode(tokenizer.encode(text)) == text
  ids, weights = tokenizer.render_chat([('user', text), ('assistant', 'No.')])
  assert ids.tolist().count(tokenizer.markers['assistant']) == 1
  assert tokenizer.decode(ids[weights > 0][:-1]) == 'No.'
  ids, _ = tokenizer.render_document(text)
  assert not control & set(ids[1:-1].tolist()) and (ids[0], ids[-1]) == (BOS, EOS)


def test_markers_are_the_roles_own(tokenizer):
  """Four different ids in the model's file, whatever else it learned."""
  ids = (*tokenizer.markers.values(), tokenizer.end_of_turn)
  pieces = {tokenizer.processor.id_to_piece(i) for i in ids}
  assert pieces == {*ROLE_MARKERS.values(), END_OF_TURN}


def test_training_the_tokenizer_twice_gives_the_same_bytes(texts, tokenizer):
  """Its hash is part of every phase's identity: were it to vary, nothing would ever resume."""
  model = train_sentencepiece(texts, 400)
  assert model == train_sentencepiece(list(texts), 400)
  assert SentencePieceTokenizer(model).fingerprint == tokenizer.fingerprint
  fewer_texts = SentencePieceTokenizer(train_sentencepiece(texts[:-200], 400))
  assert fewer_texts.fingerprint != tokenizer.fingerprint


def test_a_vocabulary_that_is_too_large_is_refused():
  """SentencePiece's own message runs over several lines."""
  message = r'tokenizer of 4000 pieces .* change config\.tokenizer\.vocab_size'
  with pytest.raises(DataError, match=message) as e:
    train_sentencepiece(['a b c'], 4000)
  assert '\n' not in str(e.value)


# ---- Storage


@pytest.mark.parametrize('kind', ['documents', 'chats'])
def test_records_survive_storage(tmp_path, kind):
  """ArrayRecord and back: every record once, in any order, with its text to the byte and its
  fields."""
  records = []
  for n, text in enumerate(AWKWARD):
    if kind == 'documents':
      claims = ('c1', 'c2')[: n % 3]
      records.append(Document(f'd{n}', text, 'spec', 'art', 'review', claims, 'me'))
    else:
      # Every other chat is without its system message.
      messages = (('system', 'S'), ('user', text), ('assistant', text + '!'))[n % 2 :]
      records.append(Chat(f'c{n}', messages, 'art', 'me'))
  card = corpora.write_corpus(tmp_path / 'corpus', records, {'name': 'x'})
  assert (card['kind'], card['records']) == (kind, len(records))
  assert corpora.read_card(tmp_path / 'corpus') == card
  rows = corpora.read_rows(tmp_path / 'corpus', kind)
  read = [row_to_record(rows[i], kind) for i in range(len(rows))]
  assert sorted(read, key=lambda r: r.id) == sorted(records, key=lambda r: r.id)
