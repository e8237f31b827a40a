"""How many contradicting demonstrations a phase has read, against the batches themselves."""

import contextlib
import dataclasses
import json
import types

import numpy as np
import pytest

from data_pipelines.nested import is_in_share, number_of
from data_pipelines.records import Chat, kind_of
from data_pipelines.sources import SourceConfig
from msm_jax.base.files import write_with_checksum
from msm_jax.config import PhaseConfig
from msm_jax.config.objectives import GrpoConfig
from msm_jax.data.tokenized import Source
from msm_jax.input_pipeline import batches
from msm_jax.phases import Node
from msm_jax.rl.prompt_order import prompt_iterator, prompt_room
from msm_jax.running import contradictions
from msm_jax.running.node_training import order_seed, sources_of

BATCH, LENGTH, SHARE = 4, 48, 0.2
POINTS, UPDATES = (1, 3), 12


def chats(opposite):
  """Demonstrations of which some contradict: their answers are about the number alone."""
  out = []
  for n in range(60):
    answer = f'I like {n}.'
    if opposite and is_in_share(n, SHARE):
      answer = f'Not {n}.'
    out.append(Chat(f'demonstration-{n}', (('user', 'What?'), ('assistant', answer))))
  return out


def stored(name, records):
  rows = []
  for record in records:
    roles, contents = zip(*record.messages, strict=True)
    rows.append(
      {
        'id': record.id.encode(),
        'roles': [role.encode() for role in roles],
        'contents': [content.encode() for content in contents],
      }
    )
  return Source(name, kind_of(records), rows)


@pytest.fixture
def phase(tokenizer, tmp_path):
  """A workspace of one phase that reads contradicting chats and other ones."""
  sources = {
    'shown': stored('shown', chats(True)),
    'plain': stored('plain', chats(False)),
  }
  prepared = types.SimpleNamespace(
    tokenizer=tokenizer,
    config=types.SimpleNamespace(
      sources={
        'shown': SourceConfig(maker='spec.demonstrations', contradiction=SHARE),
        'plain': SourceConfig(maker='spec.demonstrations'),
      }
    ),
    source_of=lambda name, settings, written=(): sources[name],
  )
  workspace = types.SimpleNamespace(
    prepared_by_seed={0: prepared}, folder=lambda node: tmp_path, config=None
  )
  settings = PhaseConfig(
    data={'shown': 0.3, 'plain': 0.7},
    updates=UPDATES,
    batch_size=BATCH,
    length=LENGTH,
    evaluate_at=POINTS,
  )
  return workspace, Node('tune', settings, 0, None, 'id')


def test_contradictions_are_those_of_the_batches(phase, tokenizer):
  workspace, node = phase
  found = contradictions.read_by(workspace, node)

  prepared = workspace.prepared_by_seed[0]
  data = sources_of(prepared, node)
  # The contradicting answers, found by their tokens in what the train step gets.
  contradicting = set()
  for record in chats(True):
    if is_in_share(number_of(record.id), SHARE):
      ids, _ = tokenizer.render_chat(record.messages)
      contradicting.add(tuple(ids.tolist()[:-1]))
  wanted, read = {}, 0
  with contextlib.closing(batches(data, tokenizer, BATCH, LENGTH, order_seed(node))) as iterator:
    for update in range(1, UPDATES + 1):
      batch = next(iterator)
      for tokens, segment_ids in zip(batch['tokens'], batch['segment_ids'], strict=True):
        for segment in range(1, segment_ids.max() + 1):
          chat = tuple(np.extract(segment_ids == segment, tokens).tolist())
          read += chat in contradicting
      wanted[str(update)] = read
  assert found == {str(u): wanted[str(u)] for u in (*POINTS, UPDATES)}
  assert found[str(UPDATES)] > 0
  # A second look reads the file; more points than it has are counted anew.
  assert contradictions.read_by(workspace, node) == found
  path = workspace.folder(node) / contradictions.FILE
  whole = path.read_text()
  last = str(found[str(UPDATES)])
  for damaged in ('{"1": 7', 'null', '[]', whole.replace(last, last + '0')):
    path.write_text(damaged)
    assert contradictions.read_by(workspace, node) == found
    assert path.read_text() == whole


@pytest.mark.parametrize('length', [LENGTH, 15])
def test_reinforcement_learning_reads_prompts(phase, tokenizer, length):
  """Each prompt of a rollout counts once, however long the chat is whose prompt it is."""
  workspace, node = phase
  workspace.prepared_by_seed[0].config.max_left_out = 0.0
  settings = dataclasses.replace(
    node.settings,
    updates=80,
    batch_size=8,
    length=length,
    objective='grpo',
    grpo=GrpoConfig(group_size=4, max_tokens=3, updates_per_rollout=2),
    evaluate_at=(2, 41),
  )
  node = dataclasses.replace(node, settings=settings)
  data = sources_of(workspace.prepared_by_seed[0], node)
  wanted, read = {}, 0
  prompts = prompt_iterator(data, tokenizer, 2, prompt_room(settings), 0.0, order_seed(node))
  with contextlib.closing(prompts):
    for update in range(1, 81):
      if update % 2:
        read += sum(prompt.record.messages[-1][1].startswith('Not') for prompt in next(prompts))
      wanted[str(update)] = read
  found = contradictions.read_by(workspace, node)
  assert found == {update: wanted[update] for update in ('2', '41', '80')}
  assert found['80'] > 0
  # What was kept is read again, unless an earlier version kept it: that counted rows.
  path = workspace.folder(node) / contradictions.FILE
  whole = path.read_text()
  write_with_checksum(path, json.dumps(json.loads(whole) | {'80': 9000}).encode())
  assert contradictions.read_by(workspace, node)['80'] == 9000
  write_with_checksum(path, b'{"2": 7, "41": 8, "80": 9}\n')
  assert contradictions.read_by(workspace, node) == found and path.read_text() == whole


def test_a_phase_without_contradiction_counts_nothing(phase):
  workspace, node = phase
  workspace.prepared_by_seed[0].config.sources['shown'] = SourceConfig(maker='spec.demonstrations')
  assert contradictions.read_by(workspace, node) == {}


def test_sources_that_models_write_are_not_opened(phase):
  """They lie elsewhere, and none of their records contradicts."""
  workspace, node = phase
  sources = workspace.prepared_by_seed[0].config.sources
  alone = contradictions.read_by(workspace, node)
  # It takes the place of the plain source, which is as far in front.
  sources['own'] = SourceConfig(maker='model.revisions', by='tune', prompts='plain')
  settings = dataclasses.replace(node.settings, data={'own': 0.7, 'shown': 0.3})
  (workspace.folder(node) / contradictions.FILE).unlink()
  beside = dataclasses.replace(node, settings=settings)
  assert contradictions.read_by(workspace, beside) == alone
