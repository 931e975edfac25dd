# shellcheck shell=bash
# A whole federation on this machine, for scripts/demo and examples/*/run: an authority, a coordinator, sites and a
# researcher, every one a process of its own with its own directory and certificate, over mutual TLS. Meant to be sourced.
# A script calls, in this order (each says below what it needs):
#
#   read_arguments NAME "$@"    --out, --data, --quick, --bin
#   find_programs               or builds them
#   open_federation NAME        a clean $out with an authority; from here on nothing is left running, however the script ends
#   add_site NAME OPTIONS…      once for every site
#   allow_models NAMES…         what every site's policy allows
#   offer_privately DATASET …   where a job is private
#   start_federation DATASET    coordinator, researcher and agents, connected
#   train JOB [FOLDER]          any number of times
#   stop_federation
#   compare JOB [FOLDER [PRIVATE]]  local, federated and centralized, on every site's rows
#
# or, for the last four, run_jobs JOBS….
#
# Variables that scripts read: $repository, $bin, $out, $data_root, $data_root_from, $is_quick, $sites.

# shellcheck disable=SC2034  # The scripts that source this read them.
{
  repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
  data_root_from=
  is_quick=false
}
script_name=$(basename "$(dirname "$0")")
[[ $script_name != scripts ]] || script_name=$(basename "$0")
bin=
out=
data_root=
sites=()
pids=()
names=()
declare -A site_options # site → options of `chorale site dataset add`, one a line
policy_options=()
private_dataset=
private_budget=()

die() {
  printf '\n%s: %s\n' "$script_name" "$*" >&2
  exit 1
}
say() { printf '\n== %s\n' "$*"; }

# ---------------------------------------------------------------- arguments, programs, data

# read_arguments DEFAULT_OUT "$@": sets $out (absolute), $data_root (absolute, or empty), $is_quick and $bin.
read_arguments() {
  local caller=${PWD%/} usage="usage: $0 [--quick] [--data DIR] [--out DIR] [--bin DIR]"
  out=$1
  data_root=${CHORALE_DATA-}
  data_root_from=${CHORALE_DATA:+CHORALE_DATA}
  shift
  while (($# > 0)); do
    case "$1" in
      --out | --data | --bin)
        (($# >= 2)) || die "$1 needs a directory; $usage"
        case "$1" in
          --out) out=$2 ;;
          --bin) bin=$2 ;;
          *) data_root=$2 data_root_from=--data ;;
        esac
        shift 2
        ;;
      --quick)
        is_quick=true
        shift
        ;;
      *) die "unknown argument '$1'; $usage" ;;
    esac
  done
  [[ $out == /* ]] || out=$caller/$out
  [[ -z $bin || $bin == /* ]] || bin=$caller/$bin
  [[ -z $data_root || $data_root == /* ]] || data_root=$caller/$data_root
  if [[ -z $data_root && -d $repository/../shared/data ]]; then
    data_root=$(cd "$repository/../shared/data" && pwd)
    data_root_from='../shared/data'
  fi
}

# Without --bin: installs what is missing and builds.
find_programs() {
  if [[ -z $bin ]]; then
    say 'Packages and programs'
    "$repository/scripts/setup"
    "$repository/scripts/build" chorale chorale-coordinator chorale-site-agent chorale-evaluate
    bin=$repository/build/bin
  fi
  [[ -x $bin/chorale && -x $bin/chorale-evaluate ]] || die "no programs in $bin"
}

# need_data FILE: prints its path below the data root. Exit code 77, with a word on standard error, where it is not there.
need_data() {
  if [[ -n $data_root && -f $data_root/$1 ]]; then
    printf '%s\n' "$data_root/$1"
    return
  fi
  printf '%s: needs %s below the data root (--data DIR or CHORALE_DATA); see README.md for where it comes from\n' \
    "$script_name" "$1" >&2
  exit 77
}

# The dataset's id that a job names.
dataset_of() {
  local id
  id=$(sed -n 's/^dataset:[[:space:]]*\([a-z0-9-]*\).*/\1/p' "$1")
  [[ -n $id ]] || die "$1 names no dataset"
  printf '%s\n' "$id"
}

# ---------------------------------------------------------------- processes

start() { # start NAME COMMAND…
  local name=$1
  shift
  # In a session of its own: Ctrl-C reaches this script alone, which then stops everything in order.
  setsid "$@" >"$out/logs/$name.log" 2>&1 </dev/null &
  pids+=("$!")
  names+=("$name")
}
any_running() {
  local pid
  for pid in "${pids[@]}"; do
    if kill -0 "$pid" 2>/dev/null; then return 0; fi
  done
  return 1
}
# Asks every process to end and waits; what has not ended after 20 s is killed. Fails when one did not end in order.
stop_all() {
  local i status=0 deadline=$((SECONDS + 20))
  for i in "${!pids[@]}"; do kill -TERM "${pids[i]}" 2>/dev/null || true; done
  while any_running && ((SECONDS < deadline)); do sleep 0.1; done
  for i in "${!pids[@]}"; do
    ((SECONDS < deadline)) || kill -KILL "${pids[i]}" 2>/dev/null || true
    wait "${pids[i]}" || {
      printf '%s: %s ended with exit code %s; see %s\n' "$script_name" "${names[i]}" "$?" "$out/logs/${names[i]}.log" >&2
      status=1
    }
  done
  pids=()
  return "$status"
}
on_exit() {
  local code=$?
  trap - EXIT
  stop_all || true
  exit "$code"
}

show_log() { # show_log NAME: the end of a log, on standard error
  printf '\n---- the end of %s\n' "$out/logs/$1.log" >&2
  tail -n 15 "$out/logs/$1.log" >&2 || true
}
# wait_until SECONDS WHAT COMMAND…: until the command succeeds; fails early when a process of ours has ended.
wait_until() {
  local deadline=$((SECONDS + $1)) what=$2 i
  shift 2
  until "$@"; do
    for i in "${!pids[@]}"; do
      kill -0 "${pids[i]}" 2>/dev/null || {
        show_log "${names[i]}"
        die "${names[i]} ended while waiting for: $what"
      }
    done
    ((SECONDS < deadline)) || {
      for i in "${!names[@]}"; do show_log "${names[i]}"; done
      die "gave up waiting for: $what"
    }
    sleep 0.1
  done
}
chorale() { "$bin/chorale" "$@"; }
quietly() { # quietly COMMAND…: output only on failure
  "$@" >"$out/logs/last-command.log" 2>&1 || {
    cat "$out/logs/last-command.log" >&2
    die "failed: $*"
  }
}
invite() { # invite OPTIONS…: prints the token
  chorale federation invite --dir "$out/authority" "$@" 2>>"$out/logs/invitations.log"
}

# ---------------------------------------------------------------- the federation

# A clean $out, where only what such a run makes is ever removed, and the authority.
open_federation() {
  if [[ -e $out && ! -e $out/.chorale-run && -n $(ls -A "$out" 2>/dev/null) ]]; then
    die "$out is not empty and no earlier run made it; choose another --out"
  fi
  mkdir -p "$out"
  out=$(cd "$out" && pwd)
  rm -rf "$out"/{authority,coordinator,researcher,sites,data,jobs,model,logs,run.json,report.json,report.html}
  touch "$out/.chorale-run"
  mkdir -p "$out"/{sites,data,logs}
  chmod 700 "$out"
  trap on_exit EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  quietly chorale federation init --dir "$out/authority" --name "$1"
}

# add_site NAME OPTIONS…: a site; the options are those of `chorale site dataset add`, without directory, id and split
# column.
add_site() {
  local name=$1
  shift
  sites+=("$name")
  site_options[$name]=$(printf '%s\n' "$@")
}

# allow_models NAMES… [-- OPTIONS…]: what the rule of every site allows; further options are those of `chorale site allow`.
allow_models() {
  while (($# > 0)) && [[ $1 != -- ]]; do
    policy_options+=(--model "$1")
    shift
  done
  (($# == 0)) || shift
  policy_options+=("$@")
}

# offer_privately DATASET MAX_EPSILON DELTA: every site offers its table under that id too, to private jobs, within a budget.
offer_privately() { private_dataset=$1 private_budget=(--max-epsilon "$2" --delta "$3"); }

connected() { # connected COUNT: that many sites are, and no more
  local listed
  listed=$(chorale coordinator sites --as "$out/researcher" --format json 2>/dev/null) || return 1
  (($(grep -c '"is_connected": true' <<<"$listed") == $1))
}

# start_federation DATASET: everybody enrolled, running and connected; every site offers its table under that id.
start_federation() {
  local name directory token researcher_token address listen_file threads dataset=$1
  local -a options
  quietly chorale coordinator init --dir "$out/coordinator" --listen 127.0.0.1:0 --roster "$out/authority/roster.yaml"
  token=$(invite --coordinator coordinator --address 127.0.0.1)
  quietly chorale coordinator enrol --dir "$out/coordinator" --token - --authority "$out/authority" <<<"$token"

  # Everybody is enrolled before the coordinator starts, so that it reads a complete roster. The port is known only
  # afterwards: the sites' files follow then.
  for name in "${sites[@]}"; do
    token=$(invite --site "$name")
    quietly chorale site enrol --dir "$out/sites/$name" --token - --authority "$out/authority" <<<"$token"
  done
  researcher_token=$(invite --researcher researcher)

  start coordinator "$bin/chorale-coordinator" --config "$out/coordinator/coordinator.yaml"
  listen_file=$out/coordinator/state/listen
  wait_until 30 'the coordinator to listen' test -s "$listen_file"
  address=$(<"$listen_file")
  quietly chorale researcher enrol --dir "$out/researcher" --token - --authority "$out/authority" \
    --coordinator "$address" <<<"$researcher_token"

  threads=$((($(nproc) + ${#sites[@]} - 1) / ${#sites[@]}))
  for name in "${sites[@]}"; do
    directory=$out/sites/$name
    quietly chorale site init --dir "$directory" --coordinator "$address"
    # The agents share this machine, and loopback needs no proxy.
    printf '\nthreads: %s\nproxy: none\n' "$threads" >>"$directory/site.yaml"
    mapfile -t options <<<"${site_options[$name]}"
    quietly chorale site dataset add --dir "$directory" --id "$dataset" --split-column split "${options[@]}"
    quietly chorale site allow --dir "$directory" --researcher researcher --dataset "$dataset" \
      --metric loss --metric accuracy "${policy_options[@]}"
    if [[ -n $private_dataset ]]; then
      quietly chorale site dataset add --dir "$directory" --id "$private_dataset" --split-column split "${options[@]}" \
        "${private_budget[@]}"
      quietly chorale site allow --dir "$directory" --researcher researcher --dataset "$private_dataset" \
        "${policy_options[@]}"
    fi
    quietly chorale site check --dir "$directory"
    start "$name" "$bin/chorale-site-agent" --config "$directory/site.yaml"
  done
  wait_until 120 'all sites to connect' connected ${#sites[@]}
}

# train JOB [FOLDER]: submits, watches, and puts run.json and model/ into FOLDER (default: $out). Progress on standard output.
train() {
  local job=$1 folder=${2-$out} job_id name
  mkdir -p "$folder"
  job_id=$(chorale job submit "$job" --as "$out/researcher" 2>/dev/null) || {
    chorale job submit "$job" --as "$out/researcher" || true
    die "the job $job was not accepted"
  }
  chorale job watch "$job_id" --as "$out/researcher" || {
    for name in "${names[@]}"; do show_log "$name"; done
    die "the job $job did not complete"
  }
  chorale job show "$job_id" --as "$out/researcher" --format json >"$folder/run.json"
  quietly chorale model pull "$job_id" --as "$out/researcher" --out "$folder/model"
}

stop_federation() { stop_all || die "a process did not end in an orderly way"; }

# budgets: what the sites' ledgers say is spent and left.
budgets() {
  local name
  for name in "${sites[@]}"; do
    printf '%s\n' "$name"
    chorale site budget --dir "$out/sites/$name" | sed 's/^/  /'
  done
}

# compare JOB [FOLDER [PRIVATE]]: writes report.html and report.json into FOLDER (default: $out), where train put the model, and the
# table onto standard output; PRIVATE is the folder of a private job, whose model gets a row. Reads the sites' tables itself: no federation is needed any more.
compare() {
  local job=$1 folder=${2-$out} private=${3-} name
  local -a arguments=()
  if [[ -n $private ]]; then
    arguments+=(--private "$private/model/model.safetensors" --private-run "$private/run.json")
  fi
  for name in "${sites[@]}"; do arguments+=(--site "$name=$out/sites/$name/site.yaml"); done
  chorale evaluate --job "$job" --federated "$folder/model/model.safetensors" --run "$folder/run.json" \
    "${arguments[@]}" --out "$folder" 2>"$out/logs/evaluate.log" || {
    show_log evaluate
    die "the comparison of $job failed"
  }
}

# with_rounds JOB ROUNDS [REPORTS]: a copy of JOB with fewer rounds, and with another quorum; prints its path.
with_rounds() {
  local copy
  copy=$out/data/$(basename "$1")
  sed -E "s/^(  count:) +[0-9]+/\1 $2/; ${3:+s/^(  min_reports:) +[0-9]+/\1 $3/}" "$1" >"$copy"
  printf '%s\n' "$copy"
}

# run_jobs JOBS…: starts the federation, trains every job into $out/jobs/NAME of its file, stops, compares each; prints the
# table of the first job, and at the end two or three lines for every one.
run_jobs() {
  local job folder
  local -a folders=()
  say "Federation: an authority, a coordinator, ${#sites[@]} sites, a researcher"
  start_federation "$(dataset_of "$1")"
  for job in "$@"; do
    folder=$out/jobs/$(basename "$job" .yaml)
    folders+=("$folder")
    say "Training: $(basename "$job")"
    train "$job" "$folder"
  done
  stop_federation
  for job in "$@"; do
    folder=$out/jobs/$(basename "$job" .yaml)
    compare "$job" "$folder" >"$folder/table.txt"
  done
  say "Comparison: $(basename "$1")"
  cat "${folders[0]}/table.txt"
  say 'All jobs, on the pooled test rows'
  /usr/bin/python3 "$repository/scripts/lib/summary.py" "${folders[@]}"
  printf '\nReports:\n'
  printf '  %s/report.html\n' "${folders[@]}"
}

# stop_all_but SITE: ends the other sites' agents; the coordinator goes on with this one.
stop_all_but() {
  local i
  local -a kept_pids=() kept_names=()
  for i in "${!pids[@]}"; do
    if [[ ${names[i]} == coordinator || ${names[i]} == "$1" ]]; then
      kept_pids+=("${pids[i]}") kept_names+=("${names[i]}")
    else
      kill -TERM "${pids[i]}"
      wait "${pids[i]}" || die "${names[i]} did not end in an orderly way"
    fi
  done
  pids=("${kept_pids[@]}") names=("${kept_names[@]}")
  wait_until 30 "$1 to be the only site" connected 1
}

# flamby BENCHMARK TABLE CENTRES MODEL: FLamby's strategies on one of its data sets, every seed; prints their figures
# beside the published ones. Exit code 1: one is not within two standard deviations.
flamby() {
  local benchmark=$1 table=$2 centres=$3 model=$4 job name centre
  local -a tool=(/usr/bin/python3 "$repository/scripts/lib/flamby.py")
  open_federation flamby
  "${tool[@]}" prepare "$benchmark" "$table" "$out/data"
  mkdir -p "$out/data/models"
  for ((centre = 0; centre < centres; centre++)); do
    add_site "centre-$centre" --csv "$out/data/centres/centre-$centre.csv"
  done
  allow_models "$model" -- --sums newton --max-local-epochs 100 --unmasked
  say "Federation of $centres centres"
  start_federation flamby
  for job in "$out"/data/together/*.yaml "$out"/data/first-centre/*.yaml; do
    name=$(basename "$job" .yaml)
    if [[ $job == */first-centre/* ]] && ((${#names[@]} > 2)); then stop_all_but centre-0; fi
    (train "$job" "$out/jobs/$name") >"$out/logs/$name.log" 2>&1 || die "job $name failed; see $out/logs/$name.log"
    cp "$out/jobs/$name/model/model.safetensors" "$out/data/models/$name.safetensors"
    printf '.'
  done
  printf '\n'
  stop_federation
  say 'Published and here'
  "${tool[@]}" table "$benchmark" "$table" "$out/data"
}
