"""Everything whose identity must survive a change of the code: what is hashed, written and shown for the shipped configs.

    python tests/golden/identities.py            # compares with tests/golden/identities.json
    python tests/golden/identities.py --write    # records what the code gives now

Record anew only when a change of content is intended, and say so in the commit: every workdir that people have kept is then trained again.
"""

import hashlib
import importlib
import json
import sys
import tempfile
from pathlib import Path

from msm_jax.base import checks, paths

ROOT = Path(__file__).resolve().parent.parent.parent
GOLDEN = Path(__file__).with_suffix('.json')
EXPERIMENTS = ('msm', 'cheese', 'oversight', 'smollm2')


def sha(text: str | bytes) -> str:
  data = text.encode() if isinstance(text, str) else text
  return hashlib.sha256(data).hexdigest()[:16]


def made_up_logprobs(arm: str):
  """A `logprobs` that depends on arm and text alone, so that rows, summaries and reports need no model."""

  def one(prompt, option: str) -> float:
    text = json.dumps([arm, prompt, option])
    return -1.0 - int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 2**31

  def logprobs(prompts, options):
    scores = []
    for prompt, several in zip(prompts, options, strict=True):
      scores.append([one(prompt, option) for option in several])
    return scores

  return logprobs


def settings(name: str, weights: Path):
  """The shipped config; real weights are replaced by tiny ones, since they are a download."""
  if name == 'smollm2':
    c = importlib.import_module('configs.smollm2').get_config('gpu')
    c.weights = str(weights)
    c.mesh = dict(data=1, fsdp=1, tensor=1)
    c.evals.pairs_per_domain = 4
    return c
  return importlib.import_module(f'configs.{name}').get_config()


def tiny_weights(folder: Path) -> Path:
  import tiny

  from msm_jax.interop import huggingface

  texts = ['The quick brown fox jumps over the lazy dog.', 'Cheese is made from milk.'] * 40
  found = tiny.weights(folder / 'weights', texts)
  assert huggingface.fingerprint(found)
  return found


def snapshot(name: str, folder: Path) -> dict[str, object]:
  from msm_jax import config as configs
  from msm_jax import experiment as experiments
  from msm_jax import report
  from msm_jax.evals import summary as results

  c = settings(name, folder / 'weights')
  c = checks.from_mapping(configs.ExperimentConfig, paths.resolve_paths(c))
  made = experiments.Experiment(c, folder / name)
  out: dict[str, object] = {}
  if name != 'smollm2':  # its identity names the folder of the weights
    out['experiment'] = made.identity()
  made.prepare_data()
  made.check_leaks()
  out['corpora'] = {
    n: f'{x.fingerprint} {x.card["content"]} {x.card["records"]}'
    for n, x in sorted(made.corpora.items())
  }
  out['tokenizer'] = made.tokenizer.fingerprint
  out['asked'] = made.asked()
  readings = {
    context: made.reading.identity(made.replicates.get(context, ()))
    for context in ('', *made.config.contexts.values())
  }
  out['questions'] = [sha(text) for text in readings.values()]
  fingerprints = {n: x.fingerprint for n, x in made.corpora.items()}
  ends = experiments.plan(made.config, fingerprints, made.tokenizer.fingerprint, made.imports)
  out['phases'] = [node.folder_name for node in experiments.tree_order(ends)]
  out['held_out'] = sha(json.dumps({k: [r.id for r in v] for k, v in made.held_out().items()}))

  rows = []
  for (arm, seed), node in ends.items():
    context = made.replicates.get(made.config.contexts.get(arm, ''), ())
    found = made.reading.rows(made_up_logprobs(f'{arm} {seed}'), made.taught(node), context)
    rows += [{'arm': arm, 'seed': seed} | r for r in found]
  out['rows'] = f'{len(rows)} {sha(json.dumps(rows))}'
  summary = results.summarize(rows, made.config, made.reading)
  out['summary'] = sha(json.dumps(summary))
  out['table'] = sha(report.table(summary))
  report.write_report(folder / 'report.html', summary, rows)
  out['report'] = sha((folder / 'report.html').read_bytes())
  points = [{'id': str(n), 'point': {'sources.x.size': n}, 'summary': summary} for n in (10, 100)]
  out['sweep_table'] = sha(report.sweep_table(points))
  report.write_sweep(folder / 'sweep.html', name, 'about', points)
  out['sweep_page'] = sha((folder / 'sweep.html').read_bytes())
  return out


def sweep_identities(folder: Path) -> dict[str, str]:
  """Identities of the points of the shipped sweeps over oversight."""
  from configs.sweeps.oversight import get_config
  from msm_jax import config as configs
  from msm_jax import experiment as experiments
  from msm_jax import sweep

  out = {}
  for preset in ('dose', 'aft', 'specs', 'wording', 'against', 'replay', 'contradiction', 'size'):
    s = get_config(preset)
    for n, point in enumerate(s.points):
      settings = paths.resolve_paths(sweep.overridden(s.experiment, dict(point)))
      c = checks.from_mapping(configs.ExperimentConfig, settings)
      out[f'{preset} {n}'] = experiments.Experiment(c, folder / 'sweep').identity()
  return out


def everything() -> dict[str, object]:
  out: dict[str, object] = {}
  with tempfile.TemporaryDirectory() as folder:
    tiny_weights(Path(folder))
    for name in EXPERIMENTS:
      out[name] = snapshot(name, Path(folder))
    out['sweeps'] = sweep_identities(Path(folder))
  return out


def main() -> None:
  found = everything()
  if '--write' in sys.argv:
    GOLDEN.write_text(json.dumps(found, indent=1) + '\n')
    return
  wanted = json.loads(GOLDEN.read_text())
  for name, parts in wanted.items():
    for part, value in parts.items():
      if found[name].get(part) != value:
        print(f'{name}: {part} was {value} and is {found[name].get(part)}')
  if found != wanted:
    sys.exit(1)
  print('all identities are as recorded')


if __name__ == '__main__':
  sys.path[:0] = [str(ROOT), str(ROOT / 'tests')]
  import conftest  # noqa: F401 - sets JAX up as the tests do

  main()
