#!/usr/bin/env python3
# In: the textvec binary, a model folder, WordNet's glosses. Out: what the server holds under load, as
# a table and as JSON: throughput, latency, overload, idle and slow clients, drains, a soak.
"""Measures `textvec serve` over HTTP, from this process, on the same cores.

  throughput  16 connections that ask again as soon as they are answered, 1 and 32 texts a request
  latency     requests of one text at 80 % of that rate, at chance's times and evenly spaced, in five
              slices, each beside its own measurement of the rate; counted from when due
  overload    10 times the texts that it can do, in requests of 32 whose callers wait 2 s: what is
              still done, how soon the rest is refused, how soon a lone request is as fast as before
  idle        256 busy connections, alone and beside 1,000 that do nothing; memory of an idle one
  slow        16 busy connections, alone and beside 2,000 that send their head a byte each 5 s
  drains      SIGTERM at a random moment under load: replies that never came
  reloads     the model is loaded anew while 4 connections ask: refused requests, growth of memory
  soak        texts and requests of all sizes for long: growth of memory, descriptors and threads,
              wrong statuses, and one text's vector, bit for bit

Another server that speaks /v1/embeddings is measured in the same way (throughput and latency) with
--address HOST:PORT. Every load is bounded in count and in time, and goes to the loopback only.

usage: python bench/serve_load.py [--only NAME...] [--seconds N] [--output FOLDER] [-- OPTION...]
with the Python that scripts/setup --tests made; TEXTVEC_BINARY names another binary. What is behind --
goes to `textvec serve`, as in: -- --precision int8
"""

import argparse
import asyncio
import contextlib
import datetime
import gc
import itertools
import json
import math
import os
import pathlib
import random
import resource
import signal
import socket
import statistics
import subprocess
import sys
import time

import models  # noqa: F401  (beside this file; it knows where tests/parity/ is)
import parity
from machine import instruction_sets, memory_gib, processor

sys.path.insert(0, str(models.ROOT / "tests/service"))
import command_line  # noqa: E402
import serving  # noqa: E402

CONNECTIONS = 16
TEXTS_A_REQUEST = (1, 32)
LOAD = 0.8
LATENCY_SLICES = 5
OVERLOAD = 10
PATIENCE_MS = 2000
OVERLOAD_CONNECTIONS_MAX = 1024
IDLE, ACTIVE = 1000, 256
SLOW, SLOW_PAUSE_SECONDS = 2000, 5
RECOVERY_SECONDS_MAX = 30
DESCRIPTORS = 8192
GLOSSES = 20_000
GOLDEN_EVERY = 1000
RELOAD_CONNECTIONS = 4
PRIORITY = -10  # of this process
RSS_PAUSE_SECONDS = 1.0
REFUSED_PAUSE_SECONDS = 0.1


# --- A client


class Gone(Exception):
    """The server closed the connection before a reply."""


class Client:
    """One connection. As cheap as Python allows, because it shares the cores with the server."""

    def __init__(self, address):
        self.address = address
        self.reader = self.writer = None

    async def open(self):
        self.reader, self.writer = await asyncio.open_connection(*self.address, limit=1 << 24)
        return self

    def is_closed(self):
        """By the server, which does not wait for ever for the next request."""
        return self.reader.at_eof()

    def close(self):
        if self.writer is not None:
            self.writer.close()

    async def ask(self, data):
        """Status, head and body of the reply."""
        try:
            self.writer.write(data)
            head = await self.reader.readuntil(b"\r\n\r\n")
            status = int(head[9:12])
            length = head.lower().find(b"content-length:")
            body = b""
            if length >= 0:
                size = int(head[length + 15 : head.index(b"\r\n", length)])
                body = await self.reader.readexactly(size)
        except (asyncio.IncompleteReadError, OSError) as error:
            raise Gone from error
        return status, head, body


def run_first(coroutine):
    """Before the server, which runs already, where that may be: a wait for a core is not its doing."""
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
    try:
        return asyncio.run(coroutine)
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, usual)


async def opened(address, count):
    return [await Client(address).open() for _ in range(count)]


def embed_request(texts, fields=()):
    body = {"input": texts, "encoding_format": "base64"}
    return serving.request("POST", "/v1/embeddings", body, fields)


def requests_of(texts, size, fields=()):
    """Requests of so many texts each, no two alike for as long as the texts last."""
    starts = range(0, len(texts) - size + 1, size)
    made = [embed_request(texts[start : start + size], fields) for start in starts]
    return itertools.cycle(made)


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def milliseconds(seconds):
    return round(seconds * 1000, 2)


def latencies(seconds):
    return {"p50_ms": milliseconds(percentile(seconds, 0.5)),
            "p99_ms": milliseconds(percentile(seconds, 0.99)), "requests": len(seconds)}  # fmt: skip


async def closed_loop(address, connections, requests, size, seconds):
    """Every connection asks again as soon as it is answered."""
    clients = await opened(address, connections)
    taken = []
    end = time.perf_counter() + seconds

    async def one(client):
        while time.perf_counter() < end:
            begun = time.perf_counter()
            status, head, body = await client.ask(next(requests))
            if status != 200:
                raise SystemExit(f"status {status}: {body[:200]}")
            taken.append(time.perf_counter() - begun)
            if b"connection: close" in head.lower():  # other servers count a connection's requests
                client.close()
                await client.open()

    begun = time.perf_counter()
    try:
        await asyncio.gather(*map(one, clients))
    finally:
        for client in clients:
            client.close()
    wall = time.perf_counter() - begun
    return {"texts_per_s": round(len(taken) * size / wall, 1), **latencies(taken)}


async def open_loop(address, requests, per_second, seconds, connections_max, pause):
    """Requests at times that no reply delays, `pause(rate)` apart: due, begun, ended, status of each."""
    free, answered, asked = [], [], set()
    connections = 0

    async def one(due, data):
        nonlocal connections
        begun = time.perf_counter()
        while free and free[-1].is_closed():
            free.pop().close()
            connections -= 1
        if not free and connections == connections_max:
            return answered.append((due, begun, begun, 0))  # this process gave up, not the server
        try:
            if free:
                client = free.pop()
            else:
                client = Client(address)
                connections += 1
                await client.open()
            status, head, _ = await client.ask(data)
        except (Gone, OSError):
            status, head = -1, b"connection: close"
        answered.append((due, begun, time.perf_counter(), status))
        if b"connection: close" in head.lower():
            client.close()
            connections -= 1
        else:
            free.append(client)
        return None

    due = time.perf_counter()
    end = due + seconds
    while due < end:
        due += pause(per_second)
        await asyncio.sleep(max(0, due - time.perf_counter()))
        task = asyncio.create_task(one(due, next(requests)))
        asked.add(task)
        task.add_done_callback(asked.discard)
    await asyncio.gather(*asked)
    for client in free:
        client.close()
    return answered


# --- The server


def memory_kib(process):
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))


def threads_of(process):
    return len(os.listdir(f"/proc/{process.pid}/task"))


def descriptors_of(process):
    return len(os.listdir(f"/proc/{process.pid}/fd"))


def started(options):
    return serving.serving("--no-access-log", *options.serve, model=options.model)


# --- What is measured. Each gives a dictionary of numbers.


async def throughput(address, options):
    found = {}
    for size in TEXTS_A_REQUEST:
        requests = requests_of(options.texts, size)
        await closed_loop(address, CONNECTIONS, requests, size, min(2, options.seconds))  # warm
        found[f"{size} a request"] = await closed_loop(
            address, CONNECTIONS, requests, size, options.seconds
        )
    return found


async def latency(address, options):
    """In slices, each at a share of what the machine could do just before: some change their speed."""
    requests = requests_of(options.texts, 1)
    seconds = options.seconds / LATENCY_SLICES
    found, rates = {}, []
    for name, pause in (("at chance's times", options.draw.expovariate), ("evenly", lambda r: 1 / r)):
        answers = []
        for _ in range(LATENCY_SLICES):
            best = await closed_loop(address, CONNECTIONS, requests, 1, seconds)
            rates.append(LOAD * best["texts_per_s"])
            answers += await open_loop(address, requests, rates[-1], seconds, 256, pause)
        good = [ended - due for due, _, ended, status in answers if status == 200]
        late = [begun - due for due, begun, _, _ in answers]
        found[name] = {**latencies(good), "not_200": len(answers) - len(good),
                       "p99_by_p50": round(percentile(good, 0.99) / percentile(good, 0.5), 2),
                       "asked_late_p99_ms": milliseconds(percentile(late, 0.99))}  # fmt: skip
    return {"texts_per_s": round(statistics.mean(rates), 1), **found}


async def overload(address, options):
    size = TEXTS_A_REQUEST[-1]
    requests = requests_of(options.texts, size)
    best = await closed_loop(address, CONNECTIONS, requests, size, options.seconds)
    # What waits longer than that is of no use to who asked, so that the server need not take it.
    requests = requests_of(options.texts, size, [("X-Request-Timeout-Ms", str(PATIENCE_MS))])
    lone = requests_of(options.texts, 1)
    base = (await closed_loop(address, 1, lone, 1, min(3, options.seconds)))["p50_ms"]
    begun = time.perf_counter()
    answers = await open_loop(address, requests, OVERLOAD * best["texts_per_s"] / size,
                              options.seconds, OVERLOAD_CONNECTIONS_MAX,
                              options.draw.expovariate)  # fmt: skip
    wall = time.perf_counter() - begun
    last = time.perf_counter()
    recovery = None
    client = await Client(address).open()
    while recovery is None and time.perf_counter() < last + RECOVERY_SECONDS_MAX:
        asked = time.perf_counter()
        status, _, _ = await client.ask(next(lone))
        if status == 200 and milliseconds(time.perf_counter() - asked) <= 2 * base:
            recovery = round(time.perf_counter() - last, 2)
    client.close()
    by_status = {}
    for _, sent, ended, status in answers:
        by_status.setdefault(status, []).append(ended - sent)
    good = len(by_status.get(200, [])) * size / wall
    refused = by_status.get(429, [])
    return {
        "best_texts_per_s": best["texts_per_s"],
        "offered_texts_per_s": round(len(answers) * size / options.seconds, 1),
        "goodput_texts_per_s": round(good, 1),
        "goodput_by_best": round(good / best["texts_per_s"], 3),
        "statuses": {str(status): len(times) for status, times in sorted(by_status.items())},
        "refusal_p50_ms": milliseconds(percentile(refused, 0.5)) if refused else None,
        "refusal_p99_ms": milliseconds(percentile(refused, 0.99)) if refused else None,
        "accepted_p99_ms": milliseconds(percentile(by_status[200], 0.99)) if good else None,
        "recovery_s": recovery,
    }


async def idle(address, options, process):
    requests = requests_of(options.texts, 1)
    alone = await closed_loop(address, ACTIVE, requests, 1, options.seconds)
    before = memory_kib(process)
    idlers = await opened(address, IDLE)
    probe = serving.request("GET", "/livez")
    for client in idlers:  # each has been used once, as those that clients keep are
        await client.ask(probe)
    grown = memory_kib(process) - before
    beside = await closed_loop(address, ACTIVE, requests, 1, options.seconds)
    for client in idlers:
        await client.ask(probe)
        client.close()
    return {"alone": alone, "beside_idle": beside, "kib_an_idle_connection": round(grown / IDLE, 1),
            "p99_ratio": round(beside["p99_ms"] / alone["p99_ms"], 2)}  # fmt: skip


class Dawdlers:
    """Connections that send a request's head a byte at a time, and come again when they are closed.

    Bare sockets and one task, so that what they cost is the server's cost and hardly this process's.
    """

    def __init__(self, address, count):
        self.address = address
        self.sockets = [self._opened() for _ in range(count)]
        self.closed = 0

    def _opened(self):
        opened_socket = socket.create_connection(self.address)
        opened_socket.setblocking(False)
        opened_socket.send(b"POST /embed HTTP/1.1\r\nHost: textvec\r\nX-Slow: ")
        return opened_socket

    def _is_closed(self, one):
        try:
            one.recv(1 << 16)  # a reply, which is 408, or the end
        except BlockingIOError:
            one.send(b"a")
            return False
        except OSError:
            pass
        return True

    async def dawdle(self):
        steps = SLOW_PAUSE_SECONDS * 20
        while True:
            for begin in range(steps):
                for i in range(begin, len(self.sockets), steps):
                    if self._is_closed(self.sockets[i]):
                        self.closed += 1
                        self.sockets[i].close()
                        self.sockets[i] = self._opened()
                await asyncio.sleep(1 / 20)

    def close(self):
        for one in self.sockets:
            one.close()


async def slow(address, options):
    requests = requests_of(options.texts, 1)
    alone = await closed_loop(address, CONNECTIONS, requests, 1, options.seconds)
    dawdlers = Dawdlers(address, SLOW)
    dawdling = asyncio.create_task(dawdlers.dawdle())
    beside = await closed_loop(address, CONNECTIONS, requests, 1, options.seconds)
    dawdling.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await dawdling
    dawdlers.close()
    after = await closed_loop(address, CONNECTIONS, requests, 1, options.seconds)
    without = statistics.mean([alone["texts_per_s"], after["texts_per_s"]])
    return {"alone": alone, "beside_slow": beside, "after": after, "slow_closed": dawdlers.closed,
            "loss": round(1 - beside["texts_per_s"] / without, 3)}  # fmt: skip


async def drain_once(server, options):
    """Replies that came, and that did not."""
    requests = requests_of(options.texts, 4)
    came = lost = 0

    async def one(client):
        nonlocal came, lost
        while True:
            try:
                status, head, _ = await client.ask(next(requests))
            except Gone:
                lost += 1
                return
            came += status == 200
            lost += status != 200
            if b"connection: close" in head.lower():
                client.close()
                return

    clients = await opened(server.address, CONNECTIONS)
    asking = [asyncio.create_task(one(client)) for client in clients]
    await asyncio.sleep(options.draw.uniform(0.05, 0.5))
    server.process.send_signal(signal.SIGTERM)
    await asyncio.gather(*asking)
    return came, lost


def drains(options):
    came = lost = 0
    codes = {}
    for _ in range(options.drains):
        with started(options) as server:
            replies = run_first(drain_once(server, options))
            came, lost = came + replies[0], lost + replies[1]
            code = server.process.wait(serving.SECONDS_MAX)
            codes[str(code)] = codes.get(str(code), 0) + 1
    return {"drains": options.drains, "replies": came, "lost": lost, "exit_codes": codes}


async def reloads(address, options, process):
    requests = requests_of(options.texts, 4)
    statuses, seconds = {}, []
    over = False

    async def one(client):
        while not over:
            status, _, _ = await client.ask(next(requests))
            statuses[str(status)] = statuses.get(str(status), 0) + 1

    clients = await opened(address, RELOAD_CONNECTIONS)
    asking = [asyncio.create_task(one(client)) for client in clients]
    operator = await Client(address).open()
    memory = []
    for _ in range(options.reloads):
        begun = time.perf_counter()
        status, _, body = await operator.ask(serving.request("POST", "/admin/reload"))
        if status != 200:
            raise SystemExit(f"status {status}: {body[:200]}")
        seconds.append(time.perf_counter() - begun)
        memory.append(memory_kib(process))
    over = True
    await asyncio.gather(*asking)
    for client in [operator, *clients]:
        client.close()
    # The first reloads warm the allocator up: two models are held at a time.
    warm = memory[len(memory) // 10 :]
    halves = [statistics.median(part) / 1024 for part in (warm[: len(warm) // 2], warm[len(warm) // 2 :])]
    return {"reloads": options.reloads, "statuses": statuses, **latencies(seconds),
            "rss_mib_first": round(memory[0] / 1024, 1),
            "rss_mib_of_either_half": [round(half, 1) for half in halves],
            "rss_growth": round(halves[1] / halves[0] - 1, 3)}  # fmt: skip


def slope(points):
    """Of the line through them by least squares."""
    mean_x = statistics.mean(x for x, _ in points)
    mean_y = statistics.mean(y for _, y in points)
    squares = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / squares if squares else math.nan


async def soak(address, options, process):
    gc.enable()  # for so long it has to be
    golden_request = serving.request("POST", "/embed", {"inputs": serving.GOLDEN})
    draw = options.draw
    end = time.perf_counter() + options.soak_seconds
    statuses, points = {}, []
    count = wrong = 0

    async def golden_of(client):
        """The reply, whenever there is room for it."""
        while True:
            status, _, body = await client.ask(golden_request)
            if status == 200:
                return body
            await asyncio.sleep(REFUSED_PAUSE_SECONDS)

    first = await Client(address).open()
    golden = await golden_of(first)
    first.close()

    async def one(client):
        nonlocal count, wrong
        while time.perf_counter() < end:
            texts = []
            for _ in range(draw.choice([1, 1, 1, 2, 8, 32])):
                start = draw.randrange(len(options.texts) - 40)
                texts.append(" ".join(options.texts[start : start + draw.choice([1, 1, 2, 5, 40])]))
            status, _, _ = await client.ask(embed_request(texts))
            statuses[str(status)] = statuses.get(str(status), 0) + 1
            count += 1
            if status != 200:
                await asyncio.sleep(REFUSED_PAUSE_SECONDS)
            if count % GOLDEN_EVERY == 0:
                wrong += await golden_of(client) != golden

    async def watch():
        while time.perf_counter() < end:
            points.append((time.perf_counter(), memory_kib(process)))
            await asyncio.sleep(RSS_PAUSE_SECONDS)

    clients = await opened(address, CONNECTIONS)
    before = descriptors_of(process), threads_of(process)
    await asyncio.gather(watch(), *map(one, clients))
    after = descriptors_of(process), threads_of(process)
    wrong += await golden_of(clients[0]) != golden
    for client in clients:
        client.close()
    warm = points[len(points) // 5 :]  # the first fifth warms the server up
    return {
        "seconds": options.soak_seconds, "requests": count, "statuses": statuses,
        "golden_changed": wrong, "rss_mib": round(points[-1][1] / 1024, 1),
        "rss_slope_mib_in_10_min": round(slope(warm) * 600 / 1024, 2),
        "descriptors": [before[0], after[0]], "threads": [before[1], after[1]],
    }  # fmt: skip


MEASURES = ("throughput", "latency", "overload", "idle", "slow", "drains", "reloads", "soak")
OF_ANY_SERVER = {"throughput": throughput, "latency": latency}


def measure(name, options):
    if options.address:
        host, _, port = options.address.rpartition(":")
        return run_first(OF_ANY_SERVER[name]((host, int(port)), options))
    if name == "drains":
        return drains(options)
    with started(options) as server:
        if name in ("idle", "reloads", "soak"):
            found = run_first(globals()[name](server.address, options, server.process))
        else:
            found = run_first(globals()[name](server.address, options))
        found["rss_mib_after"] = round(memory_kib(server.process) / 1024, 1)
        found["exit_code"] = server.end()
        return found


# --- The report


def rows_of(found, prefix=""):
    for name, value in found.items():
        if isinstance(value, dict) and name not in ("statuses", "exit_codes"):
            yield from rows_of(value, f"{prefix}{name}, ")
        else:
            shown = json.dumps(value).strip('"{}').replace('"', "")
            yield f"{prefix}{name}".replace("_", " "), shown


def markdown(result):
    lines = [f"{result['machine']}; {result['date']}; {result['model']}; {result['server']}", ""]
    for name, found in result["measured"].items():
        lines += [f"## {name}", "", "| what | value |", "|---|---|"]
        lines += [f"| {what} | {value} |" for what, value in rows_of(found)]
        lines.append("")
    return "\n".join(lines)


def parsed():
    arguments, serve = sys.argv[1:], []
    if "--" in arguments:
        place = arguments.index("--")
        arguments, serve = arguments[:place], arguments[place + 1 :]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=list(MEASURES))
    parser.add_argument("--seconds", type=float, default=20, help="of each load (20)")
    parser.add_argument("--soak-seconds", type=float, default=3600)
    parser.add_argument("--drains", type=int, default=100)
    parser.add_argument("--reloads", type=int, default=200)
    parser.add_argument("--model", default=str(parity.minilm()), metavar="FOLDER")
    parser.add_argument("--address", metavar="HOST:PORT", help="of a server that runs already")
    parser.add_argument("--output", type=pathlib.Path, metavar="FOLDER", help="for load.{json,md}")
    options = parser.parse_args(arguments)
    options.serve = serve
    if options.reloads < 2:
        parser.error(f"--reloads {options.reloads}: two halves of them are compared")
    if options.address:
        options.only = [name for name in options.only if name in OF_ANY_SERVER]
    return options


def main():
    options = parsed()
    gc.disable()  # its pauses would count as the server's
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if most == resource.RLIM_INFINITY else min(DESCRIPTORS, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    options.texts = parity.glosses(GLOSSES)
    options.draw = random.Random(1)
    version = subprocess.run([command_line.BINARY, "--version"], capture_output=True, text=True,
                             check=True).stdout.strip()  # fmt: skip
    result = {
        "machine": f"{processor()}, {os.cpu_count()} cores, {memory_gib():.0f} GiB, "
        + " ".join(instruction_sets()),
        "date": datetime.date.today().isoformat(),
        "model": pathlib.Path(options.model).name,
        "server": options.address or " ".join([version, "serve", *options.serve]),
        "seconds": options.seconds,
        "measured": {},
    }
    for name in options.only:
        print(f"serve_load: {name}", file=sys.stderr)
        result["measured"][name] = measure(name, options)
    print(markdown(result))
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / "load.json").write_text(json.dumps(result, indent=1) + "\n")
        (options.output / "load.md").write_text(markdown(result))


if __name__ == "__main__":
    main()
