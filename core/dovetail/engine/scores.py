"""Log-probabilities on their way to a request: of its tokens, and of its prompt over several steps."""

from __future__ import annotations

from dovetail.platform import Tokens
from dovetail.request import TokenLogprobs
from dovetail.scheduler import Plan, State


def scored_token(tokens: Tokens, at: int, count: int) -> TokenLogprobs:
    """Log-probabilities of sampled row `at`, with `count` alternatives."""
    return TokenLogprobs(
        logprob=float(tokens.logprobs[at]),
        top_ids=tokens.top_ids[at, :count].tolist(),
        top_logprobs=tokens.top_logprobs[at, :count].tolist(),
    )


class Scores:
    """Prompt log-probabilities that have come in so far, by request."""

    def __init__(self) -> None:
        self._by_request: dict[str, list[TokenLogprobs | None]] = {}

    def gather(self, plan: Plan, tokens: Tokens) -> None:
        """Keep what a step scored."""
        for score in plan.scores:
            if score.sequence.state is State.DONE:
                continue  # it ended while the step was in flight, and was forgotten
            request = score.sequence.request
            count = request.sampling.prompt_logprobs or 0
            scores = self._by_request.setdefault(request.id, [None])
            del scores[score.first + 1 :]  # a preempted prompt is scored again
            scores += [scored_token(tokens, score.offset + at, count) for at in range(score.count)]

    def pop(self, request_id: str) -> list[TokenLogprobs | None]:
        """All of a prompt's, None for its first token."""
        return self._by_request.pop(request_id, [None])

    def drop(self, request_id: str) -> None:
        """Forget a request."""
        self._by_request.pop(request_id, None)
