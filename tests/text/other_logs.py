"""Logs without measures of a training, in the formats of frequent tools: their numbers are no curves."""

import random

_FORMATS = """
Collecting {n}=={v}|  Downloading {n}-{v}-py3-none-any.whl ({f} MB)|     ━━━━━━━━━━ {f}/{f} MB {f} MB/s eta 0:00:0{d}
Requirement already satisfied: {n}>={v} in /usr/lib/python3/dist-packages ({v})
Successfully installed {n}-{v} {n}-{v} {n}-{v}
Package    Version|---------- -------|{n}      {v}
{n}=={v}
Resolved {i} packages in {f}ms|Prepared {d} packages in {f}s|Installed {d} packages in {i}ms| + {n}=={v}
Get:{d} http://archive.example/debian bookworm/main amd64 {n} amd64 {v}-{d} [{i} kB]|Fetched {i} kB in {d}s ({i} kB/s)
Setting up {n} ({v}-{d}) ...|Unpacking {n} ({v}-{d}) over ({v}-{d}) ...
(Reading database ... {i} files and directories currently installed.)|Preparing to unpack .../{n}_{v}_amd64.deb ...
{y} status installed {n}:amd64 {v}-{d}
tests/test_{n}.py::test_{n} PASSED [ {d}%]
tests/test_{n}.py ........ [{d}{d}%]
{d} passed, {d} failed, {d} skipped in {f}s
{f}s call     tests/test_{n}.py::test_{n}|{f}s setup    tests/test_{n}.py::test_{n}
{n}.py      {i}     {d}    {d}{d}%   {d}-{d}{d}
FAILED tests/test_{n}.py::test_{n} - assert {f} == {f}
{y} {t},{i} INFO {n}: started worker {d}
{y}T{t}Z level=info msg="request done" status=200 bytes={i}
{y} {t} [{d}] DEBUG {n}.{n} - connection {i} accepted
INFO:{n}:listening on 127.0.0.1:{i}
{a} - - [{y}:{t} +0000] "GET /{n}/{i} HTTP/1.1" 200 {i} "-" "curl/{v}"
{a} - - "GET /{n} HTTP/1.1" 304 - {f}
I0{d}{d}{d} {t}.{i} {i} {n}.go:{i}] Waited for {f}s due to throttling, request: GET:https://{a}:443/api
{y} {t}: {n}[{i}]: segfault at {h} ip {h} sp {h} error {d}
[{i}.{i}] {n}: link becomes ready, mtu {i}
[    {f}] pci 0000:00:0{d}.0: BAR {d}: assigned [mem {h}-{h}]
64 bytes from {a}: icmp_seq={d} ttl=64 time={f} ms
rtt min/avg/max/mdev = {f}/{f}/{f}/{f} ms
traceroute to {a}, 30 hops max|{d}  {a} ({a})  {f} ms  {f} ms
-rw-r--r-- 1 root root {i} Jan  {d} {t} {n}.txt
drwxr-xr-x {d} user user 4096 {y} {t} {n}
{i} {n}/{n}.py
{f}M ./{n}/{n}
/dev/sd{d}      {d}{d}G  {f}G  {f}G  {d}{d}% /{n}
tmpfs           {f}G     0  {f}G   0% /run
Mem:          {i}       {i}       {i}          {d}       {i}
 {t} up {d} days,  {d}:{d}{d},  {d} users,  load average: {f}, {f}, {f}
root  {i}  {f}  {f} {i} {i} ?  Ss  {t} 0:0{d} /usr/bin/{n}
%Cpu(s):  {f} us,  {f} sy,  0.0 ni, {f} id,  {f} wa
{n}: {i} kB
MemTotal: {i} kB|MemFree: {i} kB|Cached: {i} kB
cpu MHz: {f}|model: {d}|stepping: {d}|bogomips: {f}
eth0: {i} {i} 0 0 0 {i} {i}
real 0m{f}s|user 0m{f}s|sys 0m{f}s
Elapsed: {f}|elapsed time: {f} seconds|took {f}
commit {h}{h}|Date: {y} {t}| {n}.py | {d} ++--
 {d} files changed, {i} insertions(+), {i} deletions(-)
Receiving objects: {d}{d}% ({i}/{i}), {f} MiB | {f} MiB/s
Updating {h}..{h}|Fast-forward
Step {d}/12 : RUN pip install {n}|---> {h}{h}
{h}: Pulling fs layer|{h}: Download complete|{h}: Extracting [====> ] {f}MB/{f}MB
#{d} {f} Reading package lists...|#{d} DONE {f}s
{n}-{h}-{h}   1/1     Running   {d}   {d}h
[{d}{d}%] Building CXX object {n}/CMakeFiles/{n}.dir/{n}.cpp.o
gcc -O2 -c {n}.c -o {n}.o|{n}.c:{i}:{d}: warning: unused variable
make[{d}]: *** [Makefile:{i}: {n}] Error {d}
Compiling {n} v{v}|Finished release [optimized] target(s) in {f}s
npm warn deprecated {n}@{v}: use {n}|added {i} packages in {d}s
webpack compiled in {i} ms|asset {n}.js {i} KiB [emitted]
go: downloading github.com/{n}/{n} v{v}
ok  github.com/{n}/{n} {f}s
{n} {f}s ago|{i} blocks
[{t}] Starting '{n}'...|[{t}] Finished '{n}' after {f} s
Traceback (most recent call last):|  File "{n}.py", line {i}, in {n}|ValueError: invalid value {i}
Warning: line {i} of {n}.csv has {d} columns
{n},{f},{f},{y}
{y},{f},{i},{n}
{i} {i} {i} {i}
{f}\t{f}\t{f}
| {n} | {i} | {f} |
{n}   {i}   {f}   {y}
   mean    std    min    max|{n}  {f}  {f}  {f}  {f}
count    {i}.0|mean     {f}|std      {f}|min      {f}|max     {f}
RangeIndex: {i} entries, 0 to {i}| {d}   {n}  {i} non-null  float64
Name: {n}, Length: {i}, dtype: float64
Chapter {d}: page {i}
Invoice {i}: total {f} EUR, tax {f}
latitude: {f}, longitude: {f}|lat={f} lon={f}
Temperature: {f} C, humidity {d}{d}%
{n} version {v} ({y})|python={v}|build: {h}
https://{n}.org/{n}?page={i}&size={d}|http://localhost:{i}/lab?token={h}
user@{n}.org: {d} messages
mac={h}:{h} ip={a} port={i}
sha256:{h}{h}{h}|md5: {h}
PID {i} exited with code {d}|exit status {d}
Epoch {d}/10|Waiting for data
Progress: {d}{d}%|progress: {d}{d}.{d}%
{d}{d}%|██████    | {i}/{i} [00:0{d}<00:0{d}, {f}it/s]
Copying {n}: {i}/{i} files, {f} MB
Downloading {n}: {f}MB [00:0{d}, {f}MB/s]
Loaded {i} rows from {n} in {f} s|{i} rows written
Using device cuda:{d}, {i} MiB free
nvidia-smi {v}|{d}{d}C  P{d}  {d}{d}W / 300W | {i}MiB / 40960MiB | {d}{d}%
Mean of {i} samples: {f}|sum: {i}
worker-{d} heartbeat {i}|queue={i} workers={d}
batch {d} of 9 done|step {d} done
x: {f} y: {f}|x={f}, y={f}, z={f}
Answer {d}: {i}|Question {d}
GET /api/{n} 200 in {i}ms|POST /api/{n} 201 in {f} ms
cache hit ratio {f}|hits={i} misses={d}
Sleeping {f} seconds|retry {d} after {f}s|timeout={f}
Scanned {i} files, found {d} errors|errors: {d}, warnings: {d}
Error: {i}|error code {d}|ERROR {i} in {n}
Score of game {d}: {d}-{d}|Player {n}: {d}
The map has {i} tiles|return {d}|recall item {d}
""".strip().split("\n")


def other_logs(lines: int = 6, variants: int = 2) -> list[str]:
    """Return logs, each of lines in the same format with other names and numbers."""
    chance = random.Random(7)
    return ["\n".join(_fill(form, chance) for _ in range(lines)) + "\n" for form in _FORMATS for _ in range(variants)]


def _fill(form: str, chance: random.Random) -> str:
    makers = {
        "n": lambda: chance.choice(["numpy", "alpha", "core", "utils", "server", "libc6", "data", "report"]),
        "v": lambda: f"{chance.randint(0, 20)}.{chance.randint(0, 30)}.{chance.randint(0, 9)}",
        "i": lambda: str(chance.randint(10, 99_999)),
        "d": lambda: str(chance.randint(1, 9)),
        "f": lambda: f"{chance.uniform(0, 90):.2f}",
        "h": lambda: f"{chance.getrandbits(32):08x}",
        "a": lambda: ".".join(str(chance.randint(1, 254)) for _ in range(4)),
        "y": lambda: f"2026-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}",
        "t": lambda: f"{chance.randint(0, 23):02}:{chance.randint(0, 59):02}:{chance.randint(0, 59):02}",
    }
    text = form.replace("|", "\n") if " | " not in form else form
    for key, make in makers.items():
        while f"{{{key}}}" in text:
            text = text.replace(f"{{{key}}}", make(), 1)
    return text
