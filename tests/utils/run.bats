#!/usr/bin/env bats
# The job launcher: Kaldi's contract.
# shellcheck disable=SC2016 # values that look like code are meant as they stand

setup() {
  cd "$BATS_TEST_TMPDIR" || exit
  run_py=$BATS_TEST_DIRNAME/../../utils/run.py
}

# eventually COMMAND...: wait up to ten seconds for it to succeed.
eventually() {
  for _ in {1..100}; do
    "$@" && return
    sleep 0.1
  done
  return 1
}

gone() { ! kill -0 "$(<"$1")" 2>/dev/null; }

@test "one job: its log has the command, the output and the closing line" {
  "$run_py" a/b.log echo hello
  [[ $(sed -n 1p a/b.log) == "# echo hello" ]]
  [[ $(sed -n 2p a/b.log) == "# Started at "* ]]
  grep -qx hello a/b.log
  [[ $(tail -n 1 a/b.log) =~ ^"# Ended (code 0) at ".*", elapsed time "[0-9]+" seconds"$ ]]
}

@test "an array: every JOB is replaced, in the log's name and the arguments" {
  "$run_py" JOB=2:4 "a log/x.JOB.log" printf '%s\n' JOB/a.JOB.JOB
  for job in 2 3 4; do
    grep -qx "$job/a.$job.$job" "a log/x.$job.log"
  done
  [[ $(echo "a log"/*) == "a log/x.2.log a log/x.3.log a log/x.4.log" ]]
}

@test "arguments are no shell code" {
  "$run_py" x.log printf '<%s>' '$(touch evil)' "a 'b\"" '; touch evil' '|' '*' ''
  grep -qF "<\$(touch evil)><a 'b\"><; touch evil><|><*><>" x.log
  [[ ! -e evil ]]
}

@test "options of clusters are accepted and ignored, before and after JOB" {
  "$run_py" --mem 4G --num-threads 2 JOB=1:2 --gpu 1 --max_jobs_run 1 --config c x.JOB.log true
}

@test "exit 0 only if every job did; the failed log is named and its end shown" {
  run "$run_py" JOB=1:3 x.JOB.log bash -c 'echo "job JOB says so"; [[ JOB -ne 2 ]]'
  [[ $status -eq 1 ]]
  [[ ${lines[0]} == "run.py: 1 of 3 jobs failed; x.2.log ends:" ]]
  [[ $output == *"job 2 says so"* && $output == *"# Ended (code 1)"* ]]
  [[ $(tail -n 1 x.3.log) == "# Ended (code 0)"* ]]
}

@test "a command that cannot be run fails and says so in the log" {
  run "$run_py" x.log ./none
  [[ $status -eq 1 && $output == *"cannot run ./none: No such file"* ]]
}

@test "a command killed by a signal has a shell's exit code" {
  run "$run_py" x.log bash -c 'kill -9 $$'
  [[ $status -eq 1 ]]
  tail -n 1 x.log | grep -qF "(code 137)"
}

@test "--max-jobs-run bounds the jobs at a time" {
  mkdir on
  for most in 1 2; do
    "$run_py" --max-jobs-run $most JOB=1:4 x.JOB.log bash -c 'touch on/JOB; sleep 0.3; ls on; sleep 0.3; rm on/JOB'
    [[ $(for log in x.*.log; do grep -c '^[0-9]$' "$log"; done | sort -n | tail -n 1) -eq $most ]]
  done
}

@test "--pick failed runs what did not end well; --pick incomplete what did not end" {
  run "$run_py" JOB=1:3 x.JOB.log bash -c '[[ JOB -ne 2 ]]'
  sed -i '$d' x.3.log # as if killed
  run "$run_py" --pick incomplete JOB=1:4 x.JOB.log echo again
  [[ $status -eq 1 && ${lines[0]} == "run.py: 1 of 4 jobs failed; x.2.log ends:" ]]
  [[ $(grep -lx again x.*.log | xargs) == "x.3.log x.4.log" ]]
  "$run_py" --pick failed JOB=1:4 x.JOB.log echo third
  [[ $(grep -lx third x.*.log) == x.2.log ]]
  "$run_py" --pick failed JOB=1:4 x.JOB.log false
}

@test "wrong use is one line and starts nothing" {
  wrong() {
    run "$run_py" "$@"
    [[ $status -eq 2 && ${#lines[@]} -eq 1 && $output == "run.py: error: "* && ! -e x.log ]]
  }
  wrong --foo 1 x.log touch evil
  wrong -q all.q x.log touch evil
  wrong JOB=1:2 x.log touch evil
  wrong JOB=0:2 x.JOB.log touch evil
  wrong JOB=3:2 x.JOB.log touch evil
  wrong JOB=1:two x.JOB.log touch evil
  wrong --max-jobs-run 0 x.log touch evil
  wrong --pick some x.log touch evil
  wrong x.log
  wrong --mem
  [[ ! -e evil ]]
}

@test "a log that cannot be written is named" {
  touch file
  run "$run_py" file/x.log true
  [[ $status -eq 2 && ${#lines[@]} -eq 1 && $output == *"file"* ]]
}

@test "a job that ended just before the signal is not waited for" {
  run python3 - "$BATS_TEST_DIRNAME/../../utils/run.py" <<'PY'
import importlib.util, subprocess, sys
spec = importlib.util.spec_from_file_location("run", sys.argv[1])
run = sys.modules["run"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(run)
ended = subprocess.Popen(["true"])
ended.wait()
run.stop({ended.pid: None})
PY
  [[ $status -eq 0 ]]
}

@test "SIGTERM ends the jobs and what they started" {
  "$run_py" JOB=1:2 x.JOB.log bash -c 'sleep 100 & echo $! >pid.JOB; wait' &
  eventually test -s pid.1 -a -s pid.2
  kill -TERM $!
  wait $! || true
  eventually gone pid.1
  eventually gone pid.2
  tail -n 1 x.1.log | grep -qF "(code 143)"
}

@test "SIGKILL of the launcher ends its jobs" {
  [[ $(uname) == Linux ]] || skip "only Linux tells children of their parent's death"
  "$run_py" x.log bash -c 'echo $$ >pid; exec sleep 100' &
  eventually test -s pid
  kill -KILL $!
  eventually gone pid
}

@test "a lock held by the caller lives in the jobs" {
  exec 8>lock
  flock 8
  "$run_py" x.log flock --nonblock --shared lock true || status=$?
  [[ $status -eq 1 ]]
  "$run_py" y.log bash -c 'flock --nonblock 8'
}
