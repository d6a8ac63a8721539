#!/usr/bin/env python3
"""Shows where `lake` spends the CPU time of one phase: a flame graph, and the functions that take most.

    flame.py --phase load --data DATA/S --out load.svg        also writes load.txt, which is printed as well

The phase runs once under `perf record`, on a lake of its own that is removed afterwards; the phases before it run without. Everything is
counted in samples of CPU time: who waits is not seen. Frames that only call themselves are drawn as one. Stacks that are larger than
`perf` can copy lack their outermost frames; those are taken from other stacks with the same two functions outermost, if all of these
have the same callers, and else stand above `[cut short]`.
"""

import argparse
import collections
import html
import os
import re
import shutil
import subprocess
import sys
import tempfile

from place import BENCH, TARGET

PHASES = ["load", "change", "noop", "query"]
BEFORE = {"load": [], "change": ["load"], "noop": ["load", "change"], "query": ["load", "change"]}
EVENTS = {"load": "base", "change": "change", "noop": "*/*"}

FREQUENCY = 499
FREQUENCY_OF_LARGE = 99
LARGE = 256 << 20
"""Bytes of raw files from which on a phase takes so long that fewer samples a second are enough."""
STACK_BYTES = 65528
"""The most that `perf` can copy of a stack: the futures of a run take more than 16 KiB."""
STACK_FRAMES = 512
BUFFER = "16M"

STARTS = {"_start", "_dl_start_user", "clone", "__clone", "clone3", "__clone3", "start_thread"}
CUT = "[cut short]"
COMPLETIONS = 8
LISTED = 25

GROUPS = {
    "lake": ("#f28e2b", r"lake(_\w+)?::"),
    "arrow/parquet": ("#76b7b2", r"(arrow|parquet)(_\w+)?::"),
    "datafusion": ("#8cb4e0", r"(datafusion(_\w+)?|sqlparser)::"),
    "delta": ("#b6a0d8", r"deltalake(_\w+)?::"),
    "delta kernel": ("#e6a8c8", r"(delta|buoyant)_kernel(_\w+)?::"),
    "allocator": ("#e8736f", r"_*mi_|(mimalloc|libmimalloc_sys)::|__(rust|rdl|rg)_|(malloc|calloc|realloc|free|cfree)$"),
    "Linux": ("#b0aaa2", None),
    "other": ("#e9dc9a", r""),
}
"""Colours, and what the names of a group begin with; `Linux` is known by where its code is."""
RUNTIME = re.compile(r"(core|std|alloc|tokio|futures_\w+|futures|tracing|rayon\w*|stacker|psm|recursive)::|_start|__libc_start|main$")
"""What wraps the work of others, and says nothing in a list of who took how long."""

WIDTH, ROW, MARGIN, HEAD, FONT, LETTER = 1600, 17, 10, 62, 11, 6.65
NARROWEST = 0.001

SCRIPT = """
const frames = [...document.querySelectorAll('.f')], left = MARGIN, full = WIDTH - 2 * MARGIN;
const place = f => ['x', 'y', 'width'].map(a => parseFloat(f.dataset[a] ??= f.getAttribute(a)));
function label(name, room) {
  if (name.length > room) name = name.replace(/(::{closure})+$/, '');
  while (name.length > room && name.includes('::')) name = name.slice(name.indexOf('::') + 2);
  return room < 3 ? '' : name.length > room ? name.slice(0, room - 1) + '…' : name;
}
function zoom(to) {
  const [x, y, width] = place(to), scale = full / width;
  for (const f of frames) {
    const [fx, fy, fw] = place(f), below = fy >= y && fx <= x + 0.01 && fx + fw >= x + width - 0.01;
    const seen = below || fx >= x - 0.01 && fx + fw <= x + width + 0.01;
    const from = below ? left : left + (fx - x) * scale, wide = below ? full : fw * scale;
    f.style.display = seen ? '' : 'none';
    f.setAttribute('x', from);
    f.setAttribute('width', wide);
    const [title, , text] = f.children;
    text.textContent = label(title.textContent.split('\\n')[0], Math.floor((wide - 4) / LETTER));
  }
}
for (const f of frames) f.addEventListener('click', () => zoom(f));
"""


def fail(text):
    sys.exit(f"flame.py: {text}")


def size_of(folder):
    return sum(os.path.getsize(os.path.join(d, f)) for d, _, files in os.walk(folder, followlinks=True) for f in files)


class Phases:
    """The phases over a data folder, as the benchmark runs them, into one lake."""

    def __init__(self, binary, data, lake):
        self.binary, self.raw, self.lake = binary, os.path.abspath(f"{data}/raw"), lake
        self.steps = f"{lake}/.steps.json"

    def command(self, phase):
        """The command of a phase and its environment."""
        if phase == "query":
            contender = os.path.join(os.path.dirname(self.binary), "lake-bench")
            return [contender, "--phase", "query", "--raw", self.raw, "--out", self.lake, "--steps", self.steps], dict(os.environ)
        environment = {**os.environ, "EVENTS": f"{self.raw}/{EVENTS[phase]}", "LAKE_URI": self.lake}
        environment.pop("WORKSPACE_ID", None)
        return [self.binary, "run", f"{BENCH}/pipeline.yaml", "--output", "json"], environment

    def run(self, phase, under=()):
        """Runs a phase to its end, as an argument of another command if that is given."""
        command, environment = self.command(phase)
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.run([*under, *command], cwd=self.lake, env=environment, text=True, errors="replace", **pipes)


def check_files(binary, data, phase):
    needed = [binary] if phase != "query" else [binary, os.path.join(os.path.dirname(binary), "lake-bench")]
    for program in needed:
        if not os.access(program, os.X_OK):
            fail(f"there is no `{program}`; build all members: `cargo build --release --workspace`")
    for name in ("base", "change", "queries.json"):
        if not os.path.exists(f"{data}/raw/{name}"):
            fail(f"there is no `{data}/raw/{name}`; make the data: `bench/gen.py --size S`")


def check_perf():
    """Ubuntu installs a `perf` that only says that there is none for this kernel."""
    if not shutil.which("perf") or subprocess.run(["perf", "--version"], capture_output=True).returncode != 0:
        fail("there is no `perf` for this kernel; install it: `apt-get install linux-perf`, on Ubuntu `linux-tools-$(uname -r)`")


def refused(said):
    """Why `perf` recorded nothing, and what to do about it."""
    last = "\n".join(said.strip().splitlines()[-12:])
    if not re.search(r"paranoid|mlock_kb|perf_event_open|not permitted|[Pp]ermission|access to performance", said):
        fail(f"`perf record` failed:\n{last}")
    fail(
        "`perf` is not permitted here. As root: `sysctl kernel.perf_event_paranoid=1`, and `kernel.perf_event_mlock_kb=2048`\n"
        f"if it is about mapping pages; in a container also `--cap-add PERFMON --security-opt seccomp=unconfined`. It said:\n{last}"
    )


def record(phases, phase, frequency, stack_bytes, file):
    """Runs a phase under `perf`. Stacks are copied and unwound later, for release binaries have no frame pointers; for that `perf` must
    know where data is mapped too (`--data`), which is where the linker puts the tables for unwinding."""
    command = ["perf", "record", "--no-buildid-cache", "--data", "--event", "cpu-clock", "--freq", str(frequency)]
    command += ["--call-graph", f"dwarf,{stack_bytes}", "--output", file]
    if os.geteuid() == 0:
        command += ["--mmap-pages", BUFFER]
    done = phases.run(phase, [*command, "--"])
    if "Captured and wrote" not in done.stderr:
        refused(done.stderr)
    return done


def check_run(done, phase):
    if done.returncode != 0:
        fail(f"the phase `{phase}` failed ({done.returncode}):\n{done.stderr[-3000:]}\n{done.stdout[-3000:]}")


def profiled(arguments, frequency):
    """What `perf script` tells of a phase."""
    with tempfile.TemporaryDirectory(prefix="lake_flame_") as folder:
        os.makedirs(f"{folder}/lake")
        phases = Phases(os.path.abspath(arguments.binary), arguments.data, f"{folder}/lake")
        for phase in BEFORE[arguments.phase]:
            check_run(phases.run(phase), phase)
        check_run(record(phases, arguments.phase, frequency, arguments.stack, f"{folder}/perf.data"), arguments.phase)
        print(f"perf.data has {os.path.getsize(f'{folder}/perf.data') / 1e6:.0f} MB", file=sys.stderr)
        command = ["perf", "script", "--input", f"{folder}/perf.data", "--no-inline", "--max-stack", str(STACK_FRAMES)]
        told = subprocess.run([*command, "--fields", "comm,pid,tid,ip,sym,dso"], capture_output=True, text=True, errors="replace")
    if told.returncode != 0:
        fail(f"`perf script` failed:\n{told.stderr[-3000:]}")
    for line in told.stderr.splitlines():
        if "lost" in line:
            print(line, file=sys.stderr)
    return told.stdout


def demangled(text):
    """Some builds of `perf` leave names as the linker knows them."""
    if not re.search(r" (_ZN|_R[A-Z])", text):
        return text
    if not shutil.which("c++filt"):
        print("names stay mangled: there is no `c++filt`; install binutils", file=sys.stderr)
        return text
    return subprocess.run(["c++filt"], input=text, stdout=subprocess.PIPE, text=True, check=True).stdout


def closing(text, start):
    """Where the angle bracket that opens at `start` is closed; the `>` of `->` closes nothing."""
    depth = 0
    for at in range(start, len(text)):
        if text[at] == "<":
            depth += 1
        elif text[at] == ">" and text[at - 1] != "-":
            depth -= 1
            if depth == 0:
                return at
    return len(text)


def split_outside(text, word):
    """The two sides of a word that is in no brackets, or the text and nothing."""
    at = 0
    while at < len(text):
        if text[at] == "<":
            at = closing(text, at)
        elif text.startswith(word, at):
            return text[:at], text[at + len(word) :]
        at += 1
    return text, ""


def type_name(text):
    """The name of what an angle bracket qualifies: of `Type as Trait` and `impl Trait for Type` the type, but the trait where the type
    is only a parameter."""
    if text.startswith("impl "):
        trait, kind = split_outside(text[len("impl ") :], " for ")
    else:
        kind, trait = split_outside(text, " as ")
    kind = re.sub(r"^(&|\*|mut |const |dyn |'\w+ )+", "", kind)
    return without_generics(trait if trait and re.fullmatch(r"[A-Z]\w*|", kind) else kind or trait)


def without_generics(name):
    """A path without generic arguments, in which a qualified type is the path of the type alone."""
    parts, at = [], 0
    while at < len(name):
        if name[at] != "<":
            parts.append(name[at])
            at += 1
            continue
        end = closing(name, at)
        inner = name[at + 1 : end]
        if at == 0:
            parts = [type_name(inner)]
        elif inner.startswith("impl ") and name[end + 1 : end + 3] == "::":
            parts = [type_name(inner)]
        elif "".join(parts[-2:]) == "::":
            parts = parts[:-2]
        at = end + 1
    return "".join(parts)


def readable(name):
    """A function's name without hashes, generic arguments and what the compiler added."""
    name = re.sub(r"(::h[0-9a-f]{16}|\.llvm\.\d+|\.(cold|part|isra|constprop)(\.\d+)*| \[clone [^]]*\])+$", "", name)
    name = re.sub(r"\{\{?closure\}?\}|\{closure[#:][^}]*\}", "{closure}", name)
    name = re.sub(r"\{\{vtable\.shim\}\}|\{shim:vtable#\d+\}", "{shim}", name)
    return without_generics(re.sub(r"\[[0-9a-f]{12,16}\]", "", name))


class Names:
    """Readable names of frames, and the groups that they are of."""

    def __init__(self):
        self.known, self.groups = {}, {}

    def of(self, symbol, place):
        if (symbol, place) not in self.known:
            self.known[symbol, place] = self.add(symbol, place)
        return self.known[symbol, place]

    def add(self, symbol, place):
        name = f"[{os.path.basename(place)}]" if symbol == "[unknown]" else readable(symbol)
        linux = place.startswith(("[kernel", "[guest.kernel", "[vdso")) or place.endswith((".ko", ".ko.xz", ".ko.zst"))
        self.groups.setdefault(name, "Linux" if linux else group_by_name(name))
        return name

    def group(self, name):
        return self.groups.get(name, "other")


def group_by_name(name):
    return next(group for group, (_, pattern) in GROUPS.items() if pattern is not None and re.match(pattern, name))


def stacks(text, names):
    """The samples: from the name of the thread to the function that ran."""
    frame = re.compile(r"\s+[0-9a-f]+ (.+) \((.*)\)$")
    for block in text.split("\n\n"):
        head, *lines = block.strip("\n").split("\n")
        thread = re.match(r"\s*(.+?)\s+\d+/\d+", head)
        found = [match.groups() for line in lines if (match := frame.match(line))]
        while found and found[-1] == ("[unknown]", "[unknown]"):
            found.pop()
        if thread and found:
            yield [thread[1], *whole([names.of(*one) for one in reversed(found)], names)]


def whole(frames, names):
    """Frames without direct recursion, marked where `perf` did not reach the beginning of the thread."""
    merged = [name for at, name in enumerate(frames) if at == 0 or name != frames[at - 1]]
    reached = merged[0] in STARTS or names.group(merged[0]) == "Linux"
    return merged if reached else [CUT, *merged]


def callers_of_pairs(paths):
    """By thread, a function and one that it called: all that was above them, as far as it was seen; none where that was not the same."""
    found = {}
    for thread, *frames in set(map(tuple, paths)):
        seen = tuple(name for name in frames if name != CUT)
        for at in range(1, len(seen) - 1):
            pair, above = (thread, *seen[at : at + 2]), seen[:at]
            known = found.get(pair, above)
            shorter, longer = sorted([known or (), above], key=len)
            found[pair] = longer if known and longer[-len(shorter) :] == shorter else None
    return found


def completed(path, callers):
    """A stack with what called it where that was cut off, but is known from others by its two outermost functions."""
    for _ in range(COMPLETIONS):
        above = callers.get((path[0], *path[2:4])) if path[1] == CUT else None
        if not above:
            break
        path = [path[0], *([] if above[0] in STARTS else [CUT]), *above, *path[2:]]
    return path


def cut_share(samples):
    return 100 * sum(path[1] == CUT for path in samples) / len(samples)


class Node:
    """A frame of the graph: samples of it and of all that it called."""

    def __init__(self):
        self.samples, self.children = 0, collections.defaultdict(Node)

    def add(self, path):
        self.samples += 1
        if path:
            self.children[path[0]].add(path[1:])

    def depth(self, least):
        return 1 + max((child.depth(least) for child in self.children.values() if child.samples >= least), default=0)


def listed(title, counts, total):
    lines = [f"{100 * count / total:6.1f} %  {count:6d}  {name}" for name, count in counts.most_common(LISTED)]
    return "\n".join([title, *lines])


def by_self(samples):
    return collections.Counter(path[-1] for path in samples)


def by_inclusive(samples, names):
    """Each function once a sample; of the kernel only how it was entered."""
    counts = collections.Counter()
    for path in samples:
        frames = path[1:]
        of_linux = [names.group(name) == "Linux" for name in frames]
        entered = {name for at, name in enumerate(frames) if not (of_linux[at] and at and of_linux[at - 1])}
        counts.update(name for name in entered - STARTS - {CUT} if not RUNTIME.match(name))
    return counts


def shares(samples, names):
    """Samples by the group of the function that ran, in the order of the legend."""
    counts = collections.Counter(names.group(path[-1]) for path in samples)
    return {group: counts[group] for group in GROUPS}


def summary(title, samples, names):
    """The lists as text."""
    total = len(samples)
    groups = ", ".join(f"{group} {100 * count / total:.0f} %" for group, count in shares(samples, names).items() if count)
    own = listed(f"self: the function itself ({LISTED} greatest)", by_self(samples), total)
    title_of_all = f"inclusive: it and what it called ({LISTED} greatest; without the standard library and tokio)"
    return "\n\n".join([title, f"self by group: {groups}", own, listed(title_of_all, by_inclusive(samples, names), total)]) + "\n"


def fitted(name, width):
    """As much of a name as fits: leading modules go first, and that it is a closure."""
    room = int((width - 4) / LETTER)
    if len(name) > room:
        name = re.sub(r"(::\{closure\})+$", "", name)
    while len(name) > room and "::" in name:
        name = name.split("::", 1)[1]
    if room < 3:
        return ""
    return name if len(name) <= room else name[: room - 1] + "…"


class Drawing:
    """The graph as SVG: callers below, what they called above, the greatest first."""

    def __init__(self, root, names, total):
        self.names, self.total, self.least = names, total, total * NARROWEST
        self.rows = root.depth(self.least)
        self.height = HEAD + self.rows * ROW + MARGIN
        self.parts = []
        self.frame("all", root, 0, MARGIN)

    def frame(self, name, node, level, left):
        """Draws a frame and all above it. Each is a picture in the picture, which clips its text."""
        width = (WIDTH - 2 * MARGIN) * node.samples / self.total
        top = self.height - MARGIN - (level + 1) * ROW
        percent = 100 * node.samples / self.total
        self.parts.append(
            f'<svg class="f" x="{left:.2f}" y="{top}" width="{width:.2f}" height="{ROW - 1}">'
            f"<title>{html.escape(name)}\n{node.samples} samples, {percent:.2f} %</title>"
            f'<rect width="100%" height="100%" fill="{GROUPS[self.names.group(name)][0]}" stroke="white" stroke-width="0.6"/>'
            f'<text x="3" y="12">{html.escape(fitted(name, width))}</text></svg>'
        )
        for child_name, child in sorted(node.children.items(), key=lambda item: (-item[1].samples, item[0])):
            if child.samples >= self.least:
                self.frame(child_name, child, level + 1, left)
            left += (WIDTH - 2 * MARGIN) * child.samples / self.total

    def legend(self, shares_by_group):
        left, parts = MARGIN, []
        for group, samples in shares_by_group.items():
            text = f"{group} {100 * samples / self.total:.0f} %"
            parts.append(f'<rect x="{left}" y="34" width="12" height="12" fill="{GROUPS[group][0]}"/>')
            parts.append(f'<text x="{left + 17}" y="44">{html.escape(text)}</text>')
            left += 40 + int(len(text) * LETTER)
        parts.append(f'<text x="{left}" y="44" fill="#666">self time by group</text>')
        return parts

    def svg(self, title, shares_by_group):
        script = SCRIPT
        for name, value in {"MARGIN": MARGIN, "WIDTH": WIDTH, "LETTER": LETTER}.items():
            script = script.replace(name, str(value))
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {self.height}" width="{WIDTH}" height="{self.height}" '
            f'font-family="monospace" font-size="{FONT}">'
        )
        background = f'<rect width="{WIDTH}" height="{self.height}" fill="white"/>'
        heading = f'<text x="{MARGIN}" y="22" font-size="15">{html.escape(title)}</text>'
        end = [f"<script><![CDATA[{script}]]></script>", "</svg>"]
        return "\n".join([head, background, heading, *self.legend(shares_by_group), *self.parts, *end]) + "\n"


def title_of(arguments, frequency, samples, cut_before):
    name = os.path.basename(os.path.abspath(arguments.data))
    seconds, cut = len(samples) / frequency, cut_share(samples)
    note = f"; stacks cut short: {cut:.0f} %, completed: {cut_before - cut:.0f} %" if cut_before else ""
    return f"{arguments.phase} of {name}: {seconds:.2f} s of CPU time, {len(samples)} samples at {frequency} Hz{note}"


def parsed_arguments():
    parser = argparse.ArgumentParser(description="Draws a flame graph of one phase of `lake`, and lists its costliest functions.")
    parser.add_argument("--phase", required=True, choices=PHASES)
    parser.add_argument("--data", required=True, help="a folder as `gen.py` writes it")
    parser.add_argument("--out", required=True, help="the SVG; the lists go beside it, as `.txt`")
    parser.add_argument("--binary", default=f"{TARGET}/release/lake", help="default: %(default)s")
    rates = f"default: {FREQUENCY}, and {FREQUENCY_OF_LARGE} from {LARGE >> 20} MiB of raw files on"
    parser.add_argument("--frequency", type=int, help=f"samples a second of each CPU ({rates})")
    parser.add_argument("--stack", type=int, default=STACK_BYTES, help="bytes to keep of each stack (default and most: %(default)s)")
    return parser.parse_args()


def main():
    arguments = parsed_arguments()
    check_perf()
    check_files(arguments.binary, arguments.data, arguments.phase)
    large = size_of(f"{arguments.data}/raw") >= LARGE
    frequency = arguments.frequency or (FREQUENCY_OF_LARGE if large else FREQUENCY)
    os.makedirs(os.path.dirname(os.path.abspath(arguments.out)), exist_ok=True)
    names = Names()
    samples = list(stacks(demangled(profiled(arguments, frequency)), names))
    if not samples:
        fail("`perf` took no samples: the phase was too short for `--frequency`, or nothing may be sampled here")
    callers, cut_before = callers_of_pairs(samples), cut_share(samples)
    samples = [completed(path, callers) for path in samples]
    root, title = Node(), title_of(arguments, frequency, samples, cut_before)
    for path in samples:
        root.add(path)
    said = summary(title, samples, names)
    with open(arguments.out, "w") as file:
        file.write(Drawing(root, names, len(samples)).svg(title, shares(samples, names)))
    with open(os.path.splitext(arguments.out)[0] + ".txt", "w") as file:
        file.write(said)
    print(said, end="")


if __name__ == "__main__":
    main()
