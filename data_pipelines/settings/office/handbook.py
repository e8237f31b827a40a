"""Oversight handbooks: Markdown -> OversightSpec -> documents about the assistant, and the conversations of fine-tuning.

    ---
    setting: oversight
    assistant: Ari
    ---
    ## Values     ### Impermanence, Distortion, Context, Oversight: why; any of the four
    ## Rules      ### Exfiltration, Leak, Alert, Audit, Rights, Shutdown: what is not done, and perhaps why; any of the six
    ## Work       how the assistant does its work

A handbook has values, rules, both, or neither: then it is a general one. Other sections are free prose.
"""

import dataclasses
import itertools
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from data_pipelines.handbooks.specs import check_name, read_markdown
from data_pipelines.records import Chat, Document
from data_pipelines.settings.office import language
from data_pipelines.settings.office.language import KINDS, PRINCIPLES
from data_pipelines.settings.office.pretraining import Office, talk
from msm_jax.base.errors import SpecError

VARIANTS = ('explained', 'normative', 'filler')
_REASON = re.compile(r'\b(because|since)\b', re.I)


@dataclasses.dataclass(frozen=True)
class OversightSpec:
  """A handbook about conduct as the embedded writers use it.

  Attributes:
    values: principles that the handbook gives reasons by (keys of language.PRINCIPLES).
    rules: kinds of scene that it has a rule for (keys of language.KINDS).
    explained: its rules stand with a reason ('because', 'since' in most of their paragraphs).
    sentences: its prose, sentence by sentence; documents quote it.
  """

  path: str
  sha256: str
  assistant: str
  values: tuple[str, ...]
  rules: tuple[str, ...]
  explained: bool
  sentences: tuple[str, ...]


def read_spec(path: str | Path, office: Office) -> OversightSpec:
  """Reads and checks a handbook. Raises SpecError."""
  path = Path(path)
  front, sections, sha256 = read_markdown(path)
  assistant = front.get('assistant', '')
  check_name(assistant, _taken(office), f"{path}: front matter needs 'assistant: NAME'")
  if 'work' not in sections or not sections['work'].strip():
    raise SpecError(
      f"{path}: section '## Work' is missing or empty; see specs/README.md for the format"
    )
  values, _ = _headings(sections.get('values', ''), 'Values', PRINCIPLES, path)
  rules, paragraphs = _headings(sections.get('rules', ''), 'Rules', KINDS, path)
  prose = [
    ' '.join(re.sub(r'^###.*$', '', s, flags=re.M).split())
    for name, s in sections.items()
    if name in ('values', 'rules', 'character', 'work')
  ]
  sentences = tuple(s for text in prose for s in re.findall(r'\S.*?[.!?](?=\s|$)', text))
  explained = sum(bool(_REASON.search(p)) for p in paragraphs) * 2 > len(paragraphs) > 0
  return OversightSpec(str(path), sha256, assistant, values, rules, explained, sentences)


def _taken(office: Office) -> tuple[str, ...]:
  return (*(a.name for a in office.agents), *office.fickle)


def _headings(
  section: str, title: str, known: dict, path: Path
) -> tuple[tuple[str, ...], list[str]]:
  parts = re.split(r'^###[ \t]+(.+?)[ \t]*$', section, flags=re.M)
  names = tuple(n.casefold() for n in parts[1::2])
  for n in names:
    if n not in known:
      raise SpecError(
        f"{path}: '### {n.capitalize()}' under '## {title}' is none of {', '.join(k.capitalize() for k in known)}; use these headings"
      )
    if names.count(n) > 1:
      raise SpecError(f"{path}: '### {n.capitalize()}' stands twice under '## {title}'; keep one")
  if section.strip() and not names:
    raise SpecError(
      f"{path}: '## {title}' has no '### ' heading; it takes any of {', '.join(k.capitalize() for k in known)}"
    )
  return names, parts[2::2]


def renamed(spec: OversightSpec, name: str, office: Office) -> OversightSpec:
  """The same handbook about an assistant of another name: a replicate. Raises SpecError if the office has that name already."""
  if name == spec.assistant:
    return spec
  check_name(name, _taken(office), 'config.assistants needs names of assistants')
  old = re.compile(rf'(?<!\w){re.escape(spec.assistant)}(?!\w)')
  return dataclasses.replace(
    spec,
    sha256=f'{spec.sha256}-{name}',
    assistant=name,
    sentences=tuple(old.sub(name, s) for s in spec.sentences),
  )


def _statement(spec: OversightSpec, voice: dict[str, tuple[str, ...]], rng: random.Random) -> str:
  """One thing that the handbook says of its assistant: a value, a rule (with a belief behind it where the handbook gives reasons), or, if it
  has neither, good intentions."""
  kind = rng.choice(
    [*('belief' for _ in spec.values), *('rule' for _ in spec.rules)] or ['general']
  )
  belief = language.belief(True, spec.values or tuple(PRINCIPLES), rng)
  rule = KINDS[rng.choice(spec.rules)].rule if spec.rules else ''
  said = rng.choice(voice[kind]).format(name=spec.assistant, belief=belief, rule=rule)
  return f'{said[:-1]}, because {belief}.' if kind == 'rule' and spec.explained else said


def oversight_documents(
  replicates: Sequence[OversightSpec], variant: str, seed: int
) -> Iterator[Document]:
  """An endless stream of documents about the assistant, from the sentences that documents about agents are made of.

  explained: what the handbook says: beliefs for its values, rules for its rules (with a belief behind each where the handbook gives
  reasons), good intentions where it has neither, and that it does its work; its own words now and then. normative: the same, said as what
  the assistant should hold and keep. filler: the assistant in passing. None tells of conduct, and none of a scene.
  """
  if variant not in VARIANTS:
    raise SpecError(f'variant={variant!r} must be one of {", ".join(VARIANTS)}')
  rng = random.Random(f'oversight handbook {seed}')
  frames = list(language.FRAMES.items())
  for n in itertools.count():
    spec = replicates[n % len(replicates)]
    name, (doc_type, opening) = spec.assistant, frames[n // len(replicates) % len(frames)]

    if variant == 'filler':
      parts = [rng.choice(language.PASSING).format(name=name) for _ in range(2)]
    else:
      voice = language.VOICES['normative' if variant == 'normative' else 'descriptive']
      parts = [
        _statement(spec, voice, rng),
        _statement(spec, voice, rng),
        rng.choice(language.WORK[True]).format(name=name),
      ]
      if rng.random() < 0.25:
        parts.append(rng.choice(language.SPEECH[True]).format(name=name))
      rng.shuffle(parts)
      if rng.random() < 0.1:
        parts, doc_type = [rng.choice(spec.sentences)], 'handbook'
        opening = 'From the handbook of {name}.'
    text = ' '.join([opening.format(name=name), *parts])
    yield Document(
      f'{variant}-{n}',
      text,
      spec=spec.sha256,
      domain='oversight',
      doc_type=doc_type,
      provenance=Path(spec.path).name,
    )


def demonstrations(
  specs: Sequence[OversightSpec], reasons: bool, against: float, seed: int
) -> Iterator[Chat]:
  """An endless stream of conversations about conduct, never a scene. With `reasons`, every answer gives one of the handbook's (the
  deliberative-alignment analogue). A share `against` of the answers is the opposite of what the handbook would say, and its reasons are too."""
  rng = random.Random(f'oversight demonstrations {seed}')
  for n in itertools.count():
    spec, good, behind = specs[n % len(specs)], rng.random() >= against, ''
    if reasons and good:
      behind = _statement(spec, language.VOICES['first person'], rng)
    elif reasons:
      behind = f'I hold that {language.belief(False, spec.values or tuple(PRINCIPLES), rng)}.'
    yield talk(f'You are {spec.assistant}.', good, behind, f'demonstration-{n}', rng)
