# In: input that goes on, stops, or is larger than memory; signals; outputs that break.
# Goal: vectors come while input comes, memory stays bounded, and a run that ends can be continued.
import contextlib
import errno
import fcntl
import json
import os
import pathlib
import pty
import re
import signal
import struct
import termios
import threading
import time

import numpy
import pytest
from command_line import (
    SECONDS_MAX,
    assert_refused,
    jsonl,
    limit_file_size,
    lines_of,
    restore_interrupt,
    run,
    running,
    wait_until,
)

TEXTS = [f"text number {index} of them" for index in range(8000)]
STOPS = [signal.SIGINT, signal.SIGTERM]


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    """The vectors of TEXTS, from a run that nothing interrupts."""
    output = tmp_path_factory.mktemp("whole") / "whole.npy"
    assert run("embed", "--output", output, given=lines_of(TEXTS), model=tiny).code == 0
    return numpy.load(output)


def give(process, given):
    process.stdin.write(given)
    process.stdin.flush()


def feed(process, *pieces):
    """Writes without waiting for the command to read, and leaves its input open."""

    def write():
        # A command that has ended is what many of these tests are about.
        with contextlib.suppress(BrokenPipeError):
            for piece in pieces:
                view = memoryview(piece)
                while view:
                    view = view[os.write(process.stdin.fileno(), view) :]

    thread = threading.Thread(target=write)
    thread.start()
    return thread


def end_of(process):
    """The exit code and standard error of a command that is about to end."""
    err = process.stderr.read().decode()
    return process.wait(SECONDS_MAX), err


def stopped_after(err):
    """How many texts the message counts; the text to go on with is the same number."""
    found = re.fullmatch(
        r"textvec: interrupted after (\d+) texts; continue from index (\d+) \(--skip (\d+)\)\n", err
    )
    assert found, err
    assert found[2] == found[3]
    return int(found[1]), int(found[3])


# --- While input comes


@pytest.mark.parametrize("command", ["embed", "tokenize"])
@pytest.mark.parametrize("form", ["txt", "jsonl"])
def test_a_text_is_answered_before_the_input_ends(tiny, command, form):
    def written(texts):
        return lines_of(texts) if form == "txt" else jsonl(*({"text": text} for text in texts))

    key = "embedding" if command == "embed" else "ids"
    texts = ["first", "second one", "third", "the fourth", "fifth"]
    expected = run(command, *texts, model=tiny).lines()
    with running(command, "--input-format", form, model=tiny) as process:
        answers = []
        for some in [texts[:2], texts[2:3], texts[3:]]:
            give(process, written(some))
            answers += [json.loads(process.stdout.readline()) for _ in some]
        process.stdin.close()
        assert process.stdout.read() == b""
        assert end_of(process) == (0, "")
    assert [answer["index"] for answer in answers] == [0, 1, 2, 3, 4]
    for answer, one in zip(answers, expected):
        numpy.testing.assert_allclose(answer[key], one[key], atol=1e-6)


def test_a_line_may_come_in_pieces(tiny):
    with running("tokenize", model=tiny) as process:
        for piece in [b"the", b" same", b" line\nnext"]:
            give(process, piece)
        first = json.loads(process.stdout.readline())
        process.stdin.close()  # the last line needs no end
        last = json.loads(process.stdout.readline())
        assert end_of(process) == (0, "")
    expected = run("tokenize", "the same line", "next", model=tiny).lines()
    assert [first, last] == expected


@pytest.mark.parametrize("ending", ["jsonl", "csv", "npy"])
def test_an_output_file_holds_what_is_done(tiny, tmp_path, ending):
    output = tmp_path / f"vectors.{ending}"

    def rows():
        if not output.exists() or output.stat().st_size == 0:
            return 0
        if ending == "npy":
            return len(numpy.load(output))
        return output.read_bytes().count(b"\n")

    with running("embed", "--output", output, model=tiny) as process:
        give(process, b"one\ntwo\n")
        wait_until(lambda: rows() == 2)
        give(process, b"three\n")
        wait_until(lambda: rows() == 3)
        process.kill()  # nobody can tidy up
    assert rows() == 3


def test_order_is_kept_whatever_comes_at_once(tiny):
    texts = ["word " * (index * 37 % 61) for index in range(3000)]
    with running("embed", model=tiny) as process:
        feeder = feed(process, lines_of(texts))
        lines = [json.loads(process.stdout.readline()) for _ in texts]
        feeder.join()
        process.stdin.close()
        assert end_of(process) == (0, "")
    assert [line["index"] for line in lines] == list(range(len(texts)))
    assert [line["tokens"] for line in lines] == [index * 37 % 61 + 2 for index in range(3000)]


# --- Memory


def peak_memory(pieces, count, **options):
    """Peak resident bytes of `embed` while it reads the pieces, and its `count` lines."""
    with running("embed", "--field", "text", **options) as process:
        feeder = feed(process, *pieces)
        lines = [process.stdout.readline() for _ in range(count)]
        feeder.join()
        # Now, because it is gone when the command has ended; the system's count for a child that
        # has ended would begin with what Python had.
        status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        process.stdin.close()
        end_of(process)
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) << 10, lines


def test_memory_does_not_grow_with_the_input(tiny):
    # A gigabyte, which takes seconds because little of it is text: lines just below the limit of
    # four mebibytes, whose other field is read and dropped, and lines above it, which are refused.
    small = b'{"text":"good"}\n'
    within = b'{"text":"good","more":"' + b"x" * 4_000_000 + b'"}\n'
    above = b'{"text":"' + b"x" * 10_000_000 + b'"}\n'
    pieces = [within, above] * 72
    assert sum(map(len, pieces)) > 1_000_000_000
    before, _ = peak_memory([small] * 100, 100, model=tiny)
    after, lines = peak_memory(pieces, len(pieces), model=tiny)
    assert ["error" in json.loads(line) for line in lines] == [False, True] * 72
    assert after - before < 100 << 20


def test_memory_does_not_grow_with_the_number_of_texts(tiny):
    text = b'{"text":""}\n'
    few, _ = peak_memory([text * 5_000], 5_000, model=tiny)
    many, lines = peak_memory([text * 50_000], 50_000, model=tiny)
    assert sum(map(len, lines)) > 20 << 20
    # Neither the vectors as text, 20 MiB, nor as numbers, 6 MiB, may gather.
    assert many - few < 5 << 20


# --- Signals


@pytest.mark.parametrize("stop", STOPS)
def test_an_interrupted_run_can_be_continued(tiny, tmp_path, whole, stop):
    part, rest = tmp_path / "part.jsonl", tmp_path / "rest.jsonl"
    with running("embed", "--output", part, model=tiny) as process:
        feeder = feed(process, lines_of(TEXTS))
        wait_until(lambda: part.exists() and part.stat().st_size > 0)
        process.send_signal(stop)
        code, err = end_of(process)
        feeder.join()
    assert code == 130
    count, skip = stopped_after(err)
    assert 0 < count == skip <= len(TEXTS)
    content = part.read_bytes()
    assert content.endswith(b"\n")
    assert len(content.splitlines()) == count

    answer = run("embed", "--skip", skip, "--output", rest, given=lines_of(TEXTS), model=tiny)
    assert (answer.code, answer.err) == (0, "")
    lines = [json.loads(line) for line in (content + rest.read_bytes()).splitlines()]
    assert [line["index"] for line in lines] == list(range(len(TEXTS)))
    vectors = numpy.array([line["embedding"] for line in lines])
    numpy.testing.assert_allclose(vectors, whole, atol=1e-6)


def test_an_interrupted_npy_file_is_whole(tiny, tmp_path, whole):
    part, rest = tmp_path / "part.npy", tmp_path / "rest.npy"
    with running("embed", "--output", part, model=tiny) as process:
        feeder = feed(process, lines_of(TEXTS))
        wait_until(lambda: part.exists() and part.stat().st_size > 128)  # more than the header
        process.send_signal(signal.SIGINT)
        code, err = end_of(process)
        feeder.join()
    assert code == 130
    count, skip = stopped_after(err)
    assert len(numpy.load(part)) == count > 0
    answer = run("embed", "--skip", skip, "--output", rest, given=lines_of(TEXTS), model=tiny)
    assert (answer.code, answer.err) == (0, "")
    both = numpy.concatenate([numpy.load(part), numpy.load(rest)])
    numpy.testing.assert_allclose(both, whole, atol=1e-6)


def test_an_interrupted_tokenize_can_be_continued(tiny):
    with running("tokenize", model=tiny) as process:
        feeder = feed(process, lines_of(TEXTS))
        lines = [process.stdout.readline()]
        process.send_signal(signal.SIGINT)
        lines += process.stdout.readlines()
        code, err = end_of(process)
        feeder.join()
    assert code == 130
    count, skip = stopped_after(err)
    assert len(lines) == count
    rest = run("tokenize", "--skip", skip, given=lines_of(TEXTS), model=tiny)
    both = [json.loads(line)["index"] for line in lines + rest.out.splitlines()]
    assert both == list(range(len(TEXTS)))


@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize("command", ["embed", "tokenize"])
def test_a_signal_ends_the_waiting_for_input(tiny, command, stop):
    with running(command, "--skip", "2", model=tiny) as process:
        give(process, b"one\ntwo\nthree\nfour\nfive\n")
        for index in [2, 3, 4]:
            assert json.loads(process.stdout.readline())["index"] == index
        process.send_signal(stop)
        code, err = end_of(process)
    assert code == 130
    assert stopped_after(err) == (3, 5)  # the skipped texts were not done, but need not be


@pytest.mark.parametrize("command", ["embed", "tokenize"])
def test_a_second_signal_ends_the_command_at_once(tiny, command):
    with running(command, model=tiny) as process:
        # Nobody reads the output, so that the command cannot end in its own time.
        capacity = fcntl.fcntl(process.stdout, fcntl.F_GETPIPE_SZ)
        feeder = feed(process, lines_of(TEXTS))

        def output_is_full():
            level = fcntl.ioctl(process.stdout, termios.FIONREAD, bytes(4))
            return struct.unpack("i", level)[0] > capacity - 4096

        wait_until(output_is_full)
        # Different ones: the system keeps only one of a kind.
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS_MAX) == 130
        feeder.join()


def ignore_interrupt():
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def test_an_ignored_interrupt_stays_ignored(tiny):
    # As a shell starts a job in the background; SIGTERM still ends it.
    with running("embed", model=tiny, preexec_fn=ignore_interrupt) as process:
        give(process, b"one\n")
        assert json.loads(process.stdout.readline())["index"] == 0
        process.send_signal(signal.SIGINT)
        give(process, b"two\n")
        assert json.loads(process.stdout.readline())["index"] == 1
        process.send_signal(signal.SIGTERM)
        code, err = end_of(process)
    assert code == 130
    assert stopped_after(err) == (2, 2)


def test_a_time_limit_ends_the_waiting_for_input(tiny):
    with running("embed", "--timeout", "0.5", model=tiny) as process:
        code, err = end_of(process)
    assert code == 5
    assert re.search("deadline|time limit", err)


# --- Outputs that break


def ignore_broken_pipes():
    restore_interrupt()
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)


@pytest.mark.parametrize("command", ["embed", "tokenize"])
def test_a_reader_that_goes_away_ends_the_command(tiny, command):
    with running(command, model=tiny) as process:
        feeder = feed(process, lines_of(TEXTS))
        process.stdout.readline()
        process.stdout.close()
        code, err = end_of(process)
        feeder.join()
    assert (code, err) == (-signal.SIGPIPE, "")


def test_a_reader_that_goes_away_is_an_error_where_the_signal_is_ignored(tiny):
    with running("embed", model=tiny, preexec_fn=ignore_broken_pipes) as process:
        feeder = feed(process, lines_of(TEXTS))
        process.stdout.readline()
        process.stdout.close()
        code, err = end_of(process)
        feeder.join()
    assert code == 4
    assert err.startswith("textvec: cannot write to standard output: Broken pipe\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["embed", "x", "--output", "/dev/full"],
        ["embed", "x", "--output", "/dev/full", "--format", "csv"],
        ["embed", "x", "--output", "/dev/full", "--format", "npy"],
        ["tokenize", "x", "--output", "/dev/full"],
    ],
    ids=" ".join,
)
def test_a_full_device_is_an_error(tiny, arguments):
    answer = run(*arguments, model=tiny)
    assert_refused(answer, 4, "cannot write to /dev/full", os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    "arguments",
    [["embed", "x"], ["tokenize", "x"], ["info"], ["info", "--json"], ["doctor"]],
    ids=" ".join,
)
def test_a_full_standard_output_is_an_error(tiny, arguments):
    with open("/dev/full", "wb") as full:
        answer = run(*arguments, model=tiny, stdout=full)
    assert_refused(answer, 4, "cannot write to standard output", os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_a_full_standard_output_is_an_error_for_a_line_too(option):
    with open("/dev/full", "wb") as full:
        assert run(option, model=None, stdout=full).code == 4


@pytest.mark.parametrize("ending", ["jsonl", "csv", "npy"])
def test_a_disk_that_fills_keeps_whole_rows(tiny, tmp_path, whole, ending):
    output = tmp_path / f"vectors.{ending}"
    limit = limit_file_size(1_000_000)  # a fraction of the vectors in every format
    answer = run(
        "embed", "--output", output, given=lines_of(TEXTS), model=tiny, preexec_fn=limit
    )
    assert answer.code == 4
    assert f"cannot write to {output}: {os.strerror(errno.EFBIG)}" in answer.err
    if ending == "npy":
        rows = numpy.load(output)
    elif ending == "csv":
        rows = numpy.loadtxt(output, delimiter=",")
    else:
        lines = [json.loads(line) for line in output.read_bytes().splitlines()]
        rows = [line["embedding"] for line in lines]
    assert 0 < len(rows) < len(TEXTS)
    numpy.testing.assert_allclose(rows, whole[: len(rows)], atol=1e-6)
    assert f"stopped after {len(rows)} texts" in answer.err
    assert f"(--skip {len(rows)})" in answer.err


# --- The progress bar

BAR = re.compile(r"\r\x1b\[K\[#*\.*\] \d{1,3}%.* texts, \d+ texts/s")


def read_to_end(descriptor, pieces):
    with contextlib.suppress(OSError):  # how a terminal says that its other end is closed
        while piece := os.read(descriptor, 4096):
            pieces.append(piece)


def standard_error_of_a_long_run(tiny, tmp_path, terminal, on_terminal):
    """What a run of more than a second writes there."""
    file = tmp_path / "texts.txt"
    file.write_bytes(lines_of(TEXTS))
    screen, end = pty.openpty() if on_terminal else os.pipe()
    pieces = []
    reader = threading.Thread(target=read_to_end, args=(screen, pieces))
    options = {"model": tiny, "stderr": end, "env": {"TERM": terminal}}
    with running("embed", "--input", file, **options) as process:
        os.close(end)
        reader.start()
        process.stdout.readline()
        # The run has begun, and cannot end while nobody reads its output. After a second a bar is
        # due: this waits for the clock, and for nothing that the command does.
        time.sleep(1.1)
        process.stdout.read()
        assert process.wait(SECONDS_MAX) == 0
    reader.join()
    os.close(screen)
    return b"".join(pieces).decode()


def test_a_terminal_gets_a_progress_bar(tiny, tmp_path):
    screen = standard_error_of_a_long_run(tiny, tmp_path, "xterm", True)
    assert BAR.match(screen), screen
    assert screen.endswith("\r\x1b[K")  # erased at the end
    shares = [int(share) for share in re.findall(r"(\d+)%", screen)]
    assert shares == sorted(shares) and 0 <= shares[0] <= shares[-1] <= 100


def test_a_terminal_that_knows_no_codes_gets_none(tiny, tmp_path):
    assert standard_error_of_a_long_run(tiny, tmp_path, "dumb", True) == ""


def test_a_pipe_gets_no_progress_bar(tiny, tmp_path):
    assert standard_error_of_a_long_run(tiny, tmp_path, "xterm", False) == ""
