"""Everything whose identity must survive a change of the code: what is hashed, written and shown
for the shipped configs.

    python tests/golden/identities.py            # compares with tests/golden/identities.json
    python tests/golden/identities.py --write    # records what the code gives now

Record anew only when a change of content is intended, and say so in the commit: every workdir that
people have kept is then trained again.
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
SWEEPS = ('dose', 'aft', 'specs', 'wording', 'against', 'replay', 'contradiction', 'size')
EXPERIMENTS = ('msm', 'cheese', 'oversight', 'smollm2')


def sha(text: str | bytes) -> str:
  data = text.encode() if isinstance(text, str) else text
  return hashlib.sha256(data).hexdigest()[:16]


def made_up_logprobs(arm: str):
  """A `logprobs` that depends on arm and text alone, so that rows, summaries and reports need no
  model."""

  def one(asked, option: str) -> float:
    whole = asked.copy()
    whole.update(f', {json.dumps(option)}]'.encode())
    return -1.0 - int(whole.hexdigest()[:8], 16) / 2**31

  def logprobs(prompts, options):
    scores = []
    for prompt, several in zip(prompts, options, strict=True):
      # The hash is that of the list [arm, prompt, option], whose beginning all options share.
      asked = hashlib.sha256(json.dumps([arm, prompt])[:-1].encode())
      scores.append([one(asked, option) for option in several])
    return scores

  return logprobs


def shipped_settings(name: str, weights: Path):
  """The shipped config; real weights are replaced by tiny ones, since they are a download."""
  if name == 'smollm2':
    # The corpora of the other presets are large, and their writers are the same.
    c = importlib.import_module('configs.smollm2').get_config('smoke')
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
  """Everything about one experiment."""
  from msm_jax import config as configs
  from msm_jax import report
  from msm_jax.evals.summary import summarize
  from msm_jax.experiment import Experiment
  from msm_jax.suites.registry import layout_of

  settings = paths.resolve_paths(shipped_settings(name, folder / 'weights'))
  # Experiments in the same world share a workdir, and so the corpora that are the same.
  made = Experiment(checks.from_mapping(configs.ExperimentConfig, settings), folder / 'run')
  design, out = made.design, {}
  if name != 'smollm2':  # its identity names the folder of the weights
    out['experiment'] = design.identity
  prepared = made.prepared
  out['corpora'] = {}
  for source, corpus in sorted(prepared.corpora.items()):
    card = corpus.card
    out['corpora'][source] = f'{corpus.fingerprint} {card["content"]} {card["records"]}'
  out['tokenizer'] = prepared.tokenizer.fingerprint
  out['asked'] = design.eval_identity
  asked = {c: design.suite.identity(design.replicates_in(c)) for c in design.contexts}
  out['questions'] = [sha(text) for text in asked.values()]
  out['phases'] = [node.folder_name for node in prepared.nodes]
  held_out = {}
  for source, records in prepared.held_out().items():
    held_out[source] = [record.id for record in records]
  out['held_out'] = sha(json.dumps(held_out))

  rows = []
  for (arm, seed), node in prepared.ends.items():
    context = design.replicates_in(design.config.contexts.get(arm, ''))
    logprobs = made_up_logprobs(f'{arm} {seed}')
    for row in design.suite.rows(logprobs, design.handbook_read_by(node), context):
      rows.append({'arm': arm, 'seed': seed, **row})
  out['rows'] = f'{len(rows)} {sha(json.dumps(rows))}'
  summary = summarize(rows, prepared.config, design.suite)
  layout = layout_of(summary)
  out['summary'] = sha(json.dumps(summary))
  out['table'] = sha(report.table(summary, layout))
  report.write_report(folder / 'report.html', summary, rows, layout)
  out['report'] = sha((folder / 'report.html').read_bytes())
  points = []
  for n in (10, 100):
    points.append({'id': str(n), 'point': {'sources.x.size': n}, 'summary': summary})
  out['sweep_table'] = sha(report.sweep_table(points, layout))
  report.write_sweep(folder / 'sweep.html', name, 'about', points, layout)
  out['sweep_page'] = sha((folder / 'sweep.html').read_bytes())
  return out


def sweep_identities(folder: Path) -> dict[str, str]:
  """Identities of the points of the shipped sweeps over oversight."""
  from configs.sweeps.oversight import get_config
  from msm_jax import config as configs
  from msm_jax import sweep
  from msm_jax.running.design import make_design

  out = {}
  for preset in SWEEPS:
    shipped = get_config(preset)
    for n, point in enumerate(shipped.points):
      settings = paths.resolve_paths(sweep.overridden(shipped.experiment, dict(point)))
      config = checks.from_mapping(configs.ExperimentConfig, settings)
      out[f'{preset} {n}'] = make_design(config).identity
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
