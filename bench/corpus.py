#!/usr/bin/env python3
"""Makes the folders that the benchmark backs up, the same every time on one machine.

usage: corpus.py make FOLDER SCALE {src|mix|many}   makes FOLDER/NAME unless it is there and whole
       corpus.py change FOLDER {src|mix|many}       the fixed small change, from state A to B; prints the changed paths
       corpus.py restore FOLDER {src|mix|many}      back to state A: contents and times

  src    Real source code and text, 62,000 files, some 700 MB: crates that cargo has unpacked, /usr/include,
         /usr/share/doc, Python's library. No compiled objects, no file above 20 MB.
         Change: one file in a hundred gets a line in its middle.
  mix    40 % shared objects of at least 256 KiB, 35 % that nothing compresses, 25 % a log: 2 GB.
         Change: 64 KiB in the middle of three objects and of the random file, 5 MB more log.
  many   300,000 files of 100 to 3,000 bytes of made-up text, 50 in a folder: 460 MB.
         Change: 50 files get a line in their middle.

SCALE is a number of hundredths: 100 for the sizes above.
"""
import json
import os
import pickle
import random
import shutil
import subprocess
import sys

NOT_TEXT = {".a", ".lib", ".so", ".pyc", ".o", ".dll", ".exe", ".rlib", ".rmeta", ".whl", ".zip", ".bcmap"}
HOME = os.path.expanduser("~")


def below(generator, bound):
    # getrandbits alone is the same in every version of Python.
    return generator.getrandbits(48) % bound


def files_below(folder):
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(parent, name)
            if os.path.isfile(path) and not os.path.islink(path):
                yield path


def make_src(to, scale):
    left = {"files": 620 * scale, "bytes": 9_600_000 * scale}
    places = [f"{HOME}/.cargo/registry/src", "/usr/include", "/usr/share/doc", "/usr/lib/python3", "/usr/share",
              f"{HOME}/.pyenv/versions", f"{HOME}/.rustup/toolchains", "/usr/lib"]
    seen = set()
    for place in places:
        for path in files_below(place):
            status = os.stat(path)
            key = (status.st_dev, status.st_ino)
            if os.path.splitext(path)[1] in NOT_TEXT or ".so." in path or status.st_size > 20 << 20 or key in seen:
                continue
            if left["files"] <= 0 or status.st_size > left["bytes"]:
                if left["files"] <= 0:
                    return
                continue
            seen.add(key)
            copy = to + path
            os.makedirs(os.path.dirname(copy), exist_ok=True)
            shutil.copy2(path, copy)
            left["files"] -= 1
            left["bytes"] -= status.st_size


def make_mix(to, scale):
    os.makedirs(f"{to}/bin")
    left, number, seen = 8_000_000 * scale, 0, set()
    for place in [f"{HOME}/.rustup/toolchains", "/usr/lib"]:
        for path in files_below(place):
            status = os.stat(path)
            is_object = ".so" in path or path.endswith((".rlib", ".a"))
            if not is_object or status.st_size < 256 << 10 or status.st_size > left or status.st_ino in seen:
                continue
            seen.add(status.st_ino)
            number += 1
            left -= status.st_size
            shutil.copy2(path, f"{to}/bin/{number:04}-{os.path.basename(path)}")
    generator = random.Random(1)
    with open(f"{to}/random.bin", "wb") as out:
        for _ in range(7 * scale):
            out.write(generator.randbytes(1_000_000))
    words = ["request", "served", "cache", "miss", "hit", "timeout", "retry", "user", "session", "opened", "closed"]
    levels = ["INFO", "INFO", "INFO", "DEBUG", "WARN", "ERROR"]
    size = 0
    with open(f"{to}/app.log", "w", encoding="ascii") as out:
        while size < 5_000_000 * scale:
            line = (f"2026-11-20T{below(generator, 24):02}:{below(generator, 60):02}:00Z {levels[below(generator, 6)]} "
                    f"node-{below(generator, 48):03} {words[below(generator, 11)]} {words[below(generator, 11)]} "
                    f"id={below(generator, 10**9)} ms={below(generator, 4000)}\n")
            size += out.write(line)


def make_many(to, scale):
    generator = random.Random(2)
    # A vocabulary of made-up words, and pages of them from which the files are cut.
    letters = "etaoinshrdlucmfw"
    words = ["".join(letters[below(generator, 16)] for _ in range(2 + below(generator, 9))) for _ in range(4000)]
    text = " ".join(words[below(generator, 4000)] for _ in range(400_000))
    for folder in range(60 * scale):
        path = f"{to}/{folder // 200:02}/{folder // 10 % 20:02}/{folder:04}"
        os.makedirs(path)
        for number in range(50):
            start, length = below(generator, len(text) - 3000), 100 + below(generator, 2900)
            with open(f"{path}/{number:02}.txt", "w", encoding="ascii") as out:
                out.write(f"{folder} {number}\n{text[start:start + length]}")


def make(folder, scale, name):
    path = os.path.join(folder, name)
    if os.path.exists(path + ".json"):
        with open(path + ".json", encoding="utf-8") as file:
            if json.load(file)["scale"] == scale:
                restore(folder, name)
                return
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    {"src": make_src, "mix": make_mix, "many": make_many}[name](path, scale)
    sizes = [os.lstat(file).st_size for file in files_below(path)]
    with open(path + ".json", "w", encoding="utf-8") as out:
        json.dump({"scale": scale, "files": len(sizes), "bytes": sum(sizes)}, out)


def changes(path, name):
    """Yields a file, and what becomes of its contents."""
    def with_line(old):
        middle = len(old) // 2
        return old[:middle] + b"\none line more\n" + old[middle:]

    def with_patch(at):
        patch = random.Random(3).randbytes(65536)
        return lambda old: old[:int(len(old) * at)] + patch + old[int(len(old) * at) + len(patch):]

    every = sorted(files_below(path))
    if name == "src":
        return [(file, with_line) for file in every[::100]]
    if name == "many":
        step = max(1, len(every) // 50)
        return [(file, with_line) for file in every[step // 2::step][:50]]
    objects = [file for file in every if "/bin/" in file]
    objects = objects[::max(1, len(objects) // 3)][:3]
    more_log = "".join(f"2026-11-21 INFO more {n}\n" for n in range(200_000)).encode()
    return ([(file, with_patch(0.5)) for file in objects]
            + [(f"{path}/random.bin", with_patch(0.33)), (f"{path}/app.log", lambda old: old + more_log)])


def change(folder, name):
    path, before = os.path.join(folder, name), {}
    for file, become in changes(path, name):
        status = os.stat(file)
        with open(file, "rb") as opened:
            old = opened.read()
        before[file] = (old, status.st_atime_ns, status.st_mtime_ns)
    # What is needed to undo it is safe before anything changes.
    with open(path + ".undo", "wb") as out:
        pickle.dump(before, out)
    for file, become in changes(path, name):
        with open(file, "wb") as out:
            out.write(become(before[file][0]))
        print(file)


def restore(folder, name):
    undo = os.path.join(folder, name) + ".undo"
    if not os.path.exists(undo):
        return
    with open(undo, "rb") as file:
        before = pickle.load(file)
    for file, (contents, accessed, modified) in before.items():
        with open(file, "wb") as out:
            out.write(contents)
        os.utime(file, ns=(accessed, modified))
    os.remove(undo)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["make", folder, scale, name]:
            make(folder, int(scale), name)
        case ["change", folder, name]:
            change(folder, name)
        case ["restore", folder, name]:
            restore(folder, name)
        case _:
            sys.exit(__doc__)
