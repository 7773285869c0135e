"""A kernel's life as pure functions: which phase follows which, and what is done about it."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from kernel_core.deadlines import Activity
from kernel_core.kernel import Ended, ExecutionState, Kernel, OperatingMode, Owner, Phase, Pod, Reason, Status
from kernel_core.lifecycle import Facts, Refusal
from kernel_core.plan import ConfirmAbsence, CreatePod, DeleteKernel, Limits, Plan, RemovePod, SuspendForIdle, make_plan
from tests.support.edges import may_follow

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
IDLE = timedelta(seconds=60)
LIMITS = Limits()


def make_kernel(
    *, mode: OperatingMode = OperatingMode.RUNNING, run_request: int = 0, why: str = "", **status: object
) -> Kernel:
    """A kernel with this status."""
    return Kernel(
        name="k", uid="u", resource_version="1", generation=1, owner=Owner("ada"), managed_by="gw",
        kernelspec="python3",
        size="1-gpu", operating_mode=mode, suspend_reason=why, run_request=run_request, working_dir="",
        idle_timeout=IDLE, retention=None,
        created=NOW, deleting=False, status=replace(Status(ready_since=NOW), **status), written=True,  # type: ignore[arg-type]
    )  # fmt: skip


def make_pod(incarnation: int = 1, **facts: object) -> Pod:
    """A pod that runs on a node unless said otherwise."""
    base = Pod(
        name=f"pod-{incarnation}", uid=f"uid-{incarnation}", kernel="k", incarnation=incarnation, node="n",
        ip="127.0.0.2", running=True, waiting_reason="", waiting_message="", unscheduled_message="",
        ended=None, deleting=False, accelerators="nvidia.com/gpu ×1",
    )  # fmt: skip
    return replace(base, **facts)  # type: ignore[arg-type]


def plan(kernel: Kernel, *pods: Pod, facts: Facts = Facts(), now: datetime = NOW) -> Plan:  # noqa: B008  # a frozen value
    """What is next."""
    return make_plan(kernel, pods, facts, LIMITS, now)


def test_a_notebook_that_was_only_opened_holds_nothing() -> None:
    """Suspended and never started: no action."""
    made = plan(make_kernel(mode=OperatingMode.SUSPENDED))
    assert (made.status.phase, made.status.reason, made.actions) == (Phase.SUSPENDED, Reason.NOT_STARTED, ())


def test_a_wish_to_run_raises_the_incarnation_before_anything_of_it_is_made() -> None:
    """The status is written first; the pod comes with the next look."""
    made = plan(make_kernel(run_request=3))
    assert made.actions == ()
    assert (made.status.phase, made.status.incarnation, made.status.observed_run_request) == (Phase.PENDING, 1, 3)
    assert plan(make_kernel(phase=Phase.PENDING, incarnation=1)).actions == (CreatePod(1),)


@pytest.mark.parametrize(
    ("pod", "answered", "phase", "reason"),
    [
        (make_pod(node="", ip="", running=False), 0, Phase.PENDING, Reason.CREATING),
        (make_pod(node="", running=False, unscheduled_message="0/1 nodes"), 0, Phase.PENDING, Reason.UNSCHEDULABLE),
        (make_pod(running=False), 0, Phase.STARTING, Reason.SCHEDULED),
        (make_pod(running=False, waiting_reason="ImagePullBackOff"), 0, Phase.STARTING, "ImagePullBackOff"),
        (make_pod(), 0, Phase.STARTING, Reason.CONNECTING),
        (make_pod(), 1, Phase.RUNNING, Reason.BUSY),
    ],
)
def test_a_pods_state_is_the_kernels_phase(pod: Pod, answered: int, phase: Phase, reason: str) -> None:
    """Pending until placed, starting until it answers, running from then on."""
    made = plan(make_kernel(phase=Phase.PENDING, incarnation=1), pod, facts=Facts(answered=answered))
    assert (made.status.phase, made.status.reason) == (phase, reason)


def test_an_answer_of_an_older_incarnation_counts_for_nothing() -> None:
    """Facts about an old pod are never taken for the new one."""
    made = plan(make_kernel(phase=Phase.STARTING, incarnation=2), make_pod(2), facts=Facts(answered=1))
    assert made.status.phase is Phase.STARTING


def test_a_refused_pod_is_a_wait_with_the_words_of_whoever_refused() -> None:
    """Retried when its pause is over."""
    refusal = Refusal(1, Reason.QUOTA_EXCEEDED, "exceeded quota: q", NOW + timedelta(seconds=2))
    kernel = make_kernel(phase=Phase.PENDING, incarnation=1)
    made = plan(kernel, facts=Facts(refusal=refusal))
    assert (made.status.reason, made.status.message, made.actions) == (Reason.QUOTA_EXCEEDED, "exceeded quota: q", ())
    assert made.look_again_at == refusal.retry_at
    again = plan(kernel, facts=Facts(refusal=refusal), now=NOW + timedelta(seconds=3))
    assert again.actions == (CreatePod(1),)


def test_an_idle_kernel_is_suspended_when_its_time_is_over_and_not_before() -> None:
    """And a busy one never."""
    kernel = make_kernel(phase=Phase.RUNNING, incarnation=1)
    idle = Facts(answered=1, activity=Activity(ExecutionState.IDLE, NOW))
    early = plan(kernel, make_pod(), facts=idle, now=NOW + IDLE - timedelta(seconds=1))
    assert early.actions == ()
    assert early.look_again_at == NOW + IDLE
    assert plan(kernel, make_pod(), facts=idle, now=NOW + IDLE).actions == (SuspendForIdle(1),)
    busy = Facts(answered=1, activity=Activity(ExecutionState.BUSY, NOW))
    assert plan(kernel, make_pod(), facts=busy, now=NOW + 100 * IDLE).actions == ()


def test_an_adopted_kernel_counts_as_busy_until_it_has_answered() -> None:
    """A gateway that has just started suspends nobody."""
    made = plan(make_kernel(phase=Phase.RUNNING, incarnation=1), make_pod(), now=NOW + 100 * IDLE)
    assert made.actions == ()
    assert made.status.execution_state == ExecutionState.BUSY


def test_a_suspended_kernel_gives_its_pod_back_after_asking_the_kernel() -> None:
    """Asked first, then deleted; then it holds nothing."""
    kernel = make_kernel(mode=OperatingMode.SUSPENDED, why="Idle", phase=Phase.RUNNING, incarnation=1)
    made = plan(kernel, make_pod())
    assert made.actions == ()
    assert (made.status.phase, made.status.reason) == (Phase.SUSPENDING, Reason.IDLE)
    told = replace(kernel, status=made.status)
    assert plan(told, make_pod()).actions == (RemovePod("pod-1", "uid-1", 1, ask_kernel=True),)
    gone = plan(told)
    assert (gone.status.phase, gone.status.pod_name, gone.status.accelerators) == (Phase.SUSPENDED, "", "")


def test_kubectl_needs_one_field_to_suspend() -> None:
    """Without a reason it reads Requested."""
    kernel = make_kernel(mode=OperatingMode.SUSPENDED, phase=Phase.RUNNING, incarnation=1)
    assert plan(kernel).status.reason == Reason.REQUESTED


@pytest.mark.parametrize("deleting", [False, True])
def test_a_run_that_comes_while_the_pod_is_being_suspended_gets_a_new_one_and_no_error(deleting: bool) -> None:
    """The pod may have been told to end already: it goes, and is not taken for one deleted by a stranger."""
    kernel = make_kernel(phase=Phase.SUSPENDING, incarnation=1, reason=Reason.IDLE)
    made = plan(kernel, make_pod(deleting=deleting))
    assert (made.status.phase, made.status.ending) == (Phase.SUSPENDING, "")
    assert len(made.actions) == (0 if deleting else 1)
    after = plan(kernel)
    assert (after.status.phase, after.status.incarnation) == (Phase.PENDING, 2)


def test_a_withdrawn_kernel_is_suspended_only_when_its_pod_is_known_to_be_none() -> None:
    """The answer to its creation may have been lost."""
    kernel = make_kernel(mode=OperatingMode.SUSPENDED, why="Interrupted", phase=Phase.PENDING, incarnation=1)
    assert plan(kernel).actions == (ConfirmAbsence(""),)
    assert plan(kernel).status == kernel.status
    sure = plan(kernel, facts=Facts(absent=True)).status
    assert (sure.phase, sure.reason) == (Phase.SUSPENDED, Reason.INTERRUPTED)


@pytest.mark.parametrize("phase", [Phase.SUSPENDED, Phase.FAILED])
@pytest.mark.parametrize("mode", list(OperatingMode))
def test_a_pod_that_turns_up_late_is_removed_and_changes_no_phase(phase: Phase, mode: OperatingMode) -> None:
    """A kernel that was seen to hold nothing never goes back; a wish to run waits until the pod is gone."""
    kernel = make_kernel(mode=mode, run_request=1, phase=phase, incarnation=1)
    made = plan(kernel, make_pod())
    assert made.actions == (RemovePod("pod-1", "uid-1", 1, ask_kernel=False),)
    assert (made.status.phase, made.status.incarnation) == (phase, 1)


def test_a_kernel_whose_object_is_being_deleted_gives_its_pod_back_at_once() -> None:
    """Somebody's finalizer, or a foreground deletion, may hold the object for a while; it need not hold the GPU."""
    kernel = replace(make_kernel(phase=Phase.RUNNING, incarnation=1), deleting=True)
    made = plan(kernel, make_pod())
    assert (made.status.phase, made.actions) == (Phase.TERMINATING, (RemovePod("pod-1", "uid-1", 1, ask_kernel=True),))
    assert plan(kernel, make_pod(deleting=True)).actions == ()


def test_a_pod_that_ended_is_removed_before_the_kernel_has_failed() -> None:
    """A failed kernel holds nothing, and its reason outlives the pod."""
    kernel = make_kernel(phase=Phase.RUNNING, incarnation=1)
    dead = make_pod(running=False, ended=Ended("OOMKilled", "", 137))
    made = plan(kernel, dead)
    assert made.actions == ()
    assert (made.status.phase, made.status.ending) == (Phase.RUNNING, "OOMKilled")
    told = replace(kernel, status=made.status)
    assert plan(told, dead).actions == (RemovePod("pod-1", "uid-1", 1, ask_kernel=False),)
    gone = plan(told)
    assert (gone.status.phase, gone.status.reason, gone.status.ending) == (Phase.FAILED, "OOMKilled", "")


def test_a_failed_kernel_stays_failed_until_a_new_life_is_asked_for() -> None:
    """Running alone does not bring it back."""
    failed = make_kernel(phase=Phase.FAILED, incarnation=1, reason=Reason.OOM_KILLED)
    assert plan(failed).status == failed.status
    assert plan(replace(failed, run_request=1)).status.incarnation == 2


def test_a_pod_that_our_copy_does_not_have_is_asked_for_before_it_is_called_gone() -> None:
    """Unknown is not gone."""
    kernel = make_kernel(phase=Phase.RUNNING, incarnation=1, pod_name="pod-1")
    assert plan(kernel).actions == (ConfirmAbsence("pod-1"),)
    assert plan(kernel).status == kernel.status
    gone = plan(kernel, facts=Facts(absent=True))
    assert (gone.status.phase, gone.status.reason) == (Phase.FAILED, Reason.POD_DELETED)


def test_a_restart_ends_the_pod_and_begins_the_next_incarnation() -> None:
    """By way of Suspending, so that two pods never stand."""
    kernel = make_kernel(phase=Phase.RUNNING, incarnation=1, run_request=1)
    made = plan(kernel, make_pod())
    assert made.status.phase is Phase.SUSPENDING
    assert plan(replace(kernel, status=made.status), make_pod(deleting=True)).actions == ()
    after = plan(replace(kernel, status=made.status))
    assert (after.status.phase, after.status.incarnation, after.status.observed_run_request) == (Phase.PENDING, 2, 1)


def test_no_pod_is_made_while_another_one_of_the_kernel_stands() -> None:
    """A pod of an old incarnation goes first."""
    made = plan(make_kernel(phase=Phase.PENDING, incarnation=2), make_pod(1))
    assert made.actions == (RemovePod("pod-1", "uid-1", 1, ask_kernel=False),)


def test_a_pod_that_never_answers_fails_when_its_time_is_over() -> None:
    """The deadline names itself."""
    kernel = make_kernel(phase=Phase.STARTING, incarnation=1)
    made = plan(kernel, make_pod(), facts=Facts(placed_at=NOW), now=NOW + timedelta(minutes=11))
    assert made.status.ending == Reason.START_TIMEOUT
    assert made.status.message == "The kernel had not answered 600 s after its pod was placed on a node."


def test_a_size_may_limit_the_wait_for_resources_with_a_pod_and_without() -> None:
    """Unschedulable and refused by a quota alike; the message says how long, and the cluster's own words."""
    limits = Limits(queue=timedelta(seconds=30))
    kernel = make_kernel(phase=Phase.PENDING, incarnation=1)
    late = NOW + timedelta(seconds=30)
    queued = make_pod(node="", ip="", running=False, unscheduled_message="0/1 nodes are available")
    made = make_plan(kernel, [queued], Facts(wanted_at=NOW), limits, late)
    assert (made.status.ending, made.status.message) == (
        Reason.QUEUE_TIMEOUT,
        "No node took its pod within 30 s: 0/1 nodes are available",
    )
    refusal = Refusal(1, Reason.QUOTA_EXCEEDED, "exceeded quota: q", NOW + timedelta(hours=1))
    facts = Facts(wanted_at=NOW, refusal=refusal)
    assert make_plan(kernel, [], facts, limits, NOW).look_again_at == late
    made = make_plan(kernel, [], facts, limits, late)
    assert (made.status.phase, made.status.reason) == (Phase.FAILED, Reason.QUEUE_TIMEOUT)
    assert made.status.message == "No node took its pod within 30 s: exceeded quota: q"


def test_a_pod_that_the_cluster_takes_away_fails_with_the_clusters_reason() -> None:
    """Preempted is not "deleted from outside"."""
    kernel = make_kernel(phase=Phase.RUNNING, incarnation=1)
    taken = make_pod(deleting=True, disrupted=Ended(Reason.PREEMPTED, "preempted by pod x"))
    made = plan(kernel, taken)
    assert (made.status.ending, made.status.message) == (Reason.PREEMPTED, "preempted by pod x")


def test_activity_alone_is_written_every_few_seconds_at_most() -> None:
    """Cells by the hundred make no storm of writes."""
    status = {"phase": Phase.RUNNING, "incarnation": 1, "pod_name": "pod-1", "pod_ip": "127.0.0.2", "node_name": "n"}
    kernel = make_kernel(
        **status,
        accelerators="nvidia.com/gpu ×1",
        reason=Reason.IDLE,
        execution_state="idle",
        last_activity=NOW,
        idle_since=NOW,
    )
    soon = NOW + timedelta(seconds=2)
    facts = Facts(answered=1, activity=Activity(ExecutionState.BUSY, soon), activity_written_at=NOW)
    assert plan(kernel, make_pod(), facts=facts, now=soon).status == kernel.status
    later = NOW + timedelta(seconds=6)
    assert plan(kernel, make_pod(), facts=facts, now=later).status.reason == Reason.BUSY


def test_a_kernel_that_nobody_came_back_for_is_deleted_when_its_retention_is_over() -> None:
    """Whether suspended or failed; one that holds a pod never."""
    week = timedelta(days=7)
    parked = replace(make_kernel(mode=OperatingMode.SUSPENDED), retention=week)
    assert plan(parked).look_again_at == NOW + week
    assert plan(parked, now=NOW + week).actions == (DeleteKernel(),)
    failed = replace(make_kernel(phase=Phase.FAILED, incarnation=1, last_activity=NOW), retention=week)
    assert plan(failed, now=NOW + week).actions == (DeleteKernel(),)
    running = replace(make_kernel(phase=Phase.RUNNING, incarnation=1), retention=week)
    assert plan(running, make_pod(), now=NOW + 2 * week).actions == ()


@pytest.mark.parametrize("seed", range(60))
def test_random_lives_follow_the_edges_and_settle(seed: int) -> None:
    """Whatever people, pods and nodes do: allowed edges only, one pod at most, and a second look changes nothing."""
    world = World(random.Random(seed))
    for _ in range(120):
        world.something_happens()
        world.reconcile()
    world.calm_down()


class World:
    """A cluster of one kernel, as far as plans see it."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.kernel = make_kernel(mode=OperatingMode.SUSPENDED)
        self.pods: dict[str, Pod] = {}
        self.unseen: dict[str, Pod] = {}
        """Pods that stand, though the answer to their creation was lost and no watch has told of them yet."""
        self.facts = Facts()
        self.now = NOW

    def something_happens(self) -> None:
        """One thing that people, the scheduler, the node or the kernel may do."""
        self.now += timedelta(seconds=self.chance.randint(0, 40))
        self.chance.choice(
            [
                self.run,
                self.suspend,
                self.restart,
                self.pod_moves,
                self.pod_moves,
                self.pod_ends,
                self.pod_is_seen,
                self.answer,
                self.controller_starts_again,
            ]
        )()

    def run(self) -> None:
        """A cell is run: what the broker writes."""
        failed = self.kernel.status.phase is Phase.FAILED or bool(self.kernel.status.ending)
        request = self.kernel.status.observed_run_request + 1 if failed else self.kernel.run_request
        self.kernel = replace(self.kernel, operating_mode=OperatingMode.RUNNING, suspend_reason="", run_request=request)

    def suspend(self) -> None:
        """Somebody suspends."""
        self.kernel = replace(self.kernel, operating_mode=OperatingMode.SUSPENDED, suspend_reason="Idle")

    def restart(self) -> None:
        """Somebody restarts."""
        self.kernel = replace(
            self.kernel, operating_mode=OperatingMode.RUNNING, run_request=self.kernel.run_request + 1
        )

    def pod_moves(self) -> None:
        """A pod comes one step further."""
        for name, pod in list(self.pods.items()):
            if pod.deleting:
                del self.pods[name]
            elif not pod.node:
                self.pods[name] = replace(pod, node="n", ip="127.0.0.2")
            else:
                self.pods[name] = replace(pod, running=pod.ended is None)

    def pod_ends(self) -> None:
        """A pod dies, or is deleted from outside."""
        for name, pod in list(self.pods.items()):
            if pod.running:
                dead = replace(pod, running=False, ended=Ended("Error", "", 1))
                self.pods[name] = self.chance.choice([replace(pod, deleting=True), dead])

    def pod_is_seen(self) -> None:
        """A watch tells at last."""
        self.pods |= self.unseen
        self.unseen = {}

    def controller_starts_again(self) -> None:
        """It lists everything and remembers nothing."""
        self.pod_is_seen()
        self.facts = Facts()

    def answer(self) -> None:
        """The kernel answers and is idle."""
        if any(pod.running for pod in self.pods.values()):
            incarnation = self.kernel.status.incarnation
            self.facts = replace(self.facts, answered=incarnation, activity=Activity(ExecutionState.IDLE, self.now))

    def reconcile(self, rounds: int = 12) -> None:
        """Apply plans until nothing is left to do."""
        for _ in range(rounds):
            made = make_plan(self.kernel, list(self.pods.values()), self.facts, LIMITS, self.now)
            before = self.kernel.status
            for action in made.actions:
                self.apply(action)
            assert may_follow(before, made.status), f"{before} -> {made.status}"
            assert made.status.incarnation == before.incarnation or made.status.phase is Phase.PENDING
            assert sum(not pod.deleting for pod in self.pods.values()) <= 1
            if made.status.incarnation != before.incarnation:
                self.facts = Facts()
            self.kernel = replace(self.kernel, status=made.status)
            if made.status == before and not made.actions:
                return
        raise AssertionError(f"not settled after {rounds} rounds: {self.kernel.status}")

    def apply(self, action: object) -> None:
        """What the shell does."""
        match action:
            case CreatePod(incarnation):
                assert incarnation == self.kernel.status.incarnation, "a pod is made only for the current incarnation"
                assert not self.pods, "at most one pod"
                assert self.unseen.keys() <= {f"pod-{incarnation}"}, "at most one pod, seen or not"
                self.facts = replace(self.facts, absent=False)
                self.unseen[f"pod-{incarnation}"] = make_pod(incarnation, node="", ip="", running=False)
                if self.chance.random() < 0.7:
                    self.pod_is_seen()
            case RemovePod(name):
                self.pods[name] = replace(self.pods[name], deleting=True)
            case SuspendForIdle():
                self.suspend()
            case ConfirmAbsence():
                self.pod_is_seen()
                self.facts = replace(self.facts, absent=not self.pods)

    def calm_down(self) -> None:
        """Suspended for good, with everything gone: nothing is held and nothing more is written."""
        self.suspend()
        self.pod_is_seen()
        for _ in range(6):
            self.reconcile()
            self.pod_moves()
        self.reconcile()
        assert not self.pods
        assert self.kernel.status.phase in (Phase.SUSPENDED, Phase.FAILED)
        again = make_plan(self.kernel, [], self.facts, LIMITS, self.now)
        assert (again.status, again.actions) == (self.kernel.status, ())
