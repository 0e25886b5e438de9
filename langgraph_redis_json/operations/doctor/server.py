"""The server: versions, persistence, memory, rights, clock."""

import re
import time

from redis.exceptions import NoPermissionError, ResponseError

from langgraph_redis_json.client import scripts
from langgraph_redis_json.client.plan import Plan
from langgraph_redis_json.client.scripts import send
from langgraph_redis_json.errors import UnsuitableServerError
from langgraph_redis_json.operations.context import Context
from langgraph_redis_json.operations.doctor.finding import Finding
from langgraph_redis_json.operations.setup import check_search
from langgraph_redis_json.search.queries import SETUP_THREAD, has_coordinator
from langgraph_redis_json.storage import keys

SECTIONS = ("server", "memory", "persistence", "replication", "keyspace", "modules")

LITTLE_LEFT = 0.1
"""The share of the memory below which little is left."""

SKEW = 5_000
"""Milliseconds by which two clocks may differ."""


def check_server(context: Context) -> Plan[list[Finding]]:
    """Look at the server; on a cluster, at one of its nodes."""
    thread = keys.thread_keys(context.key_prefix, SETUP_THREAD)
    try:
        before = time.time()
        reply = yield from send(scripts.server_info(thread, SECTIONS))
        here = (before + time.time()) * 500
    except NoPermissionError as error:
        return [_forbidden(str(error))]
    facts = dict(
        line.split(":", 1)
        for section in reply.sections[:-1]
        for line in section.splitlines()
        if ":" in line
    )
    found = []
    if facts:
        found += [
            _versions(facts, reply.sections[-1]),
            _persistence(facts),
            _eviction(facts),
            _memory(facts),
        ]
        found += _replication(facts)
    else:
        found.append(
            Finding(
                "warning",
                "info-forbidden",
                "server",
                "the user may not run INFO",
                "Nothing can be said of versions, persistence, eviction and memory.",
                "Let the user run INFO, with ACL SETUSER; docs/acl.conf has all rights.",
            )
        )
    found.append(_clock(reply.time, here))
    found += yield from _rights(context)
    if context.clustered:
        found.append((yield from _coordinator(context)))
    return found


def _versions(facts: dict[str, str], modules: str) -> Finding:
    versions = dict(re.findall(r"module:name=([^,]+),ver=(\d+)", modules))
    told = [f"Redis {facts.get('redis_version', 'of an unknown version')}"]
    for name, called in (("search", "Search"), ("ReJSON", "JSON")):
        if name in versions:
            number = int(versions[name])
            told.append(f"{called} {number // 10000}.{number // 100 % 100}.{number % 100}")
    return Finding("ok", "versions", "server", ", ".join(told))


def _persistence(facts: dict[str, str]) -> Finding:
    failed = [
        name
        for name in ("rdb_last_bgsave_status", "aof_last_write_status", "aof_last_bgrewrite_status")
        if facts.get(name, "ok") != "ok"
    ]
    if failed:
        return Finding(
            "error",
            "persistence-fails",
            "server",
            f"the server could not write to its disk ({', '.join(failed)} is not ok)",
            "What is stored now is lost if the server stops, and Redis may refuse writes.",
            "Look at the server's log and its disk; free space there.",
        )
    if facts.get("aof_enabled") == "1":
        return Finding("ok", "persistence", "server", "the append-only file is on")
    return Finding(
        "warning",
        "persistence-weak",
        "server",
        "the append-only file is off",
        "If the server stops, all threads go back to its last snapshot, or are gone.",
        "Set appendonly yes (docs/deployment.md, Persistence).",
    )


def _eviction(facts: dict[str, str]) -> Finding:
    policy = facts.get("maxmemory_policy", "")
    expiring = sum(
        int(number)
        for name, value in facts.items()
        if name.startswith("db")
        for number in re.findall(r"expires=(\d+)", value)
    )
    if policy.startswith("allkeys") or (policy.startswith("volatile") and expiring):
        return Finding(
            "error",
            "eviction",
            "server",
            f"the server deletes keys when it is full (maxmemory-policy {policy})",
            "Threads lose documents that their checkpoints need, and cannot be read any more.",
            "Set maxmemory-policy noeviction: then a full server refuses to store, and keeps what "
            "it has.",
        )
    return Finding("ok", "eviction", "server", f"maxmemory-policy {policy}")


def _memory(facts: dict[str, str]) -> Finding:
    used, limit = int(facts.get("used_memory", 0)), int(facts.get("maxmemory", 0))
    most = limit or int(facts.get("total_system_memory", 0))
    told = f"{used / 1e6:,.0f} MB of {most / 1e6:,.0f} MB of memory are used"
    if most and used > (1 - LITTLE_LEFT) * most:
        return Finding(
            "error",
            "memory",
            "server",
            told,
            "Soon the server stores nothing more, and runs of graphs fail.",
            "Raise maxmemory, delete or prune threads, or let threads expire (ttl=).",
        )
    if not limit:
        return Finding(
            "warning",
            "memory-unlimited",
            "server",
            f"{told}, and maxmemory is not set",
            "If the machine runs out of memory, the server is killed.",
            "Set maxmemory to less than the machine has.",
        )
    return Finding("ok", "memory", "server", told)


def _replication(facts: dict[str, str]) -> list[Finding]:
    if facts.get("role") != "slave":
        return []
    return [
        Finding(
            "error",
            "replica",
            "server",
            "this server is a replica",
            "It stores nothing, and what it shows may be old.",
            "Connect to its primary"
            f" ({facts.get('master_host', '?')}:{facts.get('master_port', '?')}).",
        )
    ]


def _clock(there: int, here: float) -> Finding:
    skew = there - here
    if abs(skew) <= SKEW:
        return Finding("ok", "clock", "server", "its clock agrees with this machine's")
    direction = "ahead of" if skew > 0 else "behind"
    return Finding(
        "warning",
        "clock",
        "server",
        f"its clock is {abs(skew) / 1000:,.0f} s {direction} this machine's",
        "Threads expire by the server's clock, and checkpoints have the time of the machine that "
        "stored them, so times do not fit together.",
        "Set both clocks, with NTP.",
    )


def _rights(context: Context) -> Plan[list[Finding]]:
    thread = keys.thread_keys(context.key_prefix, SETUP_THREAD)
    try:
        failed = yield from send(scripts.check_commands(thread))
    except NoPermissionError as error:
        return [_forbidden(str(error))]
    found = [_forbidden(f"{command}: {error}") for command, error in failed]
    if not found:
        try:
            yield from check_search(context)
        except UnsuitableServerError as error:
            found.append(_forbidden(str(error)))
        except ResponseError as error:
            if not context.clustered:  # without a coordinator
                found.append(_forbidden(str(error)))
    return found or [Finding("ok", "rights", "server", "the user has all rights that savers need")]


def _forbidden(why: str) -> Finding:
    return Finding(
        "error",
        "rights",
        "server",
        f"the user may not run all commands that savers need ({why})",
        "Some calls of savers fail.",
        "Give the user the rights of docs/acl.conf, with ACL SETUSER.",
    )


def _coordinator(context: Context) -> Plan[Finding]:
    if (yield from has_coordinator()):
        return Finding("ok", "coordinator", "server", "the cluster has a search coordinator")
    return Finding(
        "warning",
        "coordinator",
        "server",
        "the Search of this cluster has no coordinator",
        "Nothing can be listed, filtered or deleted across threads. All else works.",
        "Use the Search of Redis 8.",
    )
