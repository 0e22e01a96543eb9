#!/usr/bin/env bash
# The other half of gpu.sh: runs on the machine with the GPU, out of the folder that was packed. Each part goes on where
# another has failed; the summary at the end says which.
#
#   SHAPES="1b 8b"   models to make: 134m, 1b, 8b      AT=128,2048,16384   positions and lengths
#   LIMIT=240        seconds that a part may take      PARTS="kernels golden models peers"
set -u
usage="usage: bash run.sh [RESULTS]"
case "${1:-}" in
  -h | --help) echo "$usage" && exit ;;
  -*) echo "error: unknown option $1; $usage" >&2 && exit 2 ;;
esac

pack=$(cd "$(dirname "$0")" && pwd)
results=${1:-$pack/results}
shapes=${SHAPES:-1b 8b}
at=${AT:-128,2048,16384}
limit=${LIMIT:-240}
parts=${PARTS:-kernels golden models peers}
mkdir -p "$results"
results=$(cd "$results" && pwd)
cd "$pack/app" || exit 2
export XDG_CACHE_HOME="$results/cache" # what is measured of the adapter comes back with the rest
export LD_LIBRARY_PATH="$pack/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
if [ -z "${VK_DRIVER_FILES:-}${VK_ICD_FILENAMES:-}" ] && ! ls /etc/vulkan/icd.d/*.json /usr/share/vulkan/icd.d/*.json >/dev/null 2>&1; then
  for file in /usr/local/nvidia/share/vulkan/icd.d/nvidia_icd.json; do
    [ -f "$file" ] && export VK_DRIVER_FILES=$file
  done
fi
command -v nvidia-smi >/dev/null && nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader | tee "$results/device.txt"

summary=()
part() { # NAME COMMAND...: its result as NAME.json, what it says on the way as NAME.log
  local name=$1
  shift
  local began=$SECONDS status=0
  timeout "$limit" "$@" >"$results/$name.json" 2>"$results/$name.log" || status=$?
  [ $status = 0 ] || tail -n 3 "$results/$name.log"
  summary+=("$name: $([ $status = 0 ] && echo ok || echo "status $status") after $((SECONDS - began)) s")
}
node="$pack/bin/node"
dawnstream="$node src/cli/main.js"
bench="$node bench/main.js"

part adapter $dawnstream inspect --json
for name in $parts; do
  case $name in
    kernels) part kernels $dawnstream bench kernels --json ;;
    golden) part golden $bench golden --json ;;
    models)
      for shape in $shapes; do
        model=bench/models/random-$shape-1.Q4_K_M.gguf
        mkdir -p bench/models
        [ -f "$model" ] || part "model-$shape" $node bench/random-model.js "$model" --shape "$shape" --seed 1
        part "decode-$shape" $dawnstream bench decode --model "$model" --at "$at" --context 16500 --json
        part "prefill-$shape" $dawnstream bench prefill --model "$model" --at "$at" --context 16500 --rounds 3 --json
      done ;;
    peers)
      [ -d bench/.peers ] || continue
      for shape in $shapes; do
        part "versus-decode-$shape" $bench decode --shape "$shape" --json
        part "versus-prefill-$shape" $bench prefill --shape "$shape" --json
      done ;;
  esac
done
printf '%s\n' "${summary[@]}" | tee "$results/summary.txt"
