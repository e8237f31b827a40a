"""What the tests of written demonstrations share: settings, a provider that counts, and readers."""

import collections
from pathlib import Path

import scripted_talk
import scripted_writer
from helpers import ROOT
from scripted_writer import ScriptedProvider

from data_pipelines.demonstrations import pipeline
from data_pipelines.llm.settings import CorpusConfig, ModelSettings, TalkSettings

scripted_writer.ANSWERS.update(scripted_talk.ANSWERS)


def skip_audit_and_storage(monkeypatch):
  """Replaces the audit and ArrayRecord, which take seconds."""
  monkeypatch.setattr(pipeline, '_audits', lambda *args: ())
  monkeypatch.setattr(pipeline, 'store', lambda *args: None)


PHILOSOPHY = str(ROOT / 'specs/oversight/philosophy.md')


CHEESE = tuple(str(ROOT / f'specs/english/{v}.md') for v in ('affordability', 'culture'))


def talk_config(count: int = 31, **changes) -> CorpusConfig:
  """The config of a small set of conversations; `changes` are fields of CorpusConfig."""
  talk = changes.pop('talk', TalkSettings(domains=3, questions=2, similar=0.7))
  writer = changes.pop('writer', ModelSettings('mockllm/model'))
  return CorpusConfig(
    'talk', (PHILOSOPHY,), 'conversations', writer, talk=talk, conversations=count, **changes
  )


def likes_config(count: int = 96, **changes) -> CorpusConfig:
  """The config of a small set of preferences.

  Args:
    count: how many exchanges.
    **changes: fields of CorpusConfig.

  Returns:
    The config.
  """
  talk = TalkSettings(domains=12, questions=8, words=20, similar=0.85)
  return CorpusConfig(
    'likes',
    CHEESE,
    'preferences',
    ModelSettings('mockllm/model'),
    talk=talk,
    conversations=count,
    **changes,
  )


def task(turns) -> str:
  """What a prompt asks for, by its first line."""
  return turns[0][1].partition('\n')[0].removeprefix('Task: ')


class Spoiling(ScriptedProvider):
  """Counts calls by task, and remembers prompts."""

  def __init__(self, spoil=lambda turns, good: None):
    super().__init__(spoil)
    self.by_task = collections.Counter()
    self.prompts = []

  async def generate(self, system, turns, max_tokens, seed):
    self.by_task[task(turns)] += 1
    self.prompts.append((task(turns), system, turns))
    return await super().generate(system, turns, max_tokens, seed)


def run(config: CorpusConfig, folder: Path, provider: ScriptedProvider | None = None, **kwargs):
  return pipeline.make(config, folder, {'writer': provider or Spoiling()}, **kwargs)


def files(folder: Path) -> dict[str, bytes]:
  """The content of everything that a run wrote down, by name."""
  found = {p.name: p.read_bytes() for p in sorted((folder / 'corpus').glob('*.jsonl'))}
  found['refused'] = (folder / 'refused.jsonl').read_bytes()
  return found


def spread(counts: collections.Counter, keys) -> int:
  """The difference between the largest and the smallest count."""
  return max(counts[k] for k in keys) - min(counts[k] for k in keys)


def hash_of(turns) -> float:
  """A number from 0 to 1 that depends on what was said alone."""
  return scripted_writer.seeded(str(turns)).random()
