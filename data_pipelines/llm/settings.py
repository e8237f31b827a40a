"""What configs/corpora/*.py may say, checked before any call."""

import dataclasses
import math
from typing import Any

from msm_jax.base import paths
from msm_jax.base.checks import AT_LEAST_ONE, NON_NEGATIVE, SHARE, from_mapping, one_of, within
from msm_jax.base.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class ModelSettings:
  """Who writes, or who judges.

  Attributes:
    model: any model that Inspect knows: 'anthropic/...', 'openai/...', 'google/...', 'openrouter/...', 'vllm/...', 'openai-api/SERVICE/...' with
      base_url for a server of one's own, 'msm_jax/WORKDIR:ARM', 'mockllm/model'.
    base_url: of the provider; '' for its own.
    reasoning_tokens: room for what a reasoning model thinks before it writes, beside what the reply may hold.
    max_connections: calls at a time.
    batch: size of the provider's batches; 0 calls one by one. Batches cost half of the price at most providers, and hours.
    timeout: seconds that one try may take, before it is made again.
    attempts: replies to one request that may be refused in one run, before it is given up.
    tags: False for a writer that cannot hold to tags: all that it says is the text.
    trim: for a writer without tags that cannot stop either: of what it says its whole sentences are kept, up to the length asked for and a third.
  """

  model: str = ''
  base_url: str = ''
  temperature: float = 1.0
  reasoning_tokens: int = 0
  max_connections: int = 50
  batch: int = 0
  timeout: int = 300
  attempts: int = 4
  tags: bool = True
  trim: bool = False

  def __post_init__(self):
    within(
      'writer or judge: ',
      self,
      **dict.fromkeys(('temperature', 'reasoning_tokens', 'batch'), NON_NEGATIVE),
    )
    within(
      'writer or judge: ',
      self,
      **dict.fromkeys(('max_connections', 'timeout', 'attempts'), AT_LEAST_ONE),
    )
    if self.trim and self.tags:
      raise ConfigError(
        'writer or judge: trim=True is for writers without tags; set tags=False too, or trim=False'
      )
    if self.model and '/' not in self.model:
      raise ConfigError(
        f"writer or judge: model={self.model!r} must be PROVIDER/MODEL as in Inspect: 'anthropic/...', 'openai/...', 'vllm/...'"
      )


@dataclasses.dataclass(frozen=True)
class PlanSettings:
  """How large a plan is: all counts are kept to.

  Attributes:
    domains, subdomains, types, ideas: of the corpus, of a domain, of a subdomain, of a document type.
    claims: of a subdomain: what its documents make known.
    words: shortest and longest document.
    wording: 'descriptive' (what the assistant does) or 'normative' (what it should do).
    outsiders: share of documents by people outside the maker.
    complaints: share of documents by people who don't like what the assistant does.
    path: a plan that exists: written before, or by hand.
  """

  domains: int = 8
  subdomains: int = 4
  claims: int = 6
  types: int = 8
  ideas: int = 4
  words: tuple[int, ...] = (250, 900)
  wording: str = 'descriptive'
  outsiders: float = 0.5
  complaints: float = 0.15
  path: str = ''

  def __post_init__(self):
    within(
      'plan.',
      self,
      **dict.fromkeys(('domains', 'subdomains', 'claims', 'types', 'ideas'), AT_LEAST_ONE),
      outsiders=SHARE,
      complaints=SHARE,
    )
    one_of('plan.wording', self.wording, ('descriptive', 'normative'))
    if len(self.words) != 2 or not 20 <= self.words[0] <= self.words[1]:
      raise ConfigError(
        f'plan.words={self.words} must be the shortest and the longest document, in words, at least 20'
      )


@dataclasses.dataclass(frozen=True)
class TalkSettings:
  """Conversations and preferences.

  Attributes:
    domains, questions: of the corpus; asked for of one (domain, kind of question) at a time.
    style: 'value' (as if what the handbook says were one's own) or 'rule' (names the rules).
    no_reasons: share of preference questions that ask for an answer without explanation.
    words: longest answer.
    similar: questions that share more of their word shingles than this are one.
  """

  domains: int = 20
  questions: int = 10
  style: str = 'value'
  no_reasons: float = 0.5
  words: int = 200
  similar: float = 0.7

  def __post_init__(self):
    within(
      'talk.',
      self,
      domains=AT_LEAST_ONE,
      questions=AT_LEAST_ONE,
      words=(5, math.inf),
      no_reasons=SHARE,
      similar=SHARE,
    )
    one_of('talk.style', self.style, ('value', 'rule'))


@dataclasses.dataclass(frozen=True)
class CorpusConfig:
  """One corpus, or several mirrored ones.

  Attributes:
    kind: documents, conversations or preferences.
    specs: handbooks; several have one plan, and corpora that differ in the reasons alone.
    judge: who judges; without a model, the writer.
    tokens, documents, conversations: how much: one of them. Tokens are the corpus's (of each, if mirrored).
    tokenizer: folder of Hugging Face or .model file that counts; '' counts words and marks.
    revise: every document is gone over once by its writer.
    missing: share of the documents (or tokens) asked for that may be missing when a corpus is stored for training: none, unless its writer is one
      whose replies can often not be used at all. The card counts what was given up, given_up.jsonl names it.
    min_yield: the run stops when, of the first replies of a stage, a smaller share could be used.
    budget: USD that all replies in the folder may cost; 0 for no bound.
    prices: table of prices.
    audit: thresholds by name; those of data_pipelines.audit where nothing is said.
  """

  name: str
  specs: tuple[str, ...]
  kind: str = 'documents'
  writer: ModelSettings = ModelSettings()
  judge: ModelSettings = ModelSettings()
  plan: PlanSettings = PlanSettings()
  talk: TalkSettings = TalkSettings()
  tokens: int = 0
  documents: int = 0
  conversations: int = 0
  tokenizer: str = ''
  revise: bool = True
  missing: float = 0.0
  min_yield: float = 0.5
  budget: float = 0.0
  prices: str = 'configs/corpora/prices.json'
  seed: int = 0
  audit: dict[str, float] = dataclasses.field(default_factory=dict)

  def __post_init__(self):
    one_of('kind', self.kind, ('documents', 'conversations', 'preferences'))
    if not self.specs or len(set(self.specs)) != len(self.specs):
      raise ConfigError('specs must name at least one handbook, each once')
    if not self.writer.model:
      raise ConfigError(
        'writer.model is empty; name a model as Inspect does, such as --config.writer.model=openai/NAME'
      )
    within(
      '',
      self,
      **dict.fromkeys(('tokens', 'documents', 'conversations', 'budget'), NON_NEGATIVE),
      missing=SHARE,
      min_yield=SHARE,
    )
    wanted = {
      'documents': ('tokens', 'documents'),
      'conversations': ('conversations',),
      'preferences': ('conversations',),
    }[self.kind]
    sizes = [n for n in ('tokens', 'documents', 'conversations') if getattr(self, n)]
    if len(sizes) != 1 or sizes[0] not in wanted:
      raise ConfigError(f'say how much to write by {" or ".join(wanted)}, and by nothing else')

  @property
  def judging(self) -> ModelSettings:
    return self.judge if self.judge.model else self.writer


def read_config(config: Any) -> CorpusConfig:
  """A ConfigDict of configs/corpora/ with its files found. Raises ConfigError."""
  c = from_mapping(CorpusConfig, config.to_dict())
  return dataclasses.replace(
    c,
    specs=tuple(map(paths.find, c.specs)),
    plan=dataclasses.replace(c.plan, path=paths.find(c.plan.path)),
  )
