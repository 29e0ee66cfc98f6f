#!/usr/bin/env python3
"""A stand-in for OpenPBS, for the test bed: what its commands print and how they fail, as measured on 23.06.06.

The name that it is started by says what it is: `pbs_server` (one per host, which also runs the jobs), or one of the commands
qsub, qstat, qdel, qselect, pbsnodes, which ask the server over TCP: it refuses, or hangs, as a real one does when it is stopped or
frozen. Its spool is PBS_SPOOL; jobs outlive it, and it learns how they ended when it is started again. A file `history-off` in the
spool switches the history off, as sites do; a file `node-lost` takes the node away from under what runs.

Left out: routing queues, reservations, hooks, other users, `-F dsv`.
"""

import getopt
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time

SPOOL = os.environ.get("PBS_SPOOL", "/run/bed/pbs/spool")
HOST, PORT = socket.gethostname(), 15001
VERSION, CPUS, MEM_MB, MAX_ARRAY = "23.06.06", 4, 8192, 10000
KILL_DELAY, STAGEOUT_RETRY = 2, 1
QUEUES = {"workq": (True, None), "small": (True, 1800), "closed": (False, None)}
RESOURCES = {"ncpus", "mem", "walltime", "select", "place", "ngpus", "mpiprocs", "ompthreads", "nodes", "vmem", "cput", "host"}
QSUB_USAGE = """usage: qsub [-a date_time] [-A account_string] [-c interval]
\t[-C directive_prefix] [-e path] [-f ] [-h ] [-I [-X]] [-j oe|eo] [-J X-Y[:Z]]
\t[-k keep] [-l resource_list] [-m mail_options] [-M user_list]
\t[-N jobname] [-o path] [-p priority] [-P project] [-q queue] [-r y|n]
\t[-R o|e|oe] [-S path] [-u user_list] [-W otherattributes=value...]
\t[-v variable_list] [-V ] [-z] [script | -- command [arg1 ...]]
       qsub --version"""


class Refused(Exception):
    """A command's failure: exit status and words."""

    def __init__(self, status, words):
        super().__init__(words)
        self.status, self.words = status, words


def clock(seconds):
    """HH:MM:SS."""
    seconds = int(seconds)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def seconds_of(text):
    """A walltime as PBS takes it: seconds, MM:SS or HH:MM:SS."""
    if not re.fullmatch(r"\d+(:\d+){0,2}(\.\d+)?", text):
        raise Refused(166, "qsub: Illegal attribute or resource value Resource_List.walltime")
    total = 0.0
    for part in text.split(":"):
        total = total * 60 + float(part)
    return int(total + 0.999)


def megabytes_of(text, name):
    """An amount of memory; no fractions."""
    found = re.fullmatch(r"(\d+)([kmgt]?)[bw]?", text.lower())
    if not found:
        raise Refused(166, f"qsub: Illegal attribute or resource value {name}")
    return int(found[1]) * {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}[found[2]] >> 20


# --- the server -------------------------------------------------------------------------------------------------------------


class Server:
    """Jobs by id: `12`, `5[]` and its members `5[2]`."""

    def __init__(self):
        self.path = os.path.join(SPOOL, "jobs.json")
        self.jobs, self.next = {}, 0
        if os.path.exists(self.path):
            with open(self.path, encoding="utf-8") as file:
                self.next, self.jobs = json.load(file)
        self.children = {}

    def save(self):
        """A server that is killed knows its jobs when it is started again."""
        with open(self.path + ".new", "w", encoding="utf-8") as file:
            json.dump([self.next, self.jobs], file)
        os.replace(self.path + ".new", self.path)

    def serve(self):
        """Answers and looks after the jobs, until it is ended."""
        listener = socket.create_server(("127.0.0.1", PORT), backlog=100)
        while True:
            if select.select([listener], [], [], 0.1)[0]:
                connection = listener.accept()[0]
                with connection, connection.makefile("rwb") as stream:
                    request = json.loads(stream.readline() or b"{}")
                    try:
                        reply = getattr(self, "ask_" + request["ask"])(request)
                    except Refused as refused:
                        reply = {"refused": [refused.status, refused.words]}
                    stream.write(json.dumps(reply).encode() + b"\n")
            self.look()

    def ask_submit(self, request):
        """Takes a job in; arrays with a record for every member."""
        job, array = request["job"], request["array"]
        number = self.next
        self.next += 1
        name = f"{number}[]" if array else str(number)
        now = time.time()
        job.update(state="Q", substate=10, ctime=now, mtime=now, run_count=0, number=number)
        if job["cpus"] > CPUS or job["mem"] > MEM_MB:
            job["comment"] = "Can Never Run: Insufficient amount of resource: ncpus"
        if job["hold"]:
            job.update(state="H", substate=20)
        self.jobs[name] = job
        if array:
            for index in array:
                self.jobs[f"{number}[{index}]"] = {**job, "index": index, "parent": name}
            job["array"], job["indices"] = request["range"], array
        self.depend(name)
        self.save()
        return {"id": f"{name}.{HOST}"}

    def depend(self, name):
        """Says what a job's dependencies mean for it now."""
        job = self.jobs[name]
        if not job.get("depend") or job["state"] not in "QH":
            return
        waits = False
        for kind, number in job["depend"]:
            parent = self.jobs.get(number) or self.jobs.get(number + "[]")
            if parent is None:
                return self.never(name)
            if parent["state"] != "F":
                waits = True
            # A parent that was deleted before it ran leaves its children waiting for ever.
            elif parent.get("deleted") and not parent["run_count"]:
                waits = True
            elif kind != "afterany" and (parent.get("exit") == 0) != (kind == "afterok"):
                return self.never(name)
        if waits:
            job.update(state="H", substate=22)
        elif job["state"] == "H" and job["substate"] == 22:
            job.update(state="Q", substate=10)

    def never(self, name):
        """A dependency that cannot be satisfied: over, without a word why."""
        for each, job in self.jobs.items():
            if name in (each, job.get("parent")):
                job.update(state="F", substate=92, mtime=time.time(), hold_types="s")

    def look(self):
        """Sees what ended, what is over its time, what can start."""
        changed = False
        for pid, child in list(self.children.items()):
            if child.poll() is not None:
                del self.children[pid]
        if os.path.exists(os.path.join(SPOOL, "node-lost")):
            os.remove(os.path.join(SPOOL, "node-lost"))
            changed = True
            for job in self.jobs.values():
                self.lose(job)
        used = 0
        for name, job in self.jobs.items():
            if job["state"] in "RE":
                changed |= self.look_at(name, job)
                used += job["cpus"] if job["state"] in "RE" else 0
        for name, job in self.jobs.items():
            if job["state"] == "H" and job.get("depend"):
                self.depend(name)
            if self.jobs.get(job.get("parent"), job)["state"] == "H":
                continue
            if job["state"] == "Q" and "comment" not in job and "indices" not in job and used + job["cpus"] <= CPUS:
                self.start(name, job)
                used += job["cpus"]
                changed = True
        if changed:
            self.count_arrays()
            self.save()

    def lose(self, job):
        """A running job whose node is lost: back to the queue with an exit status, or over where it may not run again."""
        if job["state"] != "R":
            return
        self.kill(job, signal.SIGKILL)
        job.update(exit=-20, mtime=time.time())
        pid = job.pop("pid")
        if job["rerun"] == "True":
            job.update(state="Q", substate=10)
        else:
            job.update(state="F", substate=93, pid=pid, used=time.time() - job["stime"])

    def file(self, name, kind):
        """A job's file in the spool."""
        return os.path.join(SPOOL, f"{name}.{kind}")

    def start(self, name, job):
        """Starts a job as its owner's login shell would."""
        environment = {
            "HOME": os.environ["HOME"], "USER": os.environ["USER"], "LOGNAME": os.environ["USER"], "SHELL": "/bin/bash",
            "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "PBS_ENVIRONMENT": "PBS_BATCH",
            "PBS_JOBID": f"{name}.{HOST}", "PBS_JOBNAME": job["name"], "PBS_QUEUE": job["queue"], "NCPUS": str(job["cpus"]),
            "OMP_NUM_THREADS": str(job["cpus"]), "PBS_NODEFILE": self.file(name, "nodes"), **job["variables"],
        }
        environment["TMPDIR"] = f"/var/tmp/pbs.{name}.{HOST}"
        os.makedirs(environment["TMPDIR"], exist_ok=True)
        if "index" in job:
            environment.update(PBS_ARRAY_INDEX=str(job["index"]), PBS_ARRAY_ID=f"{job['parent']}.{HOST}")
        with open(self.file(name, "nodes"), "w", encoding="utf-8") as file:
            file.write(f"{HOST}\n")
        with open(self.file(name, "SC"), "w", encoding="utf-8") as file:
            file.write(job["script"])
        if job["argv"]:
            run = ["/bin/sh", "-c", 'cd; "$@"', "sh"] + job["argv"]
        else:
            run = ["/bin/bash", "-lc", 'cd; "$0" "$1"', job["shell"], self.file(name, "SC")]
        # The one that waits for the job outlives this server: it writes down how the job ended.
        keeper = 'out=$1 err=$2 code=$3; shift 3; umask 077; "$@" >>"$out" 2>>"$err" </dev/null; echo $? >"$code.new"; mv "$code.new" "$code"'
        err = self.file(name, "OU") if job["join"] else self.file(name, "ER")
        child = subprocess.Popen(
            ["/bin/sh", "-c", keeper, "keeper", self.file(name, "OU"), err, self.file(name, "rc")] + run,
            env=environment, start_new_session=True, stdin=subprocess.DEVNULL,
        )
        self.children[child.pid] = child
        now = time.time()
        job.pop("exit", None)
        job.update(state="R", substate=42, pid=child.pid, stime=now, mtime=now, run_count=job["run_count"] + 1)

    def look_at(self, name, job):
        """One running job."""
        now = time.time()
        if job["state"] == "E":
            return now >= job["until"] and self.finish(name, job)
        ended = os.path.exists(self.file(name, "rc"))
        if not ended and not self.lives(job):
            job["lost"] = True
        if ended or job.get("lost"):
            return self.deliver(name, job)
        if job["walltime"] and "term" not in job and now - job["stime"] > job["walltime"]:
            job.update(term=now, over=True)
            with open(self.file(name, "OU" if job["join"] else "ER"), "a", encoding="utf-8") as file:
                file.write(f"=>> PBS: job killed: walltime {int(now - job['stime'])} exceeded limit {job['walltime']}\n")
            self.kill(job, signal.SIGTERM)
        if "term" in job and now - job["term"] > KILL_DELAY:
            self.kill(job, signal.SIGKILL)
            job["lost"] = True
        return False

    def lives(self, job):
        """Whether the job's keeper is there."""
        try:
            with open(f"/proc/{job['pid']}/stat", encoding="utf-8", errors="replace") as file:
                return ") Z " not in file.read()
        except OSError:
            return False

    def kill(self, job, number):
        """Signals all of a job but its keeper, unless it is to die with it."""
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                    session = int(file.read().rpartition(") ")[2].split()[3])
                if session == job["pid"] and (int(entry) != job["pid"] or number == signal.SIGKILL):
                    os.kill(int(entry), number)
            except (OSError, ValueError, IndexError):
                continue

    def deliver(self, name, job):
        """Copies the spooled output; where that fails, the job stays on its way out for a while."""
        try:
            with open(self.file(name, "rc"), encoding="utf-8") as file:
                job["exit"] = int(file.read())
        except (OSError, ValueError):
            job["exit"] = 265
        if job.get("over"):
            job["exit"] = -29
        elif job.get("deleted"):
            job["exit"] = 271
        self.kill(job, signal.SIGKILL)
        index = str(job.get("index", ""))
        job["stageout"] = 1
        for kind, letter in [("OU", "o")] + ([] if job["join"] else [("ER", "e")]):
            default = os.path.join(job["workdir"], f"{job['name'][:15]}.{letter}{job['number']}" + (f".{index}" if index else ""))
            target = (job["out"] if letter == "o" else job["err"]) or default
            target = target.rpartition(":")[2].replace("^array_index^", index)
            target = os.path.join(job["workdir"], target)
            if target.endswith("/"):
                target += f"{name}.{HOST}.{kind}"
            try:
                with open(self.file(name, kind), "rb") as source, open(target, "wb") as file:
                    os.fchmod(file.fileno(), 0o600)
                    file.write(source.read())
            except OSError:
                job["stageout"] = 0
        job.update(state="E", substate=51, until=time.time() + (0 if job["stageout"] else STAGEOUT_RETRY))
        return True

    def finish(self, name, job):
        """Over."""
        now = time.time()
        words = "finished" if job["exit"] == 0 else "failed"
        if job.get("over"):
            words = "exceeded resource walltime"
        elif job.get("deleted"):
            words = "terminated"
        job.update(state="X" if "parent" in job else "F", mtime=now, used=now - job["stime"])
        job["substate"] = 91 if job.get("deleted") else 92 if job["exit"] == 0 else 93
        job["comment"] = f"Job run at {time.strftime('%a %b %d at %H:%M', time.gmtime(job['stime']))} on ({HOST}:ncpus={job['cpus']}) and {words}"
        if "parent" in job:
            # The class of whichever member ends last: no proof that all went well.
            self.jobs[job["parent"]]["exit"] = 0 if job["exit"] == 0 else 1
        return True

    def count_arrays(self):
        """An array has begun with its first member and is over with its last; only then its members are F."""
        for name, job in self.jobs.items():
            if "indices" not in job or job["state"] == "F":
                continue
            members = [self.jobs[f"{job['number']}[{index}]"] for index in job["indices"]]
            if all(member["state"] in "XF" for member in members):
                failed = any(member.get("exit") for member in members)
                job.update(state="F", substate=91 if job.get("deleted") else 93 if failed else 92, mtime=time.time())
                job["comment"] = "Job Array Began and " + ("failed" if failed else "finished")
                if any(member["run_count"] for member in members):
                    job.setdefault("exit", 0)
                for member in members:
                    member["state"] = "F"
            elif any(member["state"] in "REX" for member in members):
                job.update(state="B", substate=70, run_count=1)

    def ask_jobs(self, request):
        """Everything; the command picks."""
        self.count_arrays()
        history = not os.path.exists(os.path.join(SPOOL, "history-off"))
        return {"jobs": {name: self.shown(job, history) for name, job in self.jobs.items()}, "history": history}

    def shown(self, job, history):
        """A job as it is told of: of a member that was deleted before it ran, and without a history of all that are over, the array's
        own state and exit status are."""
        if "parent" not in job or job["state"] not in "XF" or not (job.get("unkept") or not history):
            return job
        parent = self.jobs[job["parent"]]
        kept = {key: value for key, value in job.items() if key not in ("pid", "exit", "stageout")}
        kept.update(run_count=0, substate=parent["substate"], comment="Subjob finished")
        return {**kept, "exit": parent["exit"]} if "exit" in parent else kept

    def ask_delete(self, request):
        """Ends jobs; answers before they are gone."""
        name = request["id"]
        job = self.jobs.get(name)
        if job is None:
            return {"refused": [156 if "[" in name else 153, f"qdel: Unknown Job Id {name}.{HOST}"]}
        if job["state"] == "F" or (job["state"] == "X"):
            return {"refused": [35 if "[" not in name else 55, f"qdel: Job has finished {name}.{HOST}"]}
        names = [name]
        if "indices" in job:
            names += [f"{job['number']}[{index}]" for index in job["indices"]]
        for each in names:
            self.delete(self.jobs[each], whole=len(names) > 1)
        self.count_arrays()
        self.save()
        return {}

    def delete(self, job, whole):
        """One of them."""
        now = time.time()
        if job["state"] == "R":
            job.update(deleted=True, term=now)
            self.kill(job, signal.SIGTERM)
        elif "parent" in job and job["state"] in "QH":
            job.update(state="X", mtime=now, unkept=True, deleted=whole)
        elif job["state"] in "QHB":
            job["deleted"] = True
            if "indices" not in job:
                job.update(state="F", substate=91, mtime=now)


# --- the commands -----------------------------------------------------------------------------------------------------------


def ask(command, request):
    """Asks the server; a frozen one is waited for without limit."""
    try:
        with socket.create_connection(("127.0.0.1", PORT)) as connection, connection.makefile("rwb") as stream:
            stream.write(json.dumps(request).encode() + b"\n")
            stream.flush()
            reply = json.loads(stream.readline() or b"{}")
    except OSError as error:
        words = {
            "qdel": f"Connection refused\nCouldn't connect to cluster: {HOST}",
            "pbsnodes": f"Connection refused\npbsnodes: cannot connect to server {HOST}, error=15010",
        }.get(command, f"Connection refused\n{command}: cannot connect to server {HOST} (errno=15010)")
        raise Refused({"qstat": 255, "pbsnodes": 1}.get(command, 162), words) from error
    if "refused" in reply:
        raise Refused(*reply["refused"])
    return reply


def identify(command, text):
    """An id without its server."""
    found = re.fullmatch(r"(\d+(?:\[\d*\])?)(?:\.([\w.-]+))?", text)
    if found and found[2] in (None, HOST):
        return found[1]
    if command == "qstat" and re.fullmatch(r"[A-Za-z]\w*", text):
        raise Refused(170, f"qstat: Unknown queue destination {text}")
    raise Refused(1, f"{command}: illegally formed job identifier: {text}")


def attributes(name, job):
    """A job's attributes, in their order."""
    day = lambda at: time.strftime("%a %b %e %H:%M:%S %Y", time.localtime(at))  # In the asker's zone, as PBS does.
    ran = job["run_count"] and "pid" in job
    yield "Job_Name", job["name"]
    yield "Job_Owner", f"{job['owner']}@{HOST}"
    if ran:
        yield "resources_used.cpupercent", 0
        yield "resources_used.cput", "00:00:00"
        yield "resources_used.mem", "0kb"
        yield "resources_used.ncpus", job["cpus"]
        yield "resources_used.walltime", clock(job.get("used", time.time() - job["stime"]))
    yield "job_state", job["state"]
    yield "queue", job["queue"]
    yield "server", HOST
    yield "ctime", day(job["ctime"])
    if ran:
        yield "exec_host", f"{HOST}/0" + (f"*{job['cpus']}" if job["cpus"] > 1 else "")
        yield "exec_vnode", f"({HOST}:ncpus={job['cpus']})"
    yield "Hold_Types", job.get("hold_types") or ("u" if job["substate"] == 20 else "s" if job["substate"] == 22 else "n")
    yield "Join_Path", "oe" if job["join"] else "n"
    yield "mtime", day(job["mtime"])
    yield "qtime", day(job["ctime"])
    yield "Rerunable", job["rerun"]
    yield "Resource_List.mem", f"{job['mem']}mb"
    yield "Resource_List.ncpus", job["cpus"]
    yield "Resource_List.select", job["select"]
    if job["walltime"]:
        yield "Resource_List.walltime", clock(job["walltime"])
    if ran:
        yield "stime", day(job["stime"])
    yield "substate", job["substate"]
    yield "Variable_List", ",".join(f"{key}={value}" for key, value in job["variables"].items())
    if "comment" in job:
        yield "comment", job["comment"]
    yield "etime", day(job["ctime"])
    if ran:
        yield "run_count", job["run_count"]
    # One that was sent back to the queue keeps the status of its first run.
    if job["state"] in "FX" or job["state"] == "Q" and "exit" in job:
        if "stageout" in job:
            yield "Stageout_status", job["stageout"]
        if "exit" in job:
            yield "Exit_status", job["exit"]
    if "parent" in job:
        yield "array_id", f"{job['parent']}.{HOST}"
        yield "array_index", job["index"]
    elif "indices" in job:
        yield "array", "True"
        yield "array_indices_submitted", job["array"]
    yield "project", "_pbs_project_default"
    yield "Submit_Host", HOST


def print_jobs(shown, full, wide, as_json):
    """In the form asked for."""
    if as_json:
        reply = {"timestamp": int(time.time()), "pbs_version": VERSION, "pbs_server": HOST}
        if shown:
            reply["Jobs"] = {f"{name}.{HOST}": dict(attributes(name, job)) for name, job in shown}
        print(json.dumps(reply, indent="\t"))
    elif full:
        for name, job in shown:
            print(f"Job Id: {name}.{HOST}")
            for key, value in attributes(name, job):
                line = f"    {key} = {value}"
                while not wide and len(line) > 79:
                    print(line[:79])
                    line = "\t" + line[79:]
                print(line)
            print()
    elif shown:
        print("Job id            Name             User              Time Use S Queue\n----------------  ---------------- ----------------  -------- - -----")
        for name, job in shown:
            print(f"{name + '.' + HOST:<17.17} {job['name']:<16.16} {job['owner']:<16.16} {'00:00:00':>8} {job['state']} {job['queue']}")


def qstat(arguments):
    """Tells of jobs, queues and the server."""
    options, names = getopt.gnu_getopt(arguments, "fxtwBQaJnsF:u:", ["version"])
    given = {name: value for name, value in options}
    if "--version" in given:
        return print(f"pbs_version = {VERSION}")
    if "-u" in given and "-F" in given or "-F" in given and "-f" not in given:
        raise Refused(2, "qstat: conflicting options.")
    if "-B" in given:
        ask("qstat", {"ask": "jobs"})
        return print_server()
    if "-Q" in given:
        ask("qstat", {"ask": "jobs"})
        return print_queues()
    as_json = given.get("-F") == "json"
    try:
        reply = ask("qstat", {"ask": "jobs"})
    except Refused:
        if as_json:
            print_jobs([], True, True, True)
        raise
    if "-x" in given and not reply["history"]:
        print("PBS is not configured to maintain job history", file=sys.stderr)
        return None
    jobs = {name: job for name, job in reply["jobs"].items() if reply["history"] or job["state"] not in "F"}
    failed, shown = None, []
    for text in names or [None]:
        if text is None:
            picked = [name for name, job in jobs.items() if ("-x" in given or job["state"] not in "F") and "parent" not in job]
        else:
            name = identify("qstat", text)
            if name not in jobs:
                failed = Refused(153, f"qstat: Unknown Job Id {name}.{HOST}")
                print(failed.words, file=sys.stderr)
                continue
            if jobs[name]["state"] in "FX" and "-x" not in given and not (jobs[name]["state"] == "X" and "-t" in given):
                failed = Refused(35, "")
                print(f"qstat: {name}.{HOST} Job has finished, use -x or -H to obtain historical job information", file=sys.stderr)
                continue
            picked = [name]
        for name in picked:
            shown.append((name, jobs[name]))
            if "-t" in given and "indices" in jobs[name]:
                shown += [(member, job) for member, job in jobs.items() if job.get("parent") == name]
        if as_json and text is not None and shown:
            break  # Of several ids JSON tells of the first alone.
    print_jobs(shown, "-f" in given, "-w" in given, as_json)
    if failed:
        raise Refused(failed.status, "")
    return None


def print_server():
    """The server and its limits."""
    history = not os.path.exists(os.path.join(SPOOL, "history-off"))
    print(f"Server: {HOST}\n    server_state = Active\n    server_host = {HOST}\n    scheduling = True\n    default_queue = workq")
    print(f"    job_history_enable = {history}\n    max_array_size = {MAX_ARRAY}\n    pbs_version = {VERSION}\n")


def print_queues():
    """The queues and theirs."""
    for name, (enabled, limit) in QUEUES.items():
        print(f"Queue: {name}\n    queue_type = Execution\n    total_jobs = 0")
        if limit:
            print(f"    resources_max.walltime = {clock(limit)}")
        print(f"    enabled = {enabled}\n    started = True\n")


def qselect(arguments):
    """Ids by name, owner or state."""
    options = dict(getopt.gnu_getopt(arguments, "xN:u:s:")[0])
    reply = ask("qselect", {"ask": "jobs"})
    if "-x" in options and not reply["history"]:
        return print("PBS is not configured to maintain job history", file=sys.stderr)
    for name, job in reply["jobs"].items():
        wanted = "parent" not in job and ("-x" in options or job["state"] != "F")
        wanted &= options.get("-N", job["name"]) == job["name"] and options.get("-u", job["owner"]) == job["owner"]
        if wanted and job["state"] in options.get("-s", job["state"]):
            print(f"{name}.{HOST}")
    return None


def qdel(arguments):
    """Deletes jobs; the status speaks of the last that could not be."""
    status = 0
    for text in getopt.gnu_getopt(arguments, "W:x")[1]:
        try:
            ask("qdel", {"ask": "delete", "id": identify("qdel", text)})
        except Refused as refused:
            print(refused.words, file=sys.stderr)
            status = refused.status
            if status == 162:
                break
    sys.exit(status)


def pbsnodes(arguments):
    """The one node."""
    reply = ask("pbsnodes", {"ask": "jobs"})
    used = sum(job["cpus"] for job in reply["jobs"].values() if job["state"] in "RE" and "pid" in job)
    print(f"{HOST}\n     Mom = {HOST}\n     ntype = PBS\n     state = {'job-busy' if used >= CPUS else 'free'}\n     pcpus = {CPUS}")
    print(f"     resources_available.host = {HOST}\n     resources_available.mem = {MEM_MB}mb\n     resources_available.ncpus = {CPUS}")
    print(f"     resources_assigned.ncpus = {used}\n     resv_enable = True\n     sharing = default_shared\n")


def resources(job, text):
    """Takes a `-l`."""
    for part in text.split(",") if "select=" not in text else [text]:
        key, _, value = part.partition("=")
        if key not in RESOURCES:
            raise Refused(187, f"qsub: Unknown resource Resource_List.{key}")
        if key == "walltime":
            job["walltime"] = seconds_of(value)
        elif key == "select":
            job["select"], job["cpus"], job["mem"] = value, 0, 0
            for chunk in value.split("+"):
                count, *amounts = chunk.split(":")
                amounts = dict(amount.partition("=")[::2] for amount in amounts)
                for name in amounts:
                    if name not in RESOURCES:
                        raise Refused(187, f"qsub: Unknown resource: {name}")
                job["cpus"] += int(count) * int(amounts.get("ncpus", 1))
                job["mem"] += int(count) * megabytes_of(amounts.get("mem", "256mb"), "select.mem")
        elif key in ("ncpus", "mem"):
            job["alone"] = key
            if key == "ncpus":
                job["cpus"] = int(value)
            else:
                job["mem"] = megabytes_of(value, "Resource_List.mem")
    if job.get("select") and job.get("alone"):
        raise Refused(5, f'qsub: "-lresource=" cannot be used with "select" or "place", resource is: {job["alone"]}')


def qsub(arguments):
    """Submits a script or a command."""
    letters = "a:A:c:C:e:fhIj:J:k:l:m:M:N:o:p:P:q:r:R:S:u:v:VW:Xz"
    try:
        options, rest = getopt.getopt(arguments, letters, ["version"])
    except getopt.GetoptError as error:
        raise Refused(2, f"qsub: invalid option -- '-'\n{QSUB_USAGE}") from error
    if ("--version", "") in options:
        return print(f"pbs_version = {VERSION}")
    command = "--" in arguments and arguments[arguments.index("--") + 1 :] == rest and bool(rest)
    script, name = "", "STDIN"
    if command:
        name = os.path.basename(rest[0])
    elif rest:
        name = os.path.basename(rest[0])
        if os.path.isdir(rest[0]):
            raise Refused(1, "qsub: script not a file")
        try:
            with open(rest[0], encoding="utf-8") as file:
                script = file.read()
        except OSError as error:
            raise Refused(1, "qsub: script file:: No such file or directory") from error
    else:
        script = sys.stdin.read()
    directives = []
    for line in script.splitlines():
        if line.startswith("#PBS "):
            directives += getopt.getopt(line[5:].split(), letters)[0]
        elif line and not line.startswith("#"):
            break
    job = {
        "name": name, "owner": os.environ.get("USER", "alice"), "queue": "workq", "script": script, "argv": rest if command else [],
        "shell": "/bin/bash", "workdir": os.getcwd(), "out": None, "err": None, "join": False, "hold": False, "rerun": "True",
        "cpus": 1, "mem": 256, "select": "", "walltime": 0, "depend": [],
        "variables": {f"PBS_O_{key}": os.environ.get(key, "") for key in ("HOME", "LOGNAME", "PATH", "SHELL")},
    }
    indices, span = [], ""
    for letter, value in directives + options:
        indices, span = take(job, letter, value) or (indices, span)
    job["select"] = job["select"] or f"1:ncpus={job['cpus']}"
    job["variables"].update(PBS_O_WORKDIR=job["workdir"], PBS_O_HOST=HOST, PBS_O_QUEUE=job["queue"])
    limit = QUEUES[job["queue"]][1]
    if limit and job["walltime"] > limit:
        raise Refused(188, "qsub: Job violates queue and/or server resource limits")
    return print(ask("qsub", {"ask": "submit", "job": job, "array": indices, "range": span})["id"])


def take(job, letter, value):
    """Takes one option; the indices where it is the one of arrays."""
    if letter == "-N":
        if not re.fullmatch(r"[A-Za-z0-9_.+-]{1,230}", value):
            raise Refused(2, f"qsub: illegal -N value\n{QSUB_USAGE}")
        job["name"] = value
    elif letter == "-q":
        if value not in QUEUES:
            raise Refused(170, "qsub: Unknown queue")
        if not QUEUES[value][0]:
            raise Refused(173, "qsub: Queue is not enabled")
        job["queue"] = value
    elif letter == "-J":
        found = re.fullmatch(r"(\d+)-(\d+)(?::(\d+))?(?:%\d+)?", value)
        if not found or int(found[1]) >= int(found[2]):
            raise Refused(2, f"qsub: illegal -J value\n{QSUB_USAGE}")
        indices = list(range(int(found[1]), int(found[2]) + 1, int(found[3] or 1)))
        if len(indices) > MAX_ARRAY:
            raise Refused(3, "qsub: Array job exceeds server or queue size limit")
        return indices, value.partition("%")[0]
    elif letter == "-W" and value.startswith("depend="):
        for part in value[7:].split(","):
            kind, *ids = part.split(":")
            if kind not in ("afterok", "afternotok", "afterany") or any("[" in each and "[]" not in each for each in ids):
                raise Refused(2, f"qsub: illegal -W value\n{QSUB_USAGE}")
            job["depend"] += [[kind, identify("qsub", each)] for each in ids]
    elif letter == "-v":
        for part in filter(None, value.split(",")):
            key, is_given, text = part.partition("=")
            job["variables"][key] = text if is_given else os.environ.get(key, "")
    elif letter == "-l":
        resources(job, value)
    else:
        simple = {"-o": "out", "-e": "err", "-S": "shell"}
        if letter in simple:
            job[simple[letter]] = value
        job["join"] |= letter == "-j" and value in ("oe", "eo")
        job["hold"] |= letter == "-h"
        if letter == "-r":
            job["rerun"] = "False" if value == "n" else "True"
    return None


def main():
    """Is who it was called."""
    called = os.path.basename(sys.argv[0])
    if called == "pbs_server":
        os.makedirs(SPOOL, exist_ok=True)
        Server().serve()
    try:
        {"qsub": qsub, "qstat": qstat, "qdel": qdel, "qselect": qselect, "pbsnodes": pbsnodes}[called](sys.argv[1:])
    except getopt.GetoptError as error:
        print(f"{called}: {error}", file=sys.stderr)
        sys.exit(2)
    except Refused as refused:
        if refused.words:
            print(refused.words, file=sys.stderr)
        sys.exit(refused.status)


main()
