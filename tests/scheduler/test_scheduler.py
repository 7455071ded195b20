"""What the scheduler promises, one thing at a time."""

import pytest
from dovetail.errors import InvalidParameter, PromptTooLong
from dovetail.request import FinishReason
from dovetail.scheduler import Priority

from .driving import commit, finish, names, request_of, scheduler_of, step


def test_prompt_and_output_go_through_one_budget():
    scheduler = scheduler_of(max_num_batched_tokens=8)
    scheduler.add(request_of("a", range(20), 2))
    counts = []
    while scheduler.has_work:
        plan = scheduler.plan()
        counts.append(plan.counts.tolist())
        commit(scheduler, plan)
    assert counts == [[8], [8], [4], [1]]


def test_long_prompt_does_not_stop_decoding():
    scheduler = scheduler_of(max_num_batched_tokens=8, policy=Priority())
    scheduler.add(request_of("small", range(3), 20, priority=1))
    step(scheduler)
    scheduler.add(request_of("large", range(40), 2, priority=0))
    plan = scheduler.plan()
    commit(scheduler, plan)
    plan = scheduler.plan()
    assert names(plan) == ["large", "small"] and plan.counts.tolist() == [7, 1]


def test_stop_token_ends_a_sequence():
    scheduler = scheduler_of()
    scheduler.add(request_of("a", [1, 2], 5, stop_ids=[9]))
    assert step(scheduler, 7)[0].finish is None
    (last,) = step(scheduler, 9)
    assert last.finish is FinishReason.STOP and last.stop_id == 9 and last.tokens == [9]
    assert not scheduler.has_work


def test_stop_token_before_min_tokens_does_not_end_it():
    scheduler = scheduler_of()
    scheduler.add(request_of("a", [1, 2], 5, stop_ids=[9], min_tokens=2))
    assert step(scheduler, 9)[0].finish is None
    assert step(scheduler, 9)[0].finish is FinishReason.STOP


def test_max_tokens_ends_a_sequence():
    scheduler = scheduler_of()
    scheduler.add(request_of("a", [1, 2], 2))
    assert step(scheduler)[0].finish is None
    (last,) = step(scheduler)
    assert last.finish is FinishReason.LENGTH and last.stop_id is None


def test_no_tokens_asked_only_computes_the_prompt():
    scheduler = scheduler_of(max_num_batched_tokens=8)
    scheduler.add(request_of("a", range(12), 0))
    assert step(scheduler) == []
    (only,) = step(scheduler)
    assert only.tokens == [] and only.finish is FinishReason.LENGTH and only.first


def test_first_commit_says_what_was_cached():
    scheduler = scheduler_of()
    scheduler.add(request_of("a", range(10), 2))
    finish(scheduler)
    scheduler.add(request_of("b", [*range(10), 50, 51], 2))
    first, second = step(scheduler)[0], step(scheduler)[0]
    assert first.first and first.cached == 10
    assert not second.first and second.cached == -1
    assert scheduler.stats.cached_tokens == 10 and scheduler.stats.copies == 1


def test_whole_prompt_cached_leaves_one_token_to_compute():
    scheduler = scheduler_of()
    scheduler.add(request_of("a", range(8), 1))
    finish(scheduler)
    scheduler.add(request_of("b", range(8), 1))
    plan = scheduler.plan()
    assert plan.counts.tolist() == [1] and plan.starts.tolist() == [7]
    assert (
        len(plan.copies[0]) == 1
    )  # the last block is shared, so it is copied before it is written


def test_partial_block_is_copied_into_a_block_of_its_own():
    scheduler = scheduler_of()
    scheduler.add(request_of("a", range(8), 1))
    finish(scheduler)
    scheduler.add(request_of("b", [0, 1, 2, 3, 4, 5, 60, 61], 1))
    plan = scheduler.plan()
    ((source, target),) = plan.copies[0].tolist()
    assert plan.starts.tolist() == [6]
    assert plan.sequences[0].blocks[1] == target != source
    assert scheduler.cache.pool.holders(source) == 1  # pinned until the step is acknowledged
    commit(scheduler, plan)
    assert scheduler.cache.pool.holders(source) == 0


def test_salt_keeps_caches_apart():
    scheduler = scheduler_of()
    scheduler.add(request_of("a", range(10), 1, salt="one"))
    finish(scheduler)
    scheduler.add(request_of("b", range(10), 1, salt="two"))
    assert step(scheduler)[0].cached == 0


def test_prefix_caching_can_be_off():
    scheduler = scheduler_of(prefix_caching=False)
    for name in "ab":
        scheduler.add(request_of(name, range(10), 1))
        assert step(scheduler)[0].cached == 0
    assert scheduler.cache.pool.num_cached == 0


def test_equal_prompts_are_computed_once():
    scheduler = scheduler_of(max_num_batched_tokens=16)
    for index in range(4):
        scheduler.add(request_of(f"r{index}", range(30), 1))
    finish(scheduler)
    assert scheduler.stats.computed_tokens == 30 + 3
    assert scheduler.stats.cached_tokens == 3 * 29


def test_followers_of_a_cancelled_leader_go_on():
    scheduler = scheduler_of(max_num_batched_tokens=8)
    for name in "abc":
        scheduler.add(request_of(name, range(30), 1))
    step(scheduler)
    assert scheduler.num_running == 1 and scheduler.num_waiting == 2
    assert scheduler.cancel("a")
    assert set(finish(scheduler)) == {"b", "c"}


def test_follower_can_be_cancelled():
    scheduler = scheduler_of(max_num_batched_tokens=8)
    for name in "ab":
        scheduler.add(request_of(name, range(30), 1))
    step(scheduler)
    assert scheduler.cancel("b") and not scheduler.cancel("b")
    assert scheduler.num_waiting == 0
    assert set(finish(scheduler)) == {"a"}


def test_scarce_blocks_preempt_the_last_one():
    scheduler = scheduler_of(num_blocks=9, prefix_caching=False)
    scheduler.admission.watermark = 0
    for index, name in enumerate("ab"):
        scheduler.add(request_of(name, [index] * 12, 16))
    tokens = finish(scheduler)
    assert {name: len(ids) for name, ids in tokens.items()} == {"a": 16, "b": 16}
    assert scheduler.stats.preemptions > 0
    assert scheduler.cache.available == scheduler.cache.total


def test_priority_decides_who_is_let_in():
    scheduler = scheduler_of(max_num_seqs=1, policy=Priority())
    for name, priority in (("low", 5), ("high", 0), ("middle", 2)):
        scheduler.add(request_of(name, [priority, 1], 1, priority=priority))
    assert list(finish(scheduler)) == ["high", "middle", "low"]


def test_request_that_can_never_fit_is_refused_with_the_numbers():
    scheduler = scheduler_of(num_blocks=5)
    with pytest.raises(PromptTooLong, match="21 together; the context holds 20") as raised:
        scheduler_of(max_model_len=20).add(request_of("a", range(20), 1))
    assert raised.value.param == "prompt"
    with pytest.raises(PromptTooLong, match="need 5 cache blocks of 4 tokens; there are 4"):
        scheduler.add(request_of("b", range(10), 8))
    scheduler.add(request_of("c", range(10), 7))  # the last token's place is never filled
    assert len(finish(scheduler)["c"]) == 7


def test_empty_prompt_and_id_in_use_are_refused():
    scheduler = scheduler_of()
    with pytest.raises(InvalidParameter, match="no tokens"):
        scheduler.add(request_of("a", []))
    scheduler.add(request_of("a", [1]))
    with pytest.raises(InvalidParameter, match="'a' is in use"):
        scheduler.add(request_of("a", [1]))


def test_plans_are_limited_to_the_steps_in_flight():
    scheduler = scheduler_of(steps_in_flight=2)
    scheduler.add(request_of("a", [1, 2], 9))
    first, second = scheduler.plan(), scheduler.plan()
    assert scheduler.plan() is None
    commit(scheduler, first)
    third = scheduler.plan()
    assert third.starts.tolist() == [3] and second.starts.tolist() == [2]


def test_last_token_is_not_followed_by_another_row():
    scheduler = scheduler_of(steps_in_flight=3)
    scheduler.add(request_of("a", [1, 2], 2))
    plans = [scheduler.plan(), scheduler.plan()]
    assert scheduler.plan() is None
    assert [len(commit(scheduler, plan)) for plan in plans] == [1, 1]


def test_token_after_the_end_is_dropped():
    scheduler = scheduler_of(steps_in_flight=2)
    scheduler.add(request_of("a", [1, 2], 9, stop_ids=[9]))
    first, second = scheduler.plan(), scheduler.plan()
    assert commit(scheduler, first, 9)[0].finish is FinishReason.STOP
    assert scheduler.has_work and len(scheduler.slots.free) == 3
    assert commit(scheduler, second) == []
    assert not scheduler.has_work and len(scheduler.slots.free) == 4


def test_cancel_in_flight_keeps_slot_and_blocks_until_the_step_is_done():
    scheduler = scheduler_of(prefix_caching=False)
    scheduler.add(request_of("a", range(8), 4))
    plan = scheduler.plan()
    assert scheduler.cancel("a")
    assert scheduler.cache.available == scheduler.cache.total - 2
    assert commit(scheduler, plan) == []
    assert scheduler.cache.available == scheduler.cache.total
    assert len(scheduler.slots.free) == 4


def test_failed_sequence_is_dropped_alone():
    scheduler = scheduler_of()
    for index, name in enumerate("ab"):
        scheduler.add(request_of(name, [index, 1], 2))
    plan = scheduler.plan()
    assert scheduler.fail(plan.sequences[0]) and not scheduler.fail(plan.sequences[0])
    assert [item.sequence.request.id for item in commit(scheduler, plan)] == ["b"]


def test_late_row_waits_until_the_one_before_is_sampled():
    scheduler = scheduler_of(steps_in_flight=3)
    scheduler.add(request_of("late", [1, 2], 9, presence_penalty=1.0))
    scheduler.add(request_of("early", [3, 4], 9))
    first = scheduler.plan()
    assert [row.sequence.request.id for row in first.late] == ["late"]
    assert names(scheduler.plan()) == ["early"]
    first.late[0].sampled = True
    assert names(scheduler.plan()) == ["late", "early"]


def test_late_row_goes_on_after_its_commit_whether_marked_or_not():
    scheduler = scheduler_of()
    scheduler.add(request_of("late", [1, 2], 3, presence_penalty=1.0))
    assert len(finish(scheduler)["late"]) == 3


def test_prompt_scores_are_cut_to_the_outputs_of_a_step():
    scheduler = scheduler_of(prompt_logprobs_chunk=5)
    for index, name in enumerate("ab"):
        scheduler.add(request_of(name, [index, *range(11)], 1, prompt_logprobs=0))
    scores: dict[str, list[int]] = {"a": [], "b": []}
    while scheduler.has_work:
        plan = scheduler.plan()
        assert sum(score.count for score in plan.scores) <= 5
        offset = len(plan.sampling)
        for score in plan.scores:
            assert score.offset == offset
            offset += score.count
            scores[score.sequence.request.id] += range(score.first, score.first + score.count)
        commit(scheduler, plan)
    assert scores == {"a": list(range(11)), "b": list(range(11))}


def test_prompt_scores_ignore_what_is_cached():
    scheduler = scheduler_of()
    scheduler.add(request_of("a", range(9), 1))
    finish(scheduler)
    scheduler.add(request_of("b", range(9), 1, prompt_logprobs=2))
    plan = scheduler.plan()
    assert plan.starts.tolist() == [0] and plan.scores[0].count == 8
    assert commit(scheduler, plan)[0].cached == 0


def test_lost_cache_is_computed_again():
    scheduler = scheduler_of(steps_in_flight=2)
    for index, name in enumerate("ab"):
        scheduler.add(request_of(name, [index] * 6, 3))
    step(scheduler)
    scheduler.plan()
    scheduler.reset()
    scheduler.check()
    assert scheduler.num_running == 0 and scheduler.cache.available == scheduler.cache.total
    plan = scheduler.plan()
    assert plan.starts.tolist() == [0, 0] and plan.counts.tolist() == [7, 7]
    commit(scheduler, plan)
    assert {len(ids) for ids in finish(scheduler).values()} == {1}


def test_sharing_sequences_hold_their_prefix_once():
    scheduler = scheduler_of(num_blocks=100, max_num_seqs=8)
    shared = list(range(16))
    for index in range(8):
        scheduler.add(request_of(f"r{index}", [*shared, 40 + index], 9))
    for _ in range(4):
        step(scheduler)
    lengths = [int(scheduler.slots.planned[s.slot]) for s in scheduler.running]
    assert len(lengths) == 8
    alone = sum(-(-length // 4) for length in lengths)
    assert scheduler.cache.pool.num_held <= alone - 7 * len(shared) // 4
