"""The model on this machine: SmolLM2-135M-Instruct on llama.cpp, in a child process. It needs no key and no network.

What it is: a real language model of 135 million parameters in four bits, 98 MB on disk and about 520 MB in memory,
which writes fluent short English at some hundred tokens a second on two cores. It makes Whet work before anything is
configured, and its answers differ enough to make a fan-out worth watching.

What it is not: knowledgeable, or right. It makes up names, dates and reasons, loses the thread after a paragraph, does
not choose tools and should judge nothing that matters. Ask a larger model wherever the answer counts.

`settings` names it and bounds it, `host` starts and stops the child, `transport` asks it; `python -m
whet_server.llm.local` is the child itself. This module imports none of them, so that the child starts quickly.
"""
