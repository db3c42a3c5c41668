"""Inspect's share of the comparisons, run by its own interpreter: `judging_peer.py URL MODEL SIZE graded|answered`
prints wall seconds.

Nothing of Whet is imported here, since nothing of it is installed there.
"""

import json
import sys
import tempfile
import time
from typing import Any


def main() -> None:
    """Grade a few answers, or have them made, unmeasured, then SIZE measured. Answers that are graded are given, as in
    Whet's judgement; those that are made are looked at for a word, as in Whet's sweep.
    """
    from inspect_ai import Task
    from inspect_ai import eval as evaluate
    from inspect_ai.dataset import Sample
    from inspect_ai.model import GenerateConfig, get_model
    from inspect_ai.scorer import includes, model_graded_qa
    from inspect_ai.solver import generate, solver

    url, name, size, what = sys.argv[1:]

    @solver  # type: ignore[untyped-decorator]  # its types are not installed here
    def given() -> Any:
        async def solve(state: Any, generate: Any) -> Any:
            state.output.completion = state.metadata["answer"]
            return state

        return solve

    model = get_model(
        f"openai/{name}",
        base_url=url,
        api_key="none",
        responses_api=False,
        config=GenerateConfig(max_connections=100),
    )

    def measured(count: int, round_: int) -> float:
        target = "yes" if what == "graded" else "e"
        samples = [
            Sample(input=f"Question {at} of round {round_}", target=target, metadata={"answer": f"Answer {at}"})
            for at in range(count)
        ]
        if what == "graded":
            task = Task(dataset=samples, solver=given(), scorer=model_graded_qa(model=model))
        else:
            task = Task(dataset=samples, solver=generate(), scorer=includes())
        with tempfile.TemporaryDirectory() as logs:
            start = time.perf_counter()
            log = evaluate(
                task,
                model="mockllm/model" if what == "graded" else model,
                max_samples=100,
                max_connections=100,
                display="none",
                log_dir=logs,
            )[0]
            wall = time.perf_counter() - start
        if log.status != "success" or log.results.scores[0].scored_samples != count:
            sys.exit(f"inspect: {log.status}")
        return wall

    measured(20, 0)
    sys.stdout.write(json.dumps([measured(int(size), 1)]) + "\n")


if __name__ == "__main__":
    main()
