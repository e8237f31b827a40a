"""Every reply that was paid for, on disk before it counts.

One SQLite file in a folder with one identity: specs, prompts, models, plan and seed. A reply is committed, then used; a kill at any moment leaves
replies whole or not there at all.
"""

import asyncio
import json
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_pipelines.llm.replies import Reply
from msm_jax.base.errors import DataError

TABLES = """
create table if not exists identity (part text primary key, value text not null);
create table if not exists replies (
  key text not null, number integer not null, stage text not null, model text not null, prompt text not null, seed integer not null,
  text text not null, stop text not null, input_tokens integer not null, output_tokens integer not null, cost real not null,
  seconds real not null, at real not null,
  primary key (key, number)
) without rowid;
"""


class LedgerError(DataError):
  """Replies that cannot be read or kept; one line with cause and mend."""


class Ledger:
  """Opened by one process at a time: whoever opens it holds the folder's lock."""

  def __init__(self, path: Path, identity: Mapping[str, Any]):
    self.path = path
    self._waiting: list[tuple[tuple[Any, ...], asyncio.Future[None]]] = []
    self._writing: asyncio.Task[None] | None = None
    try:
      self.db = sqlite3.connect(path, check_same_thread=False)
      self.db.execute('pragma journal_mode=wal')
      self.db.execute('pragma synchronous=full')  # what is committed survives the machine too
      self.db.executescript(TABLES)
      self._check_identity(
        {k: json.dumps(v, sort_keys=True, ensure_ascii=False) for k, v in identity.items()}
      )
    except sqlite3.Error as e:
      raise LedgerError(
        f'cannot use {path} ({e}); free some space, or choose another --workdir'
      ) from None

  def _check_identity(self, wanted: dict[str, str]) -> None:
    known = dict(self.db.execute('select part, value from identity'))
    if not known:
      with self.db:
        self.db.executemany('insert into identity values (?, ?)', wanted.items())
    elif changed := sorted(
      k for k in known.keys() | wanted.keys() if known.get(k) != wanted.get(k)
    ):
      raise LedgerError(
        f'{self.path.parent} was begun with another {", another ".join(changed)}; choose another --workdir, or undo the change'
      )

  def replies(self, key: str) -> list[Reply]:
    """All replies to a request so far, in their order."""
    return [
      Reply(*row)
      for row in self.db.execute(
        'select text, stop from replies where key = ? order by number', (key,)
      )
    ]

  async def record(self, key: str, number: int, stage: str, model: str, prompt: str, seed: int, reply: Reply, usage: tuple[int, int], cost: float,
                   seconds: float) -> None:  # fmt: skip
    """Returns when the reply is on disk. Those that come together are committed together."""
    done = asyncio.get_running_loop().create_future()
    row = (
      key,
      number,
      stage,
      model,
      prompt,
      seed,
      reply.text,
      reply.stop,
      *usage,
      cost,
      seconds,
      time.time(),
    )
    self._waiting.append((row, done))
    if self._writing is None or self._writing.done():
      self._writing = asyncio.create_task(self._write())
    await done

  async def _write(self) -> None:
    while self._waiting:
      now, self._waiting = self._waiting, []
      try:
        await asyncio.to_thread(self._insert, [row for row, _ in now])
      except Exception as e:  # whatever it is, those who wait must hear of it
        error = LedgerError(
          f'cannot write {self.path} ({" ".join(str(e).split())}); free some space, then run the same command again'
        )
        for _, done in now:
          if not done.done():
            done.set_exception(error)
      else:
        for _, done in now:
          if not done.done():
            done.set_result(None)

  def _insert(self, rows: list[tuple[Any, ...]]) -> None:
    with self.db:
      self.db.executemany(
        'insert into replies values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)', rows
      )

  def spent(self) -> float:
    """USD, for all replies."""
    return self.db.execute('select coalesce(sum(cost), 0) from replies').fetchone()[0]

  def totals(self) -> list[dict[str, Any]]:
    """A row for each stage: requests, replies, tokens and cost in USD."""
    rows = self.db.execute(
      'select stage, model, count(distinct key), count(*), sum(input_tokens), sum(output_tokens), sum(cost) '
      'from replies group by stage, model order by min(at)'
    )
    names = ('stage', 'model', 'requests', 'replies', 'input_tokens', 'output_tokens', 'cost')
    return [dict(zip(names, row, strict=True)) for row in rows]

  def close(self) -> None:
    self.db.close()
