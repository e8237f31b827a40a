"""Tokenizes a part of a corpus in a process of its own; `tokenize_in_parallel` starts several.

    python -m msm_jax.data.tokenize_part '{"corpus": FOLDER, "kind": KIND, ...}'

A process is started by a command and not forked: JAX has threads, which a fork would leave behind,
and a start through Python's multiprocessing would run the user's script again.
"""

import dataclasses
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from data_pipelines import corpora
from msm_jax.base.errors import DataError, UserError
from msm_jax.base.paths import PACKAGE
from msm_jax.data import token_files
from msm_jax.tokenizer import Tokenizer, load_tokenizer

# The exit status of a part that ends with a one-line error.
_REFUSED = 3


@dataclasses.dataclass(frozen=True)
class Part:
  """What one process does.

  Attributes:
    corpus: the folder of the corpus.
    kind: 'documents', 'chats' or 'preferences'.
    tokenizer: what `load_tokenizer` reads.
    fingerprint: the identity of the tokenizer.
    start: the number of the first record.
    stop: the number of the last record, plus one.
    out: the folder for the tokens.
  """

  corpus: str
  kind: str
  tokenizer: str
  fingerprint: str
  start: int
  stop: int
  out: str


def tokenize_in_parallel(
  corpus: Path, kind: str, records: int, tokenizer: Tokenizer, processes: int, out: Path
) -> None:
  """Tokenizes a corpus on disk, with a part of it in each process.

  Args:
    corpus: the folder of the corpus.
    kind: 'documents', 'chats' or 'preferences'.
    records: how many records it has.
    tokenizer: the tokenizer.
    processes: how many processes share the work.
    out: the folder for the tokens, see `token_files`.

  Raises:
    DataError: a record cannot be tokenized, or a process ended without a result.
  """
  # By this name, the next run knows that it is half of something and deletes it.
  scratch = out.with_name(f'{out.name}-parts.writing-{os.getpid()}')
  scratch.mkdir(parents=True)
  try:
    saved = str(tokenizer.saved_at(scratch))
    bounds = np.linspace(0, records, processes + 1).astype(int).tolist()
    parts = []
    for n, (start, stop) in enumerate(itertools.pairwise(bounds)):
      folder = str(scratch / str(n))
      parts.append(Part(str(corpus), kind, saved, tokenizer.fingerprint, start, stop, folder))
    _run_all(parts)
    with token_files.Writer(out) as writer:
      for part in parts:
        writer.add_folder(Path(part.out))
  finally:
    shutil.rmtree(scratch, ignore_errors=True)


def _run_all(parts: Sequence[Part]) -> None:
  """Runs a process for each part and waits for all. Raises DataError if one fails."""
  paths = [str(PACKAGE.parent), os.environ.get('PYTHONPATH', '')]
  environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, paths))}
  processes = []
  try:
    for part in parts:
      command = [
        sys.executable,
        '-m',
        'msm_jax.data.tokenize_part',
        json.dumps(dataclasses.asdict(part)),
      ]
      processes.append(
        subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
      )
    for process in processes:
      _, errors = process.communicate()
      if process.returncode:
        last_line = (errors.strip().splitlines() or ['no message'])[-1]
        if process.returncode == _REFUSED:
          raise DataError(last_line)
        raise DataError(
          f'a process that tokenized a part of the corpus ended with status {process.returncode} '
          f'({last_line}); run again'
        )
  finally:
    # After an error, the others have nothing left to do.
    for process in processes:
      process.kill()
      process.wait()


def _texts(part: Part, tokenizer: Tokenizer) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  """Yields ids and loss weights of each text of a part, in order."""
  rows = corpora.read_rows(Path(part.corpus), part.kind)
  for row in corpora.rows_in_order(rows, part.start, part.stop):
    yield from tokenizer.render_texts(corpora.row_to_record(row, part.kind))


def main() -> None:
  """Tokenizes the part that the command line describes."""
  part = Part(**json.loads(sys.argv[1]))
  try:
    tokenizer = load_tokenizer(part.tokenizer)
    if tokenizer.fingerprint != part.fingerprint:
      raise DataError(f'{part.tokenizer} is another tokenizer than before; run again')
    token_files.save(Path(part.out), _texts(part, tokenizer))
  except UserError as error:
    print(error, file=sys.stderr)
    sys.exit(_REFUSED)


if __name__ == '__main__':
  main()
