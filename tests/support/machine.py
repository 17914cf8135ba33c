"""Lives of jobs in random orders of events: what must hold whatever happens.

The API server is a dict; everything else is real: the cache that reads it, the plan, and the status that
goes over the wire and back.
"""

import json
from typing import Any

import orjson
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.builders import CONFIG, NOW, UID, agent_message, job, success_message
from support.star_fake import FakeStar

from ftjob.control.cache.cache import Cache
from ftjob.kube.resources import JOB, POD, POD_GROUPS
from ftjob.models.names import API_VERSION, KIND
from ftjob.plan.decide import decide
from ftjob.plan.observed.state import Refusal, RefusalKind
from ftjob.plan.plan import Changes, Plan, Step
from ftjob.plan.status.derive import derive_status
from ftjob_protocol.orders import Order
from ftjob_protocol.values.ranges import parse_indexes

KEY = ("team", "digits")
PODGROUPS = POD_GROUPS[0][0]
NATIVE = (PODGROUPS.api_version, PODGROUPS.kind)
CHOICE = st.integers(0, 4)
PLACE = st.integers(0, 6)
"""A place among what is created: Service, Secret, pods."""


def copy_of(body: dict[str, Any]) -> dict[str, Any]:
    """Return a copy, as the API server's answer is one; copy.deepcopy takes ten times as long."""
    found: dict[str, Any] = orjson.loads(orjson.dumps(body))
    return found


def succeeded(status: dict[str, Any]) -> set[tuple[str, int]]:
    """Return the workers whose success a status records."""
    roles = status.get("roles") or []
    return {(role["name"], i) for role in roles for i in parse_indexes(role.get("succeededIndexes", ""))}


class Life(RuleBasedStateMachine):
    """One job, its pods, an operator that may be killed at any point, and hands that delete pods."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.version = 0
        self.uids = 0
        self.pods: dict[str, dict[str, Any]] = {}
        self.cache = Cache(clock=lambda: self.now)
        self.harmed = False
        """Whether anything happened that may fail a job."""
        self.stars: dict[str, FakeStar] = {}
        """The agents, by the attempt of their pods."""
        self.lost: set[str] = set()
        """The pods whose node went, by UID: their ranks live on until they miss the others."""
        self.parted: dict[str, float] = {}
        """By attempt, from when on the agents on lost nodes have missed another one: those see each other."""
        self.done: set[tuple[str, str]] = set()
        """Attempt and name of the pods that have succeeded: nobody misses them."""
        self.gang = False
        """Whether the cluster knows gangs."""
        self.groups: dict[str, dict[str, Any]] = {}

    @initialize(
        workers=st.integers(1, 3),
        success=st.sampled_from(["AllWorkers", "Worker0", "Chief"]),
        chiefs=st.integers(0, 1),
        clean=st.sampled_from(["Running", "All", "None"]),
        limit=st.integers(0, 2),
        deadline=st.none() | st.just(600),
        suspend=st.booleans(),
        in_place=st.booleans(),
        gang=st.booleans(),
    )
    def submit(
        self,
        workers: int,
        success: str,
        clean: str,
        chiefs: int = 1,
        limit: int = 0,
        deadline: int | None = None,
        suspend: bool = False,
        in_place: bool = True,
        gang: bool = False,
    ) -> None:
        restart: dict[str, Any] = {"limit": limit, "retryExitCodes": "1,128-255", "backoffSeconds": 5}
        restart["inPlace"] = in_place
        wanted = job().workers(workers).success(success).clean_pods(clean)
        wanted = wanted.with_spec(restart=restart, suspend=suspend)
        if deadline is not None:
            wanted = wanted.with_spec(activeDeadlineSeconds=deadline)
        if success == "Chief":
            wanted = wanted.strategy("ParameterServer").roles(chief=chiefs, ps=1)
        meta = {"name": "digits", "namespace": "team", "uid": UID, "generation": 1}
        self.job: dict[str, Any] = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": meta,
            "spec": wanted.spec,
        }
        self.show(self.job)
        self.gang = gang
        self.the_operator_is_killed()

    def show(self, body: dict[str, Any]) -> dict[str, Any]:
        """Give an object its next version."""
        self.version += 1
        body["metadata"]["resourceVersion"] = str(self.version)
        return copy_of(body)

    def living(self, choice: int) -> dict[str, Any] | None:
        """Return a pod whose trainer has not ended."""
        found = [p for p in self.pods.values() if "terminated" not in self.state(p)]
        return found[choice % len(found)] if found else None

    def star(self, pod: dict[str, Any]) -> FakeStar:
        """Return the agents that a pod's agent belongs to."""
        attempt = self.attempt_of(pod)
        return self.stars.setdefault(attempt, FakeStar(int(attempt)))

    def present(self) -> list[dict[str, Any]]:
        """Return the pods of the present attempt."""
        attempt = str(self.job.get("status", {}).get("podAttempt", 0))
        return [p for p in self.pods.values() if self.attempt_of(p) == attempt]

    @staticmethod
    def state(pod: dict[str, Any]) -> dict[str, Any]:
        statuses = pod.get("status", {}).get("containerStatuses", [{}])
        found: dict[str, Any] = statuses[0].get("state", {})
        return found

    def move(self, pod: dict[str, Any], state: dict[str, Any]) -> None:
        pod["status"] = {"containerStatuses": [{"name": "trainer", "state": state}]}
        self.cache.update(POD, self.show(pod))

    # -- what happens in the cluster ------------------------------------------------------------------

    @rule(choice=CHOICE)
    def a_pod_runs(self, choice: int) -> None:
        pod = self.living(choice)
        if pod is not None:
            self.move(pod, {"running": {}})

    @rule(choice=CHOICE)
    def a_trainer_succeeds(self, choice: int) -> None:
        pod = self.living(choice)
        if pod is not None and not self.star(pod).is_halted:
            self.done.add((self.attempt_of(pod), pod["metadata"]["name"]))
            self.move(pod, {"terminated": {"exitCode": 0, "message": success_message()}})

    @rule(choice=CHOICE, kind=st.sampled_from(["Exception", "Signal", "PeerLost", "Stopped", None]))
    def a_trainer_fails(self, choice: int, kind: str | None) -> None:
        pod = self.living(choice)
        if pod is not None:
            self.harmed = True
            self.end(pod, kind)

    def part(self, pod: dict[str, Any]) -> None:
        self.parted.setdefault(self.attempt_of(pod), self.now)

    @staticmethod
    def attempt_of(pod: dict[str, Any]) -> str:
        return str(pod["metadata"]["labels"]["ftjob.dev/attempt"])

    def end(self, pod: dict[str, Any], kind: str | None) -> None:
        self.part(pod)
        said = "Killed"
        if kind is not None:
            last = json.loads(agent_message(kind=kind, at=self.now))
            said = json.dumps(last | {"attempt": self.star(pod).attempt})
        self.move(pod, {"terminated": {"exitCode": 1, "reason": "Error", "message": said}})

    @rule()
    def all_goes_well_for_a_while(self) -> None:
        self.now += 10
        for _ in range(2):
            self.the_operator_looks(None)
            self.dead_ranks_start_again()
            for pod in self.present():
                if not self.state(pod):
                    self.move(pod, {"running": {}})
            self.the_operator_hears_of_the_ranks()
        self.the_operator_looks(None)

    @rule(rank=CHOICE)
    def a_rank_fails_in_pods_that_live(self, rank: int) -> None:
        self.all_goes_well_for_a_while()
        pods = self.present()
        restart = self.job["spec"]["restart"]
        all_run = pods and all("running" in self.state(pod) for pod in pods)
        if all_run and restart["inPlace"] and restart["limit"]:
            self.harmed = True
            self.star(pods[0]).halt(rank % len(pods), self.now)
            self.the_operator_hears_of_the_ranks()

    @rule()
    def dead_ranks_start_again(self) -> None:
        pods = self.present()
        if not pods or not all("running" in self.state(pod) for pod in pods):
            return
        star = self.star(pods[0])
        if star.go_on(self.now):
            assert not self.alive_beside(self.attempt_of(pods[0]))
            status = self.job["status"]
            assert star.attempt <= status["attempt"], "intent comes before effect"
            lives = sum(star.lives - 1 for star in self.stars.values())
            assert lives <= status["restarts"]["failures"], "no restart is free"

    @rule()
    def halted_agents_lose_patience(self) -> None:
        for pod in list(self.pods.values()):
            if "terminated" not in self.state(pod) and self.star(pod).is_halted:
                self.end(pod, "Signal")

    @rule()
    def the_operator_hears_of_the_ranks(self) -> None:
        pods, known = self.present(), self.cache.job(KEY)
        if known is not None and pods and all("running" in self.state(pod) for pod in pods):
            self.cache.leader_states.update(known, self.star(pods[0]).report())

    def tell(self, decision: Plan) -> None:
        """Let the agents hear an order; whether the operator hears their answer is another matter."""
        pods = self.present()
        if not isinstance(decision.order, Order) or not pods or "running" not in self.state(pods[0]):
            return
        assert decision.order.attempt <= self.job["status"]["attempt"], "intent comes before effect"
        if self.star(pods[0]).take(decision.order, self.now):
            self.halted_agents_lose_patience()

    @rule(choice=CHOICE)
    def a_stranger_deletes_a_pod(self, choice: int) -> None:
        found = [p for p in self.pods.values() if "deletionTimestamp" not in p["metadata"]]
        if found:
            self.harmed = True
            pod = found[choice % len(found)]
            pod["metadata"]["deletionTimestamp"] = "2027-01-01T00:00:00Z"
            self.cache.update(POD, self.show(pod))

    @rule(choice=CHOICE)
    def a_node_is_lost(self, choice: int) -> None:
        pod = self.living(choice)
        if pod is not None and pod.get("status"):
            self.harmed = True
            pod["metadata"].setdefault("deletionTimestamp", "2027-01-01T00:00:00Z")
            reason = {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"}
            pod["status"]["conditions"] = [reason]
            self.lost.add(pod["metadata"]["uid"])
            if self.misses_others(self.attempt_of(pod)):
                self.part(pod)
            self.cache.update(POD, self.show(pod))

    @rule()
    def the_user_suspends_or_resumes(self) -> None:
        if self.job.get("status", {}).get("phase") not in {"Succeeded", "Failed"}:
            self.job["spec"]["suspend"] = not self.job["spec"]["suspend"]
            self.job["metadata"]["generation"] += 1
            self.cache.update(JOB, self.show(self.job))

    @rule(choice=CHOICE, seen=st.booleans())
    def a_deleting_pod_goes(self, choice: int, seen: bool) -> None:
        found = [p for p in self.pods.values() if "deletionTimestamp" in p["metadata"]]
        if found:
            pod = self.pods.pop(found[choice % len(found)]["metadata"]["name"])
            if (self.attempt_of(pod), pod["metadata"]["name"]) not in self.done:
                self.part(pod)
            if seen:
                self.cache.mark_deleted(POD, self.show(pod))
            else:
                self.cache.mark_gone(pod["metadata"]["uid"])

    @rule(seconds=st.sampled_from([0.5, 2.0, 70.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    # -- what the operator does -----------------------------------------------------------------------

    @rule()
    def the_operator_is_killed(self) -> None:
        self.cache = Cache(clock=lambda: self.now)
        self.cache.served = frozenset({NATIVE} if self.gang else ())
        self.cache.update(JOB, copy_of(self.job))
        for group in self.groups.values():
            self.cache.update(PODGROUPS, copy_of(group))
        for pod in self.pods.values():
            self.cache.update(POD, copy_of(pod))

    @rule(
        refused=st.none()
        | st.tuples(st.sampled_from([RefusalKind.FORBIDDEN, RefusalKind.TERMINATING]), PLACE)
    )
    def the_operator_looks(self, refused: tuple[RefusalKind, int] | None) -> None:
        decision = self.decide_and_write()
        self.delete(decision)
        self.tell(decision)
        self.create(decision, refused)
        present = str(self.job["status"].get("podAttempt", 0))
        some_are_lost = any(pod["metadata"]["uid"] in self.lost for pod in self.pods.values())
        for pod in self.pods.values():
            mine = self.attempt_of(pod) == present
            is_evidence = some_are_lost and (self.attempt_of(pod), pod["metadata"]["name"]) in self.done
            going = "deletionTimestamp" in pod["metadata"]
            assert mine or going or is_evidence, "every pod is wanted or goes"
        assert set(self.groups) <= {f"digits-{present}"}, "a group goes with its attempt"

    @rule(created=PLACE)
    def the_operator_is_killed_while_it_acts(self, created: int) -> None:
        decision = self.decide_and_write()
        if created:
            self.delete(decision)
            self.tell(decision)
        self.create(Plan(decision.step, changes=Changes(create=decision.changes.create[:created])), None)
        self.the_operator_is_killed()

    def decide_and_write(self) -> Plan:
        wanted = self.cache.job(KEY)
        assert wanted is not None
        seen = self.cache.observe(wanted)
        decision = decide(wanted, seen, now=self.now, config=CONFIG)
        assert decision == decide(wanted, seen, now=self.now, config=CONFIG)
        status = derive_status(wanted, seen, decision, now=self.now)
        assert status == derive_status(wanted, seen, decision, now=self.now)
        old = self.job.get("status", {})
        new = json.loads(json.dumps(status.to_wire(), allow_nan=False))
        self.check(old, new, decision)
        if new != old:
            self.job["status"] = new
            self.cache.update(JOB, self.show(self.job))
        return decision

    def check(self, old: dict[str, Any], new: dict[str, Any], decision: Plan) -> None:
        if old.get("phase") in {"Succeeded", "Failed"}:
            assert decision.step is Step.REST
            assert new == old
        assert not (decision.changes.create and decision.changes.delete)
        if decision.changes.create:
            assert new["startTime"], "intent comes before effect"
            assert new["phase"] not in {"Succeeded", "Failed"}
        if decision.step is Step.FAIL and decision.reason != "DeadlineExceeded":
            assert self.harmed, "a job that nothing happened to must not fail"
            assert new["failure"]["reason"]
        if decision.step is not Step.WAIT and not (decision.step is Step.SUSPEND and "startTime" not in old):
            assert "startTime" not in old or new["startTime"] == old["startTime"]
        if decision.step in {Step.START, Step.CONTINUE, Step.SUCCEED, Step.FAIL}:
            assert "runningTime" not in old or new["runningTime"] == old["runningTime"]
            assert succeeded(old) <= succeeded(new)
        for counter in ("attempt", "podAttempt"):
            assert new.get(counter, 0) >= old.get(counter, 0)
        restarts, before = new.get("restarts", {}), old.get("restarts", {})
        for counter in ("failures", "disruptions", "lostSeconds"):
            assert restarts.get(counter, 0) >= before.get(counter, 0)
        assert restarts.get("failures", 0) <= self.job["spec"]["restart"]["limit"]
        if new.get("podAttempt", 0) > old.get("podAttempt", 0):
            assert decision.step in {Step.RESTART, Step.RECREATE, Step.SUSPEND}
            assert not decision.changes.create, "an attempt is written down before it is begun"
        if new["phase"] == "Succeeded":
            assert self.who_decides() <= succeeded(new)

    def who_decides(self) -> set[tuple[str, int]]:
        """Return the workers without whose success the job has not succeeded."""
        spec = self.job["spec"]
        if spec["success"] == "AllWorkers":
            return {("worker", index) for index in range(spec["workers"])}
        return {("chief" if spec.get("roles", {}).get("chief", {}).get("replicas") else "worker", 0)}

    def found(self, manifest: dict[str, Any]) -> None:
        """Create a PodGroup."""
        body = copy_of(manifest)
        assert body["metadata"]["name"] not in self.groups, "a plan never creates a group that exists"
        self.uids += 1
        body["metadata"]["uid"] = f"group-{self.uids}"
        self.groups[body["metadata"]["name"]] = body
        self.cache.update(PODGROUPS, self.show(body))

    def delete(self, decision: Plan) -> None:
        self.delete_pods(decision)
        for gone in decision.changes.remove:
            assert self.groups.pop(gone.name)["metadata"]["uid"] == gone.uid
            self.cache.mark_gone(gone.uid)
            for pod in self.pods.values():
                if pod["spec"].get("schedulingGroup") == {"podGroupName": gone.name}:
                    ended = "deletionTimestamp" in pod["metadata"] or "terminated" in self.state(pod)
                    kept = self.job["status"]["phase"] in {"Succeeded", "Failed"}  # by cleanPods
                    assert ended or kept, "no pod outlives its group"

    def delete_pods(self, decision: Plan) -> None:
        for ref in decision.changes.delete:
            self.cache.note_ordered_deletion(ref.uid)
            pod = self.pods.get(ref.name)
            if pod is None or pod["metadata"]["uid"] != ref.uid:
                self.cache.mark_gone(ref.uid)
                continue
            assert "deletionTimestamp" not in pod["metadata"]
            pod["metadata"]["deletionTimestamp"] = "2027-01-01T00:00:00Z"
            self.cache.update(POD, self.show(pod))

    def create(self, decision: Plan, refused: tuple[RefusalKind, int] | None) -> None:
        wanted = self.cache.job(KEY)
        assert wanted is not None
        for place, new in enumerate(decision.changes.create):
            manifest = new.build()
            name = manifest["metadata"]["name"]
            if refused is not None and place >= refused[1]:
                answer = Refusal(refused[0], manifest["kind"], name, "not now", self.now + 4)
                self.cache.refusals.add(wanted, answer)
                return
            if manifest["kind"] == "PodGroup":
                self.found(manifest)
                continue
            if manifest["kind"] == "ConfigMap":
                self.cache.shared.note(wanted.namespace, manifest["kind"], name)
                continue
            if manifest["kind"] != "Pod":
                self.cache.note_existing(wanted, manifest["kind"], name)
                continue
            assert name not in self.pods, "a plan never creates a pod that exists"
            attempt = self.attempt_of(manifest)
            assert not self.alive_beside(attempt), "two attempts never run at once"
            group = manifest["spec"].get("schedulingGroup", {}).get("podGroupName")
            assert group is None or group in self.groups, "a pod's group comes before it"
            self.uids += 1
            body = copy_of(manifest)
            body["metadata"]["uid"] = f"pod-{self.uids}"
            self.pods[name] = body
            self.cache.update(POD, self.show(body))
        if decision.changes.create:
            self.cache.refusals.clear(wanted)

    def misses_others(self, attempt: str) -> bool:
        """Whether the lost pods of an attempt are not all that it has; before all are there no rank runs."""
        wanted = self.job["spec"]
        roles = {role: found["replicas"] for role, found in wanted.get("roles", {}).items()}
        lost = [p for p in self.pods.values() if p["metadata"]["uid"] in self.lost]
        left = {p["metadata"]["name"] for p in lost if self.attempt_of(p) == attempt}
        if f"digits-{'chief' if roles.get('chief') else 'worker'}-{attempt}-0" not in left:
            return True  # the leader outlives all whom it hears
        left |= {name for other, name in self.done if other == attempt}
        total: int = wanted["workers"] + sum(roles.values())
        return len(left) < total

    def alive_beside(self, attempt: str) -> list[str]:
        """Return the pods of other attempts whose ranks may live."""
        alive = []
        for name, pod in self.pods.items():
            other = self.attempt_of(pod)
            missed = self.now - self.parted.get(other, self.now)
            is_fenced = pod["metadata"]["uid"] in self.lost and missed >= CONFIG.contact_timeout_seconds
            if other != attempt and "terminated" not in self.state(pod) and not is_fenced:
                alive.append(name)
        return alive

    # -- what must hold -------------------------------------------------------------------------------

    @precondition(lambda self: hasattr(self, "job"))
    @invariant()
    def the_operator_knows_each_living_pod_once(self) -> None:
        wanted = self.cache.job(KEY)
        assert wanted is not None
        known = [p.name for p in self.cache.observe(wanted).pods if not p.gone]
        assert sorted(known) == sorted(self.pods)

    def teardown(self) -> None:
        """Let all that lives succeed: then every job ends, and what it has to clean up goes."""
        if not hasattr(self, "job"):
            return
        if self.job["spec"]["suspend"] and self.job.get("status", {}).get("phase") not in {
            "Succeeded",
            "Failed",
        }:
            self.the_user_suspends_or_resumes()
        for _ in range(20):
            before = self.version
            self.now += 370
            self.the_operator_looks(None)
            self.dead_ranks_start_again()
            self.the_operator_hears_of_the_ranks()
            while any("deletionTimestamp" in p["metadata"] for p in self.pods.values()):
                self.a_deleting_pod_goes(0, seen=True)
            while self.living(0) is not None and self.job["status"]["phase"] not in {"Succeeded", "Failed"}:
                self.a_trainer_succeeds(0)
                self.halted_agents_lose_patience()
            if self.version == before and self.job["status"]["phase"] in {"Succeeded", "Failed"}:
                break  # it rests: nothing but the clock would differ in the next round
        assert self.job["status"]["phase"] in {"Succeeded", "Failed"}
        clean = self.job["spec"]["cleanPods"]
        assert clean == "None" or self.living(0) is None
        assert clean != "All" or not self.pods
        assert not self.groups, "a group goes with its attempt"


class LifeInPlace(Life):
    """One job that may start its ranks again in place, and does at least once."""

    @initialize(
        workers=st.integers(1, 3),
        limit=st.integers(1, 3),
        deadline=st.none() | st.just(600),
        gang=st.booleans(),
    )
    def submit(self, workers: int, limit: int, deadline: int | None, *, gang: bool = False) -> None:
        super().submit(
            workers=workers,
            success="AllWorkers",
            clean="Running",
            limit=limit,
            deadline=deadline,
            gang=gang,
        )
        self.a_rank_fails_in_pods_that_live(0)
