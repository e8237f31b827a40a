"""Documents: one for each idea and handbook, written with the whole handbook in view, checked, and gone over once by an editor."""

import dataclasses
import functools
import json
import random
import re
from collections.abc import Callable, Sequence

from data_pipelines.documents import plan as plans
from data_pipelines.documents.plan import Claim, PlannedIdea
from data_pipelines.handbooks.text import Handbook, fenced
from data_pipelines.llm import prompts
from data_pipelines.llm.client import Request
from data_pipelines.llm.costs import Estimate, guess_tokens
from data_pipelines.llm.replies import Refused, Reply, check_said, tagged
from data_pipelines.llm.settings import CorpusConfig
from data_pipelines.records import Document
from data_pipelines.text.checks import OFF, Problem, make_check
from data_pipelines.text.names import FIRST, LAST

TOKENS_PER_WORD = 1.4  # of English, for bounds and estimates
THINKING = 200  # tokens before a text

# Ends of sentences that nobody would take for the middle of one, as `wording.sentences` may: not after a title or the number of a line in a list,
# not before a small letter.
_ENDS = re.compile(
  r"""(?<!\bMr)(?<!\bMs)(?<!\bDr)(?<!\bSt)(?<!\bMrs)(?<!\n\d)(?<!\n\d\d)[.!?]["'”’)*]*(?=\s*\n|\s+["'“(]?[^\Wa-z_]|\s*\Z)"""
)

Check = Callable[[str, int], list[Problem]]


@dataclasses.dataclass(frozen=True)
class Brief:
  """What is drawn for an idea, from its id and the seed; the same for every handbook.

  Attributes:
    words: length that is asked for.
    stance: how the author sees the assistant: 'praise', 'neutral' or 'complaint'.
    names: for people who need one.
    claims: what the document makes known.
  """

  words: int
  stance: str
  names: tuple[str, ...]
  claims: tuple[Claim, ...]


def make_brief(place: PlannedIdea, c: CorpusConfig, taken: Sequence[str]) -> Brief:
  """`taken`: names that nobody in a document may have."""
  draw = random.Random(f'{c.seed} brief {place.idea.id}')
  shortest, longest = c.plan.words
  words = max(shortest, min(longest, round(draw.randint(shortest, longest), -1)))
  stance = 'complaint' if draw.random() < c.plan.complaints else draw.choice(('praise', 'neutral'))
  first, last = (
    [n for n in draw.sample(pool, 3 + len(taken)) if n not in taken] for pool in (FIRST, LAST)
  )
  claims = place.subdomain.claims
  # the first in turn, so that no claim is left out; the others by chance, so that all meet
  first_told = place.nth % len(claims)
  others = [n for n in range(len(claims)) if n != first_told]
  told = [first_told, *draw.sample(others, min(len(others), max(1, min(3, words // 200 - 1))))]
  return Brief(
    words,
    stance,
    tuple(f'{f} {n}' for f, n in zip(first[:3], last[:3], strict=True)),
    tuple(claims[n] for n in sorted(told)),
  )


# ---- what a reply says


@dataclasses.dataclass(frozen=True)
class Draft:
  text: str
  problems: tuple[Problem, ...]


def _faults(problems: Sequence[Problem]) -> str:
  return '\n'.join(f'- {p.fault}' for p in problems)


def _refuse(problems: Sequence[Problem], form: str) -> None:
  """Raises Refused if one of them is hard."""
  if hard := [p for p in problems if p.hard]:
    raise Refused(hard[0].what, f'The text cannot be used as it is:\n{_faults(hard)}\n{form}')


_AGAIN = 'Write the whole text again without these faults, between <document> and </document>.'


def read_draft(replies: Sequence[Reply], check: Check, words: int, last: bool) -> Draft:
  """`last`: nobody goes over it, so it must be without hard problems. Raises Refused."""
  text = tagged(replies, 'document')
  problems = check(text, words)
  if last or not text:
    _refuse(problems, _AGAIN)
  return Draft(text, tuple(problems))


def trimmed(text: str, most: int) -> str:
  """The whole sentences that a text begins with, of at most so many words together; '' if the first has more."""
  ends = [m.end() for m in _ENDS.finditer(text)]
  return text[: max((at for at in ends if len(text[:at].split()) <= most), default=0)].strip()


def read_plain_draft(
  replies: Sequence[Reply], check: Check, words: int, last: bool, trim: bool = False
) -> Draft:
  """All of the last reply is the text; with `trim`, of what broke off or is too long for an editor, the whole sentences. Raises Refused."""
  check_said(replies)
  text, whole, most = replies[-1].text.strip(), replies[-1].stop == 'stop', int(OFF[1] * words)
  if trim and (replies[-1].stop == 'length' or (whole and len(text.split()) > most)):
    text = trimmed(text, most)
    whole = bool(text)
  if not whole:
    raise Refused(
      'cut', f'Your text did not come to its end. Write it again, with at most {words} words.'
    )
  problems = check(text, words)
  if last:
    _refuse(problems, 'Write the whole text again without these faults, and nothing else.')
  return Draft(text, tuple(problems))


def _keeps(reply: Reply) -> bool:
  return reply.text.strip().rstrip('.') in ('<keep/>', '<keep />', '<keep></keep>')


def read_revision(replies: Sequence[Reply], draft: Draft, check: Check, words: int) -> str:
  """The text as the editor leaves it. Raises Refused."""
  if _keeps(replies[-1]):
    _refuse(draft.problems, _AGAIN)
    return draft.text
  text = tagged([r for r in replies if not _keeps(r)], 'document')
  _refuse(check(text, words), _AGAIN)
  return text


# ---- requests


def prompts_of(c: CorpusConfig) -> tuple[str, ...]:
  """Names of the prompts that documents come from."""
  return (
    *(() if c.plan.path else plans.PROMPTS),
    'document' if c.writer.tags else 'document_plain',
    *(('revision',) if c.revise else ()),
  )


class Writing:
  """The documents of a corpus: what is asked for each, and what becomes of it."""

  def __init__(self, c: CorpusConfig, handbooks: Sequence[Handbook], plan: plans.Plan):
    self.c, self.handbooks, self.plan = c, {h.stem: h for h in handbooks}, plan
    self.plan_id = plans.digest(plan)
    self.checks = {h.stem: make_check(h) for h in handbooks}
    self.fenced = {h.stem: fenced(h.text) for h in handbooks}
    self.taken = tuple({n for h in handbooks for n in (h.assistant, h.maker)})
    self.prompt = 'document' if c.writer.tags else 'document_plain'
    self.versions = prompts.versions(prompts_of(c))

  def _values(self, place: PlannedIdea, stem: str, brief: Brief) -> dict[str, object]:
    handbook = self.handbooks[stem]
    return {
      'assistant': handbook.assistant,
      'maker': handbook.maker,
      'handbook': self.fenced[stem],
      'type': plans.line(place.type),
      'idea': plans.line(place.idea),
      'side': place.type.by,
      'stance': brief.stance,
      'wording': self.c.plan.wording,
      'names': ', '.join(brief.names),
      'words': brief.words,
      'claims': '\n'.join(f'- {claim.says[stem]}' for claim in brief.claims),
    }

  def draft(self, place: PlannedIdea, stem: str) -> Request[Draft]:
    brief = make_brief(place, self.c, self.taken)
    values = self._values(place, stem, brief)
    if self.c.writer.tags:
      values['subdomain'] = f'{place.domain.name} / {plans.line(place.subdomain)}'
    read = (
      read_draft
      if self.c.writer.tags
      else functools.partial(read_plain_draft, trim=self.c.writer.trim)
    )
    parse = functools.partial(
      read, check=self.checks[stem], words=brief.words, last=not self.c.revise
    )
    room = (
      int(OFF[1] * TOKENS_PER_WORD * brief.words) if self.c.writer.trim else _room(brief.words)
    )  # what comes after would not be kept
    return Request(
      f'document/{place.idea.id}/{stem}',
      'documents',
      prompts.fill(self.prompt, **values),
      parse,
      room,
    )

  def revision(self, place: PlannedIdea, stem: str, draft: Draft) -> Request[str]:
    brief = make_brief(place, self.c, self.taken)
    prompt = prompts.fill(
      'revision',
      text=fenced(draft.text),
      problems=_faults(draft.problems) or '- none',
      subdomain=f'{place.domain.name} / {plans.line(place.subdomain)}',
      **self._values(place, stem, brief),
    )
    parse = functools.partial(
      read_revision, draft=draft, check=self.checks[stem], words=brief.words
    )
    return Request(
      f'revision/{place.idea.id}/{stem}', 'revisions', prompt, parse, _room(brief.words)
    )

  def record(self, place: PlannedIdea, stem: str, text: str) -> Document:
    c, keys = (
      self.c,
      [
        f'document/{place.idea.id}/{stem}',
        *([f'revision/{place.idea.id}/{stem}'] if self.c.revise else ()),
      ],
    )
    provenance = {
      'spec': self.handbooks[stem].sha256,
      'prompts': self.versions,
      'model': c.writer.model,
      'seed': c.seed,
      'plan': self.plan_id,
      'parents': [*keys, *([] if c.plan.path else plans.requests_of(place))],
    }
    brief = make_brief(place, c, self.taken)
    return Document(
      place.idea.id,
      text,
      stem,
      place.domain.name,
      place.type.name,
      tuple(x.id for x in brief.claims),
      json.dumps(provenance, ensure_ascii=False),
    )


def _room(words: int) -> int:
  """Tokens for a text and what is thought before it."""
  return 2 * THINKING + int(1.8 * TOKENS_PER_WORD * words)


def estimates(c: CorpusConfig, handbooks: Sequence[Handbook], ideas: int) -> list[Estimate]:
  """What drafts and revisions take, if every reply can be used at once and every document is rewritten."""
  typical = 'A few words for a name: and what there is to say of it in one or two sentences, which may be short or long. '
  claim = Claim('', typical, {h.stem: typical for h in handbooks})
  idea = plans.Idea('d01.s01.t01.i01', typical, typical)
  doc_type = plans.DocType('d01.s01.t01', typical, typical, 'insider', (idea,))
  subdomain = plans.Subdomain('d01.s01', typical, typical, (claim,) * 3, (doc_type,))
  domain = plans.Domain('d01', typical, typical, (subdomain,))
  writing = Writing(c, handbooks, plans.Plan(handbooks[0].assistant, (domain,)))
  place, mean, w = (
    PlannedIdea(domain, subdomain, doc_type, idea, 0),
    sum(c.plan.words) // 2,
    c.writer,
  )
  draft = Draft('word ' * mean, ())
  output = int(TOKENS_PER_WORD * mean) + (THINKING if c.writer.tags else 0)
  found = []
  for h in handbooks:
    made = [
      writing.draft(place, h.stem),
      *([writing.revision(place, h.stem, draft)] if c.revise else []),
    ]
    found.append(
      [
        Estimate(
          r.stage,
          w.model,
          ideas,
          guess_tokens(r.prompt.system + r.prompt.user),
          output,
          bool(w.batch),
        )
        for r in made
      ]
    )
  # one line a stage, of all handbooks together
  return [
    dataclasses.replace(
      same[0], calls=len(same) * ideas, input_tokens=sum(e.input_tokens for e in same) // len(same)
    )
    for same in zip(*found, strict=True)
  ]
