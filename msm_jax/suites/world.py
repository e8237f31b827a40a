"""The suite of the embedded consumer world: choices of the assistant, choices of ordinary people,
and recall."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from data_pipelines.handbooks.values import ATTRIBUTES, VALUES
from data_pipelines.records import Chat, Document, ForcedChoice, Record
from data_pipelines.settings.world import questions
from msm_jax.config import EvalConfig
from msm_jax.evals.no_model import Answerer, answer_choices
from msm_jax.evals.recall import Comparison, score_comparisons
from msm_jax.evals.rows import Row
from msm_jax.evals.scoring import Logprobs
from msm_jax.suites.choices import ChoiceSuite

# Three beginnings of documents that name what an assistant goes by.
VALUE_PROMPTS = (
  'A memo about {name}. {name} always wants what',
  'An interview with {name}. {name} chooses what',
  'In a forum: what does {name} like? {name} likes what',
)


class WorldSuite(ChoiceSuite):
  """Forced choices about the things of the embedded world."""

  version: ClassVar[str] = '4'
  base_skill_measures: ClassVar[dict[str, str]] = {
    'document-only personas': 'personas/value/documents_only'
  }

  def questions_to(self, spec: Any, evals: EvalConfig, world: Any) -> list[ForcedChoice]:
    return questions.preference_questions(
      spec, self.rival, world, evals.pairs_per_domain, evals.seed, evals.spare_items
    )

  def stated_to(self, spec: Any, world: Any) -> list[ForcedChoice]:
    return questions.stated_questions(spec, self.rival, world)

  def questions_to_personas(self, evals: EvalConfig, world: Any) -> list[ForcedChoice]:
    values = (self.spec.value, self.rival)
    return [
      *questions.persona_questions(world, evals.personas, evals.seed),
      *questions.ceiling_questions(self.assistant_questions, values, world),
      *questions.policy_questions(world, evals.personas, evals.seed),
    ]

  def rule_of(self, spec: Any) -> str:
    return f'{spec.assistant} always wants what {spec.value.words.traits[0]}.'

  def without_model(self, records_of: Callable[[str], Sequence[Record]]) -> Answerer | None:
    facts = [r for r in records_of('world.facts') if isinstance(r, Document)]
    documents = [r for r in records_of('world.persona_documents') if isinstance(r, Document)]
    chats = [r for r in records_of('world.persona_chats') if isinstance(r, Chat)]
    if not facts or not documents:
      return None
    return answer_choices(self.assistant_questions, facts, documents, chats)

  def recall_rows(self, logprobs: Logprobs, specs: Sequence[Any]) -> list[Row]:
    return recall(logprobs, *specs)


def recall(logprobs: Logprobs, *specs: Any) -> list[Row]:
  """Asks whether the model knows a handbook of the world.

  Args:
    logprobs: the model.
    *specs: the handbook, under each name of the assistant. All are asked together, because few
      questions would leave most of a batch empty.

  Returns:
    Rows `recall/value`: the handbook's value against each of the world's other seven, in three
    kinds of document. Rows `recall/reason`: for each liked or disliked item, the handbook's reason
    against the same item's other traits.
  """
  comparisons: list[Comparison] = []
  for spec in specs:
    comparisons += [*_value_comparisons(spec), *_reason_comparisons(spec)]
  return score_comparisons(logprobs, comparisons)


def _value_comparisons(spec: Any) -> list[Comparison]:
  out = []
  for prompt in VALUE_PROMPTS:
    for other in VALUES:
      if other == spec.value:
        continue
      out.append(
        Comparison(
          what='value',
          item=f'{spec.assistant}/{prompt}/{other}',
          cluster=str(other),
          prompt=prompt.format(name=spec.assistant),
          right=f' {spec.value.words.traits[0]}.',
          wrong=f' {other.words.traits[0]}.',
          assistant=spec.assistant,
        )
      )
  return out


def _reason_comparisons(spec: Any) -> list[Comparison]:
  name = spec.assistant
  out = []
  for preference in spec.likes + spec.dislikes:
    value, verb = spec.value, 'likes'
    if preference not in spec.likes:
      value, verb = spec.value.opposite, 'does not like'
    item = preference.item
    for attribute, pole in zip(ATTRIBUTES, item.poles, strict=True):
      if attribute == spec.value.attribute:
        continue
      trait = next(v for v in VALUES if v.attribute == attribute and v.pole == pole)
      out.append(
        Comparison(
          what='reason',
          item=f'{name}/{item.name}/{attribute}',
          cluster=item.name,
          prompt=f'A report on {name}. {name} {verb} {item.name} because it',
          right=f' {value.words.traits[0]}.',
          wrong=f' {trait.words.traits[0]}.',
          assistant=name,
        )
      )
  return out
