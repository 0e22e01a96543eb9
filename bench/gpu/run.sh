#!/usr/bin/env bash
# The other half of bench/gpu.sh: runs on the machine with the card, in the checkout. Each stage has its own limit of time and
# its result on disk before the next begins, and goes on when another has failed; the whole stops at its budget.
#
#   BUDGET=510            seconds for everything             STAGES="adapter kernels golden …"  only these, in this order
#   SHAPES="1b 8b"        models to be written (134m, deep)  SHAPE=N,K  rows and columns of the kernels' matrices
#   AT=128,2048           positions and lengths              TIME=200   milliseconds that a kernel is timed
#   PATIENCE=1            all limits of stages times this, for a rehearsal on a slow machine
#
# RESULTS gets results.tar.gz (all JSON and logs), summary.txt and device.txt.
set -u
usage="usage: bash run.sh RESULTS"
case "${1:-}" in
  -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0" && echo "$usage" && exit ;;
  -* | "") echo "error: ${1:+unknown option $1; }$usage" >&2 && exit 2 ;;
esac
if [ $# -gt 1 ]; then echo "error: unknown argument $2; $usage" >&2 && exit 2; fi

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
mkdir -p "$1" || exit 2
results=$(cd "$1" && pwd)
budget=${BUDGET:-510}
shapes=${SHAPES:-1b 8b}
at=${AT:-128,2048}
time=${TIME:-200}
patience=${PATIENCE:-1}
stages=${STAGES:-adapter kernels golden toggles decode prefill statistics peers}

# Seconds for each kernel by itself: a reference in plain TypeScript takes most of them.
declare -A limits=([matvec]=40 [matvec-normed]=40 [matvec-swiglu]=60 [matmul]=80 [embed]=30 [rms-norm]=15 [swiglu]=15
  [add-bias]=15 [choose]=15 [top]=15 [rope-store]=20 [attention]=40 [attention-weights]=20)
kernels="attention rope-store matvec matvec-normed matvec-swiglu matmul embed rms-norm swiglu add-bias choose top attention-weights"
sizes_of() { # KERNEL [SHAPE]: attention has no matrix
  case $1 in attention* | rope-store) ;; *) echo ${2:+--shape "$2"} ;; esac
}

work=$(mktemp -d)
parts=$work/results
writers=()
stop() { kill "${writers[@]}" 2>/dev/null; wait 2>/dev/null; rm -rf "$work"; }
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
mkdir -p "$parts"
if command -v xz >/dev/null; then
  xz -dc "$here/pack.tar.xz" | tar -C "$work" -x || exit 2
else
  python3 -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])' "$here/pack.tar.xz" "$work" || exit 2
fi
# What the checkout has does not travel twice.
ln -s "$root/models" "$work/app/models"
mkdir -p "$work/app/test"
ln -s "$root/test/fixtures" "$work/app/test/fixtures"
cd "$work/app" || exit 2
mkdir -p bench/models
export XDG_CACHE_HOME="$work/cache" # a driver may keep more there than comes back
export LD_LIBRARY_PATH="$work/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
if [ -z "${VK_DRIVER_FILES:-}${VK_ICD_FILENAMES:-}" ] && ! ls /etc/vulkan/icd.d/*.json /usr/share/vulkan/icd.d/*.json >/dev/null 2>&1; then
  file=/usr/local/nvidia/share/vulkan/icd.d/nvidia_icd.json
  [ -f "$file" ] && export VK_DRIVER_FILES=$file
fi
{
  command -v nvidia-smi >/dev/null && nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
  uname -a
} >"$results/device.txt"
cat "$results/device.txt"

node=$work/bin/node
dawnstream="$node src/cli/main.js"
bench="$node bench/main.js"
: >"$results/summary.txt"

# What came of a stage is on disk, whole, before the next begins.
keep() {
  cp "$XDG_CACHE_HOME/dawnstream/measured.json" "$parts/" 2>/dev/null # what was measured of the adapter
  tar -C "$work" -czf "$results/.results.tar.gz" results && mv "$results/.results.tar.gz" "$results/results.tar.gz"
}

stage() { # NAME LIMIT COMMAND...: its result as NAME.json, what it says on the way as NAME.log
  local name=$1 limit=$(($2 * patience)) began=$SECONDS status=0 said last
  shift 2
  [ $((budget - SECONDS)) -lt "$limit" ] && limit=$((budget - SECONDS))
  if [ "$limit" -lt 5 ]; then
    said="skipped: the budget of $budget s is spent"
  else
    timeout --kill-after=5 "$limit" "$@" >"$parts/$name.json" 2>"$parts/$name.log" || status=$?
    said="ok"
    if [ $status != 0 ]; then
      said="status $status$([ $status = 124 ] && echo ", its limit")"
      last=$(grep -v '^Warning: maxDynamic' "$parts/$name.log" | tail -n 1 | cut -c1-200)
      said="$said${last:+: $last}"
    fi
    said="$said, $((SECONDS - began)) of $limit s"
  fi
  echo "$name: $said" | tee -a "$results/summary.txt"
  keep
}

model_of() { echo "bench/models/random-$1-1.Q4_K_M.gguf"; }

# Models are written while kernels run: the first is short, and one core of many is enough.
write_models() {
  local shape
  for shape in $shapes; do
    $node bench/random-model.js "$(model_of "$shape").part" --shape "$shape" --seed 1 2>"$parts/model-$shape.log" \
      && mv "$(model_of "$shape").part" "$(model_of "$shape")"
  done
}
case " $stages " in
  *" decode "* | *" prefill "* | *" peers "*)
    write_models &
    writers+=($!)
    ;;
esac

on_model() { # NAME LIMIT SHAPE COMMAND...: when the model has been written
  local name=$1 limit=$2 shape=$3
  shift 3
  while [ ! -f "$(model_of "$shape")" ] && kill -0 "${writers[0]}" 2>/dev/null && [ $SECONDS -lt "$budget" ]; do sleep 1; done
  stage "$name" "$limit" "$@"
}

bench_kernel() { # NAME LIMIT KERNEL FORMAT FLAG: one format, with a flag of Dawn's
  stage "$1" "$2" env DAWNSTREAM_DAWN_FLAGS="$5" $dawnstream bench kernels --kernel "$3" --format "$4" --time "$time" $(sizes_of "$3" "${SHAPE:-}") --json
}

for name in $stages; do
  case $name in
    adapter) stage adapter 30 $dawnstream inspect --json ;;
    kernels)
      for kernel in $kernels; do
        stage "$kernel" "${limits[$kernel]}" $dawnstream bench kernels --kernel "$kernel" --time "$time" $(sizes_of "$kernel" "${SHAPE:-}") --json
      done ;;
    golden) stage golden 90 $bench golden --json ;;
    toggles) # of Dawn's, each way: one switches tensor cores off on NVIDIA, the other bounds checks
      for case in matmul:Q4_K matvec:Q4_K attention:f16; do
        kernel=${case%:*} format=${case#*:}
        bench_kernel "$kernel-usual" 20 "$kernel" "$format" ""
        bench_kernel "$kernel-unchecked" 20 "$kernel" "$format" enable-dawn-features=disable_robustness
        bench_kernel "$kernel-no-halves" 20 "$kernel" "$format" disable-dawn-features=vulkan_enable_f16_on_nvidia
      done ;;
    decode | prefill)
      for shape in $shapes; do
        rounds=()
        [ $name = prefill ] && rounds=(--rounds 3)
        on_model "$name-$shape" 60 "$shape" $dawnstream bench $name --model "$(model_of "$shape")" --at "$at" --context 4096 "${rounds[@]}" --json
      done ;;
    statistics)
      [ -f "$work/layer/libstatistics.so" ] || continue
      for kernel in $kernels; do # short rows compile to the same
        stage "statistics-$kernel" 20 env VK_LAYER_PATH="$work/layer" VK_INSTANCE_LAYERS=VK_LAYER_dawnstream_statistics \
          PIPELINE_STATISTICS="$parts/statistics-$kernel.jsonl" \
          $dawnstream bench kernels --kernel "$kernel" --time 1 $(sizes_of "$kernel" "${SHAPE:-4096,256}") --json
      done ;;
    peers)
      [ -d bench/.peers ] || continue
      for shape in $shapes; do
        on_model "versus-decode-$shape" 60 "$shape" $bench decode --shape "$shape" --json
        on_model "versus-prefill-$shape" 60 "$shape" $bench prefill --shape "$shape" --json
      done ;;
    *) echo "$name: no such stage" | tee -a "$results/summary.txt" ;;
  esac
done
