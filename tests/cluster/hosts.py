"""Hosts on one machine: each has its own network, processes, name, /tmp/ray, /dev/shm and home.

Needs root and Debian's iproute2. `Network` removes all that it made.
"""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path


def why_not():
    """Why hosts cannot be made here, or None."""
    if os.geteuid():
        return "hosts in network namespaces need root"
    for tool in ("ip", "unshare", "nsenter"):
        if shutil.which(tool) is None:
            return f"there is no {tool}: apt install iproute2 util-linux"
    probe = ["ip", "netns", "add", f"cg-probe-{os.getpid()}"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        return "this machine makes no network namespaces"
    subprocess.run(["ip", "netns", "del", probe[-1]], check=True)
    return None


def sh(*words):
    subprocess.run(words, check=True, capture_output=True)


class Host:
    """A host: its process 1 sleeps, all others come by `start` and `run`. hidden: folders it does not see."""

    def __init__(self, network, name, number, hidden=()):
        self.hidden = hidden
        self.network, self.name, self.number = network, name, number
        self.started = []
        self.address = f"{network.prefix}.{number}"
        self.space, self.folder = f"{network.name}-{name}", network.folder / name
        for part in ("ray", "home"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        self.up()

    def up(self):
        """Plugs it in and boots it."""
        outside = f"v{self.number}{self.network.name}"
        sh("ip", "netns", "add", self.space)
        sh("ip", "link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", self.space)
        sh("ip", "link", "set", outside, "master", self.network.name)
        sh("ip", "link", "set", outside, "up")
        sh("ip", "-n", self.space, "addr", "add", f"{self.address}/24", "dev", "eth0")
        sh("ip", "-n", self.space, "link", "set", "eth0", "up")
        sh("ip", "-n", self.space, "link", "set", "lo", "up")
        hide = "\n".join(f"mount -t tmpfs tmpfs {path}" for path in self.hidden)
        boot = f"""
            hostname {self.name}
            {hide}
            mkdir -p /tmp/ray
            mount --bind {self.folder}/ray /tmp/ray
            mount -t tmpfs -o size=2g tmpfs /dev/shm
            exec sleep infinity"""
        words = ["ip", "netns", "exec", self.space, "unshare", "--pid", "--fork", "--kill-child", "--mount"]
        words += ["--mount-proc", "--uts", "bash", "-ec", boot]
        self.outer = subprocess.Popen(words, start_new_session=True)
        children = Path(f"/proc/{self.outer.pid}/task/{self.outer.pid}/children")
        until(lambda: children.read_text().split() and self._sleeps(children), 20)
        self.init = int(children.read_text().split()[0])

    @staticmethod
    def _sleeps(children):
        return b"infinity" in Path(f"/proc/{children.read_text().split()[0]}/cmdline").read_bytes()

    def words(self, words, cwd):
        enter = ["nsenter", "--target", str(self.init), "--net", "--pid", "--mount", "--uts", "--"]
        return [*enter, "env", "-C", str(cwd or self.folder), *map(str, words)]

    def env(self, extra):
        return self.network.env | {"HOME": str(self.folder / "home")} | extra

    def start(self, log, *words, cwd=None, **extra):
        """A process that goes on; what it says is in the log of this name."""
        with open(self.network.folder / f"{self.name}-{log}.log", "ab") as file:
            process = subprocess.Popen(
                self.words(words, cwd), env=self.env(extra), stdin=subprocess.DEVNULL,
                stdout=file, stderr=file, start_new_session=True,
            )  # fmt: skip
        self.started.append(process)
        return process

    def run(self, *words, cwd=None, check=True, **extra):
        done = subprocess.run(
            self.words(words, cwd), env=self.env(extra), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0 or not check, done.stdout
        return done.stdout

    def down(self):
        """Pulls its plug: the network first, so that nobody hears of the end of its processes."""
        subprocess.run(["ip", "-n", self.space, "link", "del", "eth0"], capture_output=True, check=False)
        try:
            os.kill(self.init, signal.SIGKILL)  # process 1: all others end with it
        except ProcessLookupError:
            pass
        for process in [self.outer, *self.started]:
            process.wait(30)
        self.started.clear()
        subprocess.run(["ip", "netns", "del", self.space], capture_output=True, check=False)
        shutil.rmtree(self.folder / "ray", ignore_errors=True)
        (self.folder / "ray").mkdir()


class Network:
    """A bridge, to which hosts are plugged. env: of all their processes."""

    def __init__(self, folder, env):
        self.folder, self.env, self.hosts = folder, env, {}
        self.name, self.prefix = f"cg{os.getpid()}", f"10.77.{os.getpid() % 250}"
        sh("ip", "link", "add", self.name, "type", "bridge")
        sh("ip", "addr", "add", f"{self.prefix}.254/24", "dev", self.name)
        sh("ip", "link", "set", self.name, "up")

    def host(self, name, number, hidden=()):
        self.hosts[name] = Host(self, name, number, hidden)
        return self.hosts[name]

    def close(self):
        for host in self.hosts.values():
            host.down()
        subprocess.run(["ip", "link", "del", self.name], capture_output=True, check=False)


def until(condition, seconds):
    """Waits for a condition, which may raise OSError or IndexError before it is met."""
    end = time.monotonic() + seconds
    while True:
        try:
            if found := condition():
                return found
        except (OSError, IndexError):
            pass
        assert time.monotonic() < end, "it never came"
        time.sleep(0.2)
