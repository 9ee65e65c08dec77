"""Whether others are using the processor while something is measured (on Linux; elsewhere nobody can say)."""

import os
import time


class Processor:
    """Counts the processor time that was spent on anything but what is measured."""

    def __init__(self):
        self.known = os.path.exists("/proc/stat")
        self.cores = os.cpu_count() or 1
        self.tick = os.sysconf("SC_CLK_TCK") if self.known else 1

    def spent(self, process):
        """Seconds of all cores: in use or taken by the host, and of those our own.

        Our own are this process, its children that have ended, and the one that `process` gives the id of (if it does).
        """
        with open("/proc/stat") as lines:
            # user, nice, system, idle, iowait, irq, softirq, steal
            fields = [int(word) for word in lines.readline().split()[1:9]]
        ended = os.times()
        own = ended.user + ended.system + ended.children_user + ended.children_system
        if (running := process()) is not None:
            try:
                with open(f"/proc/{running}/stat") as line:
                    words = line.read().rsplit(")", 1)[1].split()
                own += (int(words[11]) + int(words[12])) / self.tick
            except OSError:
                pass  # it has ended
        return (sum(fields) - fields[3] - fields[4]) / self.tick, own

    def watch(self, work, process=lambda: None):
        """What `work` returns, and the share of the processor that others had meanwhile (None: unknown)."""
        if not self.known:
            return work(), None
        begun, (busy, own) = time.monotonic(), self.spent(process)
        result = work()
        taken = time.monotonic() - begun
        busy_then, own_then = self.spent(process)
        others = (busy_then - busy) - (own_then - own)
        return result, min(1.0, max(0.0, others / (taken * self.cores)))

    def wait(self, share, patience):
        """Waits until others use less than that share, for so many seconds at most."""
        begun = time.monotonic()
        while self.known and time.monotonic() - begun < patience:
            _, others = self.watch(lambda: time.sleep(0.3))
            if others < share:
                return
