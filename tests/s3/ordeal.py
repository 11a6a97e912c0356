#!/usr/bin/env python3
"""A real S3 server and a real binary, by hand: eight runs at once, runs and optimizes killed at random moments, the server
restarted under a run, vacuum, verify. Every record must be there exactly once, and no output may show the secret.

    ordeal.py BIN ENDPOINT --access-key K --secret-key S [--kills 100] [--restart 'COMMAND']

COMMAND kills the server and starts it again; without it the server is left alone. Needs boto3. Exit code 1: something is wrong.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time

import boto3
from botocore.config import Config

ODD = ["a b/", "ü€😀/", "a+b/", "100%/", "k=v/", "__HIVE_DEFAULT_PARTITION__/", "deep/er/", ""]


class Ordeal:
    def __init__(self, args):
        self.args = args
        self.bucket = f"ordeal-{os.getpid()}-{int(time.time())}"
        self.s3 = boto3.client(
            "s3", endpoint_url=args.endpoint, aws_access_key_id=args.access_key, aws_secret_access_key=args.secret_key,
            region_name="us-east-1", config=Config(retries={"max_attempts": 10}, s3={"addressing_style": "path"}))
        self.s3.create_bucket(Bucket=self.bucket)
        self.raw, self.lake = f"s3://{self.bucket}/raw", f"s3://{self.bucket}/lake"
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")} | {
            "AWS_ENDPOINT_URL": args.endpoint, "AWS_ACCESS_KEY_ID": args.access_key,
            "AWS_SECRET_ACCESS_KEY": args.secret_key, "AWS_REGION": "us-east-1", "NO_PROXY": "*"}
        self.next_id, self.objects = 0, 0
        self.random = random.Random(7)

    def put(self, objects, drift=0):
        """Stores objects of ten records and a line that is none; `drift` promotes columns."""
        for _ in range(objects):
            records = []
            for n in range(10):
                record = {"id": self.next_id, "kind": f"k{self.next_id % 3}", "v": self.next_id, "w": {"x": [1]}}
                if n == 5 and drift == 1:
                    record["v"] = 0.5
                if n == 5 and drift == 2:
                    record["v"] = "text"
                if n == 5 and drift == 3:
                    record["w"] = {"x": [1], "y": {"z": "new"}}
                records.append(json.dumps(record))
                self.next_id += 1
            key = f"raw/s/{ODD[self.objects % len(ODD)]}{self.objects:06}.json"
            self.s3.put_object(Bucket=self.bucket, Key=key, Body=("\n".join(records) + "\nno json\n").encode())
            self.objects += 1

    def start(self, *args, env=None, raw=True):
        roots = (["--raw", self.raw] if raw else []) + ["--lake", self.lake]
        return subprocess.Popen([self.args.bin, *args, *roots], env=env or self.env, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def end(self, process):
        out, err = process.communicate()
        for secret in (self.args.secret_key, "canary-of-a-wrong-secret"):
            assert secret not in out and secret not in err, "a secret was printed"
        return process.returncode, out, err

    def run(self, *args, raw=True):
        code, out, err = self.end(self.start(*args, raw=raw))
        assert code == 0, (args, code, out, err)
        return out

    def check(self):
        """Nothing lost, nothing doubled."""
        rows = [json.loads(line)["id"] for line in self.run("export", "s", raw=False).splitlines()]
        assert sorted(rows) == list(range(self.next_id)), f"{len(rows)} rows, {len(set(rows))} ids, of {self.next_id}"
        status = json.loads(self.run("status", "s", "--format", "json"))[0]
        assert (status["objects_consumed"], status["quarantined"], status["objects_new"]) == (self.objects, self.objects, 0), status
        assert self.run("verify", raw=False).endswith(": nothing wrong\n")

    def doctor(self):
        ran = subprocess.run([self.args.bin, "doctor", self.lake], env=self.env, capture_output=True, text=True)
        print(ran.stdout.strip())
        assert ran.returncode == 0 and "20 with one winner" in ran.stdout, ran

    def racers(self):
        for _ in range(3):
            before = self.objects
            self.put(100)
            runs = [self.start("compact", "--threads", "1", "--output", "json", "--partition-by", "kind") for _ in range(8)]
            taken, lost = 0, 0
            for code, out, err in [self.end(run) for run in runs]:
                source = json.loads(out)["sources"][0]
                assert (code == 0) == ("error" not in source), (code, out, err)
                assert code == 0 or "other writers were first" in source["error"], source
                taken += source["objects"]
                lost += code != 0
            assert taken == self.objects - before, (taken, self.objects - before)
            self.check()
            print(f"8 runs at once: {taken} objects, each taken once; {lost} runs gave up and said so")

    def killed(self):
        killed, round = 0, 0
        while killed < self.args.kills:
            self.put(20, drift=round % 5)
            round += 1
            began = time.time()
            for _ in range(4):
                work = self.random.choice([("compact", True), ("compact", True), ("optimize", False)])
                process = self.start(work[0], "s", raw=work[1])
                time.sleep(self.random.random() * self.args.longest)
                process.kill()
                killed += process.wait() < 0
                process.stdout.close(), process.stderr.close()
            self.run("compact", "s")
            if round % 4 == 0:
                self.run("optimize", "s", raw=False)
            self.check()
            print(f"{killed} killed, {self.next_id} rows, {time.time() - began:.1f} s", flush=True)

    def restarted(self):
        """The server goes down and comes back under a run."""
        for after in (0.2, 0.6, 1.2):
            self.put(300, drift=1)
            run = self.start("compact", "s", "--output", "json")
            time.sleep(after)
            subprocess.run(self.args.restart, shell=True, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            code, out, err = self.end(run)
            print(f"restarted after {after} s: exit code {code} {err.strip()}")
            assert code == 0 or err.strip(), "it failed without a word"
            self.run("compact", "s")
            self.check()

    def maintain(self):
        print(self.run("optimize", "s", raw=False).strip())
        self.check()
        print(self.run("vacuum", "s", "--retention", "1d", "--dry-run", raw=False).splitlines()[0])
        self.run("vacuum", "s", "--retention", "1d", raw=False)
        self.check()
        self.put(5, drift=2)
        self.run("compact", "s")
        self.check()

    def wrong_secret(self):
        env = self.env | {"AWS_SECRET_ACCESS_KEY": "canary-of-a-wrong-secret"}
        for command in ("compact", "status"):
            code, out, err = self.end(self.start(command, env=env))
            assert code == 1 and len(err.strip().splitlines()) == 1, (code, out, err)
        print(f"a wrong secret: {err.strip()}")

    def all(self):
        self.doctor()
        self.racers()
        self.killed()
        if self.args.restart:
            self.restarted()
        self.maintain()
        self.wrong_secret()
        self.doctor()
        print(f"all is well: {self.objects} objects, {self.next_id} rows, each once")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bin")
    parser.add_argument("endpoint")
    parser.add_argument("--access-key", default="test")
    parser.add_argument("--secret-key", default="canary-secret-of-the-ordeal")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--longest", type=float, default=3.0, help="a run is killed within so many seconds")
    parser.add_argument("--restart", help="a command that kills the server and starts it again")
    Ordeal(parser.parse_args()).all()


if __name__ == "__main__":
    sys.exit(main())
