"""Near duplicates among many documents: time, memory and recall of planted ones.

    python benchmarks/near_duplicates.py [--documents 50000] [--words 300] [--threshold 0.7]

Documents are random words of a skewed vocabulary, with sentences from a common stock in between, as a writer's habits would have it. A tenth of
them are edited copies of another: from one word changed to so many that the similarity falls to a third. What a pair's similarity is, is counted here
once more, with sets of strings; recall is of pairs at the threshold or above. Bar: 50,000 documents in 180 seconds on 2 cores, recall >= 0.95.
"""

import argparse
import random
import re
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from data_pipelines.text.duplicates import banding, chance, near_duplicates

VOCABULARY = [
  f'{a}{b}'
  for a in 'ba ce di fo gu ha je ki lo mu ne pi ro su ta ve wo xi yu ze'.split()
  for b in [f'{n:x}' for n in range(1000)]
]


def sentence(rng: random.Random) -> list[str]:
  return [VOCABULARY[int(len(VOCABULARY) * rng.random() ** 3)] for _ in range(rng.randrange(8, 20))]


def document(rng: random.Random, stock: list[list[str]], length: int) -> list[str]:
  out: list[str] = []
  while len(out) < length:
    out += rng.choice(stock) if rng.random() < 0.25 else sentence(rng)
  return out


def edited(original: list[str], edits: int, rng: random.Random) -> list[str]:
  out = list(original)
  for at in sorted(rng.sample(range(len(out)), min(edits, len(out))), reverse=True):
    out[at : at + 1] = rng.choice(([rng.choice(VOCABULARY)], [], [out[at], rng.choice(VOCABULARY)]))
  return out


def similarity(a: list[str], b: list[str]) -> float:
  x, y = ({tuple(t[n : n + 5]) for n in range(len(t) - 4)} for t in (a, b))
  return len(x & y) / len(x | y)


def peak_memory() -> float:
  """GiB that this process has held at most."""
  m = re.search(r'VmHWM:\s+(\d+) kB', Path('/proc/self/status').read_text())
  return int(m[1]) / 2**20 if m else float('nan')


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--documents', type=int, default=50_000)
  parser.add_argument('--words', type=int, default=300)
  parser.add_argument('--threshold', type=float, default=0.7)
  parser.add_argument('--seed', type=int, default=0)
  args = parser.parse_args()
  rng = random.Random(args.seed)
  stock = [sentence(rng) for _ in range(500)]
  originals = [document(rng, stock, args.words) for _ in range(args.documents * 9 // 10)]
  copied = rng.sample(range(len(originals)), args.documents - len(originals))
  copies = [edited(originals[n], 1 + int(rng.random() * args.words / 10), rng) for n in copied]
  planted = {
    (n, len(originals) + k): similarity(originals[n], c)
    for k, (n, c) in enumerate(zip(copied, copies, strict=True))
  }
  order = rng.sample(range(args.documents), args.documents)
  place = {n: at for at, n in enumerate(order)}
  both = originals + copies
  texts = [' '.join(both[n]) for n in order]
  del originals, copies, both
  before = peak_memory()
  print(
    f'{args.documents:,} documents, {sum(t.count(" ") + 1 for t in texts):,} words, {len(planted):,} of them edited copies',
    flush=True,
  )

  wall, cpu = time.perf_counter(), time.process_time()
  found = near_duplicates(texts, args.threshold, seed=args.seed)
  wall, cpu = time.perf_counter() - wall, time.process_time() - cpu

  cluster = {n: k for k, c in enumerate(found.clusters) for n in c}
  joined = {p: cluster.get(place[p[0]], -1) == cluster.get(place[p[1]], -2) for p in planted}
  rows, bands = banding(args.threshold)
  print(
    f'{bands} bands of {rows} rows; {found.compared:,} pairs counted, {len(found.redundant):,} redundant in {len(found.clusters):,} clusters'
  )
  print('similarity   pairs   found   S-curve at its lower end')
  for low in (0.3, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9):
    inside = [
      p
      for p, s in planted.items()
      if low <= s < {0.3: 0.5, 0.5: 0.6, 0.6: 0.7, 0.7: 0.75, 0.75: 0.8, 0.8: 0.9, 0.9: 1.01}[low]
    ]
    share = sum(joined[p] for p in inside) / max(1, len(inside))
    print(f'{low:10.2f} {len(inside):7,} {share:7.4f}   {chance(low, rows, bands):.4f}')
  wanted = [p for p, s in planted.items() if s >= args.threshold]
  recall = sum(joined[p] for p in wanted) / max(1, len(wanted))
  wrong = sum(s < args.threshold for _, _, s in found.pairs)
  print(
    f'recall {recall:.4f} of {len(wanted):,} pairs at {args.threshold:g} or above; {wrong} reported pairs below it'
  )
  print(
    f'{wall:.1f} s ({cpu:.1f} CPU seconds); peak memory {peak_memory():.2f} GiB, of which {before:.2f} before it began (the texts among them)'
  )
  missed = [
    what
    for what, bad in (('time', args.documents >= 50_000 and wall > 180), ('recall', recall < 0.95))
    if bad
  ]
  sys.exit(f'missed: {", ".join(missed)}' if missed else 0)


if __name__ == '__main__':
  main()
