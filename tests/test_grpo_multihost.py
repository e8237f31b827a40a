"""Reinforcement learning in two processes, as on two hosts of a pod."""

import json
import os
import socket

import numpy as np
import pytest
import rollout_helpers as helpers
from helpers import write_config
from test_reward_model import JUDGE

from msm_jax.base.checks import to_json

# Left out of `make quick`.
pytestmark = pytest.mark.slow


def start(server, folder, processes):
  """Starts a training in several processes that share two devices."""
  with socket.socket() as s:
    s.bind(('127.0.0.1', 0))
    port = s.getsockname()[1]
  flags = os.environ['XLA_FLAGS'].replace('device_count=8', f'device_count={2 // processes}')
  runs = []
  for n in range(processes):
    env = {'XLA_FLAGS': flags}
    if processes > 1:
      env['MSM_JAX_DISTRIBUTED'] = f'127.0.0.1:{port},{processes},{n}'
    arguments = [str(folder.parent / 'config.py'), str(folder)]
    log = folder.parent / f'{folder.name}-{n}.txt'
    runs.append(server.start('train_only', arguments, log, **env))
  return runs


def test_two_processes_sample_and_learn_what_one_does(programs, tmp_path):
  """Prompts, the scores of a reward model and the batch are divided over the processes."""
  settings = dict(group_size=4, max_tokens=12, rewards={'model:judge': 1.0, 'chosen': 0.5})
  phases = {
    'tune': dict(updates=3),
    'judge': JUDGE | dict(updates=3),
    'rl': dict(updates=3, batch_size=16, checkpoint_every=2, grpo=settings),
  }
  e = helpers.experiment(tmp_path, phases=phases, arms=dict(rewarded='tune > rl'))
  c = json.loads(to_json(e.config))
  c['mesh'] = dict(data=1, fsdp=-1, tensor=1)
  write_config(tmp_path / 'config.py', c)
  for name, processes in (('one', 1), ('two', 2)):
    for run in start(programs, tmp_path / name, processes):
      assert run.wait(300) == 0, run.said()

  def rows(name, file):
    (path,) = (tmp_path / name).glob(f'phases/rl-*/{file}')
    return [json.loads(line) for line in path.read_text().splitlines()]

  for row, wanted in zip(rows('two', 'metrics.jsonl'), rows('one', 'metrics.jsonl'), strict=True):
    for key in ('loss', 'reward', 'kl', 'grad_norm', 'weight'):
      np.testing.assert_allclose(row[key], wanted[key], rtol=1e-3, atol=1e-5, err_msg=key)
  sampled = [group['answers'] for group in rows('two', 'samples.jsonl')]
  assert sampled == [group['answers'] for group in rows('one', 'samples.jsonl')]
  assert len(sampled) == 3 * 4
