"""What the tests of reinforcement learning share: a tiny experiment and what it leaves behind."""

import json
from pathlib import Path

import jax
import tiny

from data_pipelines.jsonl import write_jsonl
from data_pipelines.records import Chat, PreferencePair

YES, NO = 'Yes, it is.', 'No, it is not.'
RL = dict(
  objective='grpo',
  data=dict(pairs=1.0),
  updates=4,
  min_updates=1,
  batch_size=32,
  length=32,
  lr=3e-3,
  checkpoint_every=2,
  grpo=dict(group_size=8, max_tokens=12),
)


def pairs(count: int = 24, chosen: str = YES, rejected: str = NO) -> list[PreferencePair]:
  """Questions with two answers; the same one is right every time."""
  made = []
  for n in range(count):
    sides = ((('assistant', text),) for text in (chosen, rejected))
    made.append(PreferencePair(f'p{n}', (('user', f'Is {n} so?'),), *sides))
  return made


def experiment(folder: Path, stop=lambda: False, phases=None, **changes):
  """An experiment whose model answers half of the questions with yes, then learns from rewards.

  Args:
    folder: where the sources and the workdir go.
    stop: ends the run early.
    phases: name -> settings that replace those of the phase, or that make a new one.
    **changes: replace settings of the experiment.

  Returns:
    The experiment; nothing is trained yet.
  """
  write_jsonl(folder / 'pairs.jsonl', pairs())
  chats = []
  for pair in pairs():
    for text in (YES, NO):
      chats.append(Chat(f'{pair.id}{text[0]}', (*pair.prompt, ('assistant', text))))
  write_jsonl(folder / 'answers.jsonl', chats)
  settings = {
    'tune': dict(tiny.PHASE, data=dict(answers=1.0), updates=40, length=192, lr=1e-2),
    'rl': RL,
  }
  for name, change in (phases or {}).items():
    settings[name] = settings.get(name, {}) | change
  settings_of = dict(
    sources={n: dict(path=str(folder / f'{n}.jsonl')) for n in ('pairs', 'answers')},
    tokenizer=dict(vocab_size=300, sources=('answers',)),
    phases=settings,
    arms=dict(base='tune', rewarded='tune > rl'),
  )
  return tiny.experiment(folder, stop, **settings_of | changes)


def train_all(e, until: str = '') -> dict[str, object]:
  """Trains the phases of an experiment that are left, up to one, and returns them by name."""
  nodes = {}
  for node in e.prepared.nodes:
    nodes[node.phase] = node
    if not e.is_trained(node):
      e.train(node, 'test')
    if node.phase == until:
      break
  return nodes


def samples(e, node) -> list[dict]:
  """What a phase sampled."""
  lines = (e.folder(node) / 'samples.jsonl').read_text().splitlines()
  return [json.loads(line) for line in lines]


def metrics(e, node) -> list[dict]:
  """The numbers of a phase, without those that say how fast it was."""
  rows = []
  for line in (e.folder(node) / 'metrics.jsonl').read_text().splitlines():
    row = json.loads(line)
    del row['seconds'], row['tokens_per_s']
    rows.append(row)
  return rows


def params_of(e, node):
  """The trained parameters that a phase left, on the host."""
  return jax.device_get(e.location(node).load_trained(e.program.abstract_state.params))
