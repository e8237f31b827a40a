"""Asks everything about one model of an experiment: its rows, and its sampled answers.

What was asked once is kept beside the checkpoints of the model, under the hash of the questions.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from data_pipelines.records import Record
from msm_jax import multihost
from msm_jax.base.console import say
from msm_jax.base.files import read_json_lines
from msm_jax.evals import perplexity, sampled, scoring
from msm_jax.evals.answers import read_answers
from msm_jax.evals.progress import EvaluationProgress
from msm_jax.evals.rows import Row, to_lines
from msm_jax.phases import Node, digest
from msm_jax.running import outputs
from msm_jax.running.workspace import Workspace
from msm_jax.suites.suite import EvalSuite

# The evaluator of English that asks the base alone: what it knows of the things in pairs. The
# attribute of this name of the suite holds the questions. All other rows of the base are those of
# any arm, so they are kept in the same file.
_OF_BASE_ALONE = 'knowledge'


def evaluate_node(
  workspace: Workspace,
  node: Node,
  held_out: Callable[[], Mapping[str, Sequence[Record]]],
  context: str = '',
  is_base: bool = False,
  update: int | None = None,
  progress: EvaluationProgress | None = None,
) -> list[Row]:
  """Asks every evaluator about one model.

  On the way of a phase, the assistant alone is asked: what other people do and how well held-out
  text is read is asked at its end.

  The rows are kept beside the model's checkpoints, under the hash of what was asked.

  Args:
    workspace: the experiment in its workdir.
    node: the last phase of the model.
    held_out: gives the text for perplexity, see `Prepared.held_out`. It is called only if the
      rows are not kept.
    context: path of a handbook that stands in the assistants' system message; '' for none.
    is_base: whether the model is the base, which gates judge.
    update: the update of the last phase after which the model is meant; None for its end.
    progress: told how many tokens were scored.

  Returns:
    Rows without arm and seed.

  Raises:
    Interrupted: `progress` was asked to stop.
  """
  prepared = workspace.prepared_by_seed[node.seed]
  design, suite = prepared.design, prepared.design.suite
  in_context = design.replicates_in(context)
  asked_as = ['base'] if is_base and design.config.evals.gate_scenes else []
  others = update is None and (is_base or design.config.evals.others_of == 'all')
  if not others:
    asked_as.append('assistant alone')
  identity = digest(design.eval_identity, suite.identity(in_context), *asked_as)
  path = workspace.folder(node) / f'evals-{identity}.jsonl'
  if update is not None:
    path = path.with_name(f'evals-{identity}-at-{update}.jsonl')
  kept = _rows_for(multihost.broadcast_from_first(read_json_lines(path)), suite, is_base)
  if kept:
    return kept
  model, length = prepared.config.model, design.row_length
  rows_per_batch = prepared.config.evals.rows
  params = workspace.load_params(node, update)
  with jax.set_mesh(workspace.mesh):
    after_batch = progress or scoring.ignore_batch
    lower_layers = workspace.lower_layers
    logprobs = scoring.make_logprobs(
      model, params, prepared.tokenizer, length, rows_per_batch, after_batch, lower_layers
    )
    rows = suite.rows(logprobs, design.handbook_read_by(node), in_context, is_base, others)
    if update is None:
      rows += perplexity.held_out_loss(
        model,
        params,
        prepared.tokenizer,
        held_out(),
        length,
        rows_per_batch,
        after_batch,
        lower_layers,
      )
  # Imported weights have no folder yet.
  path.parent.mkdir(parents=True, exist_ok=True)
  multihost.write_with_checksum(path, to_lines(rows))
  return rows


def _rows_for(kept: list[Row], suite: EvalSuite, is_base: bool) -> list[Row]:
  """The kept rows of a model, as it is asked now.

  Which arm is the base changes with the arms of the config. A model that was asked as another one
  lacks rows as the base, and the other way round it has too many.

  Args:
    kept: rows that an earlier run kept.
    suite: the suite that is asked.
    is_base: whether the model is the base now.

  Returns:
    The rows; none if it has to be asked again.
  """
  rows = [row for row in kept if row.get('evaluator') != _OF_BASE_ALONE]
  if not is_base:
    return rows
  asks_the_base = bool(getattr(suite, _OF_BASE_ALONE, None))
  lacks_rows = asks_the_base and len(rows) == len(kept)
  return [] if lacks_rows else kept


def sample_node(
  workspace: Workspace, node: Node, scored: Sequence[Row], about: str, context: str = ''
) -> tuple[list[dict[str, Any]], list[Row]]:
  """Has one model answer the assistant's questions in free text.

  The answers are kept beside the model's checkpoints, as rows are.

  Args:
    workspace: the experiment in its workdir.
    node: the last phase of the model.
    scored: its rows, with which the answers are compared.
    about: what the sampling is called on the console. Nothing is said if the answers are kept, or
      if no question can be sampled.
    context: as for `evaluate_node`.

  Returns:
    The answers, and their rows; both without arm and seed.

  Raises:
    Interrupted: somebody asked the run to stop. The answers of this model are not kept.
  """
  prepared = workspace.prepared_by_seed[node.seed]
  design, evals = prepared.design, prepared.config.evals
  questions = design.suite.sampled_questions(design.replicates_in(context))
  questions = sampled.chosen_questions(questions, evals)
  asked = digest(sampled.identity(questions, evals), str(design.row_length))
  path = workspace.folder(node) / f'answers-{asked}.jsonl'
  kept = read_json_lines(path)
  # Without questions there would be nothing to keep, and every run would load the model anew.
  if questions and not kept:
    say(about)
    params = workspace.load_params(node)
    expected = evals.sampled * sum(len(question.orders) for question in questions)
    progress = EvaluationProgress(about, workspace.stop, expected, unit='answers')
    answers = sampled.sample_answers(
      prepared.config.model,
      params,
      prepared.tokenizer,
      questions,
      evals,
      design.row_length,
      progress,
    )
    progress.close()
    kept = [answer.as_row() for answer in answers]
    path.parent.mkdir(parents=True, exist_ok=True)
    multihost.write_with_checksum(path, outputs.json_lines(kept))
  return kept, sampled.rows_of(questions, read_answers(kept, str(path)), scored)
