"""Makes pages of the site from files at the top of the repository, with their links moved along.

README.md, CONTRIBUTING.md and CHANGELOG.md are read on the repository's front page, where links
start at the top. On the site they are pages in docs/, so 'docs/method.md' becomes 'method.md', and
links to source files point into the repository.
"""

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
  'index.md': 'README.md',
  'contributing.md': 'CONTRIBUTING.md',
  'changelog.md': 'CHANGELOG.md',
}
LINK = re.compile(r'(\]\()(?!https?:|#|mailto:)([^)\s]+)(\))')
OTHER_PAGES = {
  'CONTRIBUTING.md': 'contributing.md',
  'CHANGELOG.md': 'changelog.md',
  'README.md': 'index.md',
}


def _moved(target: str) -> str | None:
  """The target as the site has it; None for a file that is no page."""
  path, hash_, anchor = target.partition('#')
  if path in OTHER_PAGES:
    return OTHER_PAGES[path] + hash_ + anchor
  if path.startswith('docs/'):
    return path.removeprefix('docs/') + hash_ + anchor
  return None


def _with_links_of_site(text: str) -> str:
  """The text of a top-level page with the site's links; a link to a source file becomes its
  name."""

  def replace(match: re.Match) -> str:
    target = _moved(match[2])
    if target is not None:
      return match[1] + target + match[3]
    return match[0]

  text = LINK.sub(replace, text)
  # A source file has no page of its own.
  return re.sub(
    r'(?<!!)\[([^\]]+)\]\((?!https?:|#)(?:\.\./)*((?:msm_jax|specs|configs|tests)/[^)\s]*)\)',
    r'`\2`',
    text,
  )


def on_files(files: Any, config: Any) -> Any:
  """Adds the top-level pages to the site."""
  from mkdocs.structure.files import File

  for page, source in PAGES.items():
    text = _with_links_of_site((ROOT / source).read_text())
    files.append(File.generated(config, page, content=text))
  return files


def on_page_markdown(markdown: str, **kwargs: Any) -> str:
  """Names source files instead of linking to them: they have no page."""
  return _with_links_of_site(markdown)
