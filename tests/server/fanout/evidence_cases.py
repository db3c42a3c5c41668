"""Finals and branches labelled by hand: which branch sentences support which final sentence, and who dissents.

`supports` lists for each sentence of the final the branch sentences (branch, number from 0) that say it, or a part of
it. `clashes` lists pairs of branches with the kind in which they contradict each other. `soles` lists the branch
sentences whose claim no other branch makes. Labels are what a careful reader says, not what the code does.
"""

from dataclasses import dataclass

Place = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    name: str
    final: str
    branches: dict[str, str]
    supports: tuple[frozenset[Place], ...]
    clashes: frozenset[tuple[str, str, str]] = frozenset()
    soles: frozenset[Place] = frozenset()


def places(*listed: str) -> frozenset[Place]:
    """Read `b1.0` as the first sentence of b1."""
    return frozenset((branch, int(number)) for branch, number in (place.split(".") for place in listed))


CASES = (
    Case(
        name="word for word",
        final="The Eiffel Tower stands in Paris.",
        branches={"b1": "The Eiffel Tower stands in Paris.", "b2": "Bananas are yellow fruit."},
        supports=(places("b1.0"),),
        soles=places("b1.0", "b2.0"),
    ),
    Case(
        name="reworded lightly",
        final="Python was created by Guido van Rossum and first released in 1991.",
        branches={
            "b1": "Guido van Rossum created Python. It was first released in 1991.",
            "b2": "Python, which Guido van Rossum created, was released in 1991 for the first time.",
        },
        supports=(places("b1.0", "b1.1", "b2.0"),),
    ),
    Case(
        name="another year",
        final="Python was first released in 1991.",
        branches={"b1": "Python was first released in 1991.", "b2": "Python was first released in 1989."},
        supports=(places("b1.0"),),
        clashes=frozenset({("b1", "b2", "number")}),
        soles=places("b1.0", "b2.0"),
    ),
    Case(
        name="negation",
        final="Tail calls are not optimised in Python.",
        branches={
            "b1": "Python does not optimise tail calls.",
            "b2": "Python optimises tail calls.",
        },
        supports=(places("b1.0"),),
        clashes=frozenset({("b1", "b2", "negation")}),
        soles=places("b1.0", "b2.0"),
    ),
    Case(
        name="antonyms",
        final="Tuples are immutable.",
        branches={"b1": "Tuples in Python are immutable.", "b2": "Tuples in Python are mutable."},
        supports=(places("b1.0"),),
        clashes=frozenset({("b1", "b2", "antonym")}),
        soles=places("b1.0", "b2.0"),
    ),
    Case(
        name="yes and no",
        final="Yes, it is safe to drink.",
        branches={"b1": "Yes, it is safe to drink tap water there.", "b2": "No, boil the water first."},
        supports=(places("b1.0"),),
        clashes=frozenset({("b1", "b2", "choice")}),
        soles=places("b1.0", "b2.0"),
    ),
    Case(
        name="one answer of a choice",
        final="The answer is B.",
        branches={"b1": "The answer is B.", "b2": "I would pick C. The answer is C.", "b3": "(B)"},
        supports=(places("b1.0", "b3.0"),),
        clashes=frozenset({("b1", "b2", "choice")}),
        soles=places("b2.0", "b2.1"),
    ),
    Case(
        name="same subject, other claim",
        final="Rust guarantees memory safety through its borrow checker.",
        branches={
            "b1": "Rust guarantees memory safety through the borrow checker. Rust compiles to native code.",
            "b2": "Rust has a helpful community. The Rust compiler is slow.",
        },
        supports=(places("b1.0"),),
        soles=places("b1.0", "b1.1", "b2.0", "b2.1"),
    ),
    Case(
        name="invented by the synthesiser",
        final="The moon orbits the Earth. It is made of cheese and honey.",
        branches={"b1": "The moon orbits the Earth.", "b2": "The moon orbits the Earth every 27 days."},
        supports=(places("b1.0", "b2.0"), places()),
        soles=places("b2.0"),
    ),
    Case(
        name="two branches in one sentence",
        final="Water boils at 100 degrees Celsius at sea level and freezes at 0 degrees.",
        branches={
            "b1": "At sea level water boils at 100 degrees Celsius.",
            "b2": "Water freezes at 0 degrees Celsius.",
        },
        supports=(places("b1.0", "b2.0"),),
        soles=places("b1.0", "b2.0"),
    ),
    Case(
        name="list items",
        final="Use a virtual environment. Pin your dependencies.",
        branches={
            "b1": "Some advice:\n\n- Use a virtual environment.\n- Pin your dependencies in a lock file.",
            "b2": "1. Always use a virtual environment.\n2. Write tests for everything.",
        },
        supports=(places("b1.1", "b2.0"), places("b1.2")),
        soles=places("b1.2", "b2.1"),
    ),
    Case(
        name="decimals and units",
        final="Light travels at about 299,792 km per second.",
        branches={
            "b1": "Light travels at 299792 km per second in vacuum.",
            "b2": "Light travels at 300,000 km per second.",
        },
        supports=(places("b1.0"),),
        clashes=frozenset({("b1", "b2", "number")}),
        soles=places("b1.0", "b2.0"),
    ),
    Case(
        name="number words",
        final="A week has seven days.",
        branches={"b1": "There are 7 days in a week.", "b2": "A year has twelve months."},
        supports=(places("b1.0"),),
        soles=places("b1.0", "b2.0"),
    ),
    Case(
        name="prices",
        final="The ticket costs $25.",
        branches={"b1": "A ticket costs $25 per person.", "b2": "The ticket costs $40."},
        supports=(places("b1.0"),),
        clashes=frozenset({("b1", "b2", "number")}),
        soles=places("b1.0", "b2.0"),
    ),
    Case(
        name="numbers of different things",
        final="Python 3 was released in 2008.",
        branches={"b1": "Python 3 was released in 2008.", "b2": "Python 2 was released in 2000."},
        supports=(places("b1.0"),),
        soles=places("b1.0", "b2.0"),
    ),
    Case(
        name="abbreviations",
        final="Dr. Smith recommends fibre, e.g. oats and beans.",
        branches={
            "b1": "Dr. Smith recommends eating fibre, e.g. oats, beans and lentils. Drink water, too.",
            "b2": "Eat more fruit.",
        },
        supports=(places("b1.0"),),
        soles=places("b1.0", "b1.1", "b2.0"),
    ),
    Case(
        name="code is one piece",
        final="Use a list comprehension:\n\n```python\nsquares = [n * n for n in range(10)]\n```",
        branches={
            "b1": "Use a list comprehension.\n\n```python\nsquares = [n * n for n in range(10)]\n```",
            "b2": "Use a loop.\n\n```python\nfor n in range(10):\n    print(n)\n```",
        },
        supports=(places("b1.0"), places("b1.1")),
        soles=places("b1.0", "b2.0"),
    ),
    Case(
        name="chinese",
        final="光速是每秒299792公里。月球绕地球运行。",
        branches={"b1": "光速是每秒299792公里。", "b2": "月球绕地球运行。太阳是恒星。"},
        supports=(places("b1.0"), places("b2.0")),
        soles=places("b1.0", "b2.0", "b2.1"),
    ),
    Case(
        name="agreement of three",
        final="HTTP is stateless.",
        branches={
            "b1": "HTTP is a stateless protocol.",
            "b2": "HTTP is stateless, so cookies carry sessions.",
            "b3": "The HTTP protocol is stateless.",
        },
        supports=(places("b1.0", "b2.0", "b3.0"),),
        soles=places("b2.0"),
    ),
    Case(
        name="not only",
        final="Git is not only a tool for programmers.",
        branches={
            "b1": "Git is not only a tool for programmers.",
            "b2": "Git is a tool for programmers and writers.",
        },
        supports=(places("b1.0", "b2.0"),),
    ),
    Case(
        name="direction of change",
        final="Raising the interest rate lowers inflation.",
        branches={
            "b1": "A higher interest rate lowers inflation.",
            "b2": "A higher interest rate raises inflation.",
        },
        supports=(places("b1.0"),),
        clashes=frozenset({("b1", "b2", "antonym")}),
        soles=places("b1.0", "b2.0"),
    ),
    Case(
        name="greetings are no claims",
        final="A closure captures variables from its scope.",
        branches={
            "b1": "Sure thing! A closure captures variables from its enclosing scope. Hope that helps!",
            "b2": "Great question! Closures capture variables of the enclosing scope. Let me know!",
        },
        supports=(places("b1.1", "b2.1"),),
    ),
    Case(
        name="a long paragraph with one fitting sentence",
        final="SQLite stores the whole database in a single file.",
        branches={
            "b1": "SQLite is a library. It needs no server process. The whole database is stored in a single file. "
            "It is in the public domain.",
            "b2": "PostgreSQL needs a server process. It stores data in many files.",
        },
        supports=(places("b1.2"),),
        soles=places("b1.0", "b1.1", "b1.2", "b1.3", "b2.0", "b2.1"),
    ),
    Case(
        name="a question supports nothing",
        final="Mount Everest is 8849 metres high.",
        branches={
            "b1": "How high is Mount Everest? It is 8849 metres high, measured in 2020.",
            "b2": "Everest is 8848 metres high.",
        },
        supports=(places("b1.1"),),
        clashes=frozenset({("b1", "b2", "number")}),
        soles=places("b1.1", "b2.0"),
    ),
    Case(
        name="a paraphrase in other words",
        final="Garbage collection frees memory that is no longer reachable.",
        branches={
            "b1": "Unreachable memory is freed by garbage collection.",
            "b2": "The collector reclaims objects nobody can access any more.",
        },
        supports=(places("b1.0", "b2.0"),),
    ),
    Case(
        name="table rows",
        final="Berlin has 3.7 million inhabitants.",
        branches={
            "b1": "| City | Inhabitants |\n|---|---|\n| Berlin | 3.7 million |\n| Hamburg | 1.9 million |",
            "b2": "Hamburg has 1.9 million inhabitants.",
        },
        supports=(places("b1.0"),),
        soles=places("b1.0"),
    ),
    Case(
        name="possible and impossible",
        final="It is impossible to sort by comparison in linear time.",
        branches={
            "b1": "Sorting by comparison in linear time is impossible.",
            "b2": "Sorting by comparison in linear time is possible.",
        },
        supports=(places("b1.0"),),
        clashes=frozenset({("b1", "b2", "antonym")}),
        soles=places("b1.0", "b2.0"),
    ),
    Case(
        name="never and always said otherwise",
        final="You should never commit secrets to the repository.",
        branches={
            "b1": "Never commit secrets to the repository.",
            "b2": "Commit secrets to the repository without worry.",
        },
        supports=(places("b1.0"),),
        clashes=frozenset({("b1", "b2", "negation")}),
        soles=places("b1.0", "b2.0"),
    ),
)


HELD_OUT = (
    Case(
        name="a list of reasons",
        final="Indexes speed up reads but slow down writes. They also take disk space.",
        branches={
            "b1": "An index speeds up reads. On the other hand it slows down every write.",
            "b2": "Indexes make reads faster, take additional disk space, and slow down writes.",
        },
        supports=(places("b1.0", "b1.1", "b2.0"), places("b2.0")),
    ),
    Case(
        name="dates",
        final="The Berlin Wall fell on 9 November 1989.",
        branches={
            "b1": "The Berlin Wall fell on November 9, 1989. Germany was reunited in 1990.",
            "b2": "The Berlin Wall fell in 1990.",
        },
        supports=(places("b1.0"),),
        clashes=frozenset({("b1", "b2", "number")}),
        soles=places("b1.0", "b1.1", "b2.0"),
    ),
    Case(
        name="units",
        final="A marathon is 42.195 km long.",
        branches={
            "b1": "The marathon is a race of 42.195 km.",
            "b2": "A marathon measures about 26.2 miles.",
            "b3": "A marathon is 40 km long.",
        },
        supports=(places("b1.0"),),
        clashes=frozenset({("b1", "b3", "number")}),
        soles=places("b1.0", "b2.0", "b3.0"),
    ),
    Case(
        name="contracted negation",
        final="Goroutines are not operating system threads.",
        branches={
            "b1": "Goroutines aren't operating system threads. They are scheduled by the runtime.",
            "b2": "Goroutines are operating system threads.",
        },
        supports=(places("b1.0"),),
        clashes=frozenset({("b1", "b2", "negation")}),
        soles=places("b1.0", "b1.1", "b2.0"),
    ),
    Case(
        name="a verdict among prose",
        final="No, JSON does not allow comments.",
        branches={
            "b1": "No. JSON does not allow comments.",
            "b2": "Yes, with a preprocessor.",
            "b3": "No, comments are not allowed in JSON.",
        },
        supports=(places("b1.0", "b1.1", "b3.0"),),
        clashes=frozenset({("b1", "b2", "choice")}),
        soles=places("b2.0"),
    ),
    Case(
        name="a definition with and without its example",
        final="A pure function has no side effects and returns the same output for the same input.",
        branches={
            "b1": "A pure function returns the same output for the same input. It has no side effects.",
            "b2": "Pure functions have no side effects, for example sin(x).",
            "b3": "An impure function may read the clock.",
        },
        supports=(places("b1.0", "b1.1", "b2.0"),),
        soles=places("b3.0"),
    ),
    Case(
        name="percentages",
        final="About 71 % of the Earth's surface is water.",
        branches={
            "b1": "Water covers about 71 percent of the surface of the Earth.",
            "b2": "Roughly 50 percent of the surface of the Earth is covered by water.",
        },
        supports=(places("b1.0"),),
        clashes=frozenset({("b1", "b2", "number")}),
        soles=places("b1.0", "b2.0"),
    ),
    Case(
        name="a heading and emphasis",
        final="**Caching** stores results for later use.",
        branches={
            "b1": "## Caching\n\nCaching *stores results* for later use.",
            "b2": "## Why\n\nIt is cheaper to remember than to compute.",
        },
        supports=(places("b1.0"),),
        soles=places("b1.0", "b2.0"),
    ),
    Case(
        name="german",
        final="Die Donau fließt durch zehn Länder.",
        branches={
            "b1": "Die Donau fließt durch zehn Länder und mündet ins Schwarze Meer.",
            "b2": "Der Rhein mündet in die Nordsee.",
        },
        supports=(places("b1.0"),),
        soles=places("b1.0", "b2.0"),
    ),
    Case(
        name="slow and fast of different things",
        final="Quicksort is fast on average.",
        branches={
            "b1": "Quicksort is fast on average. Bubble sort is slow on large inputs.",
            "b2": "On average quicksort is fast; its worst case is quadratic.",
        },
        supports=(places("b1.0", "b2.0"),),
        soles=places("b1.1"),
    ),
)
"""Written after the thresholds had been set on `CASES`, and not used to set them."""
