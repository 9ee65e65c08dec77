"""Whether others are using the processor while something is measured (on Linux; elsewhere nobody can say)."""

import os
import time


class Processor:
    """Counts the processor time that was spent on anything but the work of this comparison."""

    def __init__(self, processes):
        self.processes = processes  # a function: the ids of the processes that belong to it and still run
        self.known = os.path.exists("/proc/stat")
        self.cores = os.cpu_count() or 1
        self.tick = os.sysconf("SC_CLK_TCK") if self.known else 1

    def spent(self):
        """Seconds of all cores: in use or taken by the host, and of those our own."""
        with open("/proc/stat") as lines:
            # user, nice, system, idle, iowait, irq, softirq, steal
            fields = [int(word) for word in lines.readline().split()[1:9]]
        ended = os.times()
        own = ended.user + ended.system + ended.children_user + ended.children_system
        for process in self.processes():
            try:
                with open(f"/proc/{process}/stat") as line:
                    words = line.read().rsplit(")", 1)[1].split()
            except OSError:
                continue  # it has ended
            own += (int(words[11]) + int(words[12])) / self.tick
        return (sum(fields) - fields[3] - fields[4]) / self.tick, own

    def watch(self, work):
        """What `work` returns, and the share of the processor that others had meanwhile (None: unknown)."""
        if not self.known:
            return work(), None
        begun, (busy, own) = time.monotonic(), self.spent()
        result = work()
        taken = time.monotonic() - begun
        busy_then, own_then = self.spent()
        others = (busy_then - busy) - (own_then - own)
        return result, min(1.0, max(0.0, others / (taken * self.cores)))

    def wait(self, share, patience):
        """Waits until others use less than that share, for so many seconds at most."""
        begun = time.monotonic()
        while self.known and time.monotonic() - begun < patience:
            _, others = self.watch(lambda: time.sleep(0.3))
            if others < share:
                return
