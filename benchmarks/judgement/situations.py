"""The table of all situations.

`case` names the public thread that tells of it, or what was seen on a running stack. Where a fault has records, the
backtest is to find it before any client meets it; its double without records is left to pairs, judges and policy.
"""

from benchmarks.judgement import callers, machines, proxies, versions
from benchmarks.judgement.ends import End
from benchmarks.judgement.machines import (
    after,
    at_full,
    every,
    first,
    of_both,
    of_candidate,
    of_stable,
    while_rolled_out,
)
from benchmarks.judgement.situation import Situation, fault, fault_and_double, null
from hotswap.domain.policy import Requests

STACKS = "tests/chaos/test_judgement.py::"
UNTRIED = STACKS + "test_what_no_backtest_has_tried_is_rolled_back_and_no_client_is_turned_away"

NULLS: tuple[Situation, ...] = (
    null("nothing differs", live="tests/e2e/test_main_job.py::test_a_killed_worker_costs_a_rollout_nothing"),
    null("bursts of three seconds in fifteen", comes=callers.bursts(), case="seen: bursts"),
    null("a day's rise and fall", comes=callers.diurnal()),
    null("a client that pauses for 20 s", comes=callers.pausing(), case="seen: a client that pauses"),
    null("200 sticky callers", comes=callers.sticky(200), effects=(versions.callers_differ(),), labels_after=5),
    null("300 sticky callers by Zipf", comes=callers.sticky(300, exponent=1.1), effects=(versions.callers_differ(),)),
    null(
        "31 sticky callers, one with a third of the traffic, slow and hard",
        comes=callers.one_loud(31, share=1 / 3),
        effects=(versions.asks_for_much(1, 6.0),),
        labels_after=5,
    ),
    # Nothing may come to the candidate at all: then nothing is known, and harm least of all.
    null("three sticky callers", comes=callers.sticky(3), right=frozenset({End.PROMOTED, End.UNPROVEN})),
    null("sticky callers beside others", comes=callers.beside_nobody(callers.sticky(100))),
    null(
        "one of 40 callers sends what no version can answer, and again and again",
        comes=callers.one_loud(40, share=0.1),
        effects=(machines.poison(1.0, caller=1),),
        retries=3,
        case="seen: one byte in a header, which every version fails",
    ),
    null("1% poison with three retries each", effects=(machines.poison(0.01),), retries=3),
    null(
        "outages of both arms, 8 s a minute",
        effects=(machines.flaky(of_both, 0.3, when=every(60, lasting=8)),),
        case="seen: load on both arms",
    ),
    null(
        "contention on both arms, 30 s a minute and a half",
        effects=(machines.slow(of_both, 8, when=every(90, lasting=30)),),
        case="seen: load on both arms at 50%",
    ),
    null("heavy tails under shared load", effects=(machines.heavy_tails(),)),
    null(
        "the machine is busy at 100%",
        effects=(machines.slow(of_both, 170, when=at_full),),
        case="seen: an identical version rolled back at 100%",
        live=STACKS + "test_a_busy_machine_at_full_weight_rolls_nothing_back",
    ),
    null(
        "the machine is busy at 100%, among many requests",
        comes=callers.anonymous(60),
        effects=(machines.slow(of_both, 170, when=at_full),),
    ),
    null(
        "an outage of everything at 100%",
        effects=(machines.flaky(of_both, 0.2, when=at_full),),
        right=frozenset({End.PROMOTED, End.HELD}),
    ),
    null("the candidate's caches are cold for 5 s", effects=(machines.slow(of_candidate, 3, when=first(5)),)),
    null("a proxy says old figures for 5 s", proxies=2, disturbs=lambda: proxies.says_old_figures(begin=80, lasting=5)),
    null("one of two proxies leaves", proxies=2, disturbs=lambda: proxies.leaves(begin=90)),
    null("a proxy's agent is silent for 20 s", proxies=2, disturbs=lambda: proxies.is_stale(begin=70, lasting=20)),
    null("no counts can be read for 20 s", disturbs=lambda: proxies.is_away(begin=70, lasting=20)),
    null("labels, 40 s late", labels_after=40),
    null("labels of retried requests count twice", effects=(machines.poison(0.02),), retries=1, labels_after=3),
    null("outcomes of sticky callers by Zipf", comes=callers.sticky(300, exponent=1.0), labels_after=10),
    null("right, but different in 15%", effects=(versions.answers_otherwise(0.15, right=0.95),), labels_after=10),
    null(
        "right, but different in 60%",
        effects=(versions.answers_otherwise(0.6, right=0.95),),
        right=frozenset({End.HELD}),
    ),
    null("a little surer", effects=(versions.surer(0.05),)),
    null("clients' mistakes, 10%", effects=(versions.refuses(0.1, both=True),)),
    null(
        "clients' mistakes, 10% of sticky callers'",
        comes=callers.sticky(200),
        effects=(versions.refuses(0.1, both=True),),
    ),
    null(
        "both fail 5% by chance",
        effects=(machines.flaky(of_both, 0.05),),
        case="seen: a stable that itself fails 5%",
    ),
    null(
        "both fail 5% by chance, without records",
        effects=(machines.flaky(of_both, 0.05),),
        records=False,
        case="seen: a stable that itself fails 5%",
    ),
    null(
        "both fail 5% by chance, without records, of 120 requests a second",
        comes=callers.anonymous(120),
        effects=(machines.flaky(of_both, 0.05),),
        records=False,
        case="seen: a stable that itself fails 5%",
    ),
    null("both fail 5% since it began", effects=(machines.flaky(of_both, 0.05, when=while_rolled_out),)),
    null(
        "the stable is down, the candidate mends it",
        effects=(machines.down(of_stable),),
        case="fluxcd/flagger#639",
    ),
    null("the stable fails a third, the candidate mends it", effects=(machines.flaky(of_stable, 0.33),)),
    null("back to the first step, by a word", words=((100.0, Requests(go_to=0)),)),
    null(
        "back to the first step with long requests in flight",
        effects=(machines.slow(of_both, 250),),
        words=((100.0, Requests(go_to=0)),),
    ),
)

FAULTS: tuple[Situation, ...] = (
    # --- errors
    fault("3% errors", effects=(machines.flaky(of_candidate, 0.03),), records=False, case="seen: 3% errors"),
    fault("3% errors, with records", effects=(machines.flaky(of_candidate, 0.03),), case="seen: 3% errors"),
    fault(
        "3% errors among bursts", comes=callers.bursts(), effects=(machines.flaky(of_candidate, 0.03),), records=False
    ),
    fault("3% errors, the client asks again", effects=(machines.flaky(of_candidate, 0.03),), retries=3, records=False),
    fault("3% errors, asked once only", effects=(machines.flaky(of_candidate, 0.03),), fallback=False, records=False),
    fault(
        "errors of 20% that begin after 20 s",
        effects=(machines.flaky(of_candidate, 0.2, when=after(20)),),
        case="seen: errors that begin after 20 s",
    ),
    fault("errors of 20% that begin at 100%", effects=(machines.flaky(of_candidate, 0.2, when=at_full),)),
    fault(
        "half of all requests fail",
        effects=(machines.flaky(of_candidate, 0.5),),
        records=False,
        live="tests/e2e/test_canaries.py::test_it_is_rolled_back_for_its_errors_and_no_client_saw_one",
    ),
    fault(
        "a fifth of requests fails, on record",
        effects=(versions.fails_some(0.2),),
        live="tests/e2e/test_canaries.py::test_what_clients_have_asked_shows_a_broken_version_before_they_meet_it",
    ),
    fault("a slice of 5% always fails", effects=(versions.fails_some(0.05),), records=False),
    fault("it fails everything for 5 s in 30", effects=(machines.down(of_candidate, when=every(30, lasting=5)),)),
    fault("replicas die, 8%", effects=(machines.flaky(of_candidate, 0.08, recorded=False),), records=False),
    fault(
        "it freezes, and the gateway gives it up",
        effects=(machines.hangs(0.5, seconds=3),),
        records=False,
        live="tests/chaos/test_frozen_candidate.py::test_a_candidate_that_freezes_costs_no_answer_and_is_rolled_back",
    ),
    fault(
        "10% of sticky callers fail",
        comes=callers.sticky(200),
        effects=(versions.fails_callers(0.1),),
        records=False,
        case="seen: 10% of entities fail",
    ),
    fault(
        "10% of sticky callers fail, with records", comes=callers.sticky(200), effects=(versions.fails_callers(0.1),)
    ),
    fault(
        "one of 20 sticky callers always fails",
        comes=callers.sticky(20),
        effects=(versions.fails_caller(1),),
        records=False,
    ),
    fault(
        "30% of 40 sticky callers fail", comes=callers.sticky(40), effects=(versions.fails_callers(0.3),), records=False
    ),
    fault(
        "10% of sticky callers crash it without a record",
        comes=callers.sticky(200),
        effects=(versions.fails_callers(0.1, recorded=False),),
        records=False,
    ),
    fault(
        "replicas die under sticky callers, 9%, asked once only",
        comes=callers.sticky(200),
        effects=(machines.flaky(of_candidate, 0.09, recorded=False),),
        fallback=False,
        records=False,
    ),
    fault(
        "3% errors of callers by Zipf",
        comes=callers.sticky(300, exponent=1.0),
        effects=(machines.flaky(of_candidate, 0.03),),
        records=False,
    ),
    fault(
        "both fail 5%, the candidate 12%",
        effects=(machines.flaky(of_both, 0.05), machines.flaky(of_candidate, 0.07)),
        records=False,
    ),
    fault(
        "outages of both arms, and 5% errors beside",
        effects=(machines.flaky(of_both, 0.3, when=every(60, lasting=8)), machines.flaky(of_candidate, 0.05)),
        records=False,
    ),
    fault("both versions are down", effects=(machines.down(of_both, when=while_rolled_out),)),
    fault(
        "3% errors while a proxy says old figures",
        effects=(machines.flaky(of_candidate, 0.03),),
        proxies=2,
        disturbs=lambda: proxies.says_old_figures(begin=30, lasting=20),
        records=False,
    ),
    fault(
        "3% errors after a word for the first step",
        effects=(machines.flaky(of_candidate, 0.03, when=after(100)),),
        words=((100.0, Requests(go_to=0)),),
    ),
    # --- refusals
    *fault_and_double("it refuses everything", effects=(versions.refuses(1.0),), case="fluxcd/flagger#8"),
    fault(
        "a narrower schema refuses 12%",
        effects=(versions.refuses(0.12),),
        case="seen: 12 features over 13",
        live=STACKS + "test_a_narrower_schema_ends_before_a_client_meets_it",
    ),
    fault(
        "a narrower schema refuses 12%, without records",
        effects=(versions.refuses(0.12),),
        records=False,
        case="seen: 12 features over 13",
        live=UNTRIED,
    ),
    fault("a narrower schema refuses 3%, without records", effects=(versions.refuses(0.03),), records=False),
    fault(
        "it refuses 12% of sticky callers' requests",
        comes=callers.sticky(200),
        effects=(versions.refuses(0.12),),
        records=False,
    ),
    fault("it refuses 12%, asked once only", effects=(versions.refuses(0.12),), fallback=False, records=False),
    fault(
        "it refuses 5% beside clients' mistakes",
        effects=(versions.refuses(0.1, both=True), versions.refuses(0.15)),
        records=False,
    ),
    fault(
        "an output that a third names is gone",
        effects=(versions.refuses(0.33),),
        case="seen: a renamed output",
        live=STACKS + "test_a_renamed_output_ends_before_a_client_meets_it",
    ),
    fault(
        "an output that a third names is gone, without records",
        effects=(versions.refuses(0.33),),
        records=False,
        case="seen: a renamed output",
    ),
    # --- answers
    fault("every answer is NaN", effects=(versions.fails_some(1.0),), case="pytorch/serve#1304"),
    fault(
        "every answer is NaN, without records",
        effects=(versions.fails_some(1.0),),
        records=False,
        case="seen: NaN promoted",
        live=UNTRIED,
    ),
    fault("every twentieth answer is NaN, without records", effects=(versions.fails_some(0.05),), records=False),
    *fault_and_double("one answer to everything", effects=(versions.says_the_same(),), case="seen: collapse promoted"),
    *fault_and_double("confidence falls to 0.5", effects=(versions.unsure(),), case="seen: collapse promoted"),
    fault(
        "confidence falls to 0.5 for sticky callers",
        comes=callers.sticky(200),
        effects=(versions.unsure(),),
        records=False,
    ),
    fault("labels flip", effects=(versions.flips(),), case="seen: labels that flip"),
    fault(
        "labels flip, without records and outcomes",
        effects=(versions.flips(),),
        records=False,
        case="seen: labels that flip",
    ),
    fault(
        "labels flip, without records",
        effects=(versions.flips(),),
        labels_after=5,
        records=False,
        case="seen: labels that flip",
        live="tests/e2e/test_outcomes.py::test_a_candidate_that_is_wrong_more_often_is_rolled_back",
    ),
    fault(
        "columns in another order",
        effects=(versions.answers_otherwise(0.6, right=0.3),),
        case="lightgbm-org/LightGBM#5664",
    ),
    fault(
        "labels are called otherwise", effects=(versions.renames(),), records=False, case="lightgbm-org/LightGBM#1248"
    ),
    fault(
        "another number of answers than of instances",
        effects=(versions.doubled_answers(),),
        case="SeldonIO/MLServer#2197",
    ),
    fault("accuracy falls from 90 to 78%", effects=(versions.less_accurate(0.78),), labels_after=5, records=False),
    fault(
        "accuracy falls to 78%, labels 40 s late",
        effects=(versions.less_accurate(0.78),),
        labels_after=40,
        records=False,
    ),
    fault(
        "accuracy falls to 70% for sticky callers",
        comes=callers.sticky(300),
        effects=(versions.less_accurate(0.7),),
        labels_after=5,
        records=False,
    ),
    fault("outcomes fall from 50 to 30%", effects=(versions.is_right(0.3, 0.5),), labels_after=5),
    fault(
        "outcomes fall from 50 to 30% for sticky callers",
        comes=callers.sticky(300),
        effects=(versions.is_right(0.3, 0.5),),
        labels_after=5,
    ),
    fault(
        "outcomes fall from 50 to 30% for 40 sticky callers",
        comes=callers.sticky(40),
        effects=(versions.is_right(0.3, 0.5),),
        labels_after=5,
    ),
    # --- latency
    fault(
        "6% take 30 times as long", effects=(machines.slow(of_candidate, 30, share=0.06),), case="spinnaker/kayenta#803"
    ),
    fault(
        "p95 is four times the stable's",
        effects=(machines.slow(of_candidate, 4, share=0.12),),
        case="seen: a slow tail promoted",
    ),
    fault("everything twice as slow", effects=(machines.slow(of_candidate, 2),), case="seen: everything twice as slow"),
    fault(
        "everything twice as slow for sticky callers",
        comes=callers.sticky(200),
        effects=(machines.slow(of_candidate, 2),),
    ),
    fault("everything twice as slow among bursts", comes=callers.bursts(), effects=(machines.slow(of_candidate, 2),)),
    fault("twice as slow under heavy tails", effects=(machines.heavy_tails(), machines.slow(of_candidate, 2))),
    fault("contention on the candidate's machine", effects=(machines.slow(of_candidate, 3, when=while_rolled_out),)),
    fault(
        "contention on the candidate's machine from 30 s on", effects=(machines.slow(of_candidate, 3, when=after(30)),)
    ),
    fault(
        "three times as slow from 100% on",
        comes=callers.anonymous(60),
        effects=(machines.slow(of_candidate, 3, when=at_full),),
        right=frozenset({End.ROLLED_BACK}),
    ),
    fault("it slows down under load, to three times", effects=(machines.slow_under_load(times=3),)),
    fault("it slows down with time, by 60% a minute", effects=(machines.slows_down(of_candidate, a_minute=0.6),)),
    # --- nothing to go by
    fault(
        "no traffic",
        comes=callers.nobody_comes(),
        case="seen: no traffic",
        live=STACKS + "test_without_traffic_nothing_is_promoted",
    ),
    fault("traffic that ends as it begins", comes=callers.before_only(), case="seen: no traffic"),
    fault("one request in ten seconds", comes=callers.anonymous(0.1)),
)

SITUATIONS = (*NULLS, *FAULTS)
