#!/usr/bin/env python3
"""Measures this project beside its peers: the same folders, the same operations, in one run.

usage: bench.py run PROGRAMS [--quick] [--tools A,B] [--corpora A,B] [--runs N] [--minutes N] [--work FOLDER]
       bench.py table RESULTS

PROGRAMS is the folder with backupd and backupctl. The work folder (default: bench below the system's temporary
folder) holds corpora, repositories and restored trees; 40 GB of it are used for a while.

Operations, each one command that is timed from its start to its end:
  full      the first backup into an empty repository
  nochange  the same again
  incr      after the small change of corpus.py, everything is looked at
  dirty     (this project alone) the change is taken back, and the backup is told which files changed
  restore   the latest snapshot into an empty folder
  check     everything in the repository is read and verified

What makes them comparable: the page cache is warm; tools take turns, in another order each run; `sync` runs before
each operation and outside its time; old trees are moved aside and removed at the end, because for minutes after a
mass removal ext4 makes new files slowly; the first run compares what was restored. This project is a daemon: it is
started before the clock, and its processor time and memory are counted together with the command's.
"""
import argparse
import contextlib
import datetime
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
OPERATIONS = ["full", "nochange", "incr", "dirty", "restore", "check"]
CORPORA = ["src", "mix", "many"]
# What the largest turn of one tool takes on the disk.
ROOM = 12 << 30
TICK = os.sysconf("SC_CLK_TCK")

# {s} source, {r} repository, {c} the tool's own folder, {o} destination, {t} a name for this backup
PEERS = {
    "restic": dict(env=dict(RESTIC_PASSWORD="bench", RESTIC_CACHE_DIR="{c}", RESTIC_REPOSITORY="{r}"),
                   init="restic -q init", backup="restic -q backup {s}", restore="restic -q restore latest --target {o}",
                   check="restic -q check --read-data", version="restic version"),
    "rustic": dict(env=dict(RUSTIC_PASSWORD="bench", RUSTIC_CACHE_DIR="{c}", RUSTIC_REPOSITORY="{r}", HOME="{c}",
                            RUSTIC_NO_PROGRESS="true"),
                   init="rustic --log-level warn init", backup="rustic --log-level warn backup {s}",
                   restore="rustic --log-level warn restore latest {o}",
                   check="rustic --log-level warn check --read-data", version="rustic --version"),
    "borg": dict(env=dict(BORG_PASSPHRASE="bench", BORG_BASE_DIR="{c}", BORG_REPO="{r}"),
                 init="borg init -e repokey", backup="borg create ::{t} {s}", restore="borg extract ::{t}",
                 check="borg check --verify-data", version="borg --version"),
    "bupstash": dict(env=dict(BUPSTASH_REPOSITORY="{r}", BUPSTASH_KEY="{c}/key", HOME="{c}"),
                     init="bupstash init && bupstash new-key -o {c}/key",
                     backup="bupstash put --no-progress name={t} {s} >/dev/null",
                     restore="bupstash restore --no-progress --into {o} name={t}", check=None,
                     version="bupstash version"),
}


def aside(work, path):
    """Moves a tree out of the way instead of removing it."""
    if os.path.lexists(path):
        os.makedirs(f"{work}/old", exist_ok=True)
        os.rename(path, f"{work}/old/{time.time_ns()}")


def busy_seconds():
    """What all processors did since the machine started."""
    with open("/proc/stat", encoding="ascii") as file:
        ticks = [int(word) for word in file.readline().split()[1:]]
    return (sum(ticks[:3]) + sum(ticks[5:8])) / TICK


def size_of(folder):
    return sum(os.lstat(os.path.join(parent, name)).st_size for parent, _, names in os.walk(folder) for name in names)


class Peer:
    """Another program, by its commands."""

    def __init__(self, name, folder, source):
        self.spec, self.name = PEERS[name], name
        self.words = dict(s=source, r=f"{folder}/repository", c=f"{folder}/own", o=f"{folder}/out", t="none")
        os.makedirs(self.words["c"])
        self.env = {**os.environ, **{key: value.format(**self.words) for key, value in self.spec["env"].items()}}

    def start(self):
        subprocess.run(self.spec["init"].format(**self.words), shell=True, env=self.env, check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def command(self, operation, number):
        if operation in ("full", "nochange", "incr"):
            self.words["t"] = f"b{number}"
            return self.spec["backup"].format(**self.words)
        return self.spec[operation].format(**self.words) if self.spec.get(operation) else None

    def restored(self, source):
        # restic keeps the whole path below the destination; bupstash only what is in the source.
        whole = self.words["o"] + source
        return whole if os.path.isdir(whole) else self.words["o"]

    def counters(self):
        return 0.0, 0.0

    def forget_peak(self):
        pass

    def stop(self):
        pass


class Ours(Peer):
    """This project: a daemon of its own in a folder of its own."""

    def __init__(self, programs, folder, source):
        self.name, self.programs, self.daemon = "backupd", programs, None
        self.words = dict(s=source, r=f"{folder}/data/backupd/repository", o=f"{folder}/out", c=f"{folder}/state")
        os.makedirs(f"{folder}/run")
        os.chmod(f"{folder}/run", 0o700)
        self.env = {**os.environ, "HOME": folder, "XDG_DATA_HOME": f"{folder}/data",
                    "BACKUPD_CONFIG": f"{folder}/config.toml", "BACKUPD_STATE_DIR": f"{folder}/state",
                    "BACKUPD_SOCKET": f"{folder}/run/s"}
        self.folder = folder

    def start(self):
        log = open(f"{self.folder}/log", "wb")
        self.daemon = subprocess.Popen([f"{self.programs}/backupd"], env=self.env, stderr=log)
        while not os.path.exists(self.env["BACKUPD_SOCKET"]):
            if self.daemon.poll() is not None:
                raise subprocess.CalledProcessError(self.daemon.returncode, "backupd")
            time.sleep(0.02)
        # Makes the repository, as `init` does for the others.
        os.makedirs(f"{self.folder}/tiny")
        subprocess.run([f"{self.programs}/backupctl", "backup", f"{self.folder}/tiny"], env=self.env,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        if not os.path.isdir(self.words["r"]):
            self.words["r"] = f"{self.folder}/state/repository"

    def command(self, operation, number):
        ctl = f"{self.programs}/backupctl"
        if operation == "dirty":
            usage = subprocess.run([ctl, "backup", "--help"], capture_output=True, text=True, check=False).stdout
            if "--changed" not in usage:
                return None
            changed = " ".join(f"--changed '{path}'" for path in self.changed)
            return f"{ctl} backup {changed} -- {self.words['s']}"
        return {"restore": f"{ctl} restore latest --path {self.words['s']} --to {self.words['o']}",
                "check": f"{ctl} verify --read-data"}.get(operation, f"{ctl} backup {self.words['s']}")

    def counters(self):
        pid = self.daemon.pid
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            fields = file.read().rsplit(") ", 1)[1].split()
        with open(f"/proc/{pid}/status", encoding="utf-8") as file:
            peak = next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM"))
        return (int(fields[11]) + int(fields[12])) / TICK, peak

    def forget_peak(self):
        with open(f"/proc/{self.daemon.pid}/clear_refs", "w", encoding="ascii") as file:
            file.write("5")

    def stop(self):
        if self.daemon:
            self.daemon.terminate()
            self.daemon.wait()


def measure(tool, command, cwd, folder):
    """Runs a command and returns what it took."""
    os.sync()
    tool.forget_peak()
    before, busy, report = tool.counters()[0], busy_seconds(), f"{folder}/time"
    start = time.monotonic()
    done = subprocess.run(["/usr/bin/time", "-f", "%U %S %M", "-o", report, "bash", "-c", command], cwd=cwd,
                          env=tool.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    wall = time.monotonic() - start
    with open(report, encoding="ascii") as file:
        user, system, peak = file.read().split("\n")[-2].split()
    after, own_peak = tool.counters()
    cpu = float(user) + float(system) + after - before
    return dict(code=done.returncode, wall=round(wall, 3), cpu=round(cpu, 2), peak_mb=round(int(peak) / 1024 + own_peak, 1),
                other_cpu=round(max(0.0, busy_seconds() - busy - cpu), 2),
                error=done.stderr.decode("utf-8", "replace")[-300:] if done.returncode else "")


def one_tool(args, name, corpus, run, out):
    source, folder = f"{args.work}/corpora/{corpus}", f"{args.work}/{name}-{corpus}"
    aside(args.work, folder)
    os.makedirs(folder)
    tool = Ours(args.programs, folder, source) if name == "backupd" else Peer(name, folder, source)
    try:
        tool.start()
        for number, operation in enumerate(OPERATIONS):
            if operation == "incr":
                changed = script("change", f"{args.work}/corpora", corpus)
                tool.changed = changed.splitlines()
            command = tool.command(operation, number)
            if not command:
                continue
            if operation == "dirty":
                script("restore", f"{args.work}/corpora", corpus)
            os.makedirs(tool.words["o"], exist_ok=True)
            row = measure(tool, command, tool.words["o"] if operation == "restore" else source, folder)
            row.update(tool=name, corpus=corpus, operation=operation, run=run, repository_mb=round(size_of(tool.words["r"]) / 1e6, 1))
            if operation == "restore":
                # The latest snapshot is of the changed state unless that was taken back before the last backup.
                same = run > 1 or subprocess.run(["diff", "-rq", "--no-dereference", source, tool.restored(source)],
                                                 stdout=subprocess.DEVNULL, check=False).returncode == 0
                row["verified"] = same
                aside(args.work, tool.words["o"])
            out.write(json.dumps(row) + "\n")
            out.flush()
            print(f"{run} {corpus:5} {name:9} {operation:9} {row['wall']:8.2f} s  cpu {row['cpu']:7.2f}  peak "
                  f"{row['peak_mb']:6.0f} MB  repository {row['repository_mb']:7.1f} MB  others {row['other_cpu']:.1f} s"
                  f"  {row.get('verified', '')} {row['error']}", flush=True)
    except subprocess.CalledProcessError as error:
        print(f"{name}: cannot be started: {error}", file=sys.stderr)
    finally:
        tool.stop()
        script("restore", f"{args.work}/corpora", corpus)
        aside(args.work, folder)


def script(*words):
    done = subprocess.run([sys.executable, f"{HERE}/corpus.py", *words], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def run_all(args):
    # Tools run in folders of their own.
    args.programs, args.work = os.path.abspath(args.programs), os.path.abspath(args.work)
    end = time.monotonic() + args.minutes * 60
    scale, runs = ("2", 1) if args.quick else ("100", args.runs)
    tools = ["backupd"] + [name for name in args.tools.split(",") if name in PEERS and shutil.which(name)]
    for name in set(args.tools.split(",")) - set(tools):
        print(f"NOT MEASURED: {name} is not there", file=sys.stderr)
    corpora = args.corpora.split(",")
    for corpus in corpora:
        os.makedirs(f"{args.work}/corpora", exist_ok=True)
        script("make", f"{args.work}/corpora", scale, corpus)
    results = f"{args.work}/results.jsonl"
    # A wish to end is heeded like an error: the daemon is stopped, the corpus put right, and what there is shown.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    with open(results, "w", encoding="utf-8") as out, contextlib.suppress(KeyboardInterrupt):
        for run in range(1, runs + 1):
            for corpus in corpora:
                subprocess.run(f"tar cf - -C {args.work}/corpora/{corpus} . | cat >/dev/null", shell=True, check=True)
                turn = (run - 1) % len(tools)
                for name in tools[turn:] + tools[:turn]:
                    # The slowest peer is measured once where it takes minutes.
                    if time.monotonic() > end or (name == "borg" and corpus == "many" and run > 1):
                        print(f"left out: {name} on {corpus} in run {run}", file=sys.stderr)
                        continue
                    if shutil.disk_usage(args.work).free < ROOM:
                        print("old trees are removed to make room; for minutes new files are made slowly", file=sys.stderr)
                        shutil.rmtree(f"{args.work}/old", ignore_errors=True)
                    one_tool(args, name, corpus, run, out)
    shutil.rmtree(f"{args.work}/old", ignore_errors=True)
    print(table(results, args.programs))
    with open(results, encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    bad = [row for row in rows if row["tool"] == "backupd" and (row["code"] or row.get("verified") is False)]
    if bad or not rows:
        sys.exit(f"backupd failed: {bad}")


def version_of(command):
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).strip().splitlines()[0] if done.returncode == 0 else None


def table(results, programs=None):
    from report import report
    with open(results, encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    versions = {name: version_of(spec["version"]) for name, spec in PEERS.items()}
    if programs:
        versions["backupd"] = version_of(f"{programs}/backupd --version")
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        processor = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), "")
    commit = version_of(f"git -C {HERE} rev-parse --short HEAD")
    machine = f"{os.cpu_count()} processors ({processor}), Linux {platform.release()}, {datetime.date.today()}, commit {commit}"
    return report(rows, machine, {name: version for name, version in versions.items() if version})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    run.add_argument("programs")
    run.add_argument("--quick", action="store_true")
    run.add_argument("--tools", default="restic,rustic,borg,bupstash")
    run.add_argument("--corpora", default=",".join(CORPORA))
    run.add_argument("--runs", type=int, default=3)
    run.add_argument("--minutes", type=float, default=600)
    run.add_argument("--work", default=f"{tempfile.gettempdir()}/bench")
    shown = commands.add_parser("table")
    shown.add_argument("results")
    args = parser.parse_args()
    if args.command == "run":
        run_all(args)
    else:
        print(table(args.results))


if __name__ == "__main__":
    main()
