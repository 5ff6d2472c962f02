"""Which language is a text in? The router of packs against py3langid, on held-out sentences and names.

    pip install py3langid==0.4.0
    python bench/router.py PARALLEL CONCEPTS --out bench/results/router.json      # about a minute on one core
    python bench/router.py PARALLEL CONCEPTS --fit                                # the two constants of the softmax
    python bench/router.py PARALLEL CONCEPTS --ask Hund "ein Hund" 2024

PARALLEL is a folder of ``en-xx.tsv.gz`` (columns: English, other language; gzip), CONCEPTS a ``concepts.json`` with
names by language and a split by concept. Two tests, each with profiles learnt on its own training texts alone:

- ``sentences``: parallel texts. The hash of the English side decides: one tenth is the test, one tenth is for choosing
  constants, the rest is learnt from. A test text that also stands in its language's training texts is left out. The
  profile of English is the sum of what each pack learnt from its own English side.
- ``names``: names of pictograms; the concepts marked ``test`` are the test, one tenth of the others for constants.

Accuracy is the mean over languages of the share of texts routed right, in percent. Lengths are in words between white
space, over languages that write it (not ja, th, zh). Speed is texts in a second of processor time (all threads), which
other work on the machine disturbs less than the clock. py3langid chooses among the same languages, as far as it knows
them. ``ambiguous`` is the share of test texts that stand, but for case, in another language's test, too.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from babelclip.errors import BabelclipError
from babelclip.files import write_whole
from babelclip.packs.ngrams import cut
from babelclip.packs.profile import KEEP, KEEP_NATIVE, Profile
from babelclip.packs.router import DECAY, SHARPNESS, Router

AT_MOST = 1000  # texts of a language that are tested
LENGTHS = ("1 word", "2 words", "3-5", "6+")
PEER_CODES = {"no": ("nb", "no", "nn"), "fil": ("tl", "fil"), "quz": ("qu",)}
Texts = dict[str, list[str]]
Split = dict[str, Texts]
Ask = Callable[[list[str]], list[str]]


def tenth(text: str) -> int:
    """A number from 0 to 9 that depends on the text alone."""
    return hashlib.blake2b(text.encode(), digest_size=4).digest()[0] % 10


def read_sentences(folder: Path) -> Split:
    """Return texts by split and language; the English side of a pack's training texts is called ``en/xx``."""
    split: Split = {"learn": {}, "tune": {}, "test": {}}
    for file in sorted(folder.glob("en-*.tsv.gz")):
        tag = file.name.removeprefix("en-").removesuffix(".tsv.gz")
        for line in gzip.decompress(file.read_bytes()).decode().split("\n")[1:]:
            if line:
                english, text = line.split("\t")
                part = {0: "test", 1: "tune"}.get(tenth(english), "learn")
                split[part].setdefault(tag, []).append(text)
                split[part].setdefault(f"en/{tag}" if part == "learn" else "en", []).append(english)
    for part in ("tune", "test"):
        for tag, texts in split[part].items():
            parts = [tag, *(one for one in split["learn"] if one.startswith(f"{tag}/"))]  # English: en/de, en/fr, ...
            learnt = {text.casefold() for one in parts for text in split["learn"].get(one, [])}
            split[part][tag] = [text for text in dict.fromkeys(texts) if text.casefold() not in learnt]
    return split


def read_names(file: Path) -> Split:
    """Return names by split and language."""
    split: Split = {"learn": {}, "tune": {}, "test": {}}
    for concept in json.loads(file.read_text(encoding="utf-8"))["concepts"]:
        part = "test" if concept["split"] == "test" else "tune" if tenth(concept["id"]) == 1 else "learn"
        for tag, name in concept["names"].items():
            split[part].setdefault(tag, []).append(name)
    return split


def learn(texts: Texts, *, count: int | None = None, keep: int = KEEP) -> dict[str, Profile]:
    """Return profiles by language, from the first ``count`` texts; English is merged where packs bring their own."""
    keep_native = min(keep, KEEP_NATIVE)
    learnt = {tag: Profile.learn(some[:count], keep=keep_native if "/" in tag else keep) for tag, some in texts.items()}
    parts = [learnt.pop(tag) for tag in list(learnt) if "/" in tag]
    return learnt | ({"en": Profile.merged(parts, keep=keep)} if parts else {})


def sample(texts: Texts, tags: tuple[str, ...], count: int = AT_MOST) -> Texts:
    """The first texts of each language."""
    return {tag: texts[tag][:count] for tag in tags}


def asking(router: Router) -> Ask:
    """Return what answers with the router's tags."""
    return lambda texts: router.route(texts).tags


def accuracy(ask: Ask, tests: Texts) -> dict[str, Any]:
    """Return accuracy over all languages, by language and by length, what is confused, and texts a CPU second."""
    right: dict[str, float] = {}
    lengths: dict[str, list[bool]] = {name: [] for name in LENGTHS}
    confused: Counter[str] = Counter()
    start = time.process_time()
    answers = dict(zip(tests, map(ask, tests.values()), strict=True))
    seconds = time.process_time() - start
    for tag, texts in tests.items():
        hits = [answer == tag for answer in answers[tag]]
        right[tag] = 100 * mean(hits)
        confused.update(f"{tag} as {answer}" for answer in answers[tag] if answer != tag)
        for text, hit in zip(texts, hits, strict=True):
            if tag not in {"ja", "th", "zh"}:
                words = len(text.split())
                lengths[LENGTHS[0 if words < 2 else 1 if words == 2 else 2 if words < 6 else 3]].append(hit)
    return {
        "accuracy": mean(right.values()),
        "by length": {name: 100 * mean(hits) for name, hits in lengths.items()},
        "texts by length": {name: len(hits) for name, hits in lengths.items()},
        "by language": right,
        "confused": dict(confused.most_common(12)),
        "texts a CPU second": sum(map(len, tests.values())) / seconds,
    }


def calibration(router: Router, tests: Texts) -> dict[str, Any]:
    """Return the reliability table (ten equal bins of probability) and the expected calibration error, in percent."""
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(10)]
    for tag, texts in tests.items():
        routes = router.route(texts)
        for probability, answer in zip(routes.probability.tolist(), routes.tags, strict=True):
            bins[min(int(probability * 10), 9)].append((probability, answer == tag))
    total, error, table = sum(map(len, bins)), 0.0, []
    for place, members in enumerate(bins):
        if members:
            said, found = mean(p for p, _ in members), mean(hit for _, hit in members)
            error += len(members) / total * abs(said - found)
            table.append({"from": place / 10, "texts": len(members), "said": 100 * said, "right": 100 * found})
    return {"ECE": 100 * error, "table": table}


class Peer:
    """py3langid, restricted to our languages."""

    def __init__(self, tags: tuple[str, ...]) -> None:
        """Take the languages that it knows."""
        try:
            from py3langid.langid import MODEL_FILE, LanguageIdentifier
        except ImportError as error:
            fix = "Install it with: pip install py3langid==0.4.0, or leave it out with --no-peer."
            raise BabelclipError("py3langid is not installed", fix=fix) from error
        self.identifier = LanguageIdentifier.from_model_file(MODEL_FILE)
        known = set(self.identifier.labels)
        self.ours = {code: tag for tag in tags for code in PEER_CODES.get(tag, (tag,)) if code in known}
        self.identifier.set_languages(list(self.ours))
        self.tags = tuple(tag for tag in tags if tag in self.ours.values())

    def ask(self, texts: list[str]) -> list[str]:
        """Its language of each text, by our tag."""
        return [self.ours[self.identifier.classify(text)[0]] for text in texts]


def fit(splits: list[Split]) -> None:
    """Print the two constants that make the held-out training texts of both tests likeliest."""
    data = []
    for split in splits:
        router = Router(learn(split["learn"]))
        for place, tag in enumerate(router.languages):
            texts = [text for text in split["tune"][tag][:300] if any(map(str.isalpha, text))]
            pieces = cut(texts).offsets.diff().double().clamp(min=1)
            data.append((router.log_likelihoods(texts), pieces, place))
    constants = torch.tensor([0.0, 0.5], requires_grad=True)
    search = torch.optim.LBFGS([constants], max_iter=60, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        search.zero_grad()
        terms = [
            -(scores * (constants[0].exp() * pieces ** -constants[1])[:, None]).log_softmax(dim=1)[:, place].mean()
            for scores, pieces, place in data
        ]
        total = torch.stack(terms).mean()
        total.backward()
        return total

    before = loss().item()
    search.step(loss)
    sharpness, decay = constants[0].exp().item(), constants[1].item()
    print(f"SHARPNESS, DECAY = {sharpness:.3f}, {decay:.3f}; nats a text {before:.4f} -> {loss().item():.4f}")


def measure(split: Split, *, peer: bool) -> dict[str, Any]:
    """Return everything about one test."""
    profiles = learn(split["learn"])
    router = Router(profiles)
    tests = sample(split["test"], router.languages)
    router.route(["warm"])
    found: dict[str, Any] = {
        "router": accuracy(asking(router), tests),
        "calibration": calibration(router, tests),
    }
    every = list(chain.from_iterable(tests.values()))
    start = time.process_time()
    router.route(every)
    found["router"]["texts a CPU second"] = len(every) / (time.process_time() - start)
    found["languages"], found["texts"] = len(tests), len(every)
    spelt = Counter(chain.from_iterable({text.casefold() for text in texts} for texts in tests.values()))
    found["ambiguous"] = 100 * mean(spelt[text.casefold()] > 1 for text in every)
    if peer:
        other = Peer(router.languages)
        other.ask(["warm"])
        found["py3langid"] = accuracy(other.ask, tests)
        some = {tag: tests[tag] for tag in other.tags}
        found["known to py3langid"] = {
            "languages": len(some), "router": mean(found["router"]["by language"][tag] for tag in some),
            "py3langid": mean(found["py3langid"]["by language"][tag] for tag in some),
            "unknown": sorted(set(tests) - set(some)),
        }  # fmt: skip
    return found


def more(split: Split, names: Split) -> dict[str, Any]:
    """Return accuracy by training texts and by size of profile, and what becomes of texts from elsewhere."""
    full = learn(split["learn"])
    tags = Router(full).languages
    tests = sample(split["test"], tags, 300)
    found: dict[str, Any] = {"training texts": {}, "one small pack": {}, "profile": {}}
    for count in (100, 1000, 10_000):
        some = learn(split["learn"], count=count)
        found["training texts"][count] = accuracy(asking(Router(some)), tests)["accuracy"]
        own, taken = [], []
        for tag in ("de", "da", "es", "ru", "uk", "ar", "hi", "hr", "vi", "ja"):
            router = Router(full | {tag: some[tag]})
            answers = {other: router.route(texts[:100]).tags for other, texts in tests.items()}
            own.append(mean(answer == tag for answer in answers.pop(tag)))
            taken.append(mean(answer == tag for some_answers in answers.values() for answer in some_answers))
        found["one small pack"][count] = {"own": 100 * mean(own), "taken from others": 100 * mean(taken)}
    for keep in (1000, 2000, 4000, 8000, 16_000, 32_000, 1_000_000):
        some = learn(split["learn"], keep=keep)
        router = Router(some)
        size = [sum(t.numel() * t.element_size() for t in one.tensors().values()) / 1000 for one in some.values()]
        result = accuracy(asking(router), tests)
        found["profile"][keep] = {"accuracy": result["accuracy"], "1 word": result["by length"]["1 word"],
                                  "largest KB": max(size), "mean KB": mean(size)}  # fmt: skip
    router = Router(full)
    both = tuple(tag for tag in tags if tag in names["test"])
    result = accuracy(asking(router), sample(names["test"], both))
    found["names by packs of sentences"] = {key: result[key] for key in ("accuracy", "by length")}
    strangers = [text for tag in sorted(set(names["test"]) - set(tags)) for text in names["test"][tag]]
    sure = router.route(strangers).probability
    found["languages without a pack"] = {
        "languages": sorted(set(names["test"]) - set(tags)), "texts": len(strangers),
        "mean said": 100 * float(sure.mean()), "said 90 or more": 100 * float((sure >= 0.9).double().mean()),
    }  # fmt: skip
    return found


def show(found: dict[str, Any]) -> None:
    """Print the tables."""
    for name in ("sentences", "names"):
        one = found[name]
        print(f"\n{name}: {one['texts']:,} texts, {one['languages']} languages, {one['ambiguous']:.1f} % ambiguous")
        for who in ("router", "py3langid"):
            if who in one:
                cells = ", ".join(f"{length} {value:.1f}" for length, value in one[who]["by length"].items())
                speed = one[who]["texts a CPU second"]
                print(f"  {who:10} {one[who]['accuracy']:.2f}   {cells}   {speed:,.0f} texts a CPU second")
        if "py3langid" in one:
            print(f"  {one['known to py3langid']}")
            for tag, value in sorted(one["router"]["by language"].items(), key=lambda item: item[1]):
                print(f"  {tag:4} {value:6.1f} {one['py3langid']['by language'][tag]:6.1f}")
        print(f"  confused: {one['router']['confused']}")
        print(f"  ECE {one['calibration']['ECE']:.2f}")
        for row in one["calibration"]["table"]:
            print(f"  {row['from']:.1f}  texts {row['texts']:6,}  said {row['said']:5.1f}  right {row['right']:5.1f}")
    print(json.dumps(found["more"], indent=1))


def main() -> None:
    """Read the command line, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sentences", type=Path, metavar="PARALLEL")
    parser.add_argument("names", type=Path, metavar="CONCEPTS")
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--ask", nargs="+", metavar="TEXT", help="route texts with packs of sentences, and stop")
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    sentences, names = read_sentences(options.sentences), read_names(options.names)
    if options.fit:
        fit([sentences, names])
    if options.ask:
        for text, route in zip(options.ask, Router(learn(sentences["learn"])).route(options.ask), strict=True):
            second = f"{route.second} {route.second_probability:.2f}"
            print(f"{text!r:32} {route.tag} {route.probability:.2f}  {second}  {route.reason.name}")
    if options.fit or options.ask:
        return
    found = {
        "sentences": measure(sentences, peer=not options.no_peer),
        "names": measure(names, peer=not options.no_peer),
        "more": more(sentences, names),
        "options": {"threads": options.threads, "keep": KEEP, "keep native": KEEP_NATIVE, "sharpness": SHARPNESS,
                    "decay": DECAY},
    }  # fmt: skip
    show(found)
    if options.out is not None:
        write_whole(options.out, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
