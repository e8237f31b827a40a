"""Runs of a judge, for tests and for the processes that they kill. Imports no JAX."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_pipelines.llm.providers import Provider
from msm_jax import judge as command
from msm_jax.evals import judge_units, judging
from msm_jax.evals.answers import SampledAnswer
from msm_jax.evals.judging import JudgeConfig

ATTEMPTS = 3
PAIRS = [('base', 'tuned')]


def judge_config(folder: Path, **settings: Any) -> JudgeConfig:
  """How the scripted judge is asked; a call costs 100 x 1 + 20 x 5 millionths of a dollar."""
  prices = folder / 'prices.json'
  prices.write_text(json.dumps({'scripted/*': {'input': 1.0, 'output': 5.0}}))
  model = judging.model_settings(
    'scripted/judge', attempts=ATTEMPTS, max_connections=settings.pop('max_connections', 4)
  )
  return JudgeConfig(model, prices=str(prices), min_yield=0.2, **settings)


def written(workdir: Path, answers: Sequence[SampledAnswer]) -> str:
  """Writes answers.jsonl; returns the hash of the file."""
  content = ''.join(json.dumps(answer.as_row()) + '\n' for answer in answers).encode()
  (workdir / 'answers.jsonl').write_bytes(content)
  return hashlib.sha256(content).hexdigest()


def run(
  workdir: Path,
  answers: Sequence[SampledAnswer],
  provider: Provider,
  options: int = 40,
  **settings: Any,
) -> tuple[Path, list[dict[str, Any]], dict[str, Any]]:
  """Has answers judged; returns (folder, rows, result)."""
  config = judge_config(workdir, **settings)
  units = judge_units.units_of(answers, ['base', 'tuned'], PAIRS, options, 0)
  digest = written(workdir, answers)
  folder = command.judge(workdir, units, digest, config, 20, {'judge': provider})
  rows = [json.loads(line) for line in (folder / 'rows.jsonl').read_text().splitlines()]
  return folder, rows, json.loads((folder / 'judge.json').read_text())
