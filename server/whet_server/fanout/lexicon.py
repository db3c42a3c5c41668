"""The word lists of the evidence, for English (and the abbreviations of a few neighbours)."""

from typing import Final

_EMPTY: Final = """
a about above after again all also although am an and any are as at be because been before being below between both but
by can could did do does doing down during each either else even ever every few for from further had has have having he
her here hers him his how however i if in into is it its itself just like made make many may me might more most much
must my of off on once one only onto or other our out over own per quite rather really same shall she should since so
some still such than that the their them then there therefore these they this those through thus to too under until up
upon us very via was we were what when where whereas whether which while who whom whose why will with within would you
your
"""
EMPTY_WORDS: Final = frozenset(_EMPTY.split())
"""Words that carry grammar rather than a claim: they count for nothing in an overlap."""

NEGATORS: Final = frozenset({"not", "never", "cannot", "without", "neither", "nor"})
"""Words that deny what follows; `no` is one too, unless it is an answer of its own."""
NOT_REALLY: Final = frozenset({"only", "just", "merely", "simply", "necessarily"})
"""After a negator these take it back: `not only` denies nothing."""

_NUMBERS: Final = """
zero 0 two 2 three 3 four 4 five 5 six 6 seven 7 eight 8 nine 9 ten 10 eleven 11 twelve 12 thirteen 13 fourteen 14
fifteen 15 sixteen 16 seventeen 17 eighteen 18 nineteen 19 twenty 20 thirty 30 forty 40 fifty 50 sixty 60 seventy 70
eighty 80 ninety 90
"""
NUMBER_WORDS: Final = dict(zip(_NUMBERS.split()[::2], _NUMBERS.split()[1::2], strict=True))
"""`one` is missing on purpose: it is a pronoun more often than a number."""
SIGNS: Final = {"%": "percent", "$": "dollar", "€": "euro", "£": "pound"}
ORDINAL_ENDINGS: Final = frozenset({"st", "nd", "rd", "th"})

_OPPOSITES: Final = """
increase decrease, increase reduce, rise fall, grow shrink, gain lose, raise lower, high low, higher lower, large small,
larger smaller, big small, long short, longer shorter, fast slow, faster slower, quick slow, early late, earlier later,
maximum minimum, best worst, better worse, good bad, safe unsafe, safe dangerous, legal illegal, valid invalid,
true false, correct incorrect, right wrong, correct wrong, possible impossible, mutable immutable, static dynamic,
statically dynamically, strong weak, eager lazy, ordered unordered, stable unstable, secure insecure, public private,
synchronous asynchronous, blocking nonblocking, deterministic nondeterministic, lossless lossy, open closed, hot cold,
warm cool, hard easy, hard soft, simple complex, cheap expensive, cheaper costlier, allow forbid, allow prevent,
allow prohibit, require forbid, enable disable, include exclude, accept reject, always never, always rarely,
present absent, positive negative, east west, north south, left right, inner outer, internal external,
ascending descending, horizontal vertical, beneficial harmful, necessary unnecessary, necessary optional,
required optional, mandatory optional, rich poor, success failure, succeed fail, win lose, begin end, start stop,
create destroy, compiled interpreted, alive dead
"""
OPPOSITES: Final = tuple((pair.split()[0], pair.split()[1]) for pair in _OPPOSITES.split(","))
"""Pairs of words that exclude each other."""

_NEVER_LAST: Final = """
mr mrs ms dr prof st vs cf e.g i.e eg ie fig figs sec ch eq vol pp ed eds approx dept gen col sgt capt rev hon
z.b bzw ca d.h u.a vgl
"""
NEVER_LAST: Final = frozenset(_NEVER_LAST.split())
"""Abbreviations that a name, a number or an example follows: their point never ends a sentence."""
BEFORE_NUMBERS: Final = frozenset({"no", "nr", "p", "art", "par"})
"""Abbreviations only when a number follows: `No. 5` goes on, `No.` is an answer."""
