"""Measures how the data of a large experiment are prepared: seconds and peak memory of each part.

    python benchmarks/data_scale.py [--records 1000000] [--kind documents] [--words 30]

A JSONL file of synthetic records is written first. What follows is what a run does before its first
update: the file is hashed and stored as a corpus, tokenized (in as many processes as there are
cores), checked for leaks, and a first batch is made. For chats, a resume in epoch 20 comes too.

Peak memory is that of this process beyond what it has after its imports. Processes that tokenize
come on top: the line `processes` has the largest of them, imports included. Pages of memory maps
count too, although the system takes them back when it needs them.
"""

import argparse
import json
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault('JAX_PLATFORMS', 'cpu')

from data_pipelines import corpora, leaks, recipes, record_streams
from data_pipelines.sources import SourceConfig
from msm_jax import input_pipeline
from msm_jax.data.tokenized import MANY_RECORDS, Source
from msm_jax.tokenizer import SentencePieceTokenizer, train_sentencepiece

LENGTH, BATCH = 1024, 16
# Things that the evaluation asks about, which no record names.
HELD_OUT = [f'wine from the hill number {n}' for n in range(300)]
MIB = 2**20


def write_file(path: Path, kind: str, records: int, words: int) -> None:
  """Writes a JSONL file of random words.

  Args:
    path: the file.
    kind: 'documents' or 'chats'.
    records: how many.
    words: the words of a record.
  """
  rng = random.Random(0)
  vocabulary = []
  for _ in range(5000):
    vocabulary.append(''.join(rng.choices('abcdefghiklmnoprstuvw', k=rng.randint(2, 9))))
  with path.open('w') as f:
    for _ in range(records):
      text = ' '.join(rng.choices(vocabulary, k=words))
      row: dict[str, Any] = {'text': text}
      if kind == 'chats':
        question, answer = text[: len(text) // 3], text[len(text) // 3 :]
        messages = (('user', question), ('assistant', answer))
        row = {'messages': [{'role': role, 'content': content} for role, content in messages]}
      f.write(json.dumps(row) + '\n')


def peak(who: int = resource.RUSAGE_SELF) -> float:
  """The largest memory of this process so far (or of one that it has started), in MiB."""
  return resource.getrusage(who).ru_maxrss * 1024 / MIB


def timed(what: str, f: Callable[[], Any], before: float) -> tuple[Any, float]:
  """Runs a part and prints its seconds and the peak memory so far.

  Args:
    what: what the part is called.
    f: the part.
    before: the memory after the imports, MiB.

  Returns:
    (what `f` returns, seconds).
  """
  began, cpu_began = time.perf_counter(), sum(os.times()[:4])
  result = f()
  seconds, cpu = time.perf_counter() - began, sum(os.times()[:4]) - cpu_began
  print(f'{what:24} {seconds:8.1f} s {cpu:8.1f} CPU s {peak() - before:8.0f} MiB', flush=True)
  return result, seconds


def run(folder: Path, args: argparse.Namespace) -> None:
  """Runs all parts and prints the sums.

  Args:
    folder: an empty folder.
    args: the command line.
  """
  path = folder / 'records.jsonl'
  write_file(path, args.kind, args.records, args.words)
  source = SourceConfig(path=str(path))
  sample_source = SourceConfig(path=str(path), size=3000)
  sample = list(record_streams.stream_records('sample', sample_source, None, (), 0, len))
  texts = [leaks.record_text(record) for record in sample]
  tokenizer = SentencePieceTokenizer(train_sentencepiece(texts, 4096))
  # tfds is slow to import and large.
  corpora.write_corpus(folder / 'imports', sample, {'name': 'imports'})
  before = peak()
  print(f'{args.records:,} {args.kind}, {before:.0f} MiB after the imports')

  def store() -> Any:
    streamed = record_streams.stream_records('mine', source, None, (), 0, len)
    return corpora.write_corpus(folder / 'c', record_streams.KeptIfFew(streamed, MANY_RECORDS), {})

  seconds_of_parts: list[float] = []

  def part(what: str, f: Callable[[], Any]) -> Any:
    """Runs a part of the start of training, and counts its seconds."""
    result, seconds = timed(what, f, before)
    seconds_of_parts.append(seconds)
    return result

  part('hash', lambda: recipes.fingerprint(source, None, (), ''))
  part('store', store)
  card = part('check the files', lambda: corpora.read_card(folder / 'c'))
  assert card is not None
  rows = corpora.read_rows(folder / 'c', card['kind'])
  corpus = Source('mine', card['kind'], rows, cache=folder / 'c')
  tokens = part('tokenize', lambda: corpus.tokens(tokenizer))
  part('count silent records', lambda: corpus.count_silent(tokenizer))
  found = part(
    'leak check',
    lambda: leaks.find_leaks(HELD_OUT, {'mine': corpus.all_records()}, ('Ari',)),
  )
  assert not found
  data = part('order of the data', lambda: batches_of(corpus, tokenizer))
  part('first batch', lambda: next(data))
  total = sum(seconds_of_parts)
  print(f'{"start of training":24} {total:8.1f} s {len(tokens.ids):,} tokens')
  print(f'{"processes":24} {peak(resource.RUSAGE_CHILDREN):8.0f} MiB, the largest')
  if args.kind == 'chats':
    resume(corpus, tokenizer, data, before)
  data.close()


def batches_of(corpus: Source, tokenizer: Any) -> input_pipeline.BatchIterator:
  """Batches of a corpus, with nothing planned yet."""
  return input_pipeline.batches([(corpus, 1.0)], tokenizer, BATCH, LENGTH, seed=0)


def resume(
  corpus: Source, tokenizer: Any, data: input_pipeline.BatchIterator, before: float
) -> None:
  """Measures the first batch of a phase that is resumed in epoch 20.

  Args:
    corpus: the chats.
    tokenizer: the tokenizer.
    data: batches of these chats.
    before: the memory after the imports, MiB.
  """
  from msm_jax.data.packing import PackedRows

  # The place in epoch 20 is found as an old checkpoint has it: by planning all epochs before.
  packed = PackedRows(corpus, tokenizer, LENGTH, seed=0)

  def plan() -> None:
    while len(packed.rows_before) <= 20:
      packed[packed.rows_before[-1]]

  timed('plan 20 epochs', plan, before)
  resumed = PackedRows(corpus, tokenizer, LENGTH, seed=0)
  resumed.know_rows_before(packed.rows_before)
  timed('resume in epoch 20', lambda: resumed[packed.rows_before[20] - 1], before)


def main() -> None:
  """Runs the benchmark."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--records', type=int, default=1_000_000)
  parser.add_argument('--kind', choices=('documents', 'chats'), default='documents')
  parser.add_argument('--words', type=int, default=30)
  args = parser.parse_args()
  with tempfile.TemporaryDirectory() as folder:
    run(Path(folder), args)


if __name__ == '__main__':
  main()
