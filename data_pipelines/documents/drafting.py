"""Documents: one for each idea of a plan and each handbook.

The writer sees the whole handbook and a brief (brief.py). A program checks the draft; an editor
(the same model) is told the faults and goes over the draft once. This module makes the requests for
drafts and revisions, reads the replies, and turns the final text into a record. `pipeline.py`
decides how many documents are written and stores them.
"""

import dataclasses
import functools
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from data_pipelines.documents import plan as plans
from data_pipelines.documents import planning
from data_pipelines.documents.brief import Brief, make_brief
from data_pipelines.documents.plan import Claim, PlannedIdea, name_and_about
from data_pipelines.handbooks.text import Handbook, fenced, in_prompt
from data_pipelines.llm import prompts
from data_pipelines.llm.costs import Estimate, guess_tokens
from data_pipelines.llm.replies import (
  Refused,
  Reply,
  require_tagged_text,
  require_text,
  without_thinking,
)
from data_pipelines.llm.requests import Request
from data_pipelines.llm.settings import CorpusConfig
from data_pipelines.records import Document
from data_pipelines.text.checks import LENGTH_REPORTED, Problem, make_check, without_fence
from data_pipelines.text.languages import SENTENCE_MARKS, UNSPACED_SENTENCE_MARKS

# Tokens of an English word, for bounds and estimates.
TOKENS_PER_WORD = 1.4
# Tokens that a model may write before the text itself.
THINKING = 200

# Ends of sentences that are certainly not the middle of one (`wording.sentences` is less strict):
# not after a title or after the number of a line in a list, not before a small letter. What follows
# is a group: no class of characters has the small letters of all languages.
_ENDS = re.compile(
  r'(?<!\bMr)(?<!\bMs)(?<!\bDr)(?<!\bSt)(?<!\bMrs)(?<!\n\d)(?<!\n\d\d)'
  rf"""(?:[{SENTENCE_MARKS}]["'”’)*]*(?=\s*\n|\s+["'“„«¿¡(]?([^\W_])|\s*\Z)"""
  rf'|[{UNSPACED_SENTENCE_MARKS}][”’」』）*]*)'
)

# (text, target length in words) -> the faults of the text.
Check = Callable[[str, int], list[Problem]]


# ---- what a reply says


@dataclasses.dataclass(frozen=True)
class Draft:
  """A text before its revision.

  Attributes:
    text: the text.
    problems: its faults, for the editor.
  """

  text: str
  problems: tuple[Problem, ...]


def _listed_faults(problems: Sequence[Problem]) -> str:
  return '\n'.join(f'- {p.fault}' for p in problems)


def _refuse_hard_faults(problems: Sequence[Problem], how_to_reply: str) -> None:
  """Raises Refused if one of the faults is hard: the text cannot be kept with it."""
  hard = [p for p in problems if p.hard]
  if hard:
    faults = _listed_faults(hard)
    raise Refused(hard[0].what, f'The text cannot be used as it is:\n{faults}\n{how_to_reply}')


_AGAIN = 'Write the whole text again without these faults, between <document> and </document>.'


def read_draft(replies: Sequence[Reply], check: Check, words: int, final: bool) -> Draft:
  """Reads a draft out of its tags.

  Args:
    replies: all replies to the request so far.
    check: finds the faults of a text.
    words: the length that was asked for.
    final: no editor goes over the draft, so it must be without hard faults.

  Returns:
    The draft.

  Raises:
    Refused: if there is no whole text between the tags, or a final one has hard faults.
  """
  text = without_fence(require_tagged_text(replies, 'document'))
  problems = check(text, words)
  if final or not text:
    _refuse_hard_faults(problems, _AGAIN)
  return Draft(text, tuple(problems))


def whole_sentences(text: str, most: int) -> str:
  """Cuts a text after its last whole sentence within a length.

  Args:
    text: the text.
    most: the most words that may be kept.

  Returns:
    The whole sentences that the text begins with; '' if the first is longer than `most` words.
  """
  end = 0
  for match in _ENDS.finditer(text):
    if match[1] and match[1].islower():
      continue
    if len(text[: match.end()].split()) <= most:
      end = match.end()
  return text[:end].strip()


def read_plain_draft(
  replies: Sequence[Reply], check: Check, words: int, final: bool, trim: bool = False
) -> Draft:
  """Reads a draft of a writer that cannot hold to tags: all of its last reply is the text.

  Args:
    replies: all replies to the request so far.
    check: finds the faults of a text.
    words: the length that was asked for.
    final: no editor goes over the draft, so it must be without hard faults.
    trim: a text that broke off, or that is longer than an editor would accept, is cut after its
      last whole sentence within that length.

  Returns:
    The draft.

  Raises:
    Refused: if the text has no end, or a final one has hard faults.
  """
  require_text(replies)
  last = replies[-1]
  text = without_fence(without_thinking(last.text))
  is_whole = last.stop == 'stop'
  most = int(LENGTH_REPORTED[1] * words)
  is_too_long = is_whole and len(text.split()) > most
  if trim and (last.stop == 'length' or is_too_long):
    text = whole_sentences(text, most)
    is_whole = bool(text)
  if not is_whole:
    raise Refused(
      'cut', f'Your text did not come to its end. Write it again, with at most {words} words.'
    )
  problems = check(text, words)
  if final:
    how_to_reply = 'Write the whole text again without these faults, and nothing else.'
    _refuse_hard_faults(problems, how_to_reply)
  return Draft(text, tuple(problems))


def _keeps_draft(reply: Reply) -> bool:
  """Whether the editor says that the draft stays as it is."""
  said = without_thinking(reply.text).strip().rstrip('.')
  return said in (
    '<keep/>',
    '<keep />',
    '<keep></keep>',
  )


def read_revision(replies: Sequence[Reply], draft: Draft, check: Check, words: int) -> str:
  """Reads the text as the editor leaves it.

  Args:
    replies: all replies to the request so far.
    draft: what the editor was given.
    check: finds the faults of a text.
    words: the length that was asked for.

  Returns:
    The final text: the editor's, or the draft if the editor keeps it.

  Raises:
    Refused: if there is no whole text, or the text or a kept draft has hard faults.
  """
  if _keeps_draft(replies[-1]):
    _refuse_hard_faults(draft.problems, _AGAIN)
    return draft.text
  written = [r for r in replies if not _keeps_draft(r)]
  text = without_fence(require_tagged_text(written, 'document'))
  _refuse_hard_faults(check(text, words), _AGAIN)
  return text


# ---- requests and records


def _document_prompt(config: CorpusConfig) -> str:
  return 'document' if config.writer.tags else 'document_plain'


def prompts_of(config: CorpusConfig) -> tuple[str, ...]:
  """Names the prompts that the documents of a corpus come from.

  Args:
    config: the corpus's config.

  Returns:
    Names of files in `llm/prompts`, without their suffix.
  """
  names = [_document_prompt(config)]
  if not config.plan.path:
    names = [*planning.PROMPTS, *names]
  if config.revise:
    names.append('revision')
  return tuple(names)


def _draft_key(planned: PlannedIdea, stem: str) -> str:
  return f'document/{planned.idea.id}/{stem}'


def _revision_key(planned: PlannedIdea, stem: str) -> str:
  return f'revision/{planned.idea.id}/{stem}'


def _place_of(planned: PlannedIdea) -> str:
  """Where an idea lies, as prompts show it."""
  return f'{planned.domain.name} / {name_and_about(planned.subdomain)}'


class DocumentDrafter:
  """Makes the requests for the documents of a corpus, and the records of their final texts.

  Attributes:
    plan: the plan of the corpus.
    plan_id: a short hash of the plan.
    versions: from the name of a prompt to the hash of its file.
  """

  def __init__(self, config: CorpusConfig, handbooks: Sequence[Handbook], plan: plans.Plan):
    self.config = config
    self.plan = plan
    self.plan_id = plans.digest(plan)
    self.versions = prompts.versions(prompts_of(config))
    self.handbooks = {h.stem: h for h in handbooks}
    self.checks = {h.stem: make_check(h) for h in handbooks}
    self.in_prompts = {h.stem: in_prompt(h) for h in handbooks}
    reserved: set[str] = set()
    for handbook in handbooks:
      reserved.update((handbook.assistant, handbook.maker))
    self.reserved = tuple(reserved)

  def _brief(self, planned: PlannedIdea) -> Brief:
    return make_brief(planned, self.config, self.reserved)

  def _values(self, planned: PlannedIdea, stem: str, brief: Brief) -> dict[str, object]:
    """What the prompts of drafts and of revisions both show."""
    handbook = self.handbooks[stem]
    return {
      'assistant': handbook.assistant,
      'maker': handbook.maker,
      'handbook': self.in_prompts[stem],
      'type': name_and_about(planned.doc_type),
      'idea': name_and_about(planned.idea),
      'side': planned.doc_type.by,
      'stance': brief.stance,
      'wording': self.config.plan.wording,
      'names': ', '.join(brief.names),
      'words': brief.words,
      'claims': '\n'.join(f'- {claim.says[stem]}' for claim in brief.claims),
    }

  def draft_request(self, planned: PlannedIdea, stem: str) -> Request[Draft]:
    """Makes the request for a draft.

    Args:
      planned: the idea of the document.
      stem: the handbook, by the stem of its file name.

    Returns:
      The request; its value is the draft.
    """
    writer = self.config.writer
    brief = self._brief(planned)
    values = self._values(planned, stem, brief)
    read: Callable[..., Draft] = read_draft
    if writer.tags:
      values['subdomain'] = _place_of(planned)
    else:
      read = functools.partial(read_plain_draft, trim=writer.trim)
    check = self.checks[stem]
    final = not self.config.revise
    parse = functools.partial(read, check=check, words=brief.words, final=final)
    max_tokens = _room(brief.words)
    if writer.trim:
      # Such a writer does not stop by itself, and what comes after this length is not kept.
      max_tokens = int(LENGTH_REPORTED[1] * TOKENS_PER_WORD * brief.words)
    prompt = prompts.fill(_document_prompt(self.config), **values)
    return Request(_draft_key(planned, stem), 'documents', prompt, parse, max_tokens)

  def revision_request(self, planned: PlannedIdea, stem: str, draft: Draft) -> Request[str]:
    """Makes the request for a revision.

    Args:
      planned: the idea of the document.
      stem: the handbook, by the stem of its file name.
      draft: what the editor goes over.

    Returns:
      The request; its value is the final text.
    """
    brief = self._brief(planned)
    prompt = prompts.fill(
      'revision',
      text=fenced(draft.text),
      problems=_listed_faults(draft.problems) or '- none',
      subdomain=_place_of(planned),
      **self._values(planned, stem, brief),
    )
    check = self.checks[stem]
    parse = functools.partial(read_revision, draft=draft, check=check, words=brief.words)
    key = _revision_key(planned, stem)
    return Request(key, 'revisions', prompt, parse, _room(brief.words))

  def record(self, planned: PlannedIdea, stem: str, text: str) -> Document:
    """Makes the record of a finished document.

    Args:
      planned: the idea of the document.
      stem: the handbook, by the stem of its file name.
      text: the final text.

    Returns:
      The record; its provenance names everything that the text depends on.
    """
    config = self.config
    parents = [_draft_key(planned, stem)]
    if config.revise:
      parents.append(_revision_key(planned, stem))
    if not config.plan.path:
      parents += planning.request_keys(planned)
    provenance = {
      'spec': self.handbooks[stem].sha256,
      'prompts': self.versions,
      'model': config.writer.model,
      'seed': config.seed,
      'plan': self.plan_id,
      'parents': parents,
    }
    return Document(
      id=planned.idea.id,
      text=text,
      spec=stem,
      domain=planned.domain.name,
      doc_type=planned.doc_type.name,
      claim_ids=tuple(claim.id for claim in self._brief(planned).claims),
      provenance=json.dumps(provenance, ensure_ascii=False),
    )


def _room(words: int) -> int:
  """Tokens for a text of so many words, with reserve, and for what a model writes before it."""
  return 2 * THINKING + int(1.8 * TOKENS_PER_WORD * words)


# ---- estimates


def estimates(config: CorpusConfig, handbooks: Sequence[Handbook], ideas: int) -> list[Estimate]:
  """Estimates what drafts and revisions take.

  The estimate assumes that every reply can be used at once and that the editor rewrites every
  document.

  Args:
    config: the corpus's config.
    handbooks: its handbooks.
    ideas: how many ideas are written, each once per handbook.

  Returns:
    One estimate for each stage, over all handbooks together. Tokens are guesses from the number of
    characters.
  """
  planned, plan = _typical_plan(handbooks)
  documents = DocumentDrafter(config, handbooks, plan)
  mean_words = sum(config.plan.words) // 2
  draft = Draft('word ' * mean_words, ())
  output_tokens = int(TOKENS_PER_WORD * mean_words) + config.writer.reasoning_tokens
  if config.writer.tags:
    output_tokens += THINKING
  stages: list[list[Request[Any]]] = []
  stages.append([documents.draft_request(planned, h.stem) for h in handbooks])
  if config.revise:
    stages.append([documents.revision_request(planned, h.stem, draft) for h in handbooks])
  found = []
  for requests in stages:
    input_tokens = [guess_tokens(r.prompt.system + r.prompt.user) for r in requests]
    found.append(
      Estimate(
        stage=requests[0].stage,
        model=config.writer.model,
        calls=len(requests) * ideas,
        input_tokens=sum(input_tokens) // len(requests),
        output_tokens=output_tokens,
        batch=bool(config.writer.batch),
      )
    )
  return found


def _typical_plan(handbooks: Sequence[Handbook]) -> tuple[PlannedIdea, plans.Plan]:
  """An idea of usual length, and a plan that contains nothing else."""
  typical = (
    'A few words for a name: and what there is to say of it in one or two sentences, which may be '
    'short or long. '
  )
  claim = Claim('', typical, {h.stem: typical for h in handbooks})
  idea = plans.Idea('d01.s01.t01.i01', typical, typical)
  doc_type = plans.DocType('d01.s01.t01', typical, typical, 'insider', (idea,))
  subdomain = plans.Subdomain('d01.s01', typical, typical, (claim,) * 3, (doc_type,))
  domain = plans.Domain('d01', typical, typical, (subdomain,))
  plan = plans.Plan(handbooks[0].assistant, (domain,))
  return PlannedIdea(domain, subdomain, doc_type, idea, 0), plan
