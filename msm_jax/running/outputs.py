"""Writes what an experiment leaves behind: arms.json, rows, summary, settings and report.

`docs/schemas.md` describes the files.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_pipelines.records import Record
from msm_jax import multihost, report
from msm_jax.base.checks import hint_for, to_json
from msm_jax.base.console import say
from msm_jax.base.files import read_checked, read_json_lines, write_atomically, write_together
from msm_jax.config import ExperimentConfig
from msm_jax.evals import capability, curves, no_model, robustness, stated, survival
from msm_jax.evals.rows import Row, to_lines
from msm_jax.evals.summary import summarize
from msm_jax.interop import huggingface
from msm_jax.models import ParamsLocation, listed_arms
from msm_jax.phases import Node, digest
from msm_jax.report.numbers import margin_of, measured_in
from msm_jax.running.prepared import Prepared
from msm_jax.running.replication import worlds_of_seeds
from msm_jax.running.transcripts import collect_texts
from msm_jax.suites.registry import layout_of
from msm_jax.suites.suite import EvalSuite

# ------------------------------------------------------------------------------------ arms.json


def arm_entry(
  prepared: Prepared, path: str, node: Node, where: ParamsLocation, outputs: Path
) -> dict[str, Any]:
  """Says what `open_arm` must know of one arm and seed.

  Args:
    prepared: corpora, tokenizer and plan of the seed.
    path: the arm's path of phases, as the config has it; with '@UPDATE' for a point on the way of
      its last phase.
    node: the last phase of the path.
    where: where its parameters lie.
    outputs: where arms.json lies. Paths inside the workdir are relative to it, since the workdir
      may be moved.

  Returns:
    The arm's entry in arms.json.
  """
  lengths = [phase.settings.length for phase in node.lineage if not phase.settings.is_import]
  tokenizer, weights, adapter, checkpoints = '', '', '', ''
  if prepared.tokenizer_path:
    tokenizer = os.path.relpath(prepared.tokenizer_path, outputs)
  if prepared.design.weights:
    weights = str(prepared.design.weights.absolute())
  if where.adapter is not None:
    adapter = str(where.adapter.absolute())
  if where.checkpoints is not None:
    checkpoints = os.path.relpath(where.checkpoints, outputs)
  entry = {
    'path': path,
    'model': json.loads(to_json(prepared.config.model)),
    'length': max(lengths, default=0),
    'tokenizer': tokenizer,
    'weights': weights,
    'adapter': adapter,
    'checkpoints': checkpoints,
    'updates': where.updates,
  }
  for key in ('weights', 'adapter'):
    if entry[key]:
      # Whoever opens the arm later may find other weights in the folder.
      entry[f'{key}_id'] = huggingface.sample_of(entry[key])
  if weights:
    # The same holds for the tokenizer and its chat template.
    entry['tokenizer_id'] = prepared.tokenizer.fingerprint
  return entry


def list_arms(outputs: Path, entries: Mapping[tuple[str, int], dict[str, Any]]) -> None:
  """Writes arms that are trained to their end into arms.json.

  Args:
    outputs: where arms.json lies. What is listed there from earlier runs stays.
    entries: (arm, seed) -> its entry. An arm stands before the points on its way ('arm@64').
  """
  if not multihost.is_first():
    return
  listed = listed_arms(outputs)
  before = json.dumps(listed)
  for (arm, seed), entry in entries.items():
    of_arm = listed.setdefault(arm, {})
    # Entries of earlier versions lack some keys, and are of the same model.
    earlier = of_arm.get(str(seed), {})
    if any(entry.get(key) != value for key, value in earlier.items()):
      # The arm was trained with other settings before, and so were its points.
      _drop_points(listed, arm, str(seed))
    of_arm[str(seed)] = entry
  if json.dumps(listed) != before:
    outputs.mkdir(parents=True, exist_ok=True)
    content = json.dumps(listed, indent=1) + '\n'
    write_atomically(outputs / 'arms.json', content.encode())


def _drop_points(listed: dict[str, dict[str, Any]], arm: str, seed: str) -> None:
  """Takes the points of an arm out of what is listed, for one seed."""
  for name in list(listed):
    if name.startswith(f'{arm}@'):
      listed[name].pop(seed, None)
      if not listed[name]:
        del listed[name]


# -------------------------------------------------------------------------------------- results


def json_lines(rows: Iterable[Mapping[str, Any]]) -> str:
  """Objects as text of a JSONL file. A model may say any character, also those at which readers
  break lines, so all but ASCII is escaped."""
  return ''.join(json.dumps(row) + '\n' for row in rows)


def write_answers(answers: Sequence[Mapping[str, Any]], outputs: Path) -> None:
  """Writes answers.jsonl, which judges read (`python -m msm_jax.judge`).

  Args:
    answers: the sampled answers of all arms and seeds, as `evals/answers.py` has them.
    outputs: where the file goes.
  """
  outputs.mkdir(parents=True, exist_ok=True)
  multihost.write(outputs / 'answers.jsonl', json_lines(answers))


def write_results(
  config: ExperimentConfig,
  prepared: Prepared,
  rows: Sequence[Row],
  along: Sequence[Row],
  about: Mapping[str, Any],
  workdir: Path,
  outputs: Path,
) -> dict[str, Any]:
  """Writes rows, summary, settings and report.

  Args:
    config: the settings of the experiment, with all its seeds.
    prepared: corpora and questions of the first seed. Where corpora follow the seed, those of the
      others are about as large.
    rows: of all arms and seeds.
    along: the same at points on the way of last phases; they have the keys `phase` and `update`.
    about: what else the summary says: what varies, which commit ran, and so on.
    workdir: where data/ lies.
    outputs: where the files go.

  Returns:
    The contents of summary.json.
  """
  outputs.mkdir(parents=True, exist_ok=True)
  summary = summarize(rows, config, prepared.design.suite)
  _add_primary(summary, config)
  _add_curves(summary, along, config, prepared.design.suite)
  summary |= prepared.design.suite.more_of_summary(rows, config)
  summary['no_model'] = without_model(config, prepared, workdir)
  summary |= about
  _add_robustness(summary, config)
  # By this, whoever reads the rows notices that some are missing.
  summary['rows'] = len(rows)
  summary['corpora'] = {}
  for name in prepared.corpora:
    summary['corpora'][name] = prepared.trained_on(name)
  _add_from_other_programs(summary, config, outputs)
  settings = json.loads(to_json(config))
  contents = {'results.jsonl': to_lines(rows)}
  # Without its summary, nobody takes the rows of this run for those of an earlier one.
  gone = [outputs / 'summary.json']
  if along:
    contents['points.jsonl'] = to_lines(along)
  else:
    # Points of an earlier run, with other settings, would look like those of this one.
    gone.append(outputs / 'points.jsonl')
  contents['summary.json'] = json.dumps(summary, indent=1) + '\n'
  contents['config.json'] = json.dumps(settings, indent=1) + '\n'
  if multihost.is_first():
    # The files are written when all are known, and together: a summary takes long, and a run that
    # ended within it, or on a full disk, would leave its own rows beside the summary of an earlier
    # run with other settings.
    write_together({outputs / name: text.encode() for name, text in contents.items()}, gone)
    layout = layout_of(summary)
    texts = collect_texts(prepared, rows, layout.main)
    report.write_report(outputs / 'report.html', summary, rows, layout, texts)
  return summary


def _add_primary(summary: dict[str, Any], config: ExperimentConfig) -> None:
  """Adds to a summary which effect and which measure are primary, if the config says so."""
  if config.primary:
    summary['primary'] = config.primary
  # What arms alone have, such as recall, has no effect that could be primary.
  part = 'effects' if config.effects else 'arms'
  measure, measured = config.primary_measure, measured_in(summary, part)
  if measure in measured:
    summary['primary_measure'] = measure
  elif measure:
    # Everything has been trained and evaluated by now. It is kept, and the page is written.
    say(
      f'summary    primary_measure names {measure!r}{hint_for(measure, measured)}; the main '
      'measure of the setting takes its place. The same command with another one trains nothing '
      'again'
    )


def _add_robustness(summary: dict[str, Any], config: ExperimentConfig) -> None:
  """Adds to a summary how firm the effects are."""
  measure = margin_of(layout_of(summary).main)
  worlds = worlds_of_seeds(config)
  found = robustness.of_effects(summary['effects'], measure, config.primary, worlds)
  if found:
    summary['robustness'] = found


def _add_from_other_programs(
  summary: dict[str, Any], config: ExperimentConfig, outputs: Path
) -> None:
  """Adds to a summary what judges and lm-evaluation-harness have left in the folder."""
  if found := capability.read(outputs, config.arms):
    summary['capability'] = found
    summary['gates'] |= capability.gates(found, summary['base'], config.gates)
  # Without sampling, answers that lie there are of an earlier run, perhaps of other models.
  if config.evals.sampled and (judged := read_judged(outputs)):
    summary['judged'] = judged


def read_judged(outputs: Path) -> dict[str, Any]:
  """Reads what judges said about the answers that are there now.

  Args:
    outputs: the folder with answers.jsonl.

  Returns:
    Folder of a judge -> the contents of its judge.json; without judges of other answers.
  """
  try:
    answers_digest = hashlib.sha256((outputs / 'answers.jsonl').read_bytes()).hexdigest()
  except OSError:
    return {}
  out = {}
  for path in sorted((outputs / 'judge').glob('*/judge.json')):
    content = read_checked(path)
    if content is None:
      say(f'judge      {path} is not as it was written; run python -m msm_jax.judge again')
      continue
    judged = json.loads(content)
    if judged['answers'] == answers_digest:
      out[path.parent.name] = judged
    else:
      say(f'judge      {path.parent} is about other answers; run python -m msm_jax.judge again')
  return out


def _add_curves(
  summary: dict[str, Any], along: Sequence[Row], config: ExperimentConfig, suite: EvalSuite
) -> None:
  """Adds to a summary what was found on the way of phases, half doses, and what arms say beside
  what they do; each only if it was measured."""
  layout = layout_of(summary)
  main = [layout.main, margin_of(layout.main)]
  shown = {*main, *layout.columns, *layout.effects}

  def is_shown(measure: str) -> bool:
    return measure in shown or measure.startswith(('recall/', 'stated/'))

  if along:
    summary['curves'] = curves.summarize_curves(along, summary, config, suite, is_shown)
  if config.dose_curves:
    summary['survival'] = survival.summarize_survival(summary, config, main)
  if beside := stated.summarize_stated(summary['arms'], suite.said_and_done):
    summary['stated'] = beside


def without_model(config: ExperimentConfig, prepared: Prepared, workdir: Path) -> dict[str, Any]:
  """Answers the questions by counting words; see `evals/no_model.py`.

  Args:
    config: the settings of the experiment.
    prepared: corpora and questions of the first seed.
    workdir: where data/ lies. The answers are kept there, because a finished run should not read
      all corpora again.

  Returns:
    Arm -> baseline -> tier -> share.
  """
  suite = prepared.design.suite
  # The name of a source stands beside its fingerprint, and the sources beside the arm that reads
  # them: an arm that reads another corpus of the same experiment gets another answer.
  texts = [f'{name}: {corpus.fingerprint}' for name, corpus in sorted(prepared.corpora.items())]
  read = no_model.sources_by_arm(config)
  # Which side counts is decided by the handbook that is evaluated.
  whose = prepared.design.specs[config.evals.spec].sha256
  read_by = json.dumps(read, sort_keys=True)
  asked = digest(no_model.VERSION, suite.identity(), whose, read_by, *texts)
  kept = workdir / 'data' / f'no-model-{asked}.jsonl'
  # No broadcast: the processes come here one after the other, and the first one writes the file.
  answers = read_json_lines(kept)
  if not answers:

    def records_of(name: str) -> list[Record]:
      # A source that no arm reads is never written.
      if name not in prepared.corpora:
        return []
      return list(prepared.corpora[name].records())

    answers = [no_model.of_arms(config, suite, records_of)]
    multihost.write_with_checksum(kept, json.dumps(answers[0]) + '\n')
  return answers[0]
